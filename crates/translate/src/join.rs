//! One order for all APIs: what each of them offers on an address and port, put together.
//!
//! Of each host the oldest object has all; of two of one age the one of the Gateway API, then Istio's, then an Ingress.
//! What another API or Gateway says of that host is not merged in, and whoever said it is told who has it. A host
//! without rules only keeps others out where nobody has any.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use limen_ir::atoms::HostPattern;
use limen_ir::listener::{Inside, Passthrough, Serves, TlsChain};
use limen_ir::route::{FilterOrder, RouteTable, RouteTableName, VirtualHost};
use limen_ir::{Listener, Origin};
use limen_resources::{Kind, ObjectKey, Snapshot};

/// An address with its port, or, where the system chooses that, with the declared one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotKey {
    bind: SocketAddr,
    declared: u16,
    /// Such ports are not those of connections.
    datagrams: bool,
}

impl SlotKey {
    pub(crate) fn new(bind: SocketAddr, declared: u16, datagrams: bool) -> SlotKey {
        let declared = if bind.port() == 0 { declared } else { 0 };
        SlotKey { bind, declared, datagrams }
    }
}

/// What somebody wants to be served on an address.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) key: SlotKey,
    pub(crate) listener: Arc<Listener>,
    /// Those that it names.
    pub(crate) tables: BTreeMap<RouteTableName, Arc<RouteTable>>,
}

/// What somebody else has.
#[derive(Debug)]
pub(crate) enum Lost {
    /// A host of a route table, or a server name, with the objects that had rules for it (without field).
    Host { host: HostPattern, routes: BTreeSet<Origin>, winner: Origin },
    /// All server names of a chain, by its origin.
    Chain { chain: Origin, winner: Origin },
    /// The port, as another protocol is spoken there; with the origins of what was offered.
    Port { listeners: Vec<Origin>, winner: Origin },
}

/// What is served in the end.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) tables: BTreeMap<RouteTableName, Arc<RouteTable>>,
    /// By the place of the offer.
    pub(crate) lost: Vec<(usize, Lost)>,
}

/// The place of an object among those that claim something: the least has it.
type Seniority = (Option<i64>, u8, (Arc<str>, Arc<str>));

/// Puts offers for one address together.
pub(crate) fn join(offers: Vec<Offer>, snapshot: &Snapshot) -> Joined {
    let mut by_key: BTreeMap<SlotKey, Vec<(usize, Offer)>> = BTreeMap::new();
    for (place, offer) in offers.into_iter().enumerate() {
        by_key.entry(offer.key).or_default().push((place, offer));
    }
    let mut joiner = Joiner { snapshot, joined: Joined::default() };
    for offers in by_key.into_values() {
        joiner.slot(offers);
    }
    let mut joined = joiner.joined;
    joined.listeners.sort_by_key(|listener| (listener.bind, listener.declared));
    joined
}

struct Joiner<'a> {
    snapshot: &'a Snapshot,
    joined: Joined,
}

/// Hosts by what claims them, and the place of the offer that each is from.
type Hosts = BTreeMap<Vec<Claim>, (usize, Arc<VirtualHost>)>;

/// A host as users write it: `*.example.com` is one claim, however many labels an API takes the star for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim(HostPattern);

impl Claim {
    fn of(host: &HostPattern) -> Claim {
        Claim(match host {
            HostPattern::OneLabel(suffix) => HostPattern::AnyDepth(suffix.clone()),
            host => host.clone(),
        })
    }

    fn all(hosts: &[HostPattern]) -> Vec<Claim> {
        hosts.iter().map(Claim::of).collect()
    }
}

/// A host as users write it.
pub(crate) fn as_written(host: &HostPattern) -> String {
    Claim::of(host).0.to_string()
}

/// An address that several want.
struct Slot {
    listener: Listener,
    tables: BTreeMap<RouteTableName, (FilterOrder, Hosts)>,
}

