//! What the mesh configuration says to this process, and what the annotations of its gateways' Pods change of it.

use std::sync::Arc;

use limen_ir::access_log::{AccessLog, AccessLogForm, LogTarget};
use limen_ir::atoms::Millis;
use limen_ir::policy::http::HttpPolicy;
use limen_ir::policy::retry::Retry;
use limen_ir::statistics::Statistics;
use limen_resources::core::Pod;
use limen_resources::istio::{
    AccessLogEncoding, ConnectionSettings, DefaultTrafficPolicy, H2UpgradePolicy, LocalityLb,
    MESH_CONFIG_MAP, MESH_FILE, MeshConfig, MeshTls, MeshTlsVersion, PROXY_CONFIG_ANNOTATION, ProxyConfig,
    ProxyOptions, ProxyTracing, STATISTICS_ANNOTATIONS, ServerTls, TcpKeepalive, TlsVersion,
};
use limen_resources::{Object, Problem, Snapshot, Table, parse_proxy_options};

use crate::index::origin;
use crate::ingress::MeshIngress;
use crate::istio::{http_policy, names, retry, statistics as istio_statistics};
use crate::messages::{At, mesh as messages, route};
use crate::settings::{GatewayInstance, Settings};

/// What every mesh has that names no other.
const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// What the mesh configuration means to this process; without one, Istio's defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mesh {
    /// The access log where no provider is named, if anything is said of it.
    pub(crate) access_log: Option<AccessLog>,
    /// Time to connect, where no DestinationRule says otherwise.
    pub(crate) connect_timeout: Option<Millis>,
    /// The longest wait before DNS is asked again for a name that it did not answer for.
    pub(crate) dns_refresh: Option<Millis>,
    /// Retries, where a route has no block of its own.
    pub(crate) retry: Option<Retry>,
    /// `exportTo` of Services and ServiceEntries that have none; none: `*`.
    pub(crate) service_export_to: Vec<String>,
    /// The same for VirtualServices.
    pub(crate) virtual_service_export_to: Vec<String>,
    /// The same for DestinationRules.
    pub(crate) destination_rule_export_to: Vec<String>,
    /// TLS of servers, where they say nothing themselves.
    pub(crate) tls: TlsDefaults,
    /// Which of Envoy's statistics are exposed; `None`: all.
    pub(crate) statistics: Option<Statistics>,
    /// Which Ingresses are served as Istio does.
    pub(crate) ingress: MeshIngress,
    /// The configuration itself, for what it says of clusters.
    config: Option<Arc<Object<MeshConfig>>>,
    /// How HTTP is understood, for each gateway of the process.
    http: Vec<HttpPolicy>,
    /// Whether connections begin with a PROXY header, for each gateway of the process.
    proxy_protocol: Vec<bool>,
    /// How requests are traced where no Telemetry says it, for each gateway of the process.
    traced: Vec<Option<ProxyTraced>>,
    /// Clients' connections that the process may have, for each gateway of the process.
    max_connections: Vec<Option<u32>>,
}

/// What the process's own target stands for.
const STANDARD_OUTPUT: &str = "/dev/stdout";

/// `tlsDefaults`, as far as it is about servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsDefaults {
    /// The lowest version; `Auto`: nothing is said.
    pub(crate) lowest: TlsVersion,
    pub(crate) cipher_suites: Vec<String>,
    pub(crate) ecdh_curves: Vec<String>,
}

impl TlsDefaults {
    fn read(said: Option<&MeshTls>) -> TlsDefaults {
        let Some(MeshTls { min_protocol_version, cipher_suites, ecdh_curves }) = said else {
            return TlsDefaults::default();
        };
        let lowest = match min_protocol_version {
            MeshTlsVersion::Auto => TlsVersion::Auto,
            MeshTlsVersion::V1_2 => TlsVersion::V1_2,
            MeshTlsVersion::V1_3 => TlsVersion::V1_3,
        };
        TlsDefaults { lowest, cipher_suites: cipher_suites.clone(), ecdh_curves: ecdh_curves.clone() }
    }

