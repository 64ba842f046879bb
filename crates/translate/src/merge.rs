//! Drafts and servers together: route tables, and the clusters that they ask for.

mod claims;
mod connections;
mod ingress;
mod judge;
mod owners;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::atoms::{HostPattern, Port};
use limen_ir::cluster::ClusterKey;
use limen_ir::route::{FilterOrder, RouteTable, RouteTableName, Rule, VirtualHost};
use limen_ir::tls::Certificate;
use limen_resources::istio::ClientTls;
use limen_resources::{AnyObject, Kind, ObjectKey};

use crate::bind::{self, Bound, BoundRule, Meaning, Site, Target};
use crate::draft::VirtualServiceDraft;
use crate::index::Index;
use crate::ingress::Ingresses;
use crate::istio::destination_rule::Block;
use crate::istio::gateway::{InsidePlan, PassthroughPlan, PlainPlan, PortPlan, ServerPlan, ServesPlan};
use crate::istio::names;
use crate::lookup::Lookup;
use crate::memo::{ByValue, Memo, Same, keep};
use crate::messages::{At, ingress as messages};
use crate::report::Report;
use crate::services::ServiceFacts;
use owners::{Names, Owners, Ranks};

pub(crate) use claims::claims;
pub(crate) use connections::{Connections, timed};

/// What was made before, for sharing.
#[derive(Debug, Default)]
pub(crate) struct MergeMemo {
    bound: Memo<BoundKey, BoundInputs, Arc<Bound>>,
    hosts: Lookup<(RouteTableName, String), Arc<VirtualHost>>,
    tables: BTreeMap<RouteTableName, Arc<RouteTable>>,
}

/// Gateway of this process, `namespace/name` of the Gateway, VirtualService, declared port, https.
type BoundKey = (usize, String, ObjectKey, Port, bool);

/// The draft and what its destinations mean.
type BoundInputs = (Arc<VirtualServiceDraft>, ByValue<Vec<Meaning>>);

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
    list: Vec<(Arc<ClusterKey>, Wanted)>,
}

impl WantedClusters {
    pub(crate) fn add(
        &mut self,
        key: Arc<ClusterKey>,
        service: Arc<ServiceFacts>,
        instance: usize,
        by: NamedBy,
    ) {
        let by = Arc::new(by);
        self.add_wanted(key, Wanted { service, by, instance, tls: None, identity: None });
    }

    /// The same, with all that is known of it.
    pub(crate) fn add_wanted(&mut self, key: Arc<ClusterKey>, new: Wanted) {
        self.list.push((key, new));
    }

    /// In the order of their keys; those of one key in the order in which they were named.
    pub(crate) fn into_sorted(self) -> Vec<(Arc<ClusterKey>, Wanted)> {
        let mut list = self.list;
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list
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

/// The drafts that the gateway sees, by the Gateways that they hang on.
pub(crate) fn attachments(drafts: &[Arc<VirtualServiceDraft>]) -> BTreeMap<&str, Attachments<'_>> {
    let mut by_gateway: BTreeMap<&str, Attachments<'_>> = BTreeMap::new();
    for draft in drafts.iter().filter(|draft| draft.reach.is_some()) {
        for gateway in &draft.gateways {
            by_gateway.entry(&gateway.name).or_default().add(draft);
        }
    }
    by_gateway
}

/// What listens, and what stops whom.
pub(crate) struct Planned<'p> {
    pub(crate) ports: &'p [PortPlan],
    /// For each gateway of this process the rule that stands in for all others, if it is closed.
    pub(crate) guards: &'p [Option<Arc<Rule>>],
    pub(crate) ingresses: &'p Ingresses,
}

/// Makes all route tables. `drafts` are in Istio's order; `by_gateway` are the same.
pub(crate) fn route_tables(
    index: &Index<'_>,
    planned: Planned<'_>,
    drafts: &[Arc<VirtualServiceDraft>],
    by_gateway: BTreeMap<&str, Attachments<'_>>,
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
        hosts: Lookup::default(),
        attached: BTreeMap::new(),
        lost: BTreeMap::new(),
        idle: BTreeSet::new(),
    };
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
    let Merger { routing, hosts, attached, lost, idle, .. } = merger;
    memo.bound.turn();
    memo.hosts = hosts;
    memo.tables.clone_from(&routing.tables);
    judge::judge(index, drafts, (&attached, &lost, &idle), report);
    routing
}

/// The drafts that hang on a Gateway, in Istio's order.
#[derive(Default)]
pub(crate) struct Attachments<'a> {
    drafts: Vec<&'a Arc<VirtualServiceDraft>>,
    /// Those with this very host.
    exact: Lookup<&'a str, Vec<usize>>,
    /// Those with a wildcard.
    wild: Vec<usize>,
}

impl<'a> Attachments<'a> {
    fn add(&mut self, draft: &'a Arc<VirtualServiceDraft>) {
        let at = self.drafts.len();
        self.drafts.push(draft);
        for host in &draft.hosts {
            if host.starts_with('*') {
                self.wild.push(at);
            } else {
                self.exact.get_or_insert_with(host, Vec::new).push(at);
            }
        }
    }