impl Slot {
    fn take(&mut self, place: usize, table: Option<&Arc<RouteTable>>) {
        let Some(table) = table else { return };
        let hosts = table.hosts.iter().map(|host| (Claim::all(&host.domains), (place, Arc::clone(host))));
        self.tables.insert(table.name.clone(), (table.filter_order, hosts.collect()));
    }

    fn take_inside(&mut self, place: usize, inside: &Inside, tables: &Tables) {
        if let Inside::Http(name) = inside {
            self.take(place, tables.get(name));
        }
    }
}

type Tables = BTreeMap<RouteTableName, Arc<RouteTable>>;

impl Joiner<'_> {
    fn slot(&mut self, mut offers: Vec<(usize, Offer)>) {
        if let [_] = &*offers
            && let Some((_, Offer { key: _, listener, mut tables })) = offers.pop()
        {
            self.joined.listeners.push(listener);
            self.joined.tables.append(&mut tables);
            return;
        }
        offers.sort_by_cached_key(|(_, offer)| self.seniority(&offer.listener.origin));
        let mut offers = offers.into_iter();
        let Some((first, Offer { key: _, listener, tables })) = offers.next() else { return };
        let mut slot = Slot { listener: Arc::unwrap_or_clone(listener), tables: BTreeMap::new() };
        tables.values().for_each(|table| slot.take(first, Some(table)));
        for (place, offer) in offers {
            self.add(&mut slot, place, offer);
        }
        self.joined.listeners.push(Arc::new(slot.listener));
        for (name, (filter_order, hosts)) in slot.tables {
            let hosts = hosts.into_values().map(|(_, host)| host).collect();
            self.joined.tables.insert(name.clone(), Arc::new(RouteTable { name, filter_order, hosts }));
        }
    }

    fn add(&mut self, slot: &mut Slot, place: usize, Offer { key: _, listener, tables }: Offer) {
        let Listener { serves, origin, others, .. } = Arc::unwrap_or_clone(listener);
        let origins = || std::iter::once(origin.clone()).chain(others.iter().cloned());
        let base = std::mem::replace(
            &mut slot.listener.serves,
            Serves::Tls { chains: Vec::new(), passthrough: Vec::new(), plain: None },
        );
        slot.listener.serves = match (base, serves) {
            (Serves::Http(own), Serves::Http(theirs)) => {
                self.hosts(slot, &own, (place, tables.get(&theirs)));
                Serves::Http(own)
            }
            (
                Serves::Tls { mut chains, mut passthrough, mut plain },
                Serves::Tls { chains: more, passthrough: passed, plain: clear },
            ) => {
                let mut taken = taken(&chains, &passthrough);
                for mut chain in more {
                    let winner =
                        chain.server_names.iter().find_map(|name| taken.get(&Claim::of(name))).cloned();
                    if let Inside::Tcp(route) = &chain.inside {
                        self.lose_names(place, (&chain.server_names, &route.origin), &taken);
                    }
                    chain.server_names.retain(|name| !taken.contains_key(&Claim::of(name)));
                    match (chain.server_names.is_empty(), winner) {
                        (true, Some(winner)) => {
                            let chain = chain.origin;
                            self.joined.lost.push((place, Lost::Chain { chain, winner }));
                        }
                        _ => {
                            slot.take_inside(place, &chain.inside, &tables);
                            chains.push(chain);
                        }
                    }
                }
                taken.extend(self::taken(&chains, &[]));
                for mut more in passed {
                    self.lose_names(place, (&more.server_names, &more.route.origin), &taken);
                    more.server_names.retain(|name| !taken.contains_key(&Claim::of(name)));
                    if !more.server_names.is_empty() {
                        passthrough.push(more);
                    }
                }
                match (&plain, clear) {
                    (Some(Inside::Http(own)), Some(Inside::Http(theirs))) => {
                        let own = own.clone();
                        self.hosts(slot, &own, (place, tables.get(&theirs)));
                    }
                    (None, Some(clear)) => {
                        slot.take_inside(place, &clear, &tables);
                        plain = Some(clear);
                    }
                    _ => {}
                }
                Serves::Tls { chains, passthrough, plain }
            }
            (base, _) => {
                let winner = slot.listener.origin.clone();
                self.joined.lost.push((place, Lost::Port { listeners: origins().collect(), winner }));
                slot.listener.serves = base;
                return;
            }
        };
        slot.listener.others.extend(origins());
    }

    /// Puts the hosts of another table into that of this name.
    fn hosts(
        &mut self,
        slot: &mut Slot,
        name: &RouteTableName,
        (place, theirs): (usize, Option<&Arc<RouteTable>>),
    ) {
        let (Some(theirs), Some((_, hosts))) = (theirs, slot.tables.get_mut(name)) else { return };
        for host in &theirs.hosts {
            let claim = Claim::all(&host.domains);
            let (owner, own) = match hosts.get(&claim) {
                Some((owner, own)) => (*owner, Arc::clone(own)),
                None => {
                    hosts.insert(claim, (place, Arc::clone(host)));
                    continue;
                }
            };
            let theirs_first = match (says_nothing(&own), says_nothing(host)) {
                (_, true) => false,
                (true, false) => true,
                (false, false) => self.oldest(host) < self.oldest(&own),
            };
            if theirs_first {
                self.lose((owner, &own), host);
                hosts.insert(claim, (place, Arc::clone(host)));
            } else {
                self.lose((place, host), &own);
            }
        }
    }

    /// Server names of a route that are taken.
    fn lose_names(
        &mut self,
        place: usize,
        (names, route): (&[HostPattern], &Origin),
        taken: &BTreeMap<Claim, Origin>,
    ) {
        for (host, winner) in names.iter().filter_map(|name| Some((name, taken.get(&Claim::of(name))?))) {
            let (host, winner) = (host.clone(), whole(winner));
            let routes = BTreeSet::from([whole(route)]);
            self.joined.lost.push((place, Lost::Host { host, routes, winner }));
        }
    }

    fn lose(&mut self, (place, loser): (usize, &VirtualHost), winner: &VirtualHost) {
        let winner = winner.rules.iter().map(|rule| &rule.origin).min_by_key(|origin| self.seniority(origin));
        let (Some(winner), Some(host)) = (winner, loser.domains.first()) else { return };
        let routes: BTreeSet<Origin> = loser.rules.iter().map(|rule| whole(&rule.origin)).collect();
        if !routes.is_empty() {
            let lost = Lost::Host { host: host.clone(), routes, winner: whole(winner) };
            self.joined.lost.push((place, lost));
        }
    }

    /// The place of the oldest object that has rules for a host.
    fn oldest(&self, host: &VirtualHost) -> Option<Seniority> {
        host.rules.iter().map(|rule| self.seniority(&rule.origin)).min()
    }

    fn seniority(&self, origin: &Origin) -> Seniority {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == origin.kind);
        let key = ObjectKey::new(kind.unwrap_or(Kind::Service), &*origin.namespace, &*origin.name);
        let object = self.snapshot.get(&key);
        let time = object.and_then(|object| Some(object.meta().creation_timestamp.as_ref()?.unix_seconds()));
        let api = match kind {
            Some(kind) if kind.of_gateway_api() => 0,
            Some(kind) if kind.of_istio() => 1,
            _ => 2,
        };
        (time, api, (key.namespace, key.name))
    }
}

/// The server names that chains have, and whose they are.
fn taken(chains: &[TlsChain], passthrough: &[Passthrough]) -> BTreeMap<Claim, Origin> {
    let chains = chains.iter().map(|chain| (&chain.server_names, &chain.origin));
    let passed = passthrough.iter().map(|passed| (&passed.server_names, &passed.route.origin));
    let all = chains.chain(passed);
    all.flat_map(|(names, origin)| names.iter().map(|name| (Claim::of(name), origin.clone()))).collect()
}

/// Does a host only keep others out?
fn says_nothing(host: &VirtualHost) -> bool {
    host.rules.is_empty() && !host.https_redirect
}

/// The object, whichever part of it.
fn whole(origin: &Origin) -> Origin {
    Origin { field: Arc::default(), ..origin.clone() }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
