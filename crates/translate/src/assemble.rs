//! Everything but endpoints: the stages from the index to certificates, and the IR put together from what they make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::cluster::{Cluster, ClusterKey};
use limen_ir::listener::{Inside, Passthrough, Serves, TlsChain};
use limen_ir::tls::{ClientPolicy, Demand, ServerTls, TlsVersion};
use limen_ir::{Ir, Listener, RouteTable, RouteTableName};
use limen_resources::istio::VirtualService;
use limen_resources::{Kind, Made, Object, ObjectKey, Snapshot, Verdict, Verdicts};

use crate::Wants;
use crate::clusters::{self, ClusterMemo, ClusterPlan};
use crate::draft::VirtualServiceDraft;
use crate::gateway_api::{self, RouteMemo, deployed};
use crate::guard;
use crate::index::{Index, OldestFirst};
use crate::ingress::{self, IngressMemo, Ingresses};
use crate::istio::addresses;
use crate::istio::client_tls::ClientPlan;
use crate::istio::gateway::{self, ChainPlan, InsidePlan, PlainPlan, PortPlan, ServerPlan, ServesPlan};
use crate::istio::programmed::Programmed;
use crate::istio::server_tls::TlsPlan;
use crate::istio::virtual_service;
use crate::join::{self, Joined, Lost, Offer, SlotKey};
use crate::memo::{Memo, Same, keep};
use crate::merge::{self, Connections, MergeMemo, Planned, Routing};
use crate::messages::{At, gateway_api as messages};
use crate::report::Report;
use crate::secrets::Certificates;
use crate::services::ServiceMemo;
use crate::settings::Settings;
use crate::telemetry;

/// What was made of a snapshot, without endpoints.
#[derive(Debug, Default)]
pub(crate) struct Assembled {
    pub(crate) ir: Arc<Ir>,
    /// In the order of their keys.
    pub(crate) clusters: Arc<[Arc<ClusterPlan>]>,
    /// What is wrong.
    pub(crate) report: Report,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) wants: Wants,
    pub(crate) made: Vec<Made>,
    /// Which group of instances serves those Gateways of ours, and ListenerSets of them, that this process does not.
    pub(crate) elsewhere: Arc<BTreeMap<ObjectKey, String>>,
    /// The ports that the process itself may listen on.
    pub(crate) taken: BTreeSet<u16>,
}

/// What was made before, for sharing.
#[derive(Debug, Default)]
pub(crate) struct AssembleMemo {
    services: ServiceMemo,
    drafts: DraftMemo,
    ingresses: IngressMemo,
    merge: MergeMemo,
    routes: RouteMemo,
    clusters: ClusterMemo,
    last: Option<(Snapshot, Arc<Assembled>)>,
    left: Left,
}

/// What a run has left behind.
#[derive(Debug, Default)]
struct Left {
    _last: Option<(Snapshot, Arc<Assembled>)>,
    _ingresses: Option<Ingresses>,
    _drafts: Vec<Arc<VirtualServiceDraft>>,
}

impl AssembleMemo {
    /// Drops what the last run has left behind.
    pub(crate) fn tidy(&mut self) {
        self.left = Left::default();
    }
}

/// The VirtualServices, and what each says.
#[derive(Debug, Default)]
struct DraftMemo {
    objects: OldestFirst<VirtualService>,
    made: Memo<ObjectKey, DraftInputs, Arc<VirtualServiceDraft>>,
}

/// A VirtualService, and its delegates in the order of the routes that name them.
type DraftInputs = (Arc<Object<VirtualService>>, Vec<Option<Arc<Object<VirtualService>>>>);