    /// In order, all that may share a host with the server: a Gateway with a server for each of thousands of hosts
    /// must not compare each with each.
    fn candidates(&self, server: &ServerPlan) -> Vec<&'a Arc<VirtualServiceDraft>> {
        if server.hosts.iter().any(|host| host.name.starts_with('*')) {
            return self.drafts.clone();
        }
        let exact = server.hosts.iter().filter_map(|host| self.exact.get(&*host.name)).flatten();
        let mut places: Vec<usize> = exact.chain(&self.wild).copied().collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|at| self.drafts.get(at).copied()).collect()
    }
}

/// The hosts under which a VirtualService is served through a Gateway, by VirtualService and gateway name.
type Attached<'a> = BTreeMap<(&'a ObjectKey, &'a str), BTreeSet<String>>;

struct Merger<'a, 'm, 'i> {
    index: &'a Index<'i>,
    ingresses: &'a Ingresses,
    by_gateway: BTreeMap<&'a str, Attachments<'a>>,
    ranks: Ranks<'a>,
    /// Of the port that is being served, where it is one of TLS.
    names: Names<'a>,
    memo: &'m mut MergeMemo,
    report: &'m mut Report,
    routing: Routing,
    hosts: Lookup<(RouteTableName, String), Arc<VirtualHost>>,
    attached: Attached<'a>,
    /// Their hosts that are older Ingresses'.
    lost: Attached<'a>,
    /// VirtualServices that share a host with a server for connections and have no route for it, by gateway name.
    idle: BTreeSet<(&'a ObjectKey, &'a str)>,
}

/// A virtual host that rules are gathered for.
struct HostDraft {
    declared: Port,
    https_redirect: bool,
    rules: Vec<BoundRule>,
    /// Who added rules already: VirtualService, and through which Gateways.
    from: BTreeMap<ObjectKey, BTreeSet<String>>,
}

impl<'a> Merger<'a, '_, '_> {
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
        let mut hosts: BTreeMap<String, HostDraft> = BTreeMap::new();
        let mut bound: BTreeMap<(&str, &ObjectKey), Arc<Bound>> = BTreeMap::new();
        let owners = Owners::new(servers, &self.by_gateway, &self.ranks);
        for server in servers {
            let drafts =
                self.by_gateway.get(&*server.gateway_name).map(|attached| attached.candidates(server));
            for draft in drafts.unwrap_or_default() {
                let mut shared = shared_hosts(server, draft);
                self.leave_taken(port, server, draft, &mut shared);
                self.leave_owned(&owners, server, draft, &mut shared);
                if shared.is_empty() {
                    continue;
                }
                // Built once, with the declared port of the first server that has it.
                let key = (&*server.gateway_name, &draft.object.key);
                let bound = match bound.entry(key) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(free) => free.insert(self.bind(port.instance, server, draft, https)),
                };
                let attached = self.attached.entry((&draft.object.key, &server.gateway_name)).or_default();
                attached.extend(shared.iter().map(|host| host.to_ascii_lowercase()));
                if !bound.rules.is_empty() {
                    add(&mut hosts, server, draft, &shared, bound);
                }
            }
            redirect_hosts(&mut hosts, server);
        }
        let site = self.ingresses.site(port);
        hosts.retain(|host, _| site.is_none_or(|site| !site.taken.contains_key(host)));
        let hosts = hosts.into_iter().map(|(host, draft)| self.host(name, host, draft, guard));
        let mut hosts: Vec<_> = hosts.collect();
        if let Some(site) = site.filter(|site| site.table == *name) {
            let table = (name, https);
            hosts.extend(
                site.hosts.iter().map(|(host, made)| self.ingress_host(port, table, (host, made), guard)),
            );
        }
        let table = RouteTable { name: name.clone(), filter_order: FilterOrder::Istio, hosts };
        let table = keep(self.memo.tables.get(name), table);
        self.routing.tables.insert(name.clone(), table);
    }

    /// Takes hosts out that are older Ingresses' on this port, and says so.
    fn leave_taken(
        &mut self,
        port: &PortPlan,
        server: &'a ServerPlan,
        draft: &'a VirtualServiceDraft,
        shared: &mut Vec<&str>,
    ) {
        let Some(site) = self.ingresses.site(port).filter(|site| !site.taken.is_empty()) else { return };
        shared.retain(|host| {
            let host = host.to_ascii_lowercase();
            let Some(winner) = site.taken.get(&host) else { return true };
            let at = At::new(&draft.object, "spec.hosts");
            self.report.problem(messages::istio_host_conflict(at, &host, winner));
            let lost = self.lost.entry((&draft.object.key, &server.gateway_name)).or_default();
            lost.insert(format!("{host} is {winner}'s"));
            false
        });
    }

    /// Takes hosts out that a VirtualService of another namespace had first, and says so.
    fn leave_owned(
        &mut self,
        owners: &Owners<'a>,
        server: &'a ServerPlan,
        draft: &'a VirtualServiceDraft,
        shared: &mut Vec<&str>,
    ) {
        shared.retain(|host| {
            let passed_by = || self.names.passed_by(draft, host);
            let Some(owner) = owners.other(server, draft, host).or_else(passed_by) else { return true };
            let at = At::new(&draft.object, "spec.hosts");
            self.report.problem(messages::owned_host(at, host, owner));
            let lost = self.lost.entry((&draft.object.key, &server.gateway_name)).or_default();
            lost.insert(format!("{host} is {owner}'s"));
            false
        });
    }

    /// The rules of a VirtualService on a server; says what is wrong with them and notes the clusters that they use.
    fn bind(
        &mut self,
        instance: usize,
        server: &ServerPlan,
        draft: &Arc<VirtualServiceDraft>,
        https: bool,
    ) -> Arc<Bound> {
        let settings = self.index.settings;
        let Some(workload) = settings.gateways.get(instance) else { return Arc::default() };
        let targets = bind::targets(draft, (server.declared, workload), self.index);
        let meanings: Vec<_> = targets.iter().map(|target| target.meaning.clone()).collect();
        let site = Site {
            gateway: &server.gateway_name,
            declared: server.declared,
            https,
            instance: workload,
            namespace: &settings.workload_namespace,
        };
        let key = (instance, server.gateway_name.clone(), draft.object.key.clone(), server.declared, https);
        let inputs = (Arc::clone(draft), ByValue(meanings));
        let bound = self
            .memo
            .bound
            .get(key, inputs, |(draft, meanings)| Arc::new(bind::bind(draft, &meanings.0, site)));
        self.report.problems(&draft.problems);
        self.report.problems(&bound.problems);
        let mut targets: Vec<_> = targets.into_iter().map(Some).collect();
        for target in bound.targets.iter().filter_map(|at| targets.get_mut(*at)?.take()) {
            self.want(target, instance);
        }
        bound
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

    fn host(
        &mut self,
        table: &RouteTableName,
        host: String,
        draft: HostDraft,
        guard: Option<&Arc<Rule>>,
    ) -> Arc<VirtualHost> {
        let HostDraft { declared, https_redirect, rules, from: _ } = draft;
        // An older catch-all does not hide the specific rules of a newer VirtualService.
        let (last, first): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.catch_all);
        let rules = match guard {
            Some(guard) => vec![Arc::clone(guard)],
            None => first.into_iter().chain(last).map(|rule| rule.rule).collect(),
        };
        let new = VirtualHost {
            name: format!("{host}:{declared}"),
            domains: vec![HostPattern::istio(&host)],
            declared,
            https_redirect: https_redirect && guard.is_none(),
            rules,
        };
        let key = (table.clone(), host);
        let made = keep(self.memo.hosts.get(&key), new);
        self.hosts.insert(key, Arc::clone(&made));
        made
    }
}

