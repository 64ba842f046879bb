//! Clusters: for each destination that routes name, how its service is spoken to.
//!
//! Istio gives a gateway the clusters of all services that it sees. Only those that a route names can ever be used, so
//! only they are made here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::atoms::Millis;
use limen_ir::cluster::{
    Balance, Cluster, ClusterKey, ConnectionPolicy, HttpVersion, KeepAlive, Protocol, ProxyVersion,
    ServiceLabels,
};
use limen_ir::tls::{Certificate, MeshTls};
use limen_resources::core::{ConfigMap, Namespace};
use limen_resources::gateway_api::{BackendTlsPolicy, XBackendTrafficPolicy};
use limen_resources::istio::{
    ClientTls, ClientTlsMode, ConnectionPool, DestinationRule, H2UpgradePolicy, HttpPool, LoadBalancer,
    ProxyProtocol, ProxyProtocolVersion, SimpleLb,
};
use limen_resources::{GoDuration, Kind, Object, Problem, Table};

use crate::gateway_api::backend_tls::Attached;
use crate::index::{Index, origin};
use crate::istio::destination_rule::{Block, Merged, Policy, Rules};
use crate::istio::{connection_pool, consistent_hash, outlier, warmup};
use crate::locality::Spread;
use crate::memo::{ByValue, Memo, Same, keep};
use crate::merge::{NamedBy, OwnTls, Wanted, WantedClusters, WantedOrder};
use crate::mesh::Mesh;
use crate::messages::{At, destination as messages, gateway_api as messages_of_gateway_api, route};
use crate::origin_tls::OriginTls;
use crate::report::Report;
use crate::services::{PortFacts, Registry, ServiceFacts, ServiceSource};

/// A cluster with what its endpoints are chosen by.
#[derive(Debug, Clone)]
pub(crate) struct ClusterPlan {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) service: Arc<ServiceFacts>,
    pub(crate) port: PortFacts,
    /// The labels of the subset; none: all endpoints.
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    /// What the localities of its endpoints are used for.
    pub(crate) spread: Spread,
    /// It cannot be spoken to as it asks, and so gets no endpoint.
    pub(crate) blocked: bool,
    /// The first that names it.
    pub(crate) by: Arc<NamedBy>,
}

/// What was made before, for sharing.
#[derive(Debug, Default)]
pub(crate) struct ClusterMemo {
    ground: Option<Ground>,
    made: Memo<ClusterKey, Inputs, Made>,
    order: WantedOrder,
}

/// All that clusters are made of besides what names them; settings stay as they are while there is a memo.
#[derive(Debug)]
struct Ground {
    services: Arc<Registry>,
    namespaces: Table<Namespace>,
    rules: Table<DestinationRule>,
    traffic: Table<XBackendTrafficPolicy>,
    policies: Table<BackendTlsPolicy>,
    /// What policies may name.
    config_maps: Table<ConfigMap>,
}

impl Ground {
    fn of(index: &Index<'_>) -> Ground {
        let snapshot = index.snapshot;
        Ground {
            services: Arc::clone(&index.services),
            namespaces: snapshot.namespaces().clone(),
            rules: snapshot.destination_rules().clone(),
            traffic: snapshot.x_backend_traffic_policies().clone(),
            policies: snapshot.backend_tls_policies().clone(),
            config_maps: snapshot.config_maps().clone(),
        }
    }

    fn is_of(&self, index: &Index<'_>) -> bool {
        let snapshot = index.snapshot;
        self.services.same(&index.services)
            && self.namespaces.same(snapshot.namespaces())
            && self.rules.same(snapshot.destination_rules())
            && self.traffic.same(snapshot.x_backend_traffic_policies())
            && self.policies.same(snapshot.backend_tls_policies())
            && (self.policies.is_empty() || self.config_maps.same(snapshot.config_maps()))
    }
}

/// What a cluster in clear text depends on, besides settings and namespaces.
#[derive(Debug)]
struct Inputs {
    service: Arc<ServiceFacts>,
    /// The first; all, if there may be something to say to them.
    by: Vec<Arc<NamedBy>>,
    instance: ByValue<usize>,
    rules: Vec<Arc<Object<DestinationRule>>>,
    /// The one in force, if there is one.
    traffic: Vec<Arc<Object<XBackendTrafficPolicy>>>,
}

