//! `MeshConfig`: what holds for the whole mesh, of which a gateway obeys a part.
//!
//! It is no Kubernetes object: it stands in the ConfigMap `istio` under `mesh`, or in a file of its own.

use super::provider::{DefaultProviders, ExtensionProvider};
use super::proxy_config::ProxyOptions;
use super::traffic_policy::{ConnectionPool, H2UpgradePolicy, LocalityLb, OutlierDetection, TcpKeepalive};
use super::virtual_service::Retries;
use crate::decode::{Json, spec, words};
use crate::duration::GoDuration;

/// The ConfigMap that holds the mesh configuration, and the name of the object made from it.
pub const MESH_CONFIG_MAP: &str = "istio";
/// The key in it.
pub const MESH_KEY: &str = "mesh";
/// The name of the object that a file given for the purpose makes.
pub const MESH_FILE: &str = "--mesh-config";

spec! {
    /// The mesh configuration, as far as a gateway obeys it.
    pub struct MeshConfig {
        /// The namespace of mesh-wide objects.
        "rootNamespace" => root_namespace: String,
        /// How paths are spelt before anything looks at them.
        "pathNormalization" => path_normalization: Option<PathNormalization>,
        /// Where the access log goes; empty: nowhere in Istio.
        "accessLogFile" => access_log_file: String,
        /// Its format; empty: the default one of the encoding.
        "accessLogFormat" => access_log_format: String,
        /// Text or JSON.
        "accessLogEncoding" => access_log_encoding: AccessLogEncoding,
        /// Time to connect to a service.
        "connectTimeout" => connect_timeout: Option<GoDuration>,
        /// Probes on connections to services.
        "tcpKeepalive" => tcp_keepalive: Option<TcpKeepalive>,
        /// `exportTo` of Services and ServiceEntries that have none.
        "defaultServiceExportTo" => default_service_export_to: Vec<String>,
        /// `exportTo` of VirtualServices that have none.
        "defaultVirtualServiceExportTo" => default_virtual_service_export_to: Vec<String>,
        /// `exportTo` of DestinationRules that have none.
        "defaultDestinationRuleExportTo" => default_destination_rule_export_to: Vec<String>,
        /// Connections and outlier detection where no DestinationRule says otherwise, block by block.
        "defaultTrafficPolicy" => default_traffic_policy: Option<DefaultTrafficPolicy>,
        /// Balancing by locality where no DestinationRule says otherwise.
        "localityLbSetting" => locality_lb_setting: Option<LocalityLb>,
        /// How often a name is asked for again that could not be resolved.
        "dnsRefreshRate" => dns_refresh_rate: Option<GoDuration>,
        /// Whether HTTP/1.1 services are spoken to in HTTP/2.
        "h2UpgradePolicy" => h2_upgrade_policy: H2UpgradePolicy,
        /// Retries where a route has no block of its own.
        "defaultHttpRetryPolicy" => default_http_retry_policy: Option<Retries>,
        /// Versions, suites and curves where nothing else is written.
        "tlsDefaults" => tls_defaults: Option<MeshTls>,
        /// The domain of workloads' identities.
        "trustDomain" => trust_domain: String,
        /// Other names of it.
        "trustDomainAliases" => trust_domain_aliases: Vec<String>,
        /// Who can be told of traffic.
        "extensionProviders" => extension_providers: Vec<ExtensionProvider>,
        /// Who is told of it where nothing else is said.
        "defaultProviders" => default_providers: Option<DefaultProviders>,
        /// Spans are sent where a provider is named.
        "enableTracing" => enable_tracing: Option<bool>,
        /// Whether endpoints that speak the mesh's TLS are spoken to in it without being asked; default true.
        "enableAutoMtls" => enable_auto_mtls: Option<bool>,
        /// Whether the certificates of services are verified where no authority is named; default true.
        "verifyCertificateAtClient" => verify_certificate_at_client: Option<bool>,
        /// Authorities of the mesh.
        "caCertificates" => ca_certificates: Option<Json>,
        /// Namespaces that count.
        "discoverySelectors" => discovery_selectors: Option<Json>,
        /// TLS between workloads of the mesh.
        "meshMTLS" => mesh_mtls: Option<Json>,
        /// How metrics name clusters.
        "outboundClusterStatName" => outbound_cluster_stat_name: Option<Json>,
        /// Who sees ServiceEntries.
        "serviceEntryVisibility" => service_entry_visibility: Option<Json>,
        /// Balancing by zone.
        "zoneAwareLbSetting" => zone_aware_lb_setting: Option<Json>,
        /// Which Ingresses are taken as Istio does.
        "ingressControllerMode" => ingress_controller_mode: IngressControllerMode,
        /// The class of those; empty: `istio`.
        "ingressClass" => ingress_class: String,
        /// The Service whose addresses they have; empty: `istio-ingressgateway`.
        "ingressService" => ingress_service: String,
        /// The value of the label `istio` of the gateways that serve them; empty: `ingressgateway`.
        "ingressSelector" => ingress_selector: String,
        /// What holds for every proxy.
        "defaultConfig" => default_config: Option<ProxyOptions>,
    }
    also [
        "authPolicy", "ca", "certificates", "configSources", "defaultInboundHttpRetryPolicy",
        "disableEnvoyListenerLog", "enableEnvoyAccessLogService", "enablePrometheusMerge",
        "hboneIdleTimeout", "inboundClusterStatName", "inboundTrafficPolicy", "outboundTrafficPolicy",
        "protocolDetectionTimeout", "proxyHttpPort", "proxyInboundListenPort", "proxyListenPort",
        "serviceSettings", "thriftConfig",
    ]
}