    /// The settings of a server, completed; what it says itself counts first.
    pub(crate) fn complete(&self, tls: &ServerTls) -> ServerTls {
        let mut tls = tls.clone();
        if tls.min_protocol_version == TlsVersion::Auto && tls.max_protocol_version == TlsVersion::Auto {
            tls.min_protocol_version = self.lowest;
        }
        if tls.cipher_suites.is_empty() {
            tls.cipher_suites.clone_from(&self.cipher_suites);
        }
        if tls.ecdh_curves.is_empty() {
            tls.ecdh_curves.clone_from(&self.ecdh_curves);
        }
        tls
    }
}

impl Mesh {
    /// What every traffic policy begins with, and the object that says so.
    pub(crate) fn default_policy(&self) -> Option<(&Object<MeshConfig>, &DefaultTrafficPolicy)> {
        let config = self.config.as_deref()?;
        Some((config, config.spec.default_traffic_policy.as_ref()?))
    }

    /// What the localities of endpoints are used for where neither rule nor Service says it.
    pub(crate) fn locality(&self) -> Option<&LocalityLb> {
        self.config.as_ref()?.spec.locality_lb_setting.as_ref()
    }

    /// Are endpoints that speak the mesh's TLS spoken to in it where no rule says how?
    pub(crate) fn auto_mtls(&self) -> bool {
        self.config.as_ref().and_then(|config| config.spec.enable_auto_mtls).unwrap_or(true)
    }

    /// The name that accounts of the mesh carry, and others that it goes by.
    pub(crate) fn trust_domains(&self) -> (&str, &[String]) {
        let said = self.config.as_ref().map(|config| &config.spec);
        let named = said.map(|said| &*said.trust_domain).filter(|name| !name.is_empty());
        let aliases = said.map_or(&[][..], |said| &said.trust_domain_aliases);
        (named.unwrap_or(DEFAULT_TRUST_DOMAIN), aliases)
    }

    /// Probes on connections to services, of which a rule may change parts.
    pub(crate) fn keepalive(&self) -> Option<&TcpKeepalive> {
        self.config.as_ref()?.spec.tcp_keepalive.as_ref()
    }

    /// Are ports of HTTP/1.1 spoken to in HTTP/2?
    pub(crate) fn upgrades(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.spec.h2_upgrade_policy == H2UpgradePolicy::Upgrade)
    }

    /// How HTTP is understood by the gateway with this number.
    pub(crate) fn http(&self, instance: usize) -> HttpPolicy {
        self.http.get(instance).cloned().unwrap_or_default()
    }

    /// How requests to the gateway with this number are traced where no Telemetry says it.
    pub(crate) fn traced(&self, instance: usize) -> Option<&ProxyTraced> {
        self.traced.get(instance)?.as_ref()
    }

    /// Do connections to the gateway with this number begin with a PROXY header?
    pub(crate) fn proxy_protocol(&self, instance: usize) -> bool {
        self.proxy_protocol.get(instance).copied().unwrap_or_default()
    }

    /// How many of clients' connections may the process have for the gateway with this number to take another?
    pub(crate) fn max_connections(&self, instance: usize) -> Option<u32> {
        self.max_connections.get(instance).copied().flatten()
    }
}

/// What a gateway's options say of tracing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProxyTraced {
    pub(crate) said: ProxyTracing,
    /// The Pod whose annotation says it; `None`: the mesh does.
    pub(crate) pod: Option<Arc<Object<Pod>>>,
}

impl ProxyTraced {
    /// How many of ten thousand requests are traced, if that is said. Nothing is said by 0, and more than all is 1 of
    /// 100, as in Istio.
    pub(crate) fn sampling(&self) -> Option<u32> {
        match self.said.sampling {
            share if share > 100.0 => Some(100),
            share if share > 0.0 => Some((share * 100.0).round() as u32),
            _ => None,
        }
    }
}

/// What an object exports to: what it says, and if that is nothing, what the mesh says.
pub(crate) fn export_to<'e>(written: &'e [String], default: &'e [String]) -> &'e [String] {
    if written.is_empty() { default } else { written }
}

