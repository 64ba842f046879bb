//! Where endpoints stand, and what that means for who is chosen: Istio's `localityLbSetting` and `trafficDistribution`.

use std::collections::{BTreeMap, BTreeSet};

use limen_ir::endpoint::{Address, Endpoint, Locality};
use limen_resources::Object;
use limen_resources::core::Node;
use limen_resources::istio::LocalityLb;

type Labels = BTreeMap<String, String>;

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";
const NETWORK: &str = "topology.istio.io/network";
const HOSTNAME: &str = "kubernetes.io/hostname";
/// Overrides what the node says; its parts are divided by dots, as labels cannot have slashes.
const LOCALITY_LABEL: &str = "istio-locality";

/// What the localities of a cluster's endpoints are used for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Nothing.
    #[default]
    Off,
    /// Shares by locality, of the first entry whose `from` is the gateway's.
    Distribute(Vec<(String, Vec<(String, u32)>)>),
    /// The nearest first, the others as these fail.
    Failover {
        /// From a region to another.
        regions: Vec<(String, String)>,
        /// Labels by which endpoints are near, `key` or `key=value`, the most important first; empty: the localities.
        labels: Vec<String>,
    },
}

impl Spread {
    /// What holds for a cluster: of the rule, else of the Service, else of the mesh, else failover by locality. Failing
    /// over takes somebody who finds out what has failed, but for a Service's own wish.
    pub(crate) fn of(
        rule: Option<&LocalityLb>,
        distribution: &str,
        mesh: Option<&LocalityLb>,
        outlier: bool,
    ) -> Spread {
        let wished = matches!(distribution, "PreferClose" | "PreferSameZone" | "PreferSameNode");
        if let Some(said) = rule.or(mesh.filter(|_| !wished)) {
            let LocalityLb { distribute, failover, failover_priority, enabled } = said;
            if *enabled == Some(false) {
                return Spread::Off;
            }
            if !distribute.is_empty() {
                let entries = distribute.iter().map(|entry| {
                    let shares = entry.to.iter().map(|(to, share)| (to.clone(), *share));
                    (entry.from.clone(), shares.collect())
                });
                return Spread::Distribute(entries.collect());
            }
            let regions = failover.iter().map(|entry| (entry.from.clone(), entry.to.clone())).collect();
            let labels = failover_priority.clone();
            return if outlier { Spread::Failover { regions, labels } } else { Spread::Off };
        }
        let labels: &[&str] = match distribution {
            "PreferClose" | "PreferSameZone" => &[NETWORK, REGION, ZONE],
            "PreferSameNode" => &[NETWORK, REGION, ZONE, SUBZONE, HOSTNAME],
            _ if outlier => &[],
            _ => return Spread::Off,
        };
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Spread::Failover { regions: Vec::new(), labels }
    }
}

/// The gateway itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) locality: Locality,
    /// Its workload's labels and what its node says.
    pub(crate) labels: Labels,
}

impl Own {
    /// `written`: the setting, which counts before the label and the node. `host`: the name of the node, which can be known
    /// without it, or nothing.
    pub(crate) fn new(
        labels: &Labels,
        written: Option<&str>,
        (host, node): (&str, Option<&Object<Node>>),
    ) -> Own {
        let locality = match written {
            Some(written) => Locality::parse(written),
            None => locality(labels, node, ""),
        };
        Own { labels: with_topology(labels, &locality, host), locality }
    }
}

/// Of a workload with these labels on that node. `zone`: where nothing else says it.
pub(crate) fn locality(labels: &Labels, node: Option<&Object<Node>>, zone: &str) -> Locality {
    if let Some(label) = labels.get(LOCALITY_LABEL).filter(|label| !label.is_empty()) {
        return Locality::parse(&label.replace('.', "/"));
    }
    let of_node = |name: &str| node.and_then(|node| node.meta.labels.get(name)).cloned().unwrap_or_default();
    let mut found = Locality { region: of_node(REGION), zone: of_node(ZONE), subzone: of_node(SUBZONE) };
    if found.zone.is_empty() {
        found.zone = zone.to_owned();
    }
    found
}

/// Labels together with what they would be if topology were written into them.
pub(crate) fn with_topology(labels: &Labels, locality: &Locality, host: &str) -> Labels {
    let mut labels = labels.clone();
    let Locality { region, zone, subzone } = locality;
    for (name, value) in [(REGION, &**region), (ZONE, zone), (SUBZONE, subzone), (HOSTNAME, host)] {
        if !value.is_empty() {
            labels.insert(name.to_owned(), value.to_owned());
        }
    }
    labels
}

