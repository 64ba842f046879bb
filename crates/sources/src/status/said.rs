//! What is said of one object: as verdicts have it, and as its status in the cluster has it. Pure.
//!
//! Times are left out, so that two of these are equal where there is nothing to write.

use std::collections::BTreeMap;

use limen_resources::{GatewayAddress, Kind, ObjectKey, Part, Verdict};
use serde_json::Value;

use super::events::cut;
use super::members::Share;
use super::speaker::Speaker;

/// The group of the Gateway API's kinds.
pub(super) const GROUP: &str = "gateway.networking.k8s.io";
/// The longest message of a condition, in bytes; the API takes 32 KiB.
const LONGEST: usize = 2048;

/// Where in its status an object of a kind has what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `conditions` of the whole, and for some kinds what more they tell: addresses, listeners, features.
    Whole,
    /// `parents`: an entry for each Gateway that a route hangs on. Others have entries in the same list.
    Parents,
    /// `ancestors`: an entry for each Gateway that a policy has to do with. Others have entries in the same list.
    Ancestors,
    /// `loadBalancer.ingress`: addresses only.
    LoadBalancer,
    /// `conditions` as with `Whole`, their types preceded by the group of instances: several may write there.
    Prefixed,
}

impl Layout {
    /// That of a kind. `None`: nothing is written there.
    pub(super) fn of(kind: Kind) -> Option<Layout> {
        match kind {
            Kind::GatewayClass | Kind::ApiGateway | Kind::ListenerSet => Some(Layout::Whole),
            Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                Some(Layout::Parents)
            }
            Kind::BackendTlsPolicy => Some(Layout::Ancestors),
            Kind::Ingress => Some(Layout::LoadBalancer),
            Kind::Gateway
            | Kind::VirtualService
            | Kind::DestinationRule
            | Kind::ServiceEntry
            | Kind::WorkloadEntry
            | Kind::ProxyConfig
            | Kind::Telemetry => Some(Layout::Prefixed),
            Kind::XBackend => Some(Layout::Parents),
            Kind::XBackendTrafficPolicy => Some(Layout::Ancestors),
            Kind::MeshConfig
            | Kind::Deployment
            | Kind::HorizontalPodAutoscaler
            | Kind::PodDisruptionBudget
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Pod
            | Kind::Secret
            | Kind::ConfigMap
            | Kind::Namespace
            | Kind::Node
            | Kind::IngressClass
            | Kind::ReferenceGrant
            | Kind::AuthorizationPolicy
            | Kind::RequestAuthentication
            | Kind::EnvoyFilter
            | Kind::WasmPlugin
            | Kind::TrafficExtension => None,
        }
    }

    /// Is what stands there of us to be taken away where nothing is said any more? Only where it is known to be ours.
    pub(super) fn cleared(self) -> bool {
        match self {
            Layout::Parents | Layout::Ancestors | Layout::Prefixed => true,
            Layout::Whole | Layout::LoadBalancer => false,
        }
    }
}

/// What is said of an object, without times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Said {
    pub(super) conditions: Vec<Condition>,
    /// Type and value.
    pub(super) addresses: Vec<(String, String)>,
    pub(super) attached_listener_sets: Option<usize>,
    pub(super) features: Vec<String>,
    pub(super) listeners: Vec<Listener>,
    pub(super) entries: Vec<(Whose, Vec<Condition>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    pub(super) name: String,
    /// `True`, `False` or `Unknown`.
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) generation: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) attached_routes: usize,
    pub(super) kinds: Vec<String>,
    pub(super) conditions: Vec<Condition>,
}

/// Which of several entries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Whose {
    /// Of the parent at this place of `spec.parentRefs`.
    Parent(usize),
    /// Of a Gateway, by namespace and name.
    Gateway(String, String),
    /// Of something that the object does not name any more.
    Stale,
}

impl Whose {
    fn gateway(key: &ObjectKey) -> Whose {
        Whose::Gateway(key.namespace.to_string(), key.name.to_string())
    }
}

/// What is said of parts of an object, some with what they are parts for.
type Parts<'v> = BTreeMap<(&'v Part, Option<&'v ObjectKey>), Vec<&'v Verdict>>;