/// Remembers what was made of the same objects.
#[derive(Debug, Default)]
pub(crate) struct MeshMemo {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    given: Settings,
    mesh_configs: Table<MeshConfig>,
    proxy_configs: Table<ProxyConfig>,
    pods: Table<Pod>,
    made: Arc<(Settings, Vec<Problem>)>,
}

impl MeshMemo {
    /// The settings as the mesh configuration completes them, and what is wrong with it.
    pub(crate) fn complete(
        &mut self,
        snapshot: &Snapshot,
        given: &Settings,
    ) -> Arc<(Settings, Vec<Problem>)> {
        if let Some(last) = &self.last
            && last.given == *given
            && last.mesh_configs.same(snapshot.mesh_configs())
            && last.proxy_configs.same(snapshot.proxy_configs())
            && last.pods.same(snapshot.pods())
        {
            return Arc::clone(&last.made);
        }
        let made = Arc::new(complete(snapshot, given));
        self.last = Some(Last {
            given: given.clone(),
            mesh_configs: snapshot.mesh_configs().clone(),
            proxy_configs: snapshot.proxy_configs().clone(),
            pods: snapshot.pods().clone(),
            made: Arc::clone(&made),
        });
        made
    }
}

fn complete(snapshot: &Snapshot, given: &Settings) -> (Settings, Vec<Problem>) {
    let mut problems = Vec::new();
    let config = choose(snapshot, given, &mut problems);
    let nothing = MeshConfig::default();
    let said = config.map_or(&nothing, |config| &config.spec);
    let mut settings = given.clone();
    if !said.root_namespace.is_empty() {
        settings.root_namespace.clone_from(&said.root_namespace);
    }
    let defaults = said.default_config.clone().unwrap_or_default();
    let mut statistics = None;
    let (mut http, mut proxy_protocol, mut max_connections) = (Vec::new(), Vec::new(), Vec::new());
    let mut traced = Vec::new();
    for instance in &given.gateways {
        let (options, traced_by) = options(snapshot, given, instance, &defaults, &mut problems);
        let pods = snapshot.pods().in_namespace(&given.workload_namespace);
        let pod = pods.into_iter().find(|pod| names::selects(&instance.labels, &pod.meta.labels));
        let says = |pod: &&Arc<Object<Pod>>| {
            let own = [PROXY_CONFIG_ANNOTATION, STATISTICS_ANNOTATIONS[2]];
            own.iter().any(|name| pod.meta.annotations.contains_key(*name))
        };
        let about = pod.filter(says).map(|pod| At::new(pod, "metadata.annotations"));
        let about = about.or_else(|| config.map(|config| At::new(config, "defaultConfig.proxyStatsMatcher")));
        let annotations = pod.map(|pod| &pod.meta.annotations);
        let matcher = options.proxy_stats_matcher.as_ref();
        istio_statistics::add(matcher, annotations, &mut statistics, (about, &mut problems));
        let topology = options.gateway_topology.as_ref();
        traced.push(options.tracing.clone().map(|said| ProxyTraced { said, pod: traced_by }));
        http.push(http_policy::read(said, &options));
        proxy_protocol.push(topology.is_some_and(|topology| topology.proxy_protocol.is_some()));
        let most = options.connection_settings.and_then(|settings| settings.global_connection_limit);
        max_connections.push(most.and_then(|most| u32::try_from(most).ok()));
    }
    let retry = said.default_http_retry_policy.as_ref().zip(config).map(|(policy, config)| {
        let field = "defaultHttpRetryPolicy";
        retry::written(policy, At::new(config, field), field, &mut problems)
    });
    settings.mesh = Mesh {
        access_log: config.and_then(|config| access_log(config, &mut problems)),
        connect_timeout: said.connect_timeout.and_then(|timeout| Millis::new(timeout.millis())),
        dns_refresh: said.dns_refresh_rate.and_then(|rate| Millis::new(rate.millis())),
        retry,
        service_export_to: said.default_service_export_to.clone(),
        virtual_service_export_to: said.default_virtual_service_export_to.clone(),
        destination_rule_export_to: said.default_destination_rule_export_to.clone(),
        tls: TlsDefaults::read(said.tls_defaults.as_ref()),
        http,
        proxy_protocol,
        statistics,
        traced,
        ingress: MeshIngress::read(said),
        config: config.cloned(),
        max_connections,
    };
    if let Some(config) = config {
        say_without_effect(config, &mut problems);
    }
    problems.extend(snapshot.proxy_configs().iter().filter_map(without_use));
    (settings, problems)
}