impl Same for Inputs {
    fn same(&self, other: &Inputs) -> bool {
        let by = |(a, b): (&Arc<NamedBy>, &Arc<NamedBy>)| a.same(b) || NamedBy::same(a, b);
        self.service.same(&other.service)
            && self.instance.same(&other.instance)
            && self.rules.same(&other.rules)
            && self.traffic.same(&other.traffic)
            && self.by.len() == other.by.len()
            && self.by.iter().zip(&other.by).all(by)
    }
}

/// A cluster, and what is wrong with it.
#[derive(Debug, Clone)]
struct Made {
    plan: Option<Arc<ClusterPlan>>,
    problems: Arc<[Problem]>,
    /// Is it spoken to in clear text, so that it depends on its inputs only?
    clear: bool,
}

/// All clusters that are `wanted` and exist, in the order of their keys. `last`: those of the run before, for sharing.
pub(crate) fn clusters(
    index: &Index<'_>,
    wanted: WantedClusters,
    (memo, last): (&mut ClusterMemo, &[Arc<ClusterPlan>]),
    files: &mut BTreeSet<String>,
    report: &mut Report,
) -> Vec<Arc<ClusterPlan>> {
    let ground = memo.ground.take();
    if !ground.as_ref().is_some_and(|ground| ground.namespaces.same(index.snapshot.namespaces())) {
        *memo = ClusterMemo::default();
    }
    let firm = ground.is_some_and(|ground| ground.is_of(index));
    memo.ground = Some(Ground::of(index));
    let wanted = wanted.into_sorted(&mut memo.order);
    let mut plans = Vec::with_capacity(last.len());
    for all in wanted.chunk_by(|a, b| a.0 == b.0) {
        let Some((key, first)) = all.first() else { continue };
        let Some(gateway) = index.settings.gateways.get(first.instance) else { continue };
        let service = &first.service;
        // With all else as it was, what names it is all that is asked.
        let known = |inputs: &Inputs, made: &Made| {
            let speakers = all.iter().take(inputs.by.len()).map(|(_, wanted)| &wanted.by);
            made.clear
                && first.tls.is_none()
                && inputs.service.same(service)
                && inputs.instance.0 == first.instance
                && (key.subset.is_empty() || inputs.by.len() == all.len())
                && inputs.by.iter().zip(speakers).all(|(a, b)| a.same(b))
        };
        if firm && let Some(made) = memo.made.known(key, known) {
            report.problems(&*made.problems);
            plans.extend(made.plan.clone());
            continue;
        }
        let rules = index.rules.find(&service.host, &service.namespace, &gateway.labels);
        let speakers = if key.subset.is_empty() { 1 } else { all.len() };
        let inputs = Inputs {
            service: Arc::clone(service),
            by: all.iter().take(speakers).map(|(_, wanted)| Arc::clone(&wanted.by)).collect(),
            instance: ByValue(first.instance),
            rules: rules.map(Merged::objects).unwrap_or_default(),
            traffic: index.traffic.find(service).into_iter().cloned().collect(),
        };
        let policy =
            || service.port(key.port).is_some_and(|port| index.backend_tls.find(service, &port).is_some());
        let clear = first.tls.is_none() && !in_the_mesh(index, service) && !policy();
        let make = |inputs: &Inputs| {
            let at = last.binary_search_by(|plan| plan.cluster.key.cmp(key)).ok();
            let last = at.and_then(|at| last.get(at)).map(|plan| &**plan);
            let mut report = Report::default();
            let plan = cluster(index, (key, first, rules), (&inputs.by, last), (files, &mut report));
            let clear = clear && plan.as_ref().is_none_or(|plan| plan.cluster.tls.is_none());
            Made { plan: plan.map(Arc::new), problems: report.into_problems().into(), clear }
        };
        let made = memo.made.get_if(key.clone(), inputs, |made| clear && made.clear, make);
        report.problems(&*made.problems);
        plans.extend(made.plan);
    }
    memo.made.turn();
    plans
}