/// The more specific name of each overlap of the server's hosts for the VirtualService's namespace with its hosts.
fn shared_hosts<'h>(server: &'h ServerPlan, draft: &'h VirtualServiceDraft) -> Vec<&'h str> {
    let own = &*draft.object.key.namespace;
    let hosts =
        server.hosts.iter().filter(|host| host.namespace.as_deref().is_none_or(|namespace| namespace == own));
    names::intersection(hosts.map(|host| &*host.name), &draft.hosts)
}

fn add(
    hosts: &mut BTreeMap<String, HostDraft>,
    server: &ServerPlan,
    draft: &VirtualServiceDraft,
    shared: &[&str],
    bound: &Bound,
) {
    for host in shared {
        let entry = hosts.entry(host.to_ascii_lowercase());
        let host = entry.or_insert_with(|| HostDraft::new(server.declared));
        host.https_redirect |= server.https_redirect;
        let through = host.from.entry(draft.object.key.clone()).or_default();
        let again = !through.is_empty();
        if through.insert(server.gateway_name.clone()) {
            // Through a second Gateway most rules are the same, and would never be reached.
            let rules =
                bound.rules.iter().filter(|new| !again || host.rules.iter().all(|old| old.rule != new.rule));
            let rules: Vec<_> = rules.cloned().collect();
            host.rules.extend(rules);
        }
    }
}

/// Every host of a redirecting server redirects, whether a VirtualService has it or not. One that is for a single
/// namespace does so only where a VirtualService has it.
fn redirect_hosts(hosts: &mut BTreeMap<String, HostDraft>, server: &ServerPlan) {
    if !server.https_redirect {
        return;
    }
    for host in server.hosts.iter().filter(|host| host.namespace.is_none()) {
        let entry = hosts.entry(host.name.to_ascii_lowercase());
        entry.or_insert_with(|| HostDraft::new(server.declared)).https_redirect = true;
    }
}

impl HostDraft {
    fn new(declared: Port) -> HostDraft {
        HostDraft { declared, https_redirect: false, rules: Vec::new(), from: BTreeMap::new() }
    }
}