/// The file given for it, else the ConfigMap of the root namespace.
pub(crate) fn chosen<'s>(snapshot: &'s Snapshot, settings: &Settings) -> Option<&'s Arc<Object<MeshConfig>>> {
    let all = snapshot.mesh_configs();
    all.get("", MESH_FILE).or_else(|| all.get(&settings.root_namespace, MESH_CONFIG_MAP))
}

/// The same, saying of all others that they are not used.
fn choose<'s>(
    snapshot: &'s Snapshot,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Option<&'s Arc<Object<MeshConfig>>> {
    let all = snapshot.mesh_configs();
    let root = &*settings.root_namespace;
    let chosen = chosen(snapshot, settings);
    for other in all.iter().filter(|other| !chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, other))) {
        problems.push(messages::not_used(At::new(other, ""), root, chosen.map(|chosen| &chosen.key)));
    }
    chosen
}

/// What holds for one gateway: the annotation of its Pod, field by field, over the defaults of the mesh. With the Pod, if
/// its annotation says how requests are traced.
fn options(
    snapshot: &Snapshot,
    settings: &Settings,
    instance: &GatewayInstance,
    defaults: &ProxyOptions,
    problems: &mut Vec<Problem>,
) -> (ProxyOptions, Option<Arc<Object<Pod>>>) {
    let (mut options, mut traced_by) = (defaults.clone(), None);
    let pods = snapshot.pods().in_namespace(&settings.workload_namespace);
    let own = pods.filter_map(|pod| Some((pod, pod.meta.annotations.get(PROXY_CONFIG_ANNOTATION)?)));
    let Some((pod, text)) =
        own.into_iter().find(|(pod, _)| names::selects(&instance.labels, &pod.meta.labels))
    else {
        return (options, None);
    };
    match parse_proxy_options(text, &pod.key, &pod.source) {
        Ok((said_there, said)) => {
            let ProxyOptions {
                gateway_topology,
                proxy_headers,
                connection_settings,
                proxy_stats_matcher,
                tracing,
                concurrency,
            } = said_there;
            traced_by = tracing.is_some().then(|| Arc::clone(pod));
            options.tracing = tracing.or(options.tracing);
            let at = || At::new(pod, "metadata.annotations");
            for (field, why) in settings_without_effect(&connection_settings) {
                let message = format!("connectionSettings.{field} of {PROXY_CONFIG_ANNOTATION}: {why}");
                problems.push(route::no_effect(at(), &message, ""));
            }
            if concurrency.is_some() {
                let message = format!("concurrency of {PROXY_CONFIG_ANNOTATION}: {THREADS}");
                problems.push(route::no_effect(at(), &message, "start with --workers"));
            }
            options.gateway_topology = gateway_topology.or(options.gateway_topology);
            options.proxy_headers = proxy_headers.or(options.proxy_headers);
            options.connection_settings = connection_settings.or(options.connection_settings);
            options.proxy_stats_matcher = proxy_stats_matcher.or(options.proxy_stats_matcher);
            problems.extend(said);
        }
        Err(said) => problems.extend(said),
    }
    (options, traced_by)
}

