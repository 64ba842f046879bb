//! DestinationRules: which one applies to a service, and what it says about a port and a subset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::policy::hash::HashPolicy;
use limen_resources::istio::{
    ClientTls, ConnectionPool, ConsistentHash, DefaultTrafficPolicy, DestinationRule, LoadBalancer,
    OutlierDetection, PortTrafficPolicy, Subset, TcpPool, TrafficPolicy,
};
use limen_resources::{AnyObject, Object, ObjectKey, Source};

use super::{consistent_hash, names};
use crate::mesh::Mesh;
use crate::messages::At;
use crate::settings::Settings;

type Rule = Arc<Object<DestinationRule>>;

/// All DestinationRules, by namespace and host.
pub(crate) struct Rules<'a> {
    settings: &'a Settings,
    /// Some rule asks for hashing: only then is it worth looking for each destination.
    hashing: bool,
    namespaces: BTreeMap<&'a str, Hosts<'a>>,
}

/// By host, as completed and in lower case.
type Hosts<'a> = BTreeMap<String, Vec<Merged<'a>>>;

/// Rules of one host and namespace that count as one, oldest first.
pub(crate) struct Merged<'a> {
    rules: Vec<&'a Rule>,
    /// As written; empty: unsaid, which is not the same as `*`.
    export_to: BTreeSet<&'a str>,
}

impl<'a> Rules<'a> {
    /// `rules`: oldest first.
    pub(crate) fn new(rules: Vec<&'a Rule>, settings: &'a Settings) -> Rules<'a> {
        let mut namespaces: BTreeMap<&str, Hosts<'_>> = BTreeMap::new();
        let hashing = rules.iter().any(|rule| hashes(&rule.spec));
        let (selecting, others): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(|rule| rule.spec.workload_selector.is_some());
        for rule in selecting.into_iter().chain(others) {
            let own = &*rule.key.namespace;
            let host = names::full_name(&rule.spec.host, own, &settings.cluster_domain).to_ascii_lowercase();
            let known = namespaces.entry(own).or_default().entry(host).or_default();
            let export_to: BTreeSet<&str> = rule.spec.export_to.iter().map(String::as_str).collect();
            let joins = known.iter_mut().find(|merged| merged.takes(rule, &export_to));
            match joins {
                Some(merged) => merged.rules.push(rule),
                None => known.push(Merged { rules: vec![rule], export_to }),
            }
        }
        Rules { settings, hashing, namespaces }
    }

    /// The rules that shape a service for this gateway: of its own namespace, else of the service's, else of the root
    /// namespace. Within one the host counts before visibility, so an exact rule that is not exported hides a wildcard.
    ///
    /// `host` and `namespace` are the service's, `labels` the gateway's.
    pub(crate) fn find(
        &self,
        host: &str,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<&Merged<'a>> {
        let (own, root) = (&*self.settings.workload_namespace, &*self.settings.root_namespace);
        let in_own = if own == root { Seen::PrivateOnly } else { Seen::Any };
        self.in_namespace(own, host, labels, in_own)
            .or_else(|| self.in_namespace(namespace, host, labels, Seen::Any))
            .or_else(|| self.in_namespace(root, host, labels, Seen::Any))
    }

    fn in_namespace(
        &self,
        namespace: &str,
        host: &str,
        labels: &BTreeMap<String, String>,
        seen: Seen,
    ) -> Option<&Merged<'a>> {
        let merged = most_specific(self.namespaces.get(namespace)?, host)?;
        let reader = &*self.settings.workload_namespace;
        let visible = |merged: &&Merged<'_>| match seen {
            Seen::Any => names::exported(self.export_to(merged), namespace, reader),
            Seen::PrivateOnly => self.export_to(merged).any(|to| to == "." || to == namespace),
        };
        let selected = |merged: &&Merged<'_>| {
            let wanted = merged.rules.first().and_then(|rule| selector(rule));
            wanted.is_some_and(|wanted| namespace == reader && names::selects(wanted, labels))
        };
        let unselective =
            |merged: &&Merged<'_>| merged.rules.iter().all(|rule| rule.spec.workload_selector.is_none());
        let visible = || merged.iter().filter(visible);
        visible().find(selected).or_else(|| visible().rfind(unselective))
    }

    /// What the rules say, and if that is nothing, what the mesh says.
    fn export_to<'m>(&'m self, merged: &'m Merged<'_>) -> impl Iterator<Item = &'m str> {
        let unsaid = merged.export_to.is_empty();
        let default = self.settings.mesh.destination_rule_export_to.iter().filter(move |_| unsaid);
        merged.export_to.iter().copied().chain(default.map(String::as_str))
    }

    /// What requests to a subset of a service are hashed by; `named_port`: as the destination names it.
    pub(crate) fn hash(
        &self,
        service: (&str, &str),
        labels: &BTreeMap<String, String>,
        named_port: Option<u16>,
        subset: &str,
    ) -> Option<HashPolicy> {
        if !self.hashing {
            return None;
        }
        let rules = self.find(service.0, service.1, labels)?;
        consistent_hash::policy(rules.hash(named_port, subset)?)
    }

    /// The names of all subsets of a host, for messages.
    pub(crate) fn subset_names(merged: Option<&Merged<'_>>) -> String {
        let names: Vec<_> =
            merged.into_iter().flat_map(Merged::subsets).map(|(_, _, subset)| &*subset.name).collect();
        if names.is_empty() { "there are none".to_owned() } else { names.join(", ") }
    }
}

