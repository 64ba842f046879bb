//! Attachment: which listeners a route hangs on, by each of its parentRefs. The same for all kinds of routes.
//!
//! It looks at what listeners are and what routes ask, never at what routes do. Whether a listener is served does not
//! count: a route is attached to one that waits for its certificate, too.

use limen_ir::atoms::HostPattern;
use limen_resources::gateway_api::{
    DefaultScope, GROUP, Gateway, LabelSelector, ParentReference, RouteNamespaces, RoutesFrom,
};
use limen_resources::{Kind, Object, ObjectKey, Snapshot};

/// The kinds of routes. Their order is that in which status lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RouteKind {
    /// `GRPCRoute`.
    Grpc,
    /// `HTTPRoute`.
    Http,
    /// `TCPRoute`.
    Tcp,
    /// `TLSRoute`.
    Tls,
    /// `UDPRoute`.
    Udp,
}

impl RouteKind {
    const ALL: [RouteKind; 5] =
        [RouteKind::Grpc, RouteKind::Http, RouteKind::Tcp, RouteKind::Tls, RouteKind::Udp];

    /// As users write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            RouteKind::Grpc => "GRPCRoute",
            RouteKind::Http => "HTTPRoute",
            RouteKind::Tcp => "TCPRoute",
            RouteKind::Tls => "TLSRoute",
            RouteKind::Udp => "UDPRoute",
        }
    }

    /// The kind of that name.
    pub(crate) fn named(group: &str, kind: &str) -> Option<RouteKind> {
        RouteKind::ALL.into_iter().find(|own| group == GROUP && own.as_str() == kind)
    }
}

/// What of a listener decides on who may attach.
#[derive(Debug, Clone)]
pub(crate) struct Opening<'a> {
    /// The Gateway or ListenerSet that has it.
    pub(crate) owner: &'a ObjectKey,
    pub(crate) name: &'a str,
    pub(crate) port: u16,
    /// Which host names it is for.
    pub(crate) host: HostPattern,
    /// Of which kinds it takes routes.
    pub(crate) kinds: Vec<RouteKind>,
    /// Of which namespaces.
    pub(crate) namespaces: &'a RouteNamespaces,
}

/// What of a route decides on where it may attach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) kind: RouteKind,
    pub(crate) namespace: &'a str,
    /// Empty: those of the listeners.
    pub(crate) hostnames: &'a [String],
}

/// A route on a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The place of the listener in the list that was given.
    pub(crate) listener: usize,
    /// The names that both have; at least one.
    pub(crate) hosts: Vec<HostPattern>,
}

/// Why a route attaches to nothing of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has no listener of that name and port.
    NoMatchingParent,
    /// None of them takes routes of this kind and namespace.
    NotAllowedByListeners,
    /// None of them has a host name in common with the route.
    NoMatchingListenerHostname,
}

impl Refusal {
    /// As status has it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Refusal::NoMatchingParent => "NoMatchingParent",
            Refusal::NotAllowedByListeners => "NotAllowedByListeners",
            Refusal::NoMatchingListenerHostname => "NoMatchingListenerHostname",
        }
    }

    /// For people.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Refusal::NoMatchingParent => "the parent has no listener of that sectionName and port",
            Refusal::NotAllowedByListeners => "no listener there takes routes of this kind and namespace",
            Refusal::NoMatchingListenerHostname => "no listener there has a host name of the route",
        }
    }
}

/// The object that a parentRef of a route in `namespace` names, if it is of a kind that routes attach to.
pub(crate) fn parent_key(parent: &ParentReference, namespace: &str) -> Option<ObjectKey> {
    let kind = match (parent.group(), parent.kind()) {
        (GROUP, "Gateway") => Kind::ApiGateway,
        (GROUP, "ListenerSet") => Kind::ListenerSet,
        _ => return None,
    };
    let namespace = if parent.namespace.is_empty() { namespace } else { &parent.namespace };
    Some(ObjectKey::new(kind, namespace, &*parent.name))
}

/// How routes would name the Gateways that take up those that name none.
pub(crate) fn defaults<'g>(gateways: impl Iterator<Item = &'g Object<Gateway>>) -> Vec<ParentReference> {
    let gateways = gateways.filter(|gateway| gateway.spec.default_scope == DefaultScope::All);
    let reference = |gateway: &Object<Gateway>| ParentReference {
        namespace: gateway.key.namespace.to_string(),
        name: gateway.key.name.to_string(),
        ..ParentReference::default()
    };
    gateways.map(reference).collect()
}