/// The access log where no provider is named. Whether there is one is the process's to say.
fn access_log(config: &Arc<Object<MeshConfig>>, problems: &mut Vec<Problem>) -> Option<AccessLog> {
    let MeshConfig {
        access_log_file: file, access_log_format: format, access_log_encoding: encoding, ..
    } = &config.spec;
    let mut format = Some(format.clone()).filter(|format| !format.is_empty());
    let json = *encoding == AccessLogEncoding::Json;
    if !json && format.is_none() && file.is_empty() {
        return None;
    }
    let is_object =
        |text: &String| serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| value.is_object());
    if json && format.as_ref().is_some_and(|text| !is_object(text)) {
        problems.push(messages::no_json_object(At::new(config, "accessLogFormat")));
        format = None;
    }
    let form = match (format, json) {
        (None, false) => AccessLogForm::IstioText,
        (None, true) => AccessLogForm::IstioJson,
        (Some(format), false) => AccessLogForm::Text(format),
        (Some(format), true) => AccessLogForm::Json(format),
    };
    let field = match (&*config.spec.access_log_format, json) {
        ("", false) => "accessLogFile",
        ("", true) => "accessLogEncoding",
        _ => "accessLogFormat",
    };
    let origin = origin(&config.key, field.to_owned());
    Some(AccessLog { target: target(file), form, omit_empty: false, own: false, filter: None, origin })
}

/// Where a log goes that is to be written to this path.
pub(crate) fn target(path: &str) -> LogTarget {
    match path {
        "" | STANDARD_OUTPUT => LogTarget::Process,
        path => LogTarget::File(path.to_owned()),
    }
}

const THREADS: &str = "the number of threads is decided at the start";

/// Fields that mean nothing here, and why.
fn settings_without_effect(
    settings: &Option<ConnectionSettings>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    const BUFFERS: &str =
        "buffers have sizes of their own: 16 KiB, and up to 256 KiB while a large body streams";
    let written = settings.as_ref().map(|settings| {
        [
            (settings.listener_buffer_bytes.is_some(), "listenerPerConnectionBufferLimitBytes", BUFFERS),
            (settings.cluster_buffer_bytes.is_some(), "clusterPerConnectionBufferLimitBytes", BUFFERS),
            (
                settings.http_drain_timeout.is_some(),
                "httpDrainTimeout",
                "a connection that is told to go is closed when its last request has ended; --drain bounds it at the end",
            ),
            (
                settings.listener_connection_limit.is_some(),
                "listenerConnectionLimit",
                "connections are counted over all listeners, by globalDownstreamConnectionLimit",
            ),
        ]
    });
    written.into_iter().flatten().filter(|(written, ..)| *written).map(|(_, field, why)| (field, why))
}

fn say_without_effect(config: &Arc<Object<MeshConfig>>, problems: &mut Vec<Problem>) {
    let said = &config.spec;
    let options = said.default_config.clone().unwrap_or_default();
    for (field, why) in settings_without_effect(&options.connection_settings) {
        let field = format!("defaultConfig.connectionSettings.{field}");
        problems.push(route::no_effect(At::new(config, &field), why, ""));
    }
    if options.concurrency.is_some() {
        let at = At::new(config, "defaultConfig.concurrency");
        problems.push(route::no_effect(at, THREADS, "start with --workers"));
    }
    for (written, field, message) in [
        (
            said.verify_certificate_at_client == Some(false),
            "verifyCertificateAtClient",
            "certificates of services are verified unless a DestinationRule says insecureSkipVerify",
        ),
        (
            said.ca_certificates.is_some(),
            "caCertificates",
            "the mesh's authorities are those of --identity-ca",
        ),
        (said.mesh_mtls.is_some(), "meshMTLS", "TLS in the mesh has versions and suites of its own"),
        (
            said.zone_aware_lb_setting.is_some(),
            "zoneAwareLbSetting",
            "zones are looked at by localityLbSetting only",
        ),
        (said.discovery_selectors.is_some(), "discoverySelectors", "all namespaces that are read count"),
        (
            said.service_entry_visibility.is_some(),
            "serviceEntryVisibility",
            "exportTo decides who sees a ServiceEntry",
        ),
        (
            said.outbound_cluster_stat_name.is_some(),
            "outboundClusterStatName",
            "metrics name services by their labels",
        ),
    ] {
        if written {
            problems.push(route::no_effect(At::new(config, field), message, ""));
        }
    }
}

/// Nothing of the kind concerns traffic but the number of threads, which is decided at the start.
fn without_use(object: &Arc<Object<ProxyConfig>>) -> Option<Problem> {
    let at = At::new(object, "spec.concurrency");
    object.spec.concurrency.is_some().then(|| route::no_effect(at, THREADS, "start with --workers"))
}
