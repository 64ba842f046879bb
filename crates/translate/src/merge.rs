//! Drafts and servers together: route tables, and the clusters that they ask for.

mod attachments;
mod claims;
mod connections;
mod hosts;
mod ingress;
mod judge;
mod owners;
mod shares;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::atoms::HostPattern;
use limen_ir::cluster::ClusterKey;
use limen_ir::route::{FilterOrder, RouteTable, RouteTableName, Rule};
use limen_ir::tls::Certificate;
use limen_resources::istio::ClientTls;
use limen_resources::{AnyObject, Kind, ObjectKey};

use crate::bind::{Bound, Target};
use crate::draft::VirtualServiceDraft;
use crate::index::Index;
use crate::ingress::Ingresses;
use crate::istio::destination_rule::Block;
use crate::istio::gateway::{InsidePlan, PassthroughPlan, PlainPlan, PortPlan, ServerPlan, ServesPlan};
use crate::istio::names;
use crate::memo::{Same, keep};
use crate::messages::{At, ingress as messages};
use crate::report::Report;
use crate::services::ServiceFacts;
use hosts::{HostMemo, Hosts, Lists};
use ingress::PathMemo;
use judge::VerdictMemo;
use owners::{Names, Owners, Ranks};
use shares::{Share, ShareMemo, SharedHost};

pub(crate) use attachments::{Attachments, attachments};
pub(crate) use claims::claims;
pub(crate) use connections::{Connections, timed};

/// What was made before, for sharing.
#[derive(Debug, Default)]
pub(crate) struct MergeMemo {
    shares: ShareMemo,
    /// Of VirtualServices.
    hosts: BTreeMap<RouteTableName, HostMemo>,
    /// Of Ingresses.
    paths: BTreeMap<RouteTableName, PathMemo>,
    tables: BTreeMap<RouteTableName, Arc<RouteTable>>,
    verdicts: VerdictMemo,
}

/// The route tables, and what they need.
pub(crate) struct Routing {
    pub(crate) tables: BTreeMap<RouteTableName, Arc<RouteTable>>,
    /// Where connections go that are not looked into.
    pub(crate) connections: Connections,
    pub(crate) wanted: WantedClusters,
}

/// The clusters that routes name.
#[derive(Default)]
pub(crate) struct WantedClusters {
    list: Vec<(ClusterKey, Wanted)>,
}

impl WantedClusters {
    pub(crate) fn add(&mut self, key: ClusterKey, service: Arc<ServiceFacts>, instance: usize, by: NamedBy) {
        let by = Arc::new(by);
        self.add_wanted(key, Wanted { service, by, instance, tls: None, identity: None });
    }

    /// The same, with all that is known of it.
    pub(crate) fn add_wanted(&mut self, key: ClusterKey, new: Wanted) {
        self.list.push((key, new));
    }

    /// In the order of their keys; those of one key in the order in which they were named. `order` remembers how they came
    /// the last time.
    pub(crate) fn into_sorted(self, order: &mut WantedOrder) -> Vec<(ClusterKey, Wanted)> {
        order.next(self.list.iter().map(|(key, _)| key));
        let mut list: Vec<_> = self.list.into_iter().map(Some).collect();
        order.places.iter().filter_map(|place| list.get_mut(*place)?.take()).collect()
    }
}

/// How clusters were named, and the places of these names in order: most changes leave nearly all as it was.
#[derive(Debug, Default)]
pub(crate) struct WantedOrder {
    keys: Vec<ClusterKey>,
    places: Vec<usize>,
}

impl WantedOrder {
    /// Above so many that differ all are sorted anew.
    const FEW: usize = 64;