/// Does any part of the rule ask for hashing?
fn hashes(rule: &DestinationRule) -> bool {
    let subsets = rule.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
    rule.traffic_policy.iter().chain(subsets).any(|policy| {
        let ports = policy.port_level_settings.iter().map(|port| &port.load_balancer);
        ports.chain([&policy.load_balancer]).flatten().any(|own| own.consistent_hash.is_some())
    })
}

/// Which rules of a namespace count.
#[derive(Clone, Copy)]
enum Seen {
    Any,
    /// In the root namespace itself: those that are for it alone.
    PrivateOnly,
}

/// The rules for the exact host, else for the longest wildcard that covers it.
fn most_specific<'h, 'a>(hosts: &'h Hosts<'a>, host: &str) -> Option<&'h [Merged<'a>]> {
    if let Some(exact) = hosts.get(host) {
        return Some(exact);
    }
    let wildcards =
        hosts.iter().filter(|(pattern, _)| pattern.starts_with('*') && names::within(host, pattern));
    wildcards.max_by_key(|(pattern, _)| pattern.len()).map(|(_, merged)| &**merged)
}

impl<'a> Merged<'a> {
    /// Does `rule` become a part of this one? Its visibility stays that of the oldest.
    fn takes(&self, rule: &Rule, export_to: &BTreeSet<&str>) -> bool {
        let same_workloads = self.rules.first().is_some_and(|first| selector(first) == selector(rule));
        let explicit_superset = !self.export_to.is_empty() && self.export_to.is_subset(export_to);
        same_workloads && (self.export_to == *export_to || explicit_superset)
    }

    /// Every subset with its rule and field; of those with one name the oldest.
    pub(crate) fn subsets(&self) -> impl Iterator<Item = (&'a Rule, usize, &'a Subset)> {
        let mut seen = BTreeSet::new();
        self.rules
            .iter()
            .flat_map(|rule| {
                rule.spec.subsets.iter().enumerate().map(move |(at, subset)| (*rule, at, subset))
            })
            .filter(move |(_, _, subset)| seen.insert(&*subset.name))
    }

    /// The subset of this name.
    pub(crate) fn subset(&self, name: &str) -> Option<(&'a Rule, usize, &'a Subset)> {
        self.subsets().find(|(_, _, subset)| subset.name == name)
    }

    /// What holds for one port of the service and one of its subsets, where the mesh says `mesh`.
    pub(crate) fn policy(
        &self,
        port: u16,
        subset: Option<(&'a Rule, usize, &'a Subset)>,
        mesh: &'a Mesh,
    ) -> Policy<'a> {
        let mut policy = Policy::default();
        let first = self.rules.iter().find_map(|rule| Some((*rule, rule.spec.traffic_policy.as_ref()?)));
        if let Some((rule, written)) = first {
            match port_level(written, port) {
                Some((at, own)) => {
                    policy.replace(rule, format!("spec.trafficPolicy.portLevelSettings[{at}]"), own)
                }
                None => policy.overlay(rule, "spec.trafficPolicy", written),
            }
        }
        policy.complete(mesh);
        if let Some((rule, at, subset)) = subset
            && let Some(written) = &subset.traffic_policy
        {
            let field = format!("spec.subsets[{at}].trafficPolicy");
            policy.overlay(rule, &field, written);
            if let Some((at, own)) = port_level(written, port) {
                policy.replace(rule, format!("{field}.portLevelSettings[{at}]"), own);
            }
        }
        policy
    }

    /// What is said of TCP for the service as a whole, in the first policy that there is.
    pub(crate) fn tcp_pool(&self) -> Option<&'a TcpPool> {
        let policy = self.rules.iter().find_map(|rule| rule.spec.traffic_policy.as_ref())?;
        policy.connection_pool.as_ref()?.tcp.as_ref()
    }

    /// What requests are hashed by. A port's setting counts only where the destination names its port, and each level
    /// that says nothing of hashing leaves it to the next.
    pub(crate) fn hash(&self, named_port: Option<u16>, subset: &str) -> Option<&'a ConsistentHash> {
        let of = |written: &'a TrafficPolicy| {
            let port = named_port.and_then(|port| port_level(written, port));
            let port = port.and_then(|(_, own)| own.load_balancer.as_ref()?.consistent_hash.as_ref());
            port.or_else(|| written.load_balancer.as_ref()?.consistent_hash.as_ref())
        };
        let subset = if subset.is_empty() { None } else { self.subset(subset) };
        let subset = subset.and_then(|(_, _, subset)| subset.traffic_policy.as_ref()).and_then(of);
        subset.or_else(|| self.rules.iter().find_map(|rule| rule.spec.traffic_policy.as_ref()).and_then(of))
    }

    /// All of them.
    pub(crate) fn objects(&self) -> Vec<Rule> {
        self.rules.iter().map(|rule| Arc::clone(rule)).collect()
    }

    /// The rule that counts as the origin.
    pub(crate) fn first(&self) -> Option<&'a Rule> {
        self.rules.first().copied()
    }
}

