//! From listeners and the routes on them to what is bound and served. Each Gateway offers its own; `join` puts offers for
//! one address together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use limen_ir::atoms::{HostPattern, Port};
use limen_ir::listener::{Inside, Serves, TlsChain};
use limen_ir::route::{FilterOrder, RouteTable, RouteTableName, Rule, VirtualHost};
use limen_ir::tls::{ClientPolicy, ServerTls, TlsVersion};
use limen_ir::{Ir, Origin};

use super::Plan;
use super::attach::within;
use super::drafts::Draft;
use super::l4_offers::ByName;
use super::listeners::{Listener, Protocol};
use super::precedence::Precedence;
use crate::index::{Index, origin};
use crate::join::{Offer, SlotKey};
use crate::memo::Same;

/// By the place of the listener: the places of the routes on it, ascending, each with the names under which it is there.
pub(super) type Attached<'p> = Vec<Vec<(usize, &'p [HostPattern])>>;

impl Plan<'_> {
    /// What each Gateway offers on each of its addresses and ports. `last`: what was served before, for sharing.
    pub(super) fn offers(&mut self, index: &Index<'_>, last: &Ir) -> Vec<Offer> {
        let attached = self.attached();
        let mut offers = Vec::new();
        let mut offered = Vec::new();
        for (number, gateway) in self.gateways.iter().enumerate() {
            if gateway.accepted.is_err() {
                continue;
            }
            for bind in &gateway.binds {
                for ((declared, _), members) in self.ports(number) {
                    let place = Place { index, last, number, bind: *bind, declared };
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
    fn attached(&self) -> Attached<'_> {
        let mut attached: Attached<'_> = vec![Vec::new(); self.listeners.len()];
        for (route, (draft, standing)) in self.routes().enumerate() {
            if draft.route().refusal().is_some() {
                continue;
            }
            for attachment in standing.outcomes.iter().flatten().flatten().flatten() {
                let Some(routes) = attached.get_mut(attachment.listener) else { continue };
                if routes.last().is_none_or(|(last, _)| *last != route) {
                    routes.push((route, &attachment.hosts));
                }
            }
        }
        attached
    }

    fn offer(&self, place: Place<'_, '_>, members: &[usize], attached: &Attached<'_>) -> Option<Offer> {
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
                let name = place.chain(listener);
                let hosts = self.hosts((place, &name), &[(*at, listener)], attached);
                let name = add(name, hosts);
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
            let name = place.table();
            let hosts = self.hosts((place, &name), &plain, attached);
            Serves::Http(add(name, hosts))
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
        (place, name): (Place<'_, '_>, &RouteTableName),
        members: &[(usize, &Listener<'_>)],
        attached: &Attached<'_>,
    ) -> Vec<Arc<VirtualHost>> {
        let mut hosts: Vec<(&HostPattern, Option<&Draft>)> = Vec::new();
        for (at, listener) in members {
            let own = &listener.opening.host;
            let inner = |(_, other): &&(usize, &Listener<'_>)| {
                other.opening.host != *own && within(&other.opening.host, own)
            };
            let inside: BTreeSet<_> =
                members.iter().filter(inner).map(|(_, other)| &other.opening.host).collect();
            hosts.extend(inside.iter().map(|host| (*host, None)));
            for (route, names) in attached.get(*at).into_iter().flatten() {
                let Some(draft) = self.routes.get(*route) else { continue };
                let names = names.iter().filter(|name| !inside.iter().any(|inner| within(name, inner)));
                hosts.extend(names.map(|name| (name, Some(&**draft))));
            }
        }
        hosts.sort_by(|a, b| a.0.cmp(b.0));
        let guard = self.guards.get(place.number).and_then(Option::as_ref);
        let declared = Port::new(u32::from(place.declared));
        let as_they_are = !self.identities.shows(place.number);
        let mut last = place.hosts_before(name).iter().peekable();
        let made = hosts.chunk_by(|a, b| a.0 == b.0).filter_map(|group| {
            let (host, _) = group.first()?;
            while last.next_if(|known| known.domains.first().is_none_or(|known| known < *host)).is_some() {}
            let known = last.peek().copied().filter(|known| Some(known.declared) == declared);
            let known = known.filter(|known| matches!(&*known.domains, [known] if known == *host));
            let mut drafts = group.iter().filter_map(|(_, draft)| *draft);
            let rules = match (guard, group) {
                (Some(guard), _) => vec![Arc::clone(guard)],
                (None, [(_, Some(only))]) if as_they_are => {
                    let same = |known: &&Arc<VirtualHost>| only.is_all_of(&known.rules);
                    if let Some(known) = known.filter(same) {
                        return Some(Arc::clone(known));
                    }
                    self.rules(place.number, &mut drafts)
                }
                (None, _) => self.rules(place.number, &mut drafts),
            };
            if let Some(known) = known.filter(|known| (*known.rules).same(&*rules)) {
                return Some(Arc::clone(known));
            }
            Some(Arc::new(VirtualHost {
                name: format!("{host}:{}", place.declared),
                domains: vec![HostPattern::clone(host)],
                declared: declared?,
                https_redirect: false,
                rules: rules.into(),
            }))
        });
        made.collect()
    }

    /// What routes do with the requests of one host, as a Gateway has it, in order.
    fn rules(&self, gateway: usize, drafts: &mut dyn Iterator<Item = &Draft>) -> Vec<Arc<Rule>> {
        let mut rules: Vec<_> =
            drafts.flat_map(|draft| draft.rules().iter().map(|rule| (&draft.route().age, rule))).collect();
        rules.sort_by(|(age, (a, _)), (other, (b, _))| Precedence::among((a, age), (b, other)));
        rules.into_iter().map(|(_, (_, rule))| self.identities.rule(gateway, rule)).collect()
    }
}

/// An address and port of a Gateway.
#[derive(Clone, Copy)]
pub(super) struct Place<'a, 'i> {
    index: &'a Index<'i>,
    last: &'a Ir,
    number: usize,
    bind: IpAddr,
    declared: u16,
}

impl<'a> Place<'a, '_> {
    /// The hosts that a table had.
    fn hosts_before(self, name: &RouteTableName) -> &'a [Arc<VirtualHost>] {
        self.last.route_tables.get(name).map(|table| &*table.hosts).unwrap_or_default()
    }

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