    fn next<'k>(
        &mut self,
        keys: impl ExactSizeIterator<Item = &'k ClusterKey> + DoubleEndedIterator + Clone,
    ) {
        let (old, new) = (self.keys.len(), keys.len());
        // In between, where there are more or fewer than before.
        let head = self.keys.iter().zip(keys.clone()).take_while(|(a, b)| a == b).count();
        let most = old.min(new) - head;
        let tail =
            self.keys.iter().rev().zip(keys.clone().rev()).take(most).take_while(|(a, b)| a == b).count();
        let (gone, come) = (head..old - tail, head..new - tail);
        let differing: BTreeSet<usize> = if old == new {
            let both = self.keys.iter().zip(keys.clone()).enumerate();
            both.filter(|(_, (a, b))| a != b).map(|(place, _)| place).take(WantedOrder::FEW + 1).collect()
        } else {
            come.clone().take(WantedOrder::FEW + 1).collect()
        };
        if differing.len() > WantedOrder::FEW || gone.len() > come.len() + WantedOrder::FEW {
            self.keys = keys.cloned().collect();
            self.places = (0..new).collect();
            self.places.sort_by_key(|place| self.keys.get(*place));
            return;
        }
        if old == new {
            self.places.retain(|place| !differing.contains(place));
            for (known, key) in self.keys.iter_mut().zip(keys) {
                if known != key {
                    known.clone_from(key);
                }
            }
        } else {
            self.places.retain(|place| !gone.contains(place));
            for place in self.places.iter_mut().filter(|place| **place >= gone.end) {
                *place = *place + new - old;
            }
            let own = keys.skip(head).take(come.len()).cloned();
            self.keys.splice(gone, own);
        }
        for place in differing {
            let own = (self.keys.get(place), place);
            let at = self.places.partition_point(|known| (self.keys.get(*known), *known) < own);
            self.places.insert(at, place);
        }
    }
}

/// What names a cluster: an object, and the field in it.
#[derive(Debug, Clone)]
pub(crate) struct NamedBy {
    pub(crate) object: AnyObject,
    pub(crate) field: String,
    /// It is a destination of a route, and not, say, a server whose clients may name it.
    pub(crate) route: bool,
}

impl Same for NamedBy {
    fn same(&self, other: &NamedBy) -> bool {
        // Objects are held by those who name them: what has one address is one object.
        std::ptr::eq(self.object.key(), other.object.key())
            && (&self.field, self.route) == (&other.field, other.route)
    }
}

impl NamedBy {
    /// A destination of a route.
    pub(crate) fn route(object: AnyObject, field: String) -> NamedBy {
        NamedBy { object, field, route: true }
    }

    /// What names whatever there is: a server whose clients may, the mesh itself, the options of a gateway's Pod.
    pub(crate) fn other(object: AnyObject, field: String) -> NamedBy {
        NamedBy { object, field, route: false }
    }

    pub(crate) fn at(&self) -> At<'_> {
        At::any(&self.object, &self.field)
    }

    /// What nobody wrote, and its being named asks for.
    pub(crate) fn block<'a, T>(&'a self, said: &'a T) -> Block<'a, T> {
        self.block_at(self.field.clone(), said)
    }

    /// What another field of the same object says.
    pub(crate) fn block_at<'a, T>(&'a self, field: String, said: &'a T) -> Block<'a, T> {
        Block::unwritten(&self.object, field, said)
    }
}

/// A cluster that something names. Of all that name one, the first says what it is.
pub(crate) struct Wanted {
    pub(crate) service: Arc<ServiceFacts>,
    pub(crate) by: Arc<NamedBy>,
    /// The labels of the gateway, which may decide on DestinationRules.
    pub(crate) instance: usize,
    /// How it is spoken to, whatever DestinationRules say.
    pub(crate) tls: Option<OwnTls>,
    /// What the Gateway shows that its key names; `None` though one is named: what that wants to show cannot be used.
    pub(crate) identity: Option<Arc<Certificate>>,
}

/// How a cluster is spoken to that no rule shapes, and the field that says it of the object that names it.
pub(crate) struct OwnTls {
    pub(crate) said: ClientTls,
    pub(crate) field: String,
}

