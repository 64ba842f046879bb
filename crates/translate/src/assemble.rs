//! Everything but endpoints: the stages from the index to certificates, and the IR put together from what they make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
use limen_ir::listener::{Inside, Serves, TlsChain};
use limen_ir::tls::{ClientPolicy, ServerTls};
use limen_ir::{Ir, Listener};
use limen_resources::istio::VirtualService;
use limen_resources::{Object, ObjectKey, Snapshot};

use crate::Wants;
use crate::clusters::{self, ClusterPlan};
use crate::draft::VirtualServiceDraft;
use crate::guard;
use crate::index::Index;
use crate::istio::client_tls::ClientPlan;
use crate::istio::gateway::{self, ChainPlan, InsidePlan, PlainPlan, PortPlan, ServesPlan};
use crate::istio::virtual_service;
use crate::memo::{Memo, Same, keep};
use crate::merge::{self, Connections, MergeMemo, Routing};
use crate::report::Report;
use crate::secrets::Certificates;
use crate::services::ServiceMemo;
use crate::settings::Settings;
use crate::telemetry;

/// What was made of a snapshot, without endpoints.
#[derive(Debug, Default)]
pub(crate) struct Assembled {
    pub(crate) ir: Arc<Ir>,
    pub(crate) clusters: BTreeMap<ClusterKey, ClusterPlan>,
    pub(crate) report: Report,
    pub(crate) wants: Wants,
    /// The ports that the process itself may listen on.
    pub(crate) taken: BTreeSet<u16>,
}

/// What was made before, for sharing.
#[derive(Debug, Default)]
pub(crate) struct AssembleMemo {
    services: ServiceMemo,
    drafts: Memo<ObjectKey, DraftInputs, Arc<VirtualServiceDraft>>,
    merge: MergeMemo,
    last: Option<(Snapshot, Arc<Assembled>)>,
}

/// A VirtualService, and its delegates in the order of the routes that name them.
type DraftInputs = (Arc<Object<VirtualService>>, Vec<Option<Arc<Object<VirtualService>>>>);

/// The stages in order. A snapshot that differs in endpoints only gives the former result.
pub(crate) fn assemble(snapshot: &Snapshot, settings: &Settings, memo: &mut AssembleMemo) -> Arc<Assembled> {
    let last = match memo.last.take() {
        Some((before, made)) if same_inputs(&before, snapshot) => {
            memo.last = Some((before, Arc::clone(&made)));
            return made;
        }
        Some((_, made)) => made,
        None => Arc::default(),
    };
    let mut report = Report::default();
    let index = Index::new(snapshot, settings, &mut memo.services);
    report.problems(&index.services.problems);
    let ports = gateway::plan(&index, &mut report);
    let guards = guard::guards(&index, &mut report);
    let drafts = drafts(&index, &mut memo.drafts);
    let routing = merge::route_tables(&index, &ports, &drafts, &guards, &mut memo.merge, &mut report);
    let mut certificates = Certificates::new(&index, &last.ir);
    let Routing { tables, wanted, mut connections } = routing;
    let clusters = clusters::clusters(&index, wanted, &last.clusters, &mut certificates.files, &mut report);
    let listeners = listeners(ports, &mut connections, &last.ir, &mut certificates, &mut report);
    let Certificates { found, authorities, files, .. } = certificates;
    let telemetry = telemetry::telemetry(&index, &last.ir, &mut report);
    let taken = index.taken;
    let ir = Ir {
        telemetry,
        listeners,
        route_tables: tables,
        clusters: clusters.iter().map(|(key, plan)| (key.clone(), Arc::clone(&plan.cluster))).collect(),
        certificates: found,
        authorities,
    };
    memo.services.turn();
    let ir = keep(Some(&last.ir), ir);
    let made =
        Arc::new(Assembled { ir, clusters, report, wants: Wants { files, ..Wants::default() }, taken });
    memo.last = Some((snapshot.clone(), Arc::clone(&made)));
    made
}

/// Are all inputs of these stages the same objects?
fn same_inputs(a: &Snapshot, b: &Snapshot) -> bool {
    let policies = |snapshot: &Snapshot| snapshot.policies().cloned().collect::<Vec<_>>();
    a.gateways().same(b.gateways())
        && a.virtual_services().same(b.virtual_services())
        && a.destination_rules().same(b.destination_rules())
        && a.service_entries().same(b.service_entries())
        && a.services().same(b.services())
        && a.namespaces().same(b.namespaces())
        && a.secrets().same(b.secrets())
        && a.config_maps().same(b.config_maps())
        && a.telemetries().same(b.telemetries())
        && a.mesh_configs().same(b.mesh_configs())
        && a.files() == b.files()
        && policies(a).same(&policies(b))
        // Only whether an object has any is asked, but they are few and seldom change.
        && a.problems().eq(b.problems())
}

