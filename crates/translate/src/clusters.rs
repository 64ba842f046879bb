//! Clusters: for each destination that routes name, how its service is spoken to.
//!
//! Istio gives a gateway the clusters of all services that it sees. Only those that a route names can ever be used, so
//! only they are made here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::atoms::Millis;
use limen_ir::cluster::{
    Balance, Cluster, ClusterKey, ConnectionPolicy, HttpVersion, KeepAlive, Protocol, ServiceLabels,
};
use limen_resources::istio::{
    ConnectionPool, H2UpgradePolicy, HttpPool, LoadBalancer, SimpleLb, TcpPool, TrafficPolicy, VirtualService,
};
use limen_resources::{GoDuration, Object};

use crate::index::{Index, origin};
use crate::istio::destination_rule::{Block, Merged, Policy, Rules};
use crate::istio::outlier;
use crate::memo::{Walk, keep};
use crate::merge::{Wanted, WantedClusters};
use crate::messages::{At, destination as messages, route};
use crate::origin_tls::OriginTls;
use crate::report::Report;
use crate::services::{PortFacts, ServiceFacts};

/// A cluster with what its endpoints are chosen by.
#[derive(Debug, Clone)]
pub(crate) struct ClusterPlan {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) service: Arc<ServiceFacts>,
    pub(crate) port: PortFacts,
    /// The labels of the subset; none: all endpoints.
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    /// It cannot be spoken to as it asks, and so gets no endpoint.
    pub(crate) blocked: bool,
    /// The first destination that names it.
    pub(crate) by: (Arc<Object<VirtualService>>, String),
}

/// All clusters that are `wanted` and exist. `last`: those of the run before, for sharing.
pub(crate) fn clusters(
    index: &Index<'_>,
    wanted: WantedClusters,
    last: &BTreeMap<ClusterKey, ClusterPlan>,
    files: &mut BTreeSet<String>,
    report: &mut Report,
) -> BTreeMap<ClusterKey, ClusterPlan> {
    let mut last = Walk::along(last);
    let plans = wanted.into_sorted().into_iter().filter_map(|(key, wanted)| {
        let plan = cluster(index, &key, wanted, last.find(&key), (&mut *files, &mut *report))?;
        Some((key, plan))
    });
    plans.collect()
}

fn cluster(
    index: &Index<'_>,
    key: &ClusterKey,
    wanted: Wanted,
    last: Option<&ClusterPlan>,
    (files, report): (&mut BTreeSet<String>, &mut Report),
) -> Option<ClusterPlan> {
    let Wanted { service, by, instance } = wanted;
    let port = service.port(key.port)?;
    let protocol = port.protocol?;
    let instance = index.settings.gateways.get(instance)?;
    let rules = index.rules.find(&service.host, &service.namespace, &instance.labels);
    let subset = match (&*key.subset, rules) {
        ("", _) => None,
        (name, rules) => match rules.and_then(|rules| rules.subset(name)) {
            Some(subset) => Some(subset),
            None => {
                say_unknown_subset(key, rules, &by, report);
                return None;
            }
        },
    };
    let policy = rules.map(|rules| rules.policy(key.port, subset)).unwrap_or_default();
    let tls = policy.tls.as_ref().and_then(|block| {
        let reader = OriginTls { index, block, files, report: &mut *report };
        reader.read(service.names_of_certificate())
    });
    let http = by.iter().any(|(_, field)| field.starts_with("spec.http"));
    let connect_timeout = index.settings.mesh.connect_timeout;
    let mut reader = Reader { report, blocked: false, http, connect_timeout };
    let (balance, connection) = (reader.balance(&policy), reader.connection(&policy, protocol));
    let outlier = policy.outlier_detection.as_ref().map(|block| outlier::detection(block.said));
    reader.rest(&policy);
    let blocked = reader.blocked;
    let by = by.into_iter().next()?;
    let shaping = subset.map(|(rule, at, _)| origin(&rule.key, format!("spec.subsets[{at}]")));
    let cluster = Cluster {
        key: key.clone(),
        service: ServiceLabels {
            host: service.host.clone(),
            name: service.name.clone(),
            namespace: service.namespace.clone(),
        },
        protocol,
        balance,
        connection,
        tls,
        outlier,
        keeps_connections: service.first_address_only(),
        origin: service.origin.clone(),
        policy_origin: shaping.or_else(|| rules?.first().map(|rule| origin(&rule.key, String::new()))),
    };
    let labels = subset.map(|(_, _, subset)| subset.labels.clone()).unwrap_or_default();
    Some(ClusterPlan {
        cluster: keep(last.map(|last| &last.cluster), cluster),
        labels: keep(last.map(|last| &last.labels), labels),
        service,
        port,
        blocked,
        by,
    })
}

fn say_unknown_subset(
    key: &ClusterKey,
    rules: Option<&Merged<'_>>,
    by: &[(Arc<Object<VirtualService>>, String)],
    report: &mut Report,
) {
    let known = Rules::subset_names(rules);
    for (object, field) in by {
        let field = format!("{field}.subset");
        report.problem(messages::unknown_subset(At::new(object, &field), &key.subset, &key.host, &known));
    }
}