/// What listens, and what stops whom.
pub(crate) struct Planned<'p> {
    pub(crate) ports: &'p [PortPlan],
    /// For each gateway of this process the rule that stands in for all others, if it is closed.
    pub(crate) guards: &'p [Option<Arc<Rule>>],
    pub(crate) ingresses: &'p Ingresses,
}

/// Makes all route tables. `drafts` are in Istio's order; `by_gateway` are the same.
pub(crate) fn route_tables<'d>(
    index: &Index<'_>,
    planned: Planned<'_>,
    drafts: &'d [Arc<VirtualServiceDraft>],
    by_gateway: BTreeMap<&'d str, Attachments<'d>>,
    memo: &mut MergeMemo,
    report: &mut Report,
) -> Routing {
    let Planned { ports, guards, ingresses } = planned;
    let routing = Routing {
        tables: BTreeMap::new(),
        connections: Connections::default(),
        wanted: WantedClusters::default(),
    };
    let mut merger = Merger {
        index,
        ingresses,
        by_gateway,
        ranks: owners::ranks(drafts, index.settings.shared_hosts),
        names: Names::default(),
        memo,
        report,
        routing,
        hosts: BTreeMap::new(),
        paths: BTreeMap::new(),
        outcomes: Outcomes::default(),
    };
    merger.memo.shares.begin(index);
    for port in ports {
        let guard = guards.get(port.instance).and_then(Option::as_ref);
        match &port.serves {
            ServesPlan::Plain(plain) => merger.plain(port, plain, guard),
            ServesPlan::Tls { chains, passthrough, plain } => {
                let names = chains.iter().flat_map(|chain| {
                    let title = chain.server.title();
                    chain.server_names.iter().map(move |name| (name.clone(), title.clone()))
                });
                let mut taken: BTreeMap<HostPattern, String> = names.collect();
                if let Some(plain) = plain {
                    // It gets what no other server asks for.
                    taken.insert(HostPattern::Any, plain.title());
                    merger.plain(port, plain, guard);
                }
                merger.names = merger.names(port.instance, (passthrough, chains));
                for PassthroughPlan { server, auto } in passthrough.iter().filter(|_| guard.is_none()) {
                    if *auto {
                        merger.auto_passthrough(port.instance, server);
                    } else {
                        merger.passthrough(port.instance, server, &mut taken);
                    }
                }
                for chain in chains {
                    match &chain.inside {
                        // Ingresses share a table.
                        InsidePlan::Http(table) if merger.routing.tables.contains_key(table) => {}
                        InsidePlan::Http(table) => {
                            let served = chain.tls.is_some();
                            let own = chain.server.object.key().kind == Kind::Gateway;
                            let servers =
                                if served && own { std::slice::from_ref(&chain.server) } else { &[] };
                            merger.table(port, table, servers, true, guard);
                        }
                        InsidePlan::Tcp if guard.is_some() => {}
                        InsidePlan::Tcp => merger.tcp(port.instance, &chain.server),
                    }
                }
                merger.names = Names::default();
            }
        }
    }
    let Merger { routing, hosts, paths, outcomes, .. } = merger;
    memo.shares.turn();
    (memo.hosts, memo.paths) = (hosts, paths);
    memo.tables.clone_from(&routing.tables);
    judge::judge(index, drafts, &outcomes, &mut memo.verdicts, report);
    routing
}

/// What became of a VirtualService at a Gateway that it names.
#[derive(Debug, Default)]
struct Outcome {
    /// Where it is served under all hosts that it shares.
    shares: Vec<Arc<Share>>,
    /// Other hosts under which it is served.
    hosts: BTreeSet<String>,
    /// Hosts and the like that are others', and whose.
    lost: BTreeSet<String>,
    /// It shares a host with a server for connections and has no route for it.
    idle: bool,
}

/// By VirtualService, told apart by where its draft is kept, and gateway name.
#[derive(Debug, Default)]
struct Outcomes<'a>(BTreeMap<(*const VirtualServiceDraft, &'a str), Outcome>);

