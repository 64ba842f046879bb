//! Backends: from references to clusters.

use std::sync::Arc;

use limen_ir::cluster::{ClusterKey, Protocol};
use limen_resources::core::ServicePort;
use limen_resources::gateway_api::{BackendReference, X_GROUP};

use super::No;
use super::grants::{Grants, Referrer};
use crate::index::Index;
use crate::merge::NamedBy;
use crate::services::{ServiceFacts, ServiceSource};

/// What a route sends to its backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    Requests,
    /// Requests that only HTTP/2 can carry.
    Calls,
    /// Bytes, whatever they mean.
    Connections,
    Datagrams,
}

/// A cluster that a route needs.
#[derive(Debug, Clone)]
pub(crate) struct Needed {
    pub(crate) cluster: ClusterKey,
    pub(crate) service: Arc<ServiceFacts>,
    /// The field that names it.
    pub(crate) by: Arc<NamedBy>,
}

/// What a reference led to when it was followed.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The host and namespace that were looked up; of an XBackend its name.
    host: Box<str>,
    namespace: Box<str>,
    is_x_backend: bool,
    sight: Sight,
}

/// The service of that name, the one that it stands for, and whether others have its host, too.
type Sight = Option<(Arc<ServiceFacts>, Arc<ServiceFacts>, bool)>;

impl Seen {
    pub(crate) fn new(index: &Index<'_>, from: Referrer<'_>, reference: &BackendReference) -> Seen {
        let namespace: Box<str> = namespace_of(from, reference).into();
        let is_x_backend = reference.kind == "XBackend";
        let host: Box<str> = match is_x_backend {
            true => (&*reference.name).into(),
            false => host_of(index, &namespace, &reference.name).into(),
        };
        Seen { sight: sight(index, (&host, &namespace), is_x_backend), host, namespace, is_x_backend }
    }

    /// Does it still lead there?
    pub(crate) fn holds(&self, index: &Index<'_>) -> bool {
        match (&self.sight, sight(index, (&self.host, &self.namespace), self.is_x_backend)) {
            (None, None) => true,
            (Some((named, service, apart)), Some((now, meant, divided))) => {
                Arc::ptr_eq(named, &now) && Arc::ptr_eq(service, &meant) && *apart == divided
            }
            _ => false,
        }
    }
}

fn sight(index: &Index<'_>, (host, namespace): (&str, &str), is_x_backend: bool) -> Sight {
    if is_x_backend {
        let service = index.services.x_backend(namespace, host)?;
        return Some((Arc::clone(service), Arc::clone(service), false));
    }
    let found = index.services.find(host, namespace)?;
    let apart = index.services.is_apart(found.service);
    Some((Arc::clone(found.named), Arc::clone(found.service), apart))
}

fn namespace_of<'a>(from: Referrer<'a>, reference: &'a BackendReference) -> &'a str {
    if reference.namespace.is_empty() { from.namespace } else { &reference.namespace }
}

fn host_of(index: &Index<'_>, namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}.svc.{}", index.settings.cluster_domain).to_ascii_lowercase()
}

/// A backend that there is.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) cluster: ClusterKey,
    pub(crate) service: Arc<ServiceFacts>,
}

