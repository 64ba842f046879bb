//! What listeners that do not look inside offer: of all routes on one the oldest has the port, or the server name.

use std::collections::BTreeSet;

use limen_ir::atoms::{HostPattern, Millis};
use limen_ir::listener::{Inside, Passthrough, TlsChain};
use limen_ir::tcp::{TcpDestination, TcpRoute};
use limen_ir::tls::ServerTls;
use limen_ir::udp::UdpRoute;

use super::Plan;
use super::attach::within;
use super::backends;
use super::l4::L4Draft;
use super::listeners::Listener;
use super::offers::{Attached, Place, listener_origin, server_tls};
use crate::merge::timed;

/// A flow in which nobody sends for this long has ended.
const FLOW_IDLE_MS: u64 = 60_000;

/// What is done with TLS connections by their server names.
pub(super) struct ByName {
    pub(super) chains: Vec<TlsChain>,
    pub(super) passthrough: Vec<Passthrough>,
}

impl Plan<'_> {
    /// Where all connections of a listener go.
    pub(super) fn tcp_route(&self, at: usize, listener: &Listener<'_>, attached: &Attached<'_>) -> TcpRoute {
        let first = self.oldest_first(at, listener, attached).into_iter().next();
        first.map_or_else(
            || nowhere(listener),
            |(draft, _)| self.identities.route(listener.gateway, &draft.to),
        )
    }

    /// Where all datagrams of a listener go.
    pub(super) fn udp_route(&self, at: usize, listener: &Listener<'_>, attached: &Attached<'_>) -> UdpRoute {
        let TcpRoute { destinations, origin, .. } = self.tcp_route(at, listener, attached);
        let idle_timeout = Millis::new(FLOW_IDLE_MS).unwrap_or_else(|| unreachable!());
        UdpRoute { destinations, idle_timeout, origin }
    }

    /// What a listener of TLS does, by server name. What another of the port is for that has a narrower name, its routes
    /// have no part in; and what it is for and has no route, no listener with a wider name gets.
    pub(super) fn by_server_name(
        &self,
        place: Place<'_, '_>,
        (at, listener): (usize, &Listener<'_>),
        beside: &[(usize, &Listener<'_>)],
        attached: &Attached<'_>,
    ) -> ByName {
        let own = &listener.opening.host;
        let others = || beside.iter().map(|(_, other)| &other.opening.host).filter(|host| *host != own);
        let mut taken: BTreeSet<HostPattern> = BTreeSet::new();
        let mut made = ByName { chains: Vec::new(), passthrough: Vec::new() };
        for (draft, names) in self.oldest_first(at, listener, attached) {
            let elsewhere = |name: &HostPattern| {
                let narrower = others().any(|other| within(other, own) && within(name, other));
                narrower || taken.contains(name)
            };
            let names: Vec<_> = names.iter().filter(|name| !elsewhere(name)).cloned().collect();
            let Some(first) = names.iter().min().cloned() else { continue };
            taken.extend(names.iter().cloned());
            let route = self.identities.route(listener.gateway, &draft.route_for(listener.decrypts()));
            // Where it leads nowhere for certain, nobody is to be bothered with a handshake.
            if !listener.decrypts() || draft.wanted.is_empty() {
                made.passthrough.push(Passthrough { server_names: names, alpn: Vec::new(), route });
                continue;
            }
            made.chains.push(TlsChain {
                // Whichever route has the name: who is connected from before stays what they are.
                name: format!("{}/{first}", place.chain(listener)),
                server_names: names,
                // What is spoken inside is known to the backend only.
                tls: ServerTls { alpn: Vec::new(), ..server_tls(listener) },
                origin: route.origin.clone(),
                inside: Inside::Tcp(route),
            });
        }
        if !taken.contains(own) && others().any(|other| within(own, other)) {
            let (server_names, route) = (vec![own.clone()], nowhere(listener));
            made.passthrough.push(Passthrough { server_names, alpn: Vec::new(), route });
        }
        made
    }

    /// The routes on a listener that have a part in what it serves, with their names: oldest first, then by namespace and
    /// name. None where it is not served, or closed by a policy.
    fn oldest_first<'s>(
        &'s self,
        at: usize,
        listener: &Listener<'_>,
        attached: &'s Attached<'s>,
    ) -> Vec<(&'s L4Draft, &'s [HostPattern])> {
        let closed = self.guards.get(listener.gateway).is_some_and(Option::is_some);
        if closed || !listener.served() {
            return Vec::new();
        }
        let routes = attached.get(at).into_iter().flatten();
        let mut drafts: Vec<_> =
            routes.filter_map(|(route, names)| Some((self.routes.get(*route)?.l4()?, *names))).collect();
        drafts.sort_by(|(a, _), (b, _)| a.route.age.cmp(&b.route.age));
        drafts
    }
}

/// Every connection is closed.
fn nowhere(listener: &Listener<'_>) -> TcpRoute {
    let destinations = vec![TcpDestination { cluster: backends::nothing(), weight: 1 }];
    timed(None, destinations, listener_origin(listener))
}