struct Reader<'a> {
    report: &'a mut Report,
    blocked: bool,
    /// HTTP routes name the cluster.
    http: bool,
    /// What the mesh says.
    connect_timeout: Option<Millis>,
}

impl Reader<'_> {
    /// A part of a block that is there and does nothing yet.
    fn no_effect<T>(&mut self, block: &Block<'_, T>, part: &str, message: &str) {
        let field = format!("{}{part}", block.field);
        self.report.problem(route::no_effect(At::new(block.rule, &field), message, ""));
    }

    fn block<T>(&mut self, block: &Block<'_, T>, part: &str, what: &str) {
        let field = format!("{}{part}", block.field);
        self.report.problem(messages::blocked(At::new(block.rule, &field), what));
        self.blocked = true;
    }

    fn balance(&mut self, policy: &Policy<'_>) -> Balance {
        let Some(block) = &policy.load_balancer else { return Balance::LeastRequest };
        let LoadBalancer {
            simple,
            consistent_hash,
            locality_lb_setting,
            zone_aware_lb_setting,
            warmup,
            warmup_duration_secs,
        } = block.said;
        if consistent_hash.is_some() {
            let field = format!("{}.consistentHash", block.field);
            let message = "clients are not kept on one endpoint yet: LEAST_REQUEST is used";
            let problem = route::not_served(At::new(block.rule, &field), message, "use loadBalancer.simple");
            self.report.problem(problem);
        }
        if locality_lb_setting.is_some() || zone_aware_lb_setting.is_some() {
            self.no_effect(block, "", "localities are not looked at yet");
        }
        if warmup.is_some() || warmup_duration_secs.is_some() {
            self.no_effect(block, "", "new endpoints are not warmed up yet");
        }
        match simple.unwrap_or_default() {
            SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest => Balance::LeastRequest,
            SimpleLb::Random => Balance::Random,
            SimpleLb::RoundRobin => Balance::RoundRobin,
            SimpleLb::Passthrough => {
                self.no_effect(
                    block,
                    ".simple",
                    "a gateway has no original destination: LEAST_REQUEST is used",
                );
                Balance::LeastRequest
            }
        }
    }

    fn connection(&mut self, policy: &Policy<'_>, protocol: Protocol) -> ConnectionPolicy {
        let mut connection = ConnectionPolicy::istio_default();
        if let Some(timeout) = self.connect_timeout {
            connection.connect_timeout = timeout;
        }
        if protocol.is_http2() {
            connection.http = HttpVersion::Http2;
        }
        let Some(block) = &policy.connection_pool else { return connection };
        let ConnectionPool { tcp, http } = block.said;
        // An idle time of HTTP counts before one of TCP; 0 turns it off.
        let idle = http.as_ref().and_then(|http| http.idle_timeout).or_else(|| tcp.as_ref()?.idle_timeout);
        if let Some(idle) = idle {
            connection.idle_timeout = Millis::new(idle.millis());
        }
        if let Some(tcp) = tcp {
            let TcpPool { max_connections, connect_timeout, tcp_keepalive, max_connection_duration, .. } =
                tcp;
            connection.max_connections = limit(*max_connections);
            if let Some(timeout) = connect_timeout.and_then(|timeout| Millis::new(timeout.millis())) {
                connection.connect_timeout = timeout;
            }
            if tcp_keepalive.is_some() {
                self.no_effect(block, ".tcp.tcpKeepalive", "idle connections are not probed yet");
            }
            if max_connection_duration.is_some() {
                self.no_effect(block, ".tcp.maxConnectionDuration", "connections have no longest life yet");
            }
        }
        if let Some(http) = http {
            connection.max_requests = limit(http.max_requests_per_connection);
            connection.max_active_requests = limit(http.http2_max_requests);
            self.http2(block, http, &mut connection);
            for (written, part, message) in [
                (
                    http.http1_max_pending_requests > 0,
                    ".http.http1MaxPendingRequests",
                    "waiting requests have no limit yet",
                ),
                (http.max_retries > 0, ".http.maxRetries", "retries have no limit of their own yet"),
            ] {
                if written {
                    self.no_effect(block, part, message);
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
        connection.max_streams = limit(http.max_concurrent_streams);
        connection.keep_alive = http.http2_keep_alive.as_ref().and_then(|wanted| {
            let millis = |duration: GoDuration| Millis::new(duration.millis());
            Some(KeepAlive { interval: millis(wanted.interval?)?, timeout: millis(wanted.timeout?)? })
        });
    }

    /// What is left, and changes how a connection begins.
    fn rest(&mut self, policy: &Policy<'_>) {
        for block in &policy.whole {
            let TrafficPolicy { tunnel, proxy_protocol, retry_budget, .. } = block.said;
            // Routes of connections have it from their own draft.
            if proxy_protocol.is_some() && self.http {
                self.block(block, ".proxyProtocol", "a PROXY header in front of HTTP");
            }
            if tunnel.is_some() {
                self.no_effect(block, ".tunnel", "a tunnel is for TCP routes only");
            }
            if retry_budget.is_some() {
                self.no_effect(block, ".retryBudget", "retries have no budget yet");
            }
        }
    }
}

/// 0 is no limit.
fn limit(written: u32) -> Option<u32> {
    (written > 0).then_some(written)
}