words! {
    /// Which Ingresses Istio takes.
    pub enum IngressControllerMode {
        /// Nothing is said: as STRICT.
        Unspecified = "UNSPECIFIED",
        /// None.
        Off = "OFF",
        /// Those of its class, and those of no class.
        Default = "DEFAULT",
        /// Those of its class.
        Strict = "STRICT",
    }
}

spec! {
    /// What a traffic policy begins with.
    pub struct DefaultTrafficPolicy {
        /// Connections and their limits.
        "connectionPool" => connection_pool: Option<ConnectionPool>,
        /// When an endpoint is left out.
        "outlierDetection" => outlier_detection: Option<OutlierDetection>,
    }
}

spec! {
    /// How paths are spelt.
    pub struct PathNormalization {
        /// Which changes are made.
        "normalization" => normalization: Normalization,
    }
}

words! {
    /// The changes that are made to a path.
    pub enum Normalization {
        /// The default, which is BASE.
        Default = "DEFAULT",
        /// None.
        None = "NONE",
        /// Dot segments, backslashes, escapes that need not be.
        Base = "BASE",
        /// And slashes in a row become one.
        MergeSlashes = "MERGE_SLASHES",
        /// And escaped slashes are slashes.
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }
}

words! {
    /// The form of the access log.
    pub enum AccessLogEncoding {
        /// A line with command operators.
        Text = "TEXT",
        /// A JSON object with command operators.
        Json = "JSON",
    }
}

spec! {
    /// TLS settings of the mesh.
    pub struct MeshTls {
        /// The lowest version.
        "minProtocolVersion" => min_protocol_version: MeshTlsVersion,
        /// Suites of TLS 1.2.
        "cipherSuites" => cipher_suites: Vec<String>,
        /// Curves of the key exchange.
        "ecdhCurves" => ecdh_curves: Vec<String>,
    }
}

words! {
    /// Versions of TLS.
    pub enum MeshTlsVersion {
        /// The default.
        Auto = "TLS_AUTO",
        /// 1.2
        V1_2 = "TLSV1_2",
        /// 1.3
        V1_3 = "TLSV1_3",
    }
}