/// The drafts of all VirtualServices in Istio's order: by reach, then age.
fn drafts(
    index: &Index<'_>,
    memo: &mut Memo<ObjectKey, DraftInputs, Arc<VirtualServiceDraft>>,
) -> Vec<Arc<VirtualServiceDraft>> {
    let all = index.snapshot.virtual_services();
    let mut drafts = Vec::with_capacity(index.virtual_services.len());
    for object in &index.virtual_services {
        let keys = virtual_service::delegate_keys(&object.spec, &object.key.namespace);
        let delegates = keys.iter().map(|(namespace, name)| all.get(namespace, name).cloned()).collect();
        drafts.push(memo.get(object.key.clone(), (Arc::clone(object), delegates), |(object, delegates)| {
            Arc::new(virtual_service::draft(object, delegates, index.settings))
        }));
    }
    memo.turn();
    drafts.sort_by_key(|draft| draft.reach);
    drafts
}

/// A server without a route for its connections is left out, and said so where the route was sought.
fn listeners(
    ports: Vec<PortPlan>,
    connections: &mut Connections,
    last: &Ir,
    certificates: &mut Certificates<'_, '_>,
    report: &mut Report,
) -> Vec<Arc<Listener>> {
    let mut listeners = Vec::with_capacity(ports.len());
    for port in ports {
        let PortPlan { instance, name, declared, bind, serves, origin } = port;
        let mut http = certificates.index.settings.mesh.http(instance);
        http.grpc_web = serves.takes_grpc_web();
        let serves = match serves {
            ServesPlan::Plain(plan) => match plain(plan, instance, connections) {
                Some(Inside::Http(table)) => Serves::Http(table),
                Some(Inside::Tcp(route)) => Serves::Tcp(route),
                None => continue,
            },
            ServesPlan::Tls { chains, passthrough, plain: beside } => {
                let chains = chains.into_iter().filter_map(|plan| {
                    let inside = match &plan.inside {
                        InsidePlan::Http(table) => Inside::Http(table.clone()),
                        InsidePlan::Tcp => Inside::Tcp(connections.take(instance, &plan.server)?),
                    };
                    Some(chain(plan, inside, certificates, report))
                });
                let chains: Vec<_> = chains.collect();
                let passthrough: Vec<_> = passthrough
                    .iter()
                    .flat_map(|plan| connections.take_passthrough(instance, &plan.server))
                    .collect();
                let plain = beside.and_then(|plan| plain(plan, instance, connections));
                match (plain, chains.is_empty() && passthrough.is_empty()) {
                    (None, true) => continue,
                    (Some(Inside::Http(table)), true) => Serves::Http(table),
                    (Some(Inside::Tcp(route)), true) => Serves::Tcp(route),
                    (plain, false) => Serves::Tls { chains, passthrough, plain },
                }
            }
        };
        let proxy_protocol = certificates.index.settings.mesh.proxy_protocol(instance);
        let before = last.listeners.iter().find(|listener| listener.name == name);
        let listener =
            Listener { name, declared, bind, gateway: instance, http, proxy_protocol, serves, origin };
        listeners.push(keep(before, listener));
    }
    listeners
}

/// What is spoken in clear text; `None`: its connections have no route.
fn plain(plan: PlainPlan, instance: usize, connections: &mut Connections) -> Option<Inside> {
    Some(match plan {
        PlainPlan::Http { table, servers: _ } => Inside::Http(table),
        PlainPlan::Tcp(server) => Inside::Tcp(connections.take(instance, &server)?),
    })
}

/// A chain that is not served has no certificate, and so resets handshakes.
fn chain(
    plan: ChainPlan,
    inside: Inside,
    certificates: &mut Certificates<'_, '_>,
    report: &mut Report,
) -> TlsChain {
    let ChainPlan { name, server_names, tls, inside: _, server } = plan;
    let mut offered = ServerTls {
        certificates: Vec::new(),
        min_version: limen_ir::tls::TlsVersion::V1_2,
        max_version: limen_ir::tls::TlsVersion::V1_3,
        cipher_suites: Vec::new(),
        curves: Vec::new(),
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        // Whoever is connected from before is not to stay where nobody is let in.
        clients: Some(ClientPolicy::nobody()),
    };
    if let Some(tls) = tls {
        offered.min_version = tls.min_version;
        offered.max_version = tls.max_version;
        offered.cipher_suites = tls.cipher_suites;
        offered.curves = tls.curves;
        if tls.peer_exchange && matches!(inside, Inside::Tcp(_)) {
            offered.alpn.insert(0, "istio-peer-exchange".to_owned());
        }
        let references = tls.credentials.iter();
        offered.certificates =
            references.map(|reference| certificates.resolve(&server, reference, report)).collect();
        offered.clients = tls.clients.map(|ClientPlan { required, authority, subject_alt_names, pinned }| {
            let authorities = certificates.authorities(&server, &authority, report);
            ClientPolicy { required, authorities, subject_alt_names, pinned }
        });
    }
    TlsChain { name, server_names, tls: offered, inside, origin: server.origin() }
}

impl Index<'_> {
    /// Was an object of this name written, but not valid?
    pub(crate) fn refused(&self, key: &ObjectKey) -> bool {
        self.snapshot.problems().any(|problem| problem.object.as_ref() == Some(key))
    }
}