/// The stages in order. A snapshot that differs in endpoints only gives the former result.
pub(crate) fn assemble(snapshot: &Snapshot, settings: &Settings, memo: &mut AssembleMemo) -> Arc<Assembled> {
    let last = match memo.last.take() {
        Some((before, made))
            if same_inputs(&before, snapshot) && same_places(&before, snapshot, settings) =>
        {
            // Of what is the same the newer is kept, so that nothing else stays that is gone.
            memo.left._last = memo.last.replace((snapshot.clone(), Arc::clone(&made)));
            return made;
        }
        Some((before, made)) => {
            memo.left._last = Some((before, Arc::clone(&made)));
            made
        }
        None => Arc::default(),
    };
    let mut report = Report::default();
    let index = Index::new(snapshot, settings, &mut memo.services);
    report.problems(&index.services.problems);
    report.problems(&index.backend_tls.problems);
    report.problems(&index.x_backends.problems);
    report.problems(&index.traffic.problems);
    let (mut ports, mut programmed) = gateway::plan(&index, &mut report);
    let guards = guard::guards(&index, &mut report);
    let guarded =
        guards.iter().enumerate().filter_map(|(number, guard)| Some((number, &guard.as_ref()?.origin)));
    guarded.for_each(|(number, origin)| programmed.close(number, origin));
    let drafts = drafts(&index, &mut memo.drafts);
    let attached = merge::attachments(&drafts);
    let mut ingresses = ingress::plan(&index, &attached, &mut ports, &mut memo.ingresses, &mut report);
    ingresses.displaced.iter().for_each(|server| programmed.refuse(server));
    let planned = Planned { ports: &ports, guards: &guards, ingresses: &ingresses };
    let routing = merge::route_tables(&index, planned, &drafts, attached, &mut memo.merge, &mut report);
    let mut certificates = Certificates::new(&index, &last.ir);
    let Routing { tables, mut wanted, mut connections } = routing;
    let (own, offers) =
        gateway_api::plan(&index, &mut certificates, &mut wanted, (&mut memo.routes, &last.ir), &mut report);
    own.conclude_policies(&index, &mut report);
    let mut deployed = deployed::deployed(&index, &mut report);
    let telemetry = telemetry::telemetry(&index, &last.ir, &mut wanted, &mut report);
    let clusters = clusters::clusters(
        &index,
        wanted,
        (&mut memo.clusters, &last.clusters),
        &mut certificates.files,
        &mut report,
    );
    let makers = (&mut connections, &mut certificates, &mut programmed);
    let listeners = listeners(ports, makers, &last.ir, &mut report);
    let (listeners, tables) =
        joined((listeners, tables), (&own, offers), &index, &last.ir, (&mut ingresses, &mut report));
    programmed.conclude(&index, &mut report);
    ingresses.conclude(&index, &programmed, &mut memo.ingresses.verdicts, &mut report);
    let Certificates { found, authorities, mut files, .. } = certificates;
    files.extend(index.backend_tls.files);
    files.extend(index.x_backends.files);
    let wants = Wants { files, objects: index.sought.all(), ..Wants::default() };
    let taken = index.taken;
    let ir = Ir {
        telemetry,
        statistics: settings.mesh.statistics.clone(),
        listeners,
        route_tables: tables,
        clusters: by_key(&clusters, &last.ir.clusters),
        certificates: found,
        authorities,
    };
    deployed.made.extend(own.made);
    let ir = keep(Some(&last.ir), ir);
    let same = clusters.len() == last.clusters.len()
        && clusters.iter().zip(&*last.clusters).all(|(new, old)| new.same(old));
    let clusters = if same { Arc::clone(&last.clusters) } else { clusters.into() };
    let made = Arc::new(Assembled {
        ir,
        clusters,
        verdicts: report.take_verdicts(),
        report,
        wants,
        made: deployed.made,
        elsewhere: Arc::new(deployed.elsewhere),
        taken,
    });
    memo.last = Some((snapshot.clone(), Arc::clone(&made)));
    (memo.left._ingresses, memo.left._drafts) = (Some(ingresses), drafts);
    made
}

type Clusters = BTreeMap<ClusterKey, Arc<Cluster>>;

/// The clusters of plans, which are in the order of their keys; the former value if they are the same.
fn by_key(plans: &[Arc<ClusterPlan>], last: &Arc<Clusters>) -> Arc<Clusters> {
    let all = || plans.iter().map(|plan| &plan.cluster);
    if plans.len() == last.len() && all().zip(last.values()).all(|(new, old)| new.same(old)) {
        return Arc::clone(last);
    }
    Arc::new(all().map(|cluster| (cluster.key.clone(), Arc::clone(cluster))).collect())
}

/// Does the gateway run where it did, as far as status says that? Endpoints count for nothing else here. Services are the
/// same in both.
fn same_places(a: &Snapshot, b: &Snapshot, settings: &Settings) -> bool {
    if a.endpoint_slices().same(b.endpoint_slices()) {
        return true;
    }
    let changes = b.endpoint_slices().changed(a.endpoint_slices());
    let mut changed = changes.iter().flat_map(|change| [change.before, change.after]).flatten();
    !changed.any(|slice| {
        settings.gateways.iter().any(|instance| addresses::tells_of(slice, b, settings, instance))
    })
}