fn selector(rule: &Rule) -> Option<&BTreeMap<String, String>> {
    rule.spec.workload_selector.as_ref().map(|selector| &selector.match_labels)
}

fn port_level(policy: &TrafficPolicy, port: u16) -> Option<(usize, &PortTrafficPolicy)> {
    let mut settings = policy.port_level_settings.iter().enumerate();
    settings.find(|(_, own)| own.port.as_ref().is_some_and(|number| number.number == u32::from(port)))
}

/// A block and where it is written.
pub(crate) struct Block<'a, T> {
    /// The rule, or the mesh configuration.
    pub(crate) key: &'a ObjectKey,
    source: &'a Source,
    pub(crate) field: String,
    pub(crate) said: &'a T,
}

impl<'a, T> Block<'a, T> {
    /// What `said` stands for, where nobody wrote it; `field` is what it comes from.
    pub(crate) fn unwritten(object: &'a AnyObject, field: String, said: &'a T) -> Block<'a, T> {
        Block { key: object.key(), source: object.source(), field, said }
    }

    /// A field of the same object.
    pub(crate) fn at<'f>(&'f self, field: &'f str) -> At<'f> {
        At::of(self.key, self.source, field)
    }
}

/// What holds for a cluster, block by block.
#[derive(Default)]
pub(crate) struct Policy<'a> {
    pub(crate) load_balancer: Option<Block<'a, LoadBalancer>>,
    pub(crate) connection_pool: Option<Block<'a, ConnectionPool>>,
    pub(crate) outlier_detection: Option<Block<'a, OutlierDetection>>,
    pub(crate) tls: Option<Block<'a, ClientTls>>,
    /// The whole policy, for the blocks that only matter by being there.
    pub(crate) whole: Vec<Block<'a, TrafficPolicy>>,
}

impl<'a> Policy<'a> {
    /// What holds where there is no rule.
    pub(crate) fn of_mesh(mesh: &'a Mesh) -> Policy<'a> {
        let mut policy = Policy::default();
        policy.complete(mesh);
        policy
    }

    /// What the mesh says stands in for blocks that are missing.
    fn complete(&mut self, mesh: &'a Mesh) {
        let Some((object, default)) = mesh.default_policy() else { return };
        let DefaultTrafficPolicy { connection_pool, outlier_detection } = default;
        let field = "defaultTrafficPolicy";
        if self.connection_pool.is_none() {
            set(&mut self.connection_pool, object, field, "connectionPool", connection_pool.as_ref());
        }
        if self.outlier_detection.is_none() {
            set(&mut self.outlier_detection, object, field, "outlierDetection", outlier_detection.as_ref());
        }
    }

    /// The blocks that are written replace those that hold so far.
    fn overlay(&mut self, rule: &'a Rule, field: &str, written: &'a TrafficPolicy) {
        set(&mut self.load_balancer, rule, field, "loadBalancer", written.load_balancer.as_ref());
        set(&mut self.connection_pool, rule, field, "connectionPool", written.connection_pool.as_ref());
        set(&mut self.outlier_detection, rule, field, "outlierDetection", written.outlier_detection.as_ref());
        set(&mut self.tls, rule, field, "tls", written.tls.as_ref());
        let (key, source) = (&rule.key, &rule.source);
        self.whole.push(Block { key, source, field: field.to_owned(), said: written });
    }

    /// What is written for a port is all that holds for it of the four blocks; what it leaves out is the default.
    fn replace(&mut self, rule: &'a Rule, field: String, written: &'a PortTrafficPolicy) {
        *self = Policy { whole: std::mem::take(&mut self.whole), ..Policy::default() };
        set(&mut self.load_balancer, rule, &field, "loadBalancer", written.load_balancer.as_ref());
        set(&mut self.connection_pool, rule, &field, "connectionPool", written.connection_pool.as_ref());
        set(
            &mut self.outlier_detection,
            rule,
            &field,
            "outlierDetection",
            written.outlier_detection.as_ref(),
        );
        set(&mut self.tls, rule, &field, "tls", written.tls.as_ref());
    }
}

fn set<'a, S, T>(
    slot: &mut Option<Block<'a, T>>,
    object: &'a Object<S>,
    field: &str,
    part: &str,
    said: Option<&'a T>,
) {
    if let Some(said) = said {
        let (key, source) = (&object.key, &object.source);
        *slot = Some(Block { key, source, field: format!("{field}.{part}"), said });
    }
}