/// Gives endpoints their priorities and weights. `labels`: by address, with topology.
pub(crate) fn spread(
    endpoints: &mut BTreeMap<Address, Endpoint>,
    labels: &BTreeMap<Address, Labels>,
    how: &Spread,
    own: &Own,
) {
    match how {
        Spread::Off => {}
        Spread::Distribute(entries) => {
            let entry = entries.iter().find(|(from, _)| covers(from, &own.locality));
            if let Some((_, shares)) = entry {
                distribute(endpoints, shares);
            }
        }
        Spread::Failover { regions, labels: by } => {
            for (address, endpoint) in &mut *endpoints {
                let near = if by.is_empty() {
                    nearness(&own.locality, &endpoint.locality)
                } else {
                    rank(by, &own.labels, labels.get(address))
                };
                endpoint.priority = near;
            }
            if !regions.is_empty() {
                close_gaps(endpoints);
                fail_over(endpoints, regions, &own.locality);
                weigh_localities(endpoints);
            }
            close_gaps(endpoints);
        }
    }
}

/// 0 for the same subzone, 1 for the same zone, 2 for the same region, 3 for the rest.
fn nearness(own: &Locality, other: &Locality) -> u32 {
    match (own.region == other.region, own.zone == other.zone, own.subzone == other.subzone) {
        (false, ..) => 3,
        (true, false, _) => 2,
        (true, true, false) => 1,
        (true, true, true) => 0,
    }
}

/// How many of the labels, from the first that differs on, an endpoint does not share.
fn rank(by: &[String], own: &Labels, other: Option<&Labels>) -> u32 {
    let of = |labels: Option<&Labels>, name: &str| {
        labels.and_then(|labels| labels.get(name)).cloned().unwrap_or_default()
    };
    let same = by.iter().position(|label| {
        let (name, wanted) = match label.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (&**label, of(Some(own), label)),
        };
        wanted != of(other, name)
    });
    same.map_or(0, |at| (by.len() - at) as u32)
}

/// Other regions come last, unless they are the one that stands in for the gateway's own.
fn fail_over(endpoints: &mut BTreeMap<Address, Endpoint>, regions: &[(String, String)], own: &Locality) {
    let Some((_, to)) = regions.iter().find(|(from, _)| *from == own.region) else { return };
    let last = endpoints.values().map(|endpoint| endpoint.priority).max().unwrap_or(0);
    for endpoint in endpoints.values_mut() {
        let region = &endpoint.locality.region;
        if *region != own.region && region != to {
            endpoint.priority = last + 1;
        }
    }
}

/// Localities of one priority get requests by the weights of their endpoints.
fn weigh_localities(endpoints: &mut BTreeMap<Address, Endpoint>) {
    let mut sums: BTreeMap<(u32, Locality), u32> = BTreeMap::new();
    for endpoint in endpoints.values() {
        let sum = sums.entry((endpoint.priority, endpoint.locality.clone())).or_default();
        *sum = sum.saturating_add(endpoint.weight);
    }
    for endpoint in endpoints.values_mut() {
        let key = (endpoint.priority, endpoint.locality.clone());
        endpoint.locality_weight = sums.get(&key).copied().unwrap_or(0);
    }
}

/// Who is in no locality that is named gets nothing. A share that covers several localities is divided by weight.
fn distribute(endpoints: &mut BTreeMap<Address, Endpoint>, shares: &[(String, u32)]) {
    let of = |locality: &Locality| shares.iter().find(|(to, _)| covers(to, locality));
    endpoints.retain(|_, endpoint| of(&endpoint.locality).is_some());
    let mut sums: BTreeMap<(&str, Locality), u64> = BTreeMap::new();
    for endpoint in endpoints.values() {
        if let Some((to, _)) = of(&endpoint.locality) {
            *sums.entry((to, endpoint.locality.clone())).or_default() += u64::from(endpoint.weight);
        }
    }
    for endpoint in endpoints.values_mut() {
        let Some((to, share)) = of(&endpoint.locality) else { continue };
        let whole: u64 = sums.iter().filter(|((other, _), _)| other == to).map(|(_, sum)| sum).sum();
        let part = sums.get(&(&**to, endpoint.locality.clone())).copied().unwrap_or(0);
        let weight = (u64::from(*share) * part).div_ceil(whole.max(1));
        endpoint.locality_weight = u32::try_from(weight).unwrap_or(u32::MAX).max(1);
    }
}

/// Does `region/zone/subzone`, of which the end may be missing or `*`, cover a locality?
fn covers(pattern: &str, locality: &Locality) -> bool {
    let parts = [&locality.region, &locality.zone, &locality.subzone];
    pattern.split('/').zip(parts).all(|(wanted, part)| wanted == "*" || wanted == part)
}

fn close_gaps(endpoints: &mut BTreeMap<Address, Endpoint>) {
    let used: BTreeSet<u32> = endpoints.values().map(|endpoint| endpoint.priority).collect();
    for endpoint in endpoints.values_mut() {
        endpoint.priority = used.range(..endpoint.priority).count() as u32;
    }
}

#[cfg(test)]
#[path = "locality_tests.rs"]
mod tests;