impl Said {
    /// What verdicts say, all of them on one object. `share`: by how many instances it is served.
    pub(super) fn of(kind: Kind, verdicts: &[Verdict], share: Share, by: &Speaker) -> Said {
        let mut said = Said::default();
        let Some(layout) = Layout::of(kind) else { return said };
        let mut parts: Parts<'_> = BTreeMap::new();
        let mut ancestors: BTreeMap<&ObjectKey, Vec<&Verdict>> = BTreeMap::new();
        let mut whole = Vec::new();
        for verdict in verdicts {
            match (&verdict.part, &verdict.parent) {
                (Some(part), parent) => parts.entry((part, parent.as_ref())).or_default().push(verdict),
                (None, Some(parent)) if parent.kind == Kind::ApiGateway => {
                    ancestors.entry(parent).or_default().push(verdict);
                }
                (None, _) => whole.push(verdict),
            }
        }
        match layout {
            Layout::Whole => said.whole(&whole, &parts, share),
            Layout::Prefixed => {
                let conditions = conditions(&whole, Some(share));
                let prefixed =
                    |one: Condition| Condition { name: format!("{}/{}", by.group, one.name), ..one };
                said.conditions = conditions.into_iter().map(prefixed).collect();
            }
            Layout::Parents => {
                let entry = |((part, parent), verdicts): (&(&Part, Option<&ObjectKey>), &Vec<&Verdict>)| {
                    let whose = match (part, parent) {
                        (Part::ParentRef(place), _) => Whose::Parent(*place),
                        (Part::DefaultGateway, Some(gateway)) => Whose::gateway(gateway),
                        (Part::Listener(_), _) | (Part::DefaultGateway, None) => return None,
                    };
                    Some((whose, conditions(verdicts, None)))
                };
                said.entries = parts.iter().filter_map(entry).collect();
                said.entries.extend(gateways(&ancestors));
            }
            Layout::Ancestors => said.entries = gateways(&ancestors),
            Layout::LoadBalancer => said.addresses = addresses(&whole),
        }
        said
    }

    fn whole(&mut self, whole: &[&Verdict], parts: &Parts<'_>, share: Share) {
        self.conditions = conditions(whole, Some(share));
        self.addresses = addresses(whole);
        self.attached_listener_sets = whole.iter().find_map(|verdict| verdict.facts().attached_listener_sets);
        let listener = |((part, _), verdicts): (&(&Part, Option<&ObjectKey>), &Vec<&Verdict>)| match part {
            Part::Listener(listener) => Some(Listener {
                name: listener.name.clone(),
                attached_routes: listener.attached_routes,
                kinds: listener.supported_kinds.clone(),
                conditions: conditions(verdicts, (!share.all()).then_some(share)),
            }),
            Part::ParentRef(_) | Part::DefaultGateway => None,
        };
        // Parts are ordered by their places.
        let features = whole.iter().flat_map(|verdict| &verdict.facts().supported_features);
        self.features = features.map(|name| (*name).to_owned()).collect();
        self.listeners = parts.iter().filter_map(listener).collect();
    }

    /// The generation that is spoken of; `None`, too, where some of it is about whichever is there.
    pub(super) fn generation(&self) -> Option<u64> {
        let entries = self.entries.iter().flat_map(|(_, conditions)| conditions);
        let mut generations = self.conditions.iter().chain(entries).map(|condition| condition.generation);
        let first = generations.next()??;
        generations.all(|generation| generation.is_some()).then_some(first)
    }
}

/// What is said for each Gateway.
fn gateways(verdicts: &BTreeMap<&ObjectKey, Vec<&Verdict>>) -> Vec<(Whose, Vec<Condition>)> {
    let entry = |(gateway, verdicts): (&&ObjectKey, &Vec<&Verdict>)| {
        (Whose::gateway(gateway), conditions(verdicts, None))
    };
    verdicts.iter().map(entry).collect()
}

fn addresses(verdicts: &[&Verdict]) -> Vec<(String, String)> {
    let all = verdicts.iter().flat_map(|verdict| &verdict.facts().addresses);
    all.map(|GatewayAddress { address_type, value }| {
        let kind = match address_type {
            limen_resources::GatewayAddressType::Ip => "IPAddress",
            limen_resources::GatewayAddressType::Hostname => "Hostname",
        };
        (kind.to_owned(), value.clone())
    })
    .collect()
}

/// One condition of each type: where several verdicts speak of it, the first that does not hold.
fn conditions(verdicts: &[&Verdict], share: Option<Share>) -> Vec<Condition> {
    let mut by_type: BTreeMap<&str, &Verdict> = BTreeMap::new();
    for verdict in verdicts {
        let first = by_type.entry(verdict.condition).or_insert(verdict);
        if first.status && !verdict.status {
            *first = verdict;
        }
    }
    by_type.into_values().map(|verdict| condition(verdict, share)).collect()
}