fn cluster(
    index: &Index<'_>,
    (key, wanted, rules): (&ClusterKey, &Wanted, Option<&Merged<'_>>),
    (by, last): (&[Arc<NamedBy>], Option<&ClusterPlan>),
    (files, report): (&mut BTreeSet<String>, &mut Report),
) -> Option<ClusterPlan> {
    let first = by.first()?;
    let Wanted { service, by: _, instance: _, tls: own, identity } = wanted;
    let port = if key.datagrams { service.datagram_port(key.port) } else { service.port(key.port) }?;
    let protocol = port.protocol.unwrap_or(Protocol::Udp);
    let subset = match (&*key.subset, rules) {
        ("", _) => None,
        (name, rules) => match rules.and_then(|rules| rules.subset(name)) {
            Some(subset) => Some(subset),
            None => {
                say_unknown_subset(key, rules, by, report);
                return None;
            }
        },
    };
    say_waypoint(index, service, report);
    let mesh = &index.settings.mesh;
    let mut policy =
        rules.map_or_else(|| Policy::of_mesh(mesh), |rules| rules.policy(key.port, subset, mesh));
    // What clients have encrypted already is not encrypted again, and has no PROXY header put in front (Istio). There is
    // neither for datagrams.
    let as_it_is = key.by_server_name || key.datagrams;
    let attached = index.backend_tls.find(service, &port).filter(|_| !as_it_is && own.is_none());
    if let Some(OwnTls { said, field }) = own {
        policy.tls = Some(first.block_at(field.clone(), said));
    }
    let tls = match (as_it_is, &service.source) {
        (true, _) => None,
        (false, ServiceSource::XBackend(object)) => index.x_backends.tls(&object.key),
        (false, _) => tls((index, service), key, (&policy, attached), first, (files, &mut *report)),
    };
    let tls = tls.map(|tls| {
        if attached.is_some() && policy.tls.is_none() { shown(tls, key, identity.clone()) } else { tls }
    });
    let mut reader = Reader { report, blocked: false, mesh };
    let (balance, mut connection) = (reader.balance(&policy), reader.connection(&policy, protocol));
    // What DestinationRules say of retries goes before it.
    connection.max_retries = connection.max_retries.or_else(|| index.traffic.retries(service));
    if key.http2 {
        connection.http = HttpVersion::Http2;
    }
    connection.proxy_protocol = connection.proxy_protocol.filter(|_| !as_it_is);
    let locality = policy.load_balancer.as_ref().and_then(|block| block.said.locality_lb_setting.as_ref());
    let distribution = distribution(index, service);
    let spread = Spread::of(locality, distribution, mesh.locality(), policy.outlier_detection.is_some());
    let warmup = policy.load_balancer.as_ref().and_then(|block| warmup::warmup(block.said));
    let outlier = policy.outlier_detection.as_ref().map(|block| outlier::detection(block.said));
    reader.rest(&policy);
    let blocked = reader.blocked;
    let shaping = subset.map(|(rule, at, _)| origin(&rule.key, format!("spec.subsets[{at}]")));
    let cluster = Cluster {
        key: key.clone(),
        service: ServiceLabels {
            host: service.host.clone(),
            name: service.name.clone(),
            namespace: service.namespace.clone(),
        },
        external: service.external,
        protocol,
        balance,
        connection,
        tls,
        warmup,
        outlier,
        keeps_connections: service.first_address_only(),
        origin: service.origin.clone(),
        policy_origin: shaping
            .or_else(|| rules?.first().map(|rule| origin(&rule.key, String::new())))
            .or_else(|| attached.map(Attached::origin)),
    };
    let labels = subset.map(|(_, _, subset)| subset.labels.clone()).unwrap_or_default();
    Some(ClusterPlan {
        cluster: keep(last.map(|last| &last.cluster), cluster),
        labels: keep(last.map(|last| &last.labels), labels),
        service: Arc::clone(service),
        port,
        spread,
        blocked,
        by: Arc::clone(first),
    })
}

/// How a service is spoken to in TLS: as a rule says, else as a policy says, else as the mesh does of itself.
fn tls(
    (index, service): (&Index<'_>, &ServiceFacts),
    key: &ClusterKey,
    (policy, attached): (&Policy<'_>, Option<&Attached>),
    by: &NamedBy,
    (files, report): (&mut BTreeSet<String>, &mut Report),
) -> Option<limen_ir::tls::ClientTls> {
    if let Some(block) = &policy.tls {
        if let Some(attached) = attached {
            report.problem(messages_of_gateway_api::overruled(attached.at(), block.key));
        }
        let reader = OriginTls { index, block, files, report };
        return reader.read(key, index.services.names_of_certificate(service));
    }
    if let Some(attached) = attached {
        return Some(attached.tls.clone());
    }
    if !in_the_mesh(index, service) {
        return None;
    }
    let said = ClientTls { mode: ClientTlsMode::IstioMutual, ..ClientTls::default() };
    let block = by.block(&said);
    let mut reader = OriginTls { index, block: &block, files, report };
    Some(reader.in_the_mesh(key, MeshTls::Speakers))
}

/// Does the mesh speak TLS to a service of itself?
fn in_the_mesh(index: &Index<'_>, service: &ServiceFacts) -> bool {
    index.settings.mesh.auto_mtls() && index.settings.identity.is_some() && !service.external
}

/// The same with the certificate that a Gateway shows. One that is named and cannot be used is not left out in silence: no
/// connection is made.
fn shown(
    tls: limen_ir::tls::ClientTls,
    key: &ClusterKey,
    identity: Option<Arc<Certificate>>,
) -> limen_ir::tls::ClientTls {
    let missing = !key.gateway.is_empty() && identity.is_none();
    limen_ir::tls::ClientTls { trust: tls.trust.filter(|_| !missing), identity, ..tls }
}

/// Says of a Service that gateways are to send its requests to a waypoint that none does. Its namespace may say it, too.
fn say_waypoint(index: &Index<'_>, service: &ServiceFacts, report: &mut Report) {
    let ServiceSource::Kubernetes(service) = &service.source else { return };
    let namespace = index.snapshot.namespaces().get("", &service.key.namespace);
    let label = |name: &str| {
        let of_namespace = || namespace.and_then(|namespace| namespace.meta.labels.get(name));
        service.meta.labels.get(name).or_else(of_namespace).map(String::as_str)
    };
    let waypoint = label("istio.io/use-waypoint").is_some_and(|name| name != "none");
    if waypoint && label("istio.io/ingress-use-waypoint") == Some("true") {
        report.problem(messages::waypoint(At::new(service, "metadata.labels")));
    }
}

/// What a Service, or else its namespace, wishes for: the nearest endpoints, say.
fn distribution<'a>(index: &'a Index<'_>, service: &'a ServiceFacts) -> &'a str {
    const ANNOTATION: &str = "networking.istio.io/traffic-distribution";
    let ServiceSource::Kubernetes(service) = &service.source else { return "" };
    let namespace = index.snapshot.namespaces().get("", &service.key.namespace);
    let annotated =
        |annotations: &'a BTreeMap<String, String>| annotations.get(ANNOTATION).map(String::as_str);
    let written = Some(&*service.spec.traffic_distribution).filter(|written| !written.is_empty());
    written
        .or_else(|| annotated(&service.meta.annotations))
        .or_else(|| annotated(&namespace?.meta.annotations))
        .unwrap_or_default()
}

fn say_unknown_subset(
    key: &ClusterKey,
    rules: Option<&Merged<'_>>,
    by: &[Arc<NamedBy>],
    report: &mut Report,
) {
    let known = Rules::subset_names(rules);
    // What is no route names those that there are for the gateway that it belongs to.
    for by in by.iter().filter(|by| by.route) {
        let NamedBy { object, field, .. } = &**by;
        let field = format!("{field}.subset");
        report.problem(messages::unknown_subset(At::any(object, &field), &key.subset, &key.host, &known));
    }
}

fn version(written: &ProxyProtocol) -> ProxyVersion {
    match written.version {
        ProxyProtocolVersion::V1 => ProxyVersion::V1,
        ProxyProtocolVersion::V2 => ProxyVersion::V2,
    }
}

struct Reader<'a> {
    report: &'a mut Report,
    blocked: bool,
    /// What holds where nothing is written.
    mesh: &'a Mesh,
}