/// Are all inputs of these stages the same objects?
fn same_inputs(a: &Snapshot, b: &Snapshot) -> bool {
    let policies = |snapshot: &Snapshot| snapshot.policies().cloned().collect::<Vec<_>>();
    a.gateways().same(b.gateways())
        && a.virtual_services().same(b.virtual_services())
        && a.destination_rules().same(b.destination_rules())
        && a.service_entries().same(b.service_entries())
        && a.services().same(b.services())
        && a.deployments().same(b.deployments())
        && a.horizontal_pod_autoscalers().same(b.horizontal_pod_autoscalers())
        && a.pod_disruption_budgets().same(b.pod_disruption_budgets())
        && a.backend_tls_policies().same(b.backend_tls_policies())
        && a.ingresses().same(b.ingresses())
        && a.ingress_classes().same(b.ingress_classes())
        && a.gateway_classes().same(b.gateway_classes())
        && a.api_gateways().same(b.api_gateways())
        && a.listener_sets().same(b.listener_sets())
        && a.http_routes().same(b.http_routes())
        && a.grpc_routes().same(b.grpc_routes())
        && a.tls_routes().same(b.tls_routes())
        && a.tcp_routes().same(b.tcp_routes())
        && a.udp_routes().same(b.udp_routes())
        && a.reference_grants().same(b.reference_grants())
        && a.x_backends().same(b.x_backends())
        && a.x_backend_traffic_policies().same(b.x_backend_traffic_policies())
        && a.namespaces().same(b.namespaces())
        && a.nodes().same(b.nodes())
        && a.secrets().same(b.secrets())
        && a.config_maps().same(b.config_maps())
        && a.telemetries().same(b.telemetries())
        && a.mesh_configs().same(b.mesh_configs())
        && a.files() == b.files()
        && a.bundle() == b.bundle()
        && policies(a).same(&policies(b))
        // Only whether an object has any is asked, but they are few and seldom change.
        && a.problems().eq(b.problems())
}

type Tables = BTreeMap<RouteTableName, Arc<RouteTable>>;

/// Listeners and tables of Istio and of Ingresses joined with those of the Gateway API. Concludes what is said of that.
fn joined(
    (listeners, tables): (Vec<Arc<Listener>>, Tables),
    (own, mut offers): (&gateway_api::Plan<'_>, Vec<Offer>),
    index: &Index<'_>,
    last: &Ir,
    (ingresses, report): (&mut Ingresses, &mut Report),
) -> (Vec<Arc<Listener>>, Tables) {
    if offers.is_empty() {
        own.conclude(index, &[], report);
        return (listeners, tables);
    }
    let others = offers_of_others(listeners, tables);
    let before = others.len();
    offers.splice(0..0, others);
    let Joined { listeners, tables, lost } = join::join(offers, index.snapshot);
    let (of_others, lost): (Vec<_>, Vec<_>) = lost.into_iter().partition(|(place, _)| *place < before);
    say_lost(&of_others, index, ingresses, report);
    let lost: Vec<_> = lost.into_iter().map(|(place, lost)| (place - before, lost)).collect();
    own.conclude(index, &lost, report);
    (shared(listeners, last), shared_tables(tables, last))
}

/// Listeners with their tables, as offers beside those of other APIs.
fn offers_of_others(listeners: Vec<Arc<Listener>>, mut tables: Tables) -> Vec<Offer> {
    let offer = |listener: Arc<Listener>| {
        let mut own = BTreeMap::new();
        for name in listener.serves.tables() {
            own.extend(tables.remove(name).map(|table| (name.clone(), table)));
        }
        let key =
            SlotKey::new(listener.bind, listener.declared.get(), matches!(listener.serves, Serves::Udp(_)));
        Offer { key, listener, tables: own }
    };
    listeners.into_iter().map(offer).collect()
}

/// Says of objects of other APIs what others have of what they ask for.
fn say_lost(lost: &[(usize, Lost)], index: &Index<'_>, ingresses: &mut Ingresses, report: &mut Report) {
    for (_, lost) in lost {
        let (losers, winner, what) = match lost {
            Lost::Host { host, routes, winner } => {
                (routes.iter().collect::<Vec<_>>(), winner, format!("host {}", join::as_written(host)))
            }
            Lost::Chain { chain, winner } => (vec![chain], winner, "all its server names".to_owned()),
            Lost::Port { listeners, winner } => (listeners.iter().collect(), winner, "the port".to_owned()),
        };
        for loser in losers {
            let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == loser.kind);
            let Some(object) = kind
                .and_then(|kind| index.snapshot.get(&ObjectKey::new(kind, &*loser.namespace, &*loser.name)))
            else {
                continue;
            };
            let why = format!("{winner}, which comes first, has {what}");
            let at = At::of(object.key(), object.source(), &loser.field);
            report.problem(messages::host_conflict(at, &why));
            if kind == Some(Kind::Ingress) {
                ingresses.lose(loser, lost);
                continue;
            }
            report.verdict(Verdict {
                generation: object.meta().generation,
                ..Verdict::new(object.key().clone(), "HostConflict", true, ("HostConflict", why))
            });
        }
    }
}

