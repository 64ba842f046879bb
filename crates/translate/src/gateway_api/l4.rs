//! TLSRoutes, TCPRoutes and UDPRoutes: where they send connections and datagrams, before any listener is looked at.

use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
use limen_ir::tcp::{TcpDestination, TcpRoute};
use limen_resources::gateway_api::{self as spec, L4RouteRule};
use limen_resources::{AnyObject, Object};

use super::attach::RouteKind;
use super::backends::{self, Backend, Carries, Needed};
use super::drafts::{Route, Wrong};
use super::grants::{Grants, Referrer};
use crate::index::{Index, origin};
use crate::merge::{NamedBy, timed};

/// A route for connections or datagrams.
#[derive(Debug)]
pub(crate) struct L4Draft {
    pub(crate) route: Route,
    /// Where they go. What leads nowhere has its share, too, and loses it.
    pub(crate) to: TcpRoute,
    /// Where what clients have encrypted already goes as it is, if a policy encrypts what goes to the others; else empty.
    pub(crate) encrypted: Vec<TcpDestination>,
    pub(crate) wanted: Vec<Needed>,
}

impl L4Draft {
    /// Where connections go that are decrypted here, or else passed through.
    pub(crate) fn route_for(&self, decrypted: bool) -> TcpRoute {
        if decrypted || self.encrypted.is_empty() {
            return self.to.clone();
        }
        TcpRoute { destinations: self.encrypted.clone(), ..self.to.clone() }
    }
}

/// What a TLSRoute says.
pub(crate) fn tls(ground: (&Index<'_>, &Grants), object: &Arc<Object<spec::TlsRoute>>) -> L4Draft {
    let whole = AnyObject::TlsRoute(Arc::clone(object));
    let route = Route::new(whole, RouteKind::Tls, object.spec.use_default_gateways);
    draft(ground, route, &object.spec.rules)
}

/// What a TCPRoute says.
pub(crate) fn tcp(ground: (&Index<'_>, &Grants), object: &Arc<Object<spec::TcpRoute>>) -> L4Draft {
    let whole = AnyObject::TcpRoute(Arc::clone(object));
    let route = Route::new(whole, RouteKind::Tcp, object.spec.use_default_gateways);
    draft(ground, route, &object.spec.rules)
}

/// What a UDPRoute says.
pub(crate) fn udp(ground: (&Index<'_>, &Grants), object: &Arc<Object<spec::UdpRoute>>) -> L4Draft {
    let whole = AnyObject::UdpRoute(Arc::clone(object));
    let route = Route::new(whole, RouteKind::Udp, object.spec.use_default_gateways);
    draft(ground, route, &object.spec.rules)
}

/// There is one rule; of several the first would count.
fn draft(ground: (&Index<'_>, &Grants), mut route: Route, rules: &[L4RouteRule]) -> L4Draft {
    let carries = if route.kind == RouteKind::Udp { Carries::Datagrams } else { Carries::Connections };
    let key = route.key().clone();
    let from = Referrer { kind: route.kind.as_str(), namespace: &key.namespace };
    let mut wanted: Vec<Needed> = Vec::new();
    let mut destinations = Vec::new();
    let backends = rules.first().map_or(&[][..], |rule| &rule.backend_refs);
    for (at, reference) in backends.iter().enumerate() {
        let field = format!("spec.rules[0].backendRefs[{at}]");
        let found = backends::backend(ground, from, reference, carries);
        let weight = reference.weight.unwrap_or(1);
        let cluster = match found {
            Ok(Backend { cluster, service }) => {
                if weight > 0 {
                    let by = Arc::new(NamedBy::route(route.object.clone(), field));
                    wanted.push(Needed { cluster: cluster.clone(), service, by });
                }
                ClusterKey::clone(&cluster)
            }
            Err(no) => {
                route.unresolved.get_or_insert_with(|| Box::new(Wrong { field, no }));
                backends::nowhere(from, reference)
            }
        };
        if weight > 0 {
            destinations.push(TcpDestination { cluster, weight });
        }
    }
    if destinations.is_empty() {
        destinations.push(TcpDestination { cluster: backends::nothing(), weight: 1 });
    }
    let index = ground.0;
    let labels = index.settings.gateways.first().map(|instance| &instance.labels);
    let first = wanted.first().map(|needed| &needed.service);
    let rules = first
        .zip(labels)
        .and_then(|(service, labels)| index.rules.find(&service.host, &service.namespace, labels));
    let pool = rules.and_then(|rules| rules.tcp_pool());
    let to = timed(pool, destinations, origin(&key, "spec.rules[0]".to_owned()));
    let encrypted = encrypted(index, &route, &to, &mut wanted);
    L4Draft { route, to, encrypted, wanted }
}

/// The destinations of a TLSRoute with other clusters for those Services that a policy wants to be spoken to in TLS; empty:
/// there are none.
fn encrypted(
    index: &Index<'_>,
    route: &Route,
    to: &TcpRoute,
    wanted: &mut Vec<Needed>,
) -> Vec<TcpDestination> {
    let of_policy = |needed: &&Needed| {
        let port = needed.service.port(needed.cluster.port);
        index.x_backends.is_encrypted(&needed.service)
            || port.is_some_and(|port| index.backend_tls.find(&needed.service, &port).is_some())
    };
    let tls = route.kind == RouteKind::Tls;
    let own: Vec<Needed> = wanted.iter().filter(|_| tls).filter(of_policy).cloned().collect();
    if own.is_empty() {
        return Vec::new();
    }
    let as_it_is = |cluster: &ClusterKey| cluster.with(|name| name.by_server_name = true);
    let destinations = to.destinations.iter().map(|TcpDestination { cluster, weight }| {
        let is_own = own.iter().any(|own| own.cluster == *cluster);
        let cluster = if is_own { as_it_is(cluster) } else { cluster.clone() };
        TcpDestination { cluster, weight: *weight }
    });
    let destinations = destinations.collect();
    let passed = own.into_iter().map(|own| Needed { cluster: as_it_is(&own.cluster), ..own });
    wanted.extend(passed);
    destinations
}