fn condition(verdict: &Verdict, share: Option<Share>) -> Condition {
    let Verdict { condition, status, reason, message, generation, .. } = verdict;
    let mut said = Condition {
        name: (*condition).to_owned(),
        status: match (*status, *condition, *reason) {
            (true, ..) => "True",
            // The API has no other word for what somebody else is to find out.
            (false, "Accepted", "Pending") => "Unknown",
            (false, ..) => "False",
        }
        .to_owned(),
        reason: (*reason).to_owned(),
        message: cut(message, LONGEST).to_owned(),
        generation: *generation,
    };
    if let (Some(share), true, Verdict::PROGRAMMED) = (share, *status, &**condition) {
        if share.all() {
            said.message = format!("{message}, by {share} instances");
        } else {
            "False".clone_into(&mut said.status);
            "Pending".clone_into(&mut said.reason);
            said.message = format!("{share} instances serve it as it is now");
        }
    }
    said
}

/// What an object of the cluster says of us. `object`: as the API has it.
pub(super) fn stored(layout: Layout, object: &Value, by: &Speaker) -> Said {
    let mut said = Said::default();
    let status = object.get("status").unwrap_or(&Value::Null);
    match layout {
        Layout::Whole => {
            said.conditions = own_conditions(status, |name| by.has(layout, name));
            said.addresses = pairs(status.get("addresses"), ("type", "value"));
            said.attached_listener_sets = status
                .get("attachedListenerSets")
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok());
            said.features = list(status.get("supportedFeatures")).map(|one| text(one, "name")).collect();
            said.listeners = list(status.get("listeners")).map(stored_listener).collect();
        }
        Layout::Prefixed => said.conditions = own_conditions(status, |name| by.has(layout, name)),
        Layout::Parents | Layout::Ancestors => {
            let (field, _) = entries_of(layout);
            let entry = |entry: &Value| (whose(layout, object, entry), own_conditions(entry, |_| true));
            said.entries =
                list(status.get(field)).filter(|entry| by.owns(layout, object, entry)).map(entry).collect();
        }
        Layout::LoadBalancer => {
            let ingress = status.get("loadBalancer").and_then(|balancer| balancer.get("ingress"));
            let address = |one: &Value| match one.get("ip").and_then(Value::as_str) {
                Some(ip) => ("IPAddress".to_owned(), ip.to_owned()),
                None => ("Hostname".to_owned(), text(one, "hostname")),
            };
            said.addresses = list(ingress).map(address).collect();
        }
    }
    said
}

/// The types of conditions that we write where no name of ours stands beside them.
pub(super) const OWN: [&str; 5] =
    ["Accepted", "InsecureFrontendValidationMode", "Programmed", "ResolvedRefs", "SupportedVersion"];

/// Where entries stand, and in which field of one stands whose it is.
pub(super) fn entries_of(layout: Layout) -> (&'static str, &'static str) {
    match layout {
        Layout::Ancestors => ("ancestors", "ancestorRef"),
        _ => ("parents", "parentRef"),
    }
}

/// Whose an entry is.
pub(super) fn whose(layout: Layout, object: &Value, entry: &Value) -> Whose {
    let (_, field) = entries_of(layout);
    let Some(reference) = entry.get(field) else { return Whose::Stale };
    if layout == Layout::Parents {
        let named =
            list(object.get("spec").and_then(|spec| spec.get("parentRefs"))).position(|one| one == reference);
        // What it does not name may be a default Gateway.
        if let Some(place) = named {
            return Whose::Parent(place);
        }
    }
    let whole = reference.get("sectionName").is_none() && reference.get("port").is_none();
    match (&*text(reference, "group"), &*text(reference, "kind")) {
        (GROUP, "Gateway") if whole => Whose::Gateway(text(reference, "namespace"), text(reference, "name")),
        _ => Whose::Stale,
    }
}

pub(super) fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn pairs(value: Option<&Value>, (first, second): (&str, &str)) -> Vec<(String, String)> {
    list(value).map(|one| (text(one, first), text(one, second))).collect()
}

fn own_conditions(holder: &Value, own: impl Fn(&str) -> bool) -> Vec<Condition> {
    let all = list(holder.get("conditions")).map(|one| Condition {
        name: text(one, "type"),
        status: text(one, "status"),
        reason: text(one, "reason"),
        message: text(one, "message"),
        generation: generation(one),
    });
    all.filter(|condition| own(&condition.name)).collect()
}

/// Istio's kinds have it as a text where they were written by way of protobuf's JSON.
fn generation(condition: &Value) -> Option<u64> {
    let value = condition.get("observedGeneration")?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn stored_listener(listener: &Value) -> Listener {
    let routes = listener.get("attachedRoutes").and_then(Value::as_u64).unwrap_or_default();
    Listener {
        name: text(listener, "name"),
        attached_routes: usize::try_from(routes).unwrap_or(usize::MAX),
        kinds: list(listener.get("supportedKinds")).map(|kind| text(kind, "kind")).collect(),
        conditions: own_conditions(listener, |_| true),
    }
}

#[cfg(test)]
#[path = "said_tests.rs"]
mod tests;