/// As the former objects where they are equal.
fn shared(listeners: Vec<Arc<Listener>>, last: &Ir) -> Vec<Arc<Listener>> {
    let known = |new: &Listener| last.listeners.iter().find(|old| old.name == new.name);
    listeners.into_iter().map(|new| keep(known(&new), Arc::unwrap_or_clone(new))).collect()
}

/// The same for tables and their hosts, which are told apart by address and name.
fn shared_tables(tables: Tables, last: &Ir) -> Tables {
    let shared = |(name, new): (RouteTableName, Arc<RouteTable>)| {
        let Some(old) = last.route_tables.get(&name) else { return (name, new) };
        let hosts: BTreeMap<_, _> = old.hosts.iter().map(|host| (&*host.name, host)).collect();
        let RouteTable { name: own, filter_order, hosts: made } = Arc::unwrap_or_clone(new);
        let made = made.into_iter().map(|host| match hosts.get(&*host.name) {
            Some(old) if **old == host => Arc::clone(old),
            _ => host,
        });
        let new = RouteTable { name: own, filter_order, hosts: made.collect() };
        (name, keep(Some(old), new))
    };
    tables.into_iter().map(shared).collect()
}

/// The drafts of all VirtualServices in Istio's order: by reach, then age.
fn drafts(index: &Index<'_>, memo: &mut DraftMemo) -> Vec<Arc<VirtualServiceDraft>> {
    if index.settings.gateway_api.only.is_some() {
        return Vec::new();
    }
    let all = index.snapshot.virtual_services();
    let objects = memo.objects.of(all);
    let mut drafts = Vec::with_capacity(objects.len());
    for object in objects {
        let known = |inputs: &DraftInputs, _: &_| inputs.0.same(object) && inputs.1.is_empty();
        if let Some(draft) = memo.made.known(&object.key, known) {
            drafts.push(Arc::clone(draft));
            continue;
        }
        let keys = virtual_service::delegate_keys(&object.spec, &object.key.namespace);
        let delegates = keys.iter().map(|(namespace, name)| all.get(namespace, name).cloned()).collect();
        let inputs = (Arc::clone(object), delegates);
        drafts.push(memo.made.get(object.key.clone(), inputs, |(object, delegates)| {
            Arc::new(virtual_service::draft(object, delegates, index.settings))
        }));
    }
    memo.made.turn();
    drafts.sort_by_key(|draft| draft.reach);
    drafts
}

/// What listeners are made with.
type Makers<'m, 'a, 'i> = (&'m mut Connections, &'m mut Certificates<'a, 'i>, &'m mut Programmed);

fn listeners(
    ports: Vec<PortPlan>,
    (connections, certificates, programmed): Makers<'_, '_, '_>,
    last: &Ir,
    report: &mut Report,
) -> Vec<Arc<Listener>> {
    let mut listeners = Vec::with_capacity(ports.len());
    for port in ports {
        let PortPlan { instance, name, declared, bind, serves, origin, others } = port;
        let mut http = certificates.index.settings.mesh.http(instance);
        http.grpc_web = serves.takes_grpc_web();
        let mut maker = Maker { instance, connections, certificates, programmed, report };
        let Some(serves) = maker.serves(serves) else { continue };
        let proxy_protocol = certificates.index.settings.mesh.proxy_protocol(instance);
        let max_connections = certificates.index.settings.mesh.max_connections(instance);
        let before = last.listeners.iter().find(|listener| listener.name == name);
        let gateway = instance;
        let listener = Listener {
            name,
            declared,
            bind,
            gateway,
            http,
            proxy_protocol,
            max_connections,
            serves,
            origin,
            others,
        };
        listeners.push(keep(before, listener));
    }
    listeners
}

/// Makes one listener.
struct Maker<'m, 'a, 'i> {
    /// Which gateway of this process it is for.
    instance: usize,
    connections: &'m mut Connections,
    certificates: &'m mut Certificates<'a, 'i>,
    programmed: &'m mut Programmed,
    report: &'m mut Report,
}

