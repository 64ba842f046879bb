//! Listeners and the choice of their TLS chains.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use limen_ir::listener::{Inside as IrInside, Passthrough as IrPassthrough, Serves as IrServes};
use limen_ir::tcp::{TcpDestination as IrDestination, TcpRoute as IrRoute};
use limen_ir::udp::UdpRoute as IrUdpRoute;
use limen_ir::{ClusterKey, HostPattern, Ir, Millis, RouteTableName};

use super::tls::{Handshake, TlsMemo};
use crate::applied::AppliedProblem;
use crate::observe::Registry;
use crate::table::hosts::{HostMap, Pattern};
use crate::table::listeners::{Inside, Listener, Named, Passthrough, Serves, TlsChain, TlsChains};
use crate::table::routes::{ClusterSlot, Origin, RouteTable};
use crate::table::tcp::{TcpDestination, TcpRoute};
use crate::table::udp::UdpRoute;

/// Slots by bound address, those of datagrams apart; a slot is never given to another. Where the kernel chooses the port,
/// several listeners ask for port 0, and the declared port tells them apart.
#[derive(Default)]
pub(crate) struct ListenerMemo {
    slots: BTreeMap<(SocketAddr, u16, bool), u32>,
}

impl ListenerMemo {
    /// The listeners by slot.
    pub(crate) fn compile(
        &mut self,
        ir: &Ir,
        tables: &BTreeMap<&RouteTableName, Arc<RouteTable>>,
        clusters: &mut dyn FnMut(&ClusterKey) -> ClusterSlot,
        (tls, registry): (&mut TlsMemo, &Registry),
        problems: &mut Vec<AppliedProblem>,
    ) -> Vec<Option<Arc<Listener>>> {
        let empty = Arc::new(RouteTable::empty());
        let routes = |name: &RouteTableName| tables.get(name).unwrap_or(&empty).clone();
        let mut listeners = Vec::new();
        for listener in &ir.listeners {
            let next = self.slots.len() as u32;
            let told_apart = if listener.bind.port() == 0 { listener.declared.get() } else { 0 };
            let udp = matches!(listener.serves, IrServes::Udp(_));
            let slot = *self.slots.entry((listener.bind, told_apart, udp)).or_insert(next) as usize;
            let serves = match &listener.serves {
                IrServes::Http(name) => Serves::Http(routes(name)),
                IrServes::Tcp(route) => Serves::Tcp(tcp_route(route, clusters)),
                IrServes::Udp(route) => Serves::Udp(udp_route(route, clusters)),
                IrServes::Tls { chains, passthrough, plain } => {
                    let mut by_name: Vec<(HostPattern, Named)> = Vec::new();
                    for (index, passed) in passthrough.iter().enumerate() {
                        let named = Named::Passthrough(index as u32);
                        by_name.extend(passed.server_names.iter().map(|name| (name.clone(), named)));
                    }
                    let mut compiled = Vec::new();
                    for (index, chain) in chains.iter().enumerate() {
                        let named = Named::Chain(index as u32);
                        by_name.extend(chain.server_names.iter().map(|name| (name.clone(), named)));
                        let Handshake { config, clients, own_uris } =
                            tls.handshake(listener, chain, problems);
                        compiled.push(TlsChain {
                            name: chain.name.as_str().into(),
                            config,
                            clients,
                            own_uris,
                            inside: inside(&chain.inside, routes, clusters),
                        });
                    }
                    Serves::Tls(TlsChains {
                        chains: compiled,
                        passthrough: passthrough.iter().map(|ir| self::passthrough(ir, clusters)).collect(),
                        plain: plain.as_ref().map(|ir| inside(ir, routes, clusters)),
                        by_name: host_map(by_name),
                    })
                }
            };
            if listeners.len() <= slot {
                listeners.resize(slot + 1, None);
            }
            listeners[slot] = Some(Arc::new(Listener {
                name: listener.name.as_str().into(),
                declared: listener.declared.get(),
                wanted: listener.bind,
                gateway: listener.gateway,
                proxy_protocol: listener.proxy_protocol,
                max_connections: listener.max_connections,
                http: super::http::policy(&listener.http),
                serves,
                id: registry.listener(&listener.name),
                origin: origin(&listener.origin),
            }));
        }
        listeners
    }
}

fn inside(
    ir: &IrInside,
    routes: impl Fn(&RouteTableName) -> Arc<RouteTable>,
    clusters: &mut dyn FnMut(&ClusterKey) -> ClusterSlot,
) -> Inside {
    match ir {
        IrInside::Http(name) => Inside::Http(routes(name)),
        IrInside::Tcp(route) => Inside::Tcp(tcp_route(route, clusters)),
    }
}

fn passthrough(ir: &IrPassthrough, clusters: &mut dyn FnMut(&ClusterKey) -> ClusterSlot) -> Passthrough {
    let IrPassthrough { server_names, alpn, route } = ir;
    let name = server_names.first().map(ToString::to_string).unwrap_or_default();
    let alpn = alpn.iter().map(|protocol| protocol.as_bytes().into()).collect();
    Passthrough { name: name.into(), alpn, route: tcp_route(route, clusters) }
}

fn tcp_route(ir: &IrRoute, clusters: &mut dyn FnMut(&ClusterKey) -> ClusterSlot) -> Arc<TcpRoute> {
    let IrRoute { destinations, idle_timeout, max_duration, origin: _ } = ir;
    let (destinations, total_weight) = weighted(destinations, clusters);
    Arc::new(TcpRoute {
        total_weight,
        destinations,
        idle_timeout_ms: idle_timeout.map(Millis::get),
        max_duration_ms: max_duration.map(Millis::get),
    })
}

fn udp_route(ir: &IrUdpRoute, clusters: &mut dyn FnMut(&ClusterKey) -> ClusterSlot) -> Arc<UdpRoute> {
    let IrUdpRoute { destinations, idle_timeout, origin: _ } = ir;
    let (destinations, total_weight) = weighted(destinations, clusters);
    Arc::new(UdpRoute { destinations, total_weight, idle_timeout_ms: idle_timeout.get() })
}

/// Destinations and the sum of their weights.
fn weighted(
    ir: &[IrDestination],
    clusters: &mut dyn FnMut(&ClusterKey) -> ClusterSlot,
) -> (Vec<TcpDestination>, u64) {
    let destination = |ir: &IrDestination| {
        let IrDestination { cluster, weight } = ir;
        let cluster_name = cluster.to_string().into();
        TcpDestination { cluster: clusters(cluster), cluster_name, weight: *weight }
    };
    (ir.iter().map(destination).collect(), ir.iter().map(|to| u64::from(to.weight)).sum())
}

/// An origin; its texts are shared.
pub(super) fn origin(ir: &limen_ir::Origin) -> Origin {
    let limen_ir::Origin { kind, namespace, name, field } = ir.clone();
    Origin { kind, namespace, name, field }
}

/// The map of the patterns of an IR.
pub(crate) fn host_map<T>(entries: Vec<(HostPattern, T)>) -> HostMap<T> {
    let mut map = HostMap::default();
    for (pattern, value) in entries {
        let pattern = match &pattern {
            HostPattern::Exact(name) => Pattern::Exact(name),
            HostPattern::OneLabel(suffix) => Pattern::OneLabel(suffix),
            HostPattern::AnyDepth(suffix) => Pattern::AnyDepth(suffix),
            HostPattern::Any => Pattern::Any,
        };
        map.insert(pattern, value);
    }
    map
}