impl<'a> Outcomes<'a> {
    fn of(&mut self, draft: &VirtualServiceDraft, gateway: &'a str) -> &mut Outcome {
        self.0.entry((&raw const *draft, gateway)).or_default()
    }

    fn get(&self, draft: &VirtualServiceDraft, gateway: &'a str) -> Option<&Outcome> {
        self.0.get(&(&raw const *draft, gateway))
    }
}

struct Merger<'a, 'd: 'a, 'm, 'i> {
    index: &'a Index<'i>,
    ingresses: &'a Ingresses,
    by_gateway: BTreeMap<&'d str, Attachments<'d>>,
    ranks: Ranks<'a>,
    /// Of the port that is being served, where it is one of TLS.
    names: Names<'a>,
    memo: &'m mut MergeMemo,
    report: &'m mut Report,
    routing: Routing,
    hosts: BTreeMap<RouteTableName, HostMemo>,
    paths: BTreeMap<RouteTableName, PathMemo>,
    outcomes: Outcomes<'a>,
}

/// VirtualServices, each with what it is on a server.
type Sharing<'a> = Vec<(&'a Arc<VirtualServiceDraft>, Arc<Share>)>;

impl<'a> Merger<'a, '_, '_, '_> {
    fn plain(&mut self, port: &PortPlan, plain: &'a PlainPlan, guard: Option<&Arc<Rule>>) {
        match plain {
            PlainPlan::Http { table, servers } => self.table(port, table, servers, false, guard),
            // What is closed is closed for connections, too.
            PlainPlan::Tcp(_) if guard.is_some() => {}
            PlainPlan::Tcp(server) => self.tcp(port.instance, server),
        }
    }

    fn table(
        &mut self,
        port: &PortPlan,
        name: &RouteTableName,
        servers: &'a [ServerPlan],
        https: bool,
        guard: Option<&Arc<Rule>>,
    ) {
        let mut hosts = Hosts::default();
        let mut bound: BTreeMap<(&str, &ObjectKey), Arc<Bound>> = BTreeMap::new();
        let sharing: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(at, server)| self.sharing_requests((name, at), (port.instance, server, https)))
            .collect();
        let owners = Owners::new(&sharing, &self.ranks);
        for (server, sharing) in servers.iter().zip(sharing) {
            for (draft, share) in sharing {
                let left = self.left((port, server), (&owners, draft), &share);
                if left.is_empty() {
                    continue;
                }
                // Built once, with the declared port of the first server that has it.
                let key = (&*server.gateway_name, &draft.object.key);
                let first = if servers.len() == 1 { None } else { bound.get(&key).cloned() };
                let rules = first.unwrap_or_else(|| {
                    self.report.problems(&share.problems);
                    share.want(port.instance, &mut self.routing.wanted);
                    if servers.len() > 1 {
                        bound.insert(key, Arc::clone(&share.bound));
                    }
                    Arc::clone(&share.bound)
                });
                if !rules.rules.is_empty() {
                    hosts.add(server, draft, &left, &rules);
                }
                let outcome = self.outcomes.of(draft, &server.gateway_name);
                if left.len() == share.hosts.len() {
                    outcome.shares.push(share);
                } else {
                    outcome.hosts.extend(left.iter().map(|host| host.to_string()));
                }
            }
            hosts.redirect(server);
        }
        let site = self.ingresses.site(port);
        let taken = |host: &str| site.is_some_and(|site| site.taken.contains_key(host));
        let mut known = self.memo.hosts.remove(name).unwrap_or_default();
        let free = hosts.into_drafts().into_iter().filter(|(host, _)| !taken(host));
        let mut lists = Lists::default();
        let made = free.map(|(host, draft)| draft.host(host, guard, (&mut known, &mut lists)));
        let mut hosts: Vec<_> = made.collect();
        known.turn();
        self.hosts.insert(name.clone(), known);
        hosts.extend(self.ingress_hosts(port, (name, https), guard));
        let table = RouteTable { name: name.clone(), filter_order: FilterOrder::Istio, hosts };
        let table = keep(self.memo.tables.get(name), table);
        self.routing.tables.insert(name.clone(), table);
    }

    /// The VirtualServices that share a host with a server for requests.
    fn sharing_requests(
        &mut self,
        place: (&RouteTableName, usize),
        (instance, server, https): (usize, &ServerPlan, bool),
    ) -> Sharing<'a> {
        let drafts = self.by_gateway.get(&*server.gateway_name).map(|attached| attached.candidates(server));
        let mut known = self.memo.shares.take(place, (instance, server, https));
        let index = self.index;
        let share = |draft| Some((draft, known.share(server, draft, index)?));
        let sharing = drafts.unwrap_or_default().into_iter().filter_map(share).collect();
        self.memo.shares.put(place, known);
        sharing
    }

    /// The hosts of a share, in lower case, that nobody else has; says who has the others.
    fn left(
        &mut self,
        (port, server): (&PortPlan, &'a ServerPlan),
        (owners, draft): (&Owners<'a>, &'a VirtualServiceDraft),
        share: &Share,
    ) -> Vec<Arc<str>> {
        let taken = self.ingresses.site(port).map(|site| &site.taken).filter(|taken| !taken.is_empty());
        let mut left = Vec::with_capacity(share.hosts.len());
        for host in &share.hosts {
            let SharedHost { written, lower } = host;
            let ingress = taken.and_then(|taken| taken.get(&**lower));
            let passed_by = || self.names.passed_by(draft, written);
            let other = || owners.other(server, draft, host).or_else(passed_by);
            let at = At::new(&draft.object, "spec.hosts");
            let (said, why) = if let Some(winner) = ingress {
                (messages::istio_host_conflict(at, lower, winner), format!("{lower} is {winner}'s"))
            } else if let Some(owner) = other() {
                (messages::owned_host(at, written, owner), format!("{written} is {owner}'s"))
            } else {
                left.push(Arc::clone(lower));
                continue;
            };
            self.report.problem(said);
            self.outcomes.of(draft, &server.gateway_name).lost.insert(why);
        }
        left
    }

    fn want(&mut self, target: Target, instance: usize) {
        let Target { meaning, service, object, field, problem } = target;
        if let Some(problem) = problem {
            self.report.problem(problem);
        }
        if let Some(service) = service {
            self.routing.wanted.add(meaning.cluster, service, instance, NamedBy::route(object, field));
        }
    }
}