impl Maker<'_, '_, '_> {
    /// A server without a route for its connections is left out, and said so where the route was sought. `None`: nothing
    /// is left.
    fn serves(&mut self, plan: ServesPlan) -> Option<Serves> {
        let (chains, passthrough, plain) = match plan {
            ServesPlan::Plain(plain) => (Vec::new(), Vec::new(), Some(plain)),
            ServesPlan::Tls { chains, passthrough, plain } => (chains, passthrough, plain),
        };
        let plain = plain.and_then(|plan| self.plain(plan));
        let chains: Vec<_> = chains.into_iter().filter_map(|plan| self.chain(plan)).collect();
        let passthrough: Vec<_> =
            passthrough.iter().flat_map(|plan| self.passthrough(&plan.server)).collect();
        match (plain, chains.is_empty() && passthrough.is_empty()) {
            (None, true) => None,
            (Some(Inside::Http(table)), true) => Some(Serves::Http(table)),
            (Some(Inside::Tcp(route)), true) => Some(Serves::Tcp(route)),
            (plain, false) => Some(Serves::Tls { chains, passthrough, plain }),
        }
    }

    fn plain(&mut self, plan: PlainPlan) -> Option<Inside> {
        match plan {
            PlainPlan::Http { table, servers: _ } => Some(Inside::Http(table)),
            PlainPlan::Tcp(server) => self.tcp(&server),
        }
    }

    fn tcp(&mut self, server: &ServerPlan) -> Option<Inside> {
        let route = self.connections.take(self.instance, server);
        if route.is_none() {
            self.programmed.refuse(server);
        }
        route.map(Inside::Tcp)
    }

    fn passthrough(&mut self, server: &ServerPlan) -> Vec<Passthrough> {
        let made = self.connections.take_passthrough(self.instance, server);
        if made.is_empty() {
            self.programmed.refuse(server);
        }
        made
    }

    fn chain(&mut self, plan: ChainPlan) -> Option<TlsChain> {
        let ChainPlan { name, server_names, tls, inside, server } = plan;
        let inside = match inside {
            InsidePlan::Http(table) => Inside::Http(table),
            InsidePlan::Tcp => self.tcp(&server)?,
        };
        let unread = self.certificates.unread;
        let tls = match tls {
            Some(plan) => self.handshake(plan, &inside, &server),
            None => closed(),
        };
        let certificates = &tls.certificates;
        let certified = certificates.iter().any(|id| self.certificates.found.contains_key(id));
        let vouched = tls
            .clients
            .as_ref()
            .is_none_or(|clients| self.certificates.authorities.contains_key(&clients.authorities));
        match certified && vouched {
            true => {}
            false if self.certificates.unread > unread => self.programmed.wait(&server),
            false => self.programmed.refuse(&server),
        }
        Some(TlsChain { name, server_names, tls, inside, origin: server.origin() })
    }

    fn handshake(&mut self, plan: TlsPlan, inside: &Inside, server: &ServerPlan) -> ServerTls {
        let TlsPlan { credentials, min_version, max_version, cipher_suites, curves, clients, peer_exchange } =
            plan;
        let mut alpn = http_protocols();
        if peer_exchange && matches!(inside, Inside::Tcp(_)) {
            alpn.insert(0, "istio-peer-exchange".to_owned());
        }
        let references = credentials.iter();
        let certificates =
            references.map(|reference| self.certificates.resolve(server, reference, self.report)).collect();
        let clients = clients.map(|ClientPlan { required, authority, subject_alt_names, pinned }| {
            let authorities = self.certificates.authorities(server, &authority, self.report);
            let demand = if required { Demand::Valid } else { Demand::ValidOrNone };
            ClientPolicy { demand, authorities, subject_alt_names, pinned }
        });
        ServerTls { certificates, min_version, max_version, cipher_suites, curves, alpn, clients }
    }
}

/// A chain that is not served has no certificate, and so resets handshakes.
fn closed() -> ServerTls {
    ServerTls {
        certificates: Vec::new(),
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        cipher_suites: Vec::new(),
        curves: Vec::new(),
        alpn: http_protocols(),
        // Whoever is connected from before is not to stay where nobody is let in.
        clients: Some(ClientPolicy::nobody()),
    }
}

fn http_protocols() -> Vec<String> {
    vec!["h2".to_owned(), "http/1.1".to_owned()]
}

impl Index<'_> {
    /// Was an object of this name written, but not valid?
    pub(crate) fn refused(&self, key: &ObjectKey) -> bool {
        self.snapshot.problems().any(|problem| problem.object.as_ref() == Some(key))
    }
}