/// What a reference leads to.
pub(crate) fn backend(
    (index, grants): (&Index<'_>, &Grants),
    from: Referrer<'_>,
    reference: &BackendReference,
    carries: Carries,
) -> Result<Backend, No> {
    let BackendReference { group, kind, name, namespace: _, port, weight: _ } = reference;
    let kind = if kind.is_empty() { "Service" } else { kind };
    let namespace = namespace_of(from, reference);
    let title = format!("{kind} {namespace}/{name}");
    // Whether it exists is nobody's business without a grant.
    if !grants.allow(from, (group, kind), (namespace, name)) {
        let Referrer { kind, namespace } = from;
        let why = format!("no ReferenceGrant allows {kind}s of namespace {namespace} to refer to {title}");
        return Err(("RefNotPermitted", why));
    }
    if (&**group, kind) == (X_GROUP, "XBackend") {
        let service = index.services.x_backend(namespace, name);
        let service = service.ok_or_else(|| ("BackendNotFound", format!("there is no {title}")))?;
        return x_backend(index, service, *port, (carries, &title));
    }
    if !group.is_empty() || kind != "Service" {
        return Err(("InvalidKind", format!("{title} is no Service")));
    }
    let host = host_of(index, namespace, name);
    let absent = || ("BackendNotFound", format!("there is no {title}"));
    let found = index.services.find(&host, namespace).ok_or_else(absent)?;
    let number = port.unwrap_or_default();
    let (has_port, what): (fn(&ServiceFacts, u16) -> bool, _) = match carries {
        Carries::Requests | Carries::Calls => (|service, number| service.port(number).is_some(), "requests"),
        Carries::Connections => (|service, number| service.port(number).is_some(), "connections"),
        Carries::Datagrams => (|service, number| service.datagram_port(number).is_some(), "datagrams"),
    };
    if !has_port(found.named, number) || !has_port(found.service, number) {
        return Err(("BackendNotFound", format!("{title} has no port {number} for {what}")));
    }
    if matches!(carries, Carries::Requests | Carries::Calls)
        && let Some(port) = written_port(found.named, number)
        && let Some(unknown) = port.app_protocol.strip_prefix("kubernetes.io/")
        && !matches!(unknown, "h2c" | "ws" | "wss")
    {
        let why = format!("port {number} of {title} speaks {}, which is not known", port.app_protocol);
        return Err(("UnsupportedProtocol", why));
    }
    let cluster = index.services.cluster(found.service, number, "");
    let usual = found.service.port(number).and_then(|port| port.protocol);
    let http2 = carries == Carries::Calls && !usual.is_some_and(Protocol::is_http2);
    let cluster = match (carries == Carries::Datagrams, http2) {
        (false, false) => cluster,
        (datagrams, http2) => cluster.with(|name| (name.datagrams, name.http2) = (datagrams, http2)),
    };
    Ok(Backend { cluster, service: Arc::clone(found.service) })
}

/// The only port of an XBackend, which need not be named.
fn x_backend(
    index: &Index<'_>,
    service: &Arc<ServiceFacts>,
    port: Option<u16>,
    (carries, title): (Carries, &str),
) -> Result<Backend, No> {
    let own = service.ports.first().filter(|own| port.is_none_or(|port| port == own.number));
    let Some(own) = own else {
        return Err(("BackendNotFound", format!("{title} has no port {}", port.unwrap_or_default())));
    };
    let what = match carries {
        Carries::Datagrams => Some("datagrams"),
        Carries::Requests | Carries::Calls if own.protocol == Some(Protocol::Tcp) => Some("requests"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(("UnsupportedProtocol", format!("{title} takes no {what}")));
    }
    let mut cluster = index.services.cluster(service, own.number, "");
    if carries == Carries::Calls && !own.protocol.is_some_and(Protocol::is_http2) {
        cluster = cluster.with(|name| name.http2 = true);
    }
    Ok(Backend { cluster, service: Arc::clone(service) })
}

/// A port for requests, as it is written.
fn written_port(service: &ServiceFacts, number: u16) -> Option<&ServicePort> {
    let ServiceSource::Kubernetes(service) = &service.source else { return None };
    let mut ports = service.spec.ports.iter();
    ports.find(|port| port.port == number && !port.protocol.eq_ignore_ascii_case("UDP"))
}

/// The name of what a reference leads to that leads nowhere: of no service, as they have no spaces in their names.
pub(crate) fn nowhere(from: Referrer<'_>, reference: &BackendReference) -> ClusterKey {
    let BackendReference { kind, name, port, .. } = reference;
    let kind = if kind.is_empty() { "Service" } else { kind };
    let namespace = namespace_of(from, reference);
    ClusterKey::new(port.unwrap_or_default(), "", &format!("{kind} {namespace}/{name}"))
}

/// The name of what a rule leads to that names no backend, or gives none a share.
pub(crate) fn nothing() -> ClusterKey {
    ClusterKey::new(0, "", "no backend")
}