impl Reader<'_> {
    /// A part of a block that is there and does nothing yet.
    fn no_effect<T>(&mut self, block: &Block<'_, T>, part: &str, message: &str) {
        let field = format!("{}{part}", block.field);
        self.report.problem(route::no_effect(block.at(&field), message, ""));
    }

    fn balance(&mut self, policy: &Policy<'_>) -> Balance {
        let Some(block) = &policy.load_balancer else { return Balance::LeastRequest };
        let LoadBalancer {
            simple,
            consistent_hash,
            locality_lb_setting: _,
            zone_aware_lb_setting,
            warmup: _,
            warmup_duration_secs: _,
        } = block.said;
        if zone_aware_lb_setting.is_some() {
            self.no_effect(block, ".zoneAwareLbSetting", "zones are looked at by localityLbSetting only");
        }
        if let Some(hash) = consistent_hash {
            return consistent_hash::balance(hash);
        }
        match simple.unwrap_or_default() {
            SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest => Balance::LeastRequest,
            SimpleLb::Random => Balance::Random,
            SimpleLb::RoundRobin => Balance::RoundRobin,
            SimpleLb::Passthrough => {
                let field = format!("{}.simple", block.field);
                self.report.problem(messages::no_passing_through(block.at(&field)));
                self.blocked = true;
                Balance::LeastRequest
            }
        }
    }

    fn connection(&mut self, policy: &Policy<'_>, protocol: Protocol) -> ConnectionPolicy {
        let mut connection = ConnectionPolicy::istio_default();
        if let Some(timeout) = self.mesh.connect_timeout {
            connection.connect_timeout = timeout;
        }
        if let Some(keepalive) = self.mesh.keepalive() {
            connection_pool::keepalive(keepalive, &mut connection);
        }
        let kept = policy.connection_pool.as_ref().and_then(|block| block.said.http.as_ref());
        let kept = kept.is_some_and(|http| http.h2_upgrade_policy == H2UpgradePolicy::DoNotUpgrade);
        if protocol.is_http2() || self.mesh.upgrades() && protocol == Protocol::Http && !kept {
            connection.http = HttpVersion::Http2;
        }
        if let Some(block) = &policy.connection_pool {
            connection_pool::read(block.said, &mut connection);
            if let Some(http) = &block.said.http {
                self.http2(block, http, &mut connection);
            }
        }
        for block in &policy.whole {
            connection.proxy_protocol =
                block.said.proxy_protocol.as_ref().map(version).or(connection.proxy_protocol);
            if let Some(budget) = &block.said.retry_budget {
                connection.max_retries = Some(connection_pool::budget(budget));
                if budget.budget_interval.is_some_and(|interval| interval != GoDuration::default()) {
                    let message = "requests are counted while they are in flight only";
                    self.no_effect(block, ".retryBudget.budgetInterval", message);
                }
            }
        }
        connection
    }

    /// The version of HTTP, and what is for HTTP/2 only.
    fn http2(
        &mut self,
        block: &Block<'_, ConnectionPool>,
        http: &HttpPool,
        connection: &mut ConnectionPolicy,
    ) {
        if http.use_client_protocol {
            connection.http = HttpVersion::AsClient;
        } else if http.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
            connection.http = HttpVersion::Http2;
        }
        if connection.http != HttpVersion::Http2 && block.key.kind == Kind::MeshConfig {
            // It is meant for those that are.
            return;
        }
        if connection.http != HttpVersion::Http2 {
            let what = "the service is not always spoken to in HTTP/2";
            if http.max_concurrent_streams > 0 {
                self.no_effect(block, ".http.maxConcurrentStreams", what);
            }
            if http.http2_keep_alive.is_some() {
                self.no_effect(block, ".http.http2KeepAlive", what);
            }
            return;
        }
        connection.max_streams = connection_pool::limit(http.max_concurrent_streams);
        connection.keep_alive = http.http2_keep_alive.as_ref().and_then(|wanted| {
            let millis = |duration: GoDuration| Millis::new(duration.millis());
            Some(KeepAlive { interval: millis(wanted.interval?)?, timeout: millis(wanted.timeout?)? })
        });
    }

    /// What is left.
    fn rest(&mut self, policy: &Policy<'_>) {
        for block in &policy.whole {
            if block.said.tunnel.is_some() {
                self.no_effect(block, ".tunnel", "a tunnel is for TCP routes only");
            }
        }
    }
}