/// Does a route of `namespace` with these parentRefs name a default Gateway, or a part of it? Then it is there what the
/// reference says, and no more.
pub(crate) fn names(parents: &[ParentReference], namespace: &str, default: &ParentReference) -> bool {
    let default = parent_key(default, namespace);
    parents.iter().any(|parent| parent_key(parent, namespace) == default)
}

/// Where a route attaches by one parentRef, whose parent is `owner`, or why nowhere.
pub(crate) fn attach(
    (parent, owner): (&ParentReference, &ObjectKey),
    route: Asking<'_>,
    openings: &[Opening<'_>],
    snapshot: &Snapshot,
) -> Result<Vec<Attachment>, Refusal> {
    let meant = |opening: &Opening<'_>| {
        opening.owner == owner
            && (parent.section_name.is_empty() || parent.section_name == opening.name)
            && parent.port.is_none_or(|port| port == opening.port)
    };
    let mut refusal = Refusal::NoMatchingParent;
    let mut attachments = Vec::new();
    for (listener, opening) in openings.iter().enumerate().filter(|(_, opening)| meant(opening)) {
        if refusal == Refusal::NoMatchingParent {
            refusal = Refusal::NotAllowedByListeners;
        }
        let in_namespace = admits(opening.namespaces, &opening.owner.namespace, route.namespace, snapshot);
        if !in_namespace || !opening.kinds.contains(&route.kind) {
            continue;
        }
        let hosts = shared_hosts(&opening.host, route.hostnames);
        if hosts.is_empty() {
            refusal = Refusal::NoMatchingListenerHostname;
        } else {
            attachments.push(Attachment { listener, hosts });
        }
    }
    attachments.shrink_to_fit();
    if attachments.is_empty() { Err(refusal) } else { Ok(attachments) }
}

/// May routes of `namespace` attach to a listener of an object in `own`?
fn admits(said: &RouteNamespaces, own: &str, namespace: &str, snapshot: &Snapshot) -> bool {
    match said.from {
        RoutesFrom::Same => namespace == own,
        RoutesFrom::All => true,
        RoutesFrom::None => false,
        RoutesFrom::Selector => {
            said.selector.as_ref().is_some_and(|selector| selects(selector, namespace, snapshot))
        }
    }
}

/// The label that every namespace of a cluster has.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Does a selector fit the labels of a namespace? One that is not written has its name for a label and no other.
pub(crate) fn selects(selector: &LabelSelector, namespace: &str, snapshot: &Snapshot) -> bool {
    let written = snapshot.namespaces().get("", namespace);
    let mut labels = written.map(|written| written.meta.labels.clone()).unwrap_or_default();
    labels.entry(NAME_LABEL.to_owned()).or_insert_with(|| namespace.to_owned());
    selector.selects(&labels)
}

/// The names that a listener and a route have in common: of each pair that overlaps the narrower one.
pub(crate) fn shared_hosts(listener: &HostPattern, hostnames: &[String]) -> Vec<HostPattern> {
    if hostnames.is_empty() {
        return vec![listener.clone()];
    }
    let mut shared = Vec::new();
    for name in hostnames {
        let own = HostPattern::istio(name);
        let narrower = match (&own, listener) {
            (own, listener) if within(own, listener) => Some(own.clone()),
            (own, listener) if within(listener, own) => Some(listener.clone()),
            _ => None,
        };
        shared.extend(narrower.filter(|host| !shared.contains(host)));
    }
    // There are many of them, and they stay.
    shared.shrink_to_fit();
    shared
}

/// Is every name that `inner` covers covered by `outer`, too?
pub(crate) fn within(inner: &HostPattern, outer: &HostPattern) -> bool {
    match (inner, outer) {
        (_, HostPattern::Any) => true,
        (HostPattern::Any, _) => false,
        (HostPattern::AnyDepth(inner), HostPattern::AnyDepth(_)) => {
            inner == outer_suffix(outer) || outer.covers(inner)
        }
        (HostPattern::Exact(name), outer) => outer.covers(name),
        (inner, outer) => inner == outer,
    }
}

fn outer_suffix(outer: &HostPattern) -> &str {
    match outer {
        HostPattern::AnyDepth(suffix) | HostPattern::OneLabel(suffix) | HostPattern::Exact(suffix) => suffix,
        HostPattern::Any => "",
    }
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