/// The more specific name of each overlap of the server's hosts for the VirtualService's namespace with its hosts.
fn shared_hosts<'h>(server: &'h ServerPlan, draft: &'h VirtualServiceDraft) -> Vec<&'h str> {
    let own = &*draft.object.key.namespace;
    let hosts =
        server.hosts.iter().filter(|host| host.namespace.as_deref().is_none_or(|namespace| namespace == own));
    names::intersection(hosts.map(|host| &*host.name), &draft.hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However names come from one time to the next, their places are those of a list that is sorted anew.
    #[test]
    fn the_order_of_wanted_clusters_follows_their_names() {
        let mut dice = 3_u64;
        let mut roll = |sides: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) as usize % sides
        };
        let (mut order, mut keys) = (WantedOrder::default(), Vec::new());
        for round in 0..2000 {
            for _ in 0..=roll(if round % 50 == 0 { 150 } else { 3 }) {
                let key = ClusterKey::new(80, "", &format!("h{}", roll(40)));
                let at = roll(keys.len() + 1);
                match roll(if keys.len() > 200 { 3 } else { 4 }) {
                    0 | 1 if at < keys.len() => keys[at] = key,
                    2 if at < keys.len() => drop(keys.remove(at)),
                    _ => keys.insert(at, key),
                }
            }
            order.next(keys.iter());
            let mut places: Vec<usize> = (0..keys.len()).collect();
            places.sort_by_key(|place| &keys[*place]);
            assert_eq!((&order.keys, &order.places), (&keys, &places), "round {round}");
        }
    }
}
