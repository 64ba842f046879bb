//! From listeners and the routes on them to what is bound and served. Each Gateway offers its own; `join` puts offers for
//! one address together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use limen_ir::Origin;
use limen_ir::atoms::{HostPattern, Port};
use limen_ir::listener::{Inside, Serves, TlsChain};
use limen_ir::route::{FilterOrder, RouteTable, RouteTableName, Rule, VirtualHost};
use limen_ir::tls::{ClientPolicy, ServerTls, TlsVersion};

use super::Plan;
use super::attach::within;
use super::l4_offers::ByName;
use super::listeners::{Listener, Protocol};
use super::precedence::Precedence;
use crate::index::{Index, origin};
use crate::join::{Offer, SlotKey};

/// By the place of the listener: the places of the routes on it, each with the names under which it is there.
pub(super) type Attached = BTreeMap<usize, BTreeMap<usize, Vec<HostPattern>>>;

/// The rules of a host, in no order yet.
type Rules<'p> = Vec<&'p (Precedence, Arc<Rule>)>;

impl Plan<'_> {
    /// What each Gateway offers on each of its addresses and ports.
    pub(super) fn offers(&mut self, index: &Index<'_>) -> Vec<Offer> {
        let attached = self.attached();
        let mut offers = Vec::new();
        let mut offered = Vec::new();
        for (number, gateway) in self.gateways.iter().enumerate() {
            if gateway.accepted.is_err() {
                continue;
            }
            for bind in &gateway.binds {
                for ((declared, _), members) in self.ports(number) {
                    let place = Place { index, number, bind: *bind, declared };
                    offers.extend(self.offer(place, &members, &attached));
                    offered.resize(offers.len(), number);
                }
            }
        }
        self.offered = offered;
        offers
    }

    /// The listeners of a Gateway that keep their ports, by port, those for datagrams apart.
    fn ports(&self, gateway: usize) -> BTreeMap<(u16, bool), Vec<usize>> {
        let mut ports: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, listener) in self.listeners.iter().enumerate() {
            if listener.gateway == gateway && listener.offered() {
                let datagrams = listener.protocol == Some(Protocol::Udp);
                ports.entry((listener.spec.port, datagrams)).or_default().push(at);
            }
        }
        ports
    }

    /// The routes on each listener, each once, with the names under which they are there.
    fn attached(&self) -> Attached {
        let mut attached = Attached::new();
        for (route, outcomes) in self.outcomes.iter().enumerate() {
            let Some(draft) = self.routes.get(route) else { continue };
            if draft.route().accepted.is_err() {
                continue;
            }
            for attachment in outcomes.iter().flatten().flatten().flatten() {
                let routes = attached.entry(attachment.listener).or_default();
                routes.entry(route).or_insert_with(|| attachment.hosts.clone());
            }
        }
        attached
    }

    fn offer(&self, place: Place<'_, '_>, members: &[usize], attached: &Attached) -> Option<Offer> {
        let listeners = || members.iter().filter_map(|at| Some((*at, self.listeners.get(*at)?)));
        let of =
            |protocol| listeners().filter(move |(_, own)| own.protocol == Some(protocol)).collect::<Vec<_>>();
        let (plain, secure) = (of(Protocol::Http), of(Protocol::Https));
        let (tls, tcp, udp) = (of(Protocol::Tls), of(Protocol::Tcp), of(Protocol::Udp));
        let mut tables = BTreeMap::new();
        let mut add = |name: RouteTableName, table: Vec<Arc<VirtualHost>>| {
            let made = RouteTable { name: name.clone(), filter_order: FilterOrder::Istio, hosts: table };
            tables.insert(name.clone(), Arc::new(made));
            name
        };
        let serves = if let Some((at, listener)) = tcp.first() {
            Serves::Tcp(self.tcp_route(*at, listener, attached))
        } else if let Some((at, listener)) = udp.first() {
            Serves::Udp(self.udp_route(*at, listener, attached))
        } else if plain.is_empty() {
            let chains = secure.iter().map(|one| {
                let (at, listener) = one;
                let name = add(place.chain(listener), self.hosts(place, &[(*at, listener)], attached));
                TlsChain {
                    name: name.0.clone(),
                    server_names: vec![listener.opening.host.clone()],
                    tls: server_tls(listener),
                    inside: Inside::Http(name),
                    origin: listener_origin(listener),
                }
            });
            let mut chains: Vec<_> = chains.collect();
            let all: Vec<_> = secure.iter().chain(&tls).copied().collect();
            let mut passthrough = Vec::new();
            for (at, listener) in &tls {
                let ByName { chains: more, passthrough: passed } =
                    self.by_server_name(place, (*at, listener), &all, attached);
                chains.extend(more);
                passthrough.extend(passed);
            }
            Serves::Tls { chains, passthrough, plain: None }
        } else {
            Serves::Http(add(place.table(), self.hosts(place, &plain, attached)))
        };
        let mut origins = listeners().map(|(_, listener)| listener_origin(listener));
        let (settings, bind) = (place.index.settings, place.address());
        let key = SlotKey::new(bind, place.declared, matches!(serves, Serves::Udp(_)));
        let port = if bind.port() == 0 { place.declared } else { bind.port() };
        let name = match &serves {
            Serves::Udp(_) => format!("udp_{}_{port}", bind.ip()),
            _ => format!("{}_{port}", bind.ip()),
        };
        let listener = limen_ir::Listener {
            name,
            declared: Port::new(u32::from(place.declared))?,
            bind,
            gateway: 0,
            http: settings.mesh.http(0),
            proxy_protocol: settings.mesh.proxy_protocol(0),
            max_connections: settings.mesh.max_connections(0),
            serves,
            origin: origins.next()?,
            others: origins.collect(),
        };
        Some(Offer { key, listener: Arc::new(listener), tables })
    }

    /// The hosts that listeners of one port serve together. What a more specific listener is for, the routes of others have
    /// no part in, whether it has routes or not.
    fn hosts(
        &self,
        place: Place<'_, '_>,
        members: &[(usize, &Listener<'_>)],
        attached: &Attached,
    ) -> Vec<Arc<VirtualHost>> {
        let mut hosts: BTreeMap<HostPattern, Rules<'_>> = BTreeMap::new();
        for (at, listener) in members {
            let own = &listener.opening.host;
            let inner = |(_, other): &&(usize, &Listener<'_>)| {
                other.opening.host != *own && within(&other.opening.host, own)
            };
            let inside: BTreeSet<_> =
                members.iter().filter(inner).map(|(_, other)| &other.opening.host).collect();
            for host in &inside {
                hosts.entry((*host).clone()).or_default();
            }
            for (route, names) in attached.get(at).into_iter().flatten() {
                let Some(draft) = self.routes.get(*route) else { continue };
                for name in names.iter().filter(|name| !inside.iter().any(|inner| within(name, inner))) {
                    hosts.entry(name.clone()).or_default().extend(draft.rules());
                }
            }
        }
        let guard = self.guards.get(place.number).and_then(Option::as_ref);
        let declared = Port::new(u32::from(place.declared));
        let made = hosts.into_iter().filter_map(|(host, mut rules)| {
            rules.sort_by(|a, b| a.0.cmp(&b.0));
            let rules = match guard {
                Some(guard) => vec![Arc::clone(guard)],
                None => rules.into_iter().map(|(_, rule)| self.identities.rule(place.number, rule)).collect(),
            };
            Some(Arc::new(VirtualHost {
                name: format!("{host}:{}", place.declared),
                domains: vec![host],
                declared: declared?,
                https_redirect: false,
                rules,
            }))
        });
        made.collect()
    }
}

/// An address and port of a Gateway.
#[derive(Clone, Copy)]
pub(super) struct Place<'a, 'i> {
    index: &'a Index<'i>,
    number: usize,
    bind: IpAddr,
    declared: u16,
}

impl Place<'_, '_> {
    fn address(self) -> SocketAddr {
        let bound = self.index.settings.port_map.get(&self.declared).copied().unwrap_or(self.declared);
        (self.bind, bound).into()
    }

    /// As Istio's, with the address where it is not the usual one.
    fn table(self) -> RouteTableName {
        let bind = self.address();
        let port = if bind.port() == 0 { self.declared } else { bind.port() };
        let usual = self.index.settings.gateways.first().map(|instance| instance.bind);
        let address = if usual == Some(self.bind) { String::new() } else { format!(".{}", self.bind) };
        RouteTableName(format!("http.{port}{address}"))
    }

    pub(super) fn chain(self, listener: &Listener<'_>) -> RouteTableName {
        let (key, name) = (listener.said.key, &listener.spec.name);
        let usual = self.index.settings.gateways.first().map(|instance| instance.bind);
        let address = if usual == Some(self.bind) { String::new() } else { format!(".{}", self.bind) };
        let (kind, declared) = (key.kind, self.declared);
        RouteTableName(format!("https.{declared}.{name}.{}.{}{address}@{kind}", key.name, key.namespace))
    }
}

pub(super) fn listener_origin(listener: &Listener<'_>) -> Origin {
    origin(listener.said.key, listener.field(""))
}

/// How the handshake is done for requests.
pub(super) fn server_tls(listener: &Listener<'_>) -> ServerTls {
    ServerTls {
        certificates: if listener.served() { listener.certificates.clone() } else { Vec::new() },
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        cipher_suites: Vec::new(),
        curves: Vec::new(),
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        // Whoever is connected from before is not to stay where nobody is let in.
        clients: if listener.served() { listener.clients.clone() } else { Some(ClientPolicy::nobody()) },
    }
}
