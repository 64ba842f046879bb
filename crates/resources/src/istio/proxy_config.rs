//! `ProxyConfig`: what holds for one proxy. In the mesh configuration (`defaultConfig`) and in the annotation
//! `proxy.istio.io/config` it is [`ProxyOptions`]; the kind of that name holds little of it.

use std::collections::BTreeMap;

use super::destination_rule::WorkloadSelector;
use super::provider::Opaque;
use super::telemetry::CustomTag;
use super::traffic_policy::ClientTls;
use crate::decode::{spec, words};
use crate::duration::GoDuration;

/// The annotation of a Pod that overrides `defaultConfig`, field by field at the top.
pub const PROXY_CONFIG_ANNOTATION: &str = "proxy.istio.io/config";

spec! {
    /// `networking.istio.io` `ProxyConfig`.
    pub struct ProxyConfig {
        /// The workloads it is for; none: all of its namespace.
        "selector" => selector: Option<WorkloadSelector>,
        /// Threads; 0: as many as there are cores.
        "concurrency" => concurrency: Option<i32>,
        /// Variables of Istio's proxy.
        "environmentVariables" => environment_variables: BTreeMap<String, String>,
        /// The image of Istio's proxy.
        "image" => image: Option<ProxyImage>,
    }
}

spec! {
    /// Which image of Istio's proxy is used.
    pub struct ProxyImage {
        /// `default`, `debug` or `distroless`.
        "imageType" => image_type: String,
    }
}

spec! {
    /// What holds for a proxy, as far as a gateway obeys it.
    pub struct ProxyOptions {
        /// What stands in front of the gateway.
        "gatewayTopology" => gateway_topology: Option<GatewayTopology>,
        /// Header lines that the proxy adds.
        "proxyHeaders" => proxy_headers: Option<ProxyHeaders>,
        /// What clients may cost.
        "connectionSettings" => connection_settings: Option<ConnectionSettings>,
        /// Which of Envoy's statistics it exposes besides Istio's.
        "proxyStatsMatcher" => proxy_stats_matcher: Option<ProxyStatsMatcher>,
        /// How requests are traced where no Telemetry says otherwise.
        "tracing" => tracing: Option<ProxyTracing>,
        /// Threads; 0: as many as there are cores.
        "concurrency" => concurrency: Option<i32>,
    }
    also [
        "availabilityZone", "binaryPath", "caCertificatesPem", "configPath", "controlPlaneAuthPolicy",
        "customConfigFile", "discoveryAddress", "drainDuration", "envoyAccessLogService", "envoyMetricsService",
        "envoyMetricsServiceAddress", "extraStatTags", "fileFlushInterval", "fileFlushMinSizeKb",
        "holdApplicationUntilProxyStarts", "image", "interceptionMode", "meshId", "parentShutdownDuration",
        "privateKeyProvider", "proxyAdminPort", "proxyBootstrapTemplatePath", "proxyMetadata",
        "readinessProbe", "runtimeValues", "sds", "serviceCluster", "statNameLength", "statsCompression",
        "statsdUdpAddress", "statusPort", "terminationDrainDuration", "tracingServiceName",
        "zipkinAddress",
    ]
}

spec! {
    /// Which of Envoy's statistics are exposed; one way of all of these is enough.
    pub struct ProxyStatsMatcher {
        /// Names begin so.
        "inclusionPrefixes" => inclusion_prefixes: Vec<String>,
        /// Names end so.
        "inclusionSuffixes" => inclusion_suffixes: Vec<String>,
        /// Whole names match.
        "inclusionRegexps" => inclusion_regexps: Vec<String>,
    }
}

/// The annotations of a Pod that stand for the three fields of [`ProxyStatsMatcher`], each for one, separated by commas.
pub const STATISTICS_ANNOTATIONS: [&str; 3] = [
    "sidecar.istio.io/statsInclusionPrefixes",
    "sidecar.istio.io/statsInclusionSuffixes",
    "sidecar.istio.io/statsInclusionRegexps",
];

spec! {
    /// How requests are traced where no Telemetry says otherwise.
    pub struct ProxyTracing {
        /// How many of a hundred requests are traced; 0: as if nothing were said.
        "sampling" => sampling: f64,
        /// A collector of spans that speaks Zipkin.
        "zipkin" => zipkin: Option<TracerAddress>,
        /// Spans.
        "lightstep" => lightstep: Option<Opaque>,
        /// A Datadog agent.
        "datadog" => datadog: Option<TracerAddress>,
        /// Spans.
        "stackdriver" => stackdriver: Option<Opaque>,
        /// Spans.
        "openCensusAgent" => open_census_agent: Option<Opaque>,
        /// Tags of spans, where no Telemetry has any.
        "customTags" => custom_tags: Option<BTreeMap<String, CustomTag>>,
        /// Spans have Istio's tags.
        "enableIstioTags" => enable_istio_tags: Option<bool>,
        /// How long a path may be in a tag, where no provider says it; 0: as if nothing were said.
        "maxPathTagLength" => max_path_tag_length: u32,
        /// How the collector is spoken to.
        "tlsSettings" => tls_settings: Option<ClientTls>,
    }
}

spec! {
    /// Where a collector of spans is.
    pub struct TracerAddress {
        /// `host:port`
        "address" => address: String,
    }
}

spec! {
    /// What stands in front of the gateway.
    pub struct GatewayTopology {
        /// Proxies that are trusted to say who the client is.
        "numTrustedProxies" => num_trusted_proxies: u32,
        /// What becomes of `x-forwarded-client-cert`.
        "forwardClientCertDetails" => forward_client_cert_details: ForwardClientCert,
        /// Says by being there that connections begin with a PROXY header.
        "proxyProtocol" => proxy_protocol: Option<BTreeMap<String, String>>,
    }
}

words! {
    /// What becomes of `x-forwarded-client-cert`.
    pub enum ForwardClientCert {
        /// The default.
        Undefined = "UNDEFINED",
        /// It is dropped.
        Sanitize = "SANITIZE",
        /// It is passed on where the client has a certificate.
        ForwardOnly = "FORWARD_ONLY",
        /// The client's certificate is added to it.
        AppendForward = "APPEND_FORWARD",
        /// It is replaced by the client's certificate.
        SanitizeSet = "SANITIZE_SET",
        /// It is passed on whatever the client is.
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
    }
}

spec! {
    /// Header lines that the proxy adds.
    pub struct ProxyHeaders {
        /// `server` in responses.
        "server" => server: Option<ServerHeader>,
        /// `x-request-id` in requests.
        "requestId" => request_id: Option<HeaderSwitch>,
        /// `x-envoy-attempt-count` in requests.
        "attemptCount" => attempt_count: Option<HeaderSwitch>,
        /// The other `x-envoy-` lines.
        "envoyDebugHeaders" => envoy_debug_headers: Option<HeaderSwitch>,
        /// `x-forwarded-host` where the host is rewritten.
        "xForwardedHost" => x_forwarded_host: Option<HeaderChoice>,
        /// `x-forwarded-port` in requests.
        "xForwardedPort" => x_forwarded_port: Option<HeaderChoice>,
        /// Header names keep the case in which they came.
        "preserveHttp1HeaderCase" => preserve_http1_header_case: Option<bool>,
        /// `x-envoy-peer-metadata` and `x-envoy-peer-metadata-id` in requests.
        "metadataExchangeHeaders" => metadata_exchange_headers: Option<MetadataExchange>,
    }
    also ["forwardedClientCert", "setCurrentClientCertDetails"]
}

spec! {
    /// What proxies tell each other of themselves.
    pub struct MetadataExchange {
        /// Whom it is told.
        "mode" => mode: MetadataExchangeMode,
    }
}

words! {
    /// Whom a proxy tells of itself.
    pub enum MetadataExchangeMode {
        /// Everybody.
        Undefined = "UNDEFINED",
        /// Services that are in the mesh.
        InMesh = "IN_MESH",
    }
}

spec! {
    /// `server` in responses.
    pub struct ServerHeader {
        /// The origin's own is passed on.
        "disabled" => disabled: Option<bool>,
        /// What it says; empty: `istio-envoy`.
        "value" => value: String,
    }
}

spec! {
    /// A line that is there unless it is turned off.
    pub struct HeaderSwitch {
        /// Turned off.
        "disabled" => disabled: Option<bool>,
    }
}

spec! {
    /// A line that is not there unless it is turned on.
    pub struct HeaderChoice {
        /// Turned on.
        "enabled" => enabled: Option<bool>,
    }
}

words! {
    /// Defaults for what clients may cost.
    pub enum ConnectionProfile {
        /// None.
        Unspecified = "PROFILE_UNSPECIFIED",
        /// None.
        Sidecar = "SIDECAR",
        /// Those of a gateway that strangers reach.
        Edge = "EDGE",
    }
}

words! {
    /// What is done with a request that has an underscore in the name of a header.
    pub enum UnderscoreHeaders {
        /// What the profile says.
        Unspecified = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED",
        /// Nothing.
        Allow = "HEADERS_WITH_UNDERSCORES_ALLOW",
        /// It is refused.
        RejectRequest = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        /// The line is dropped.
        DropHeader = "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
    }
}

words! {
    /// What is done with `%2F` and `%5C` in a path.
    pub enum EscapedSlashes {
        /// What the profile or the mesh says.
        Unspecified = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED",
        /// Nothing.
        KeepUnchanged = "KEEP_UNCHANGED",
        /// The request is refused.
        RejectRequest = "REJECT_REQUEST",
        /// The client is sent to the path without them.
        UnescapeAndRedirect = "UNESCAPE_AND_REDIRECT",
        /// They are read as what they stand for.
        UnescapeAndForward = "UNESCAPE_AND_FORWARD",
    }
}

spec! {
    /// What clients may cost.
    pub struct ConnectionSettings {
        /// Defaults for all fields that are not written.
        "profile" => profile: ConnectionProfile,
        /// Bytes that a connection from a client may hold.
        "listenerPerConnectionBufferLimitBytes" => listener_buffer_bytes: Option<i32>,
        /// Bytes that a connection to a service may hold.
        "clusterPerConnectionBufferLimitBytes" => cluster_buffer_bytes: Option<i32>,
        /// A connection without a request.
        "httpIdleTimeout" => http_idle_timeout: Option<GoDuration>,
        /// The longest life of a connection.
        "httpMaxConnectionDuration" => http_max_connection_duration: Option<GoDuration>,
        /// The longest life of a request.
        "httpMaxStreamDuration" => http_max_stream_duration: Option<GoDuration>,
        /// A request in which nothing moves.
        "httpStreamIdleTimeout" => http_stream_idle_timeout: Option<GoDuration>,
        /// Time to receive a whole request.
        "httpRequestTimeout" => http_request_timeout: Option<GoDuration>,
        /// Time to receive its head.
        "httpRequestHeadersTimeout" => http_request_headers_timeout: Option<GoDuration>,
        /// How long a connection lives that was told to go.
        "httpDrainTimeout" => http_drain_timeout: Option<GoDuration>,
        /// Streams on one HTTP/2 connection.
        "httpMaxConcurrentStreams" => http_max_concurrent_streams: Option<i32>,
        /// HTTP/2 flow control of a stream.
        "http2InitialStreamWindowSize" => http2_initial_stream_window_size: Option<i32>,
        /// HTTP/2 flow control of a connection.
        "http2InitialConnectionWindowSize" => http2_initial_connection_window_size: Option<i32>,
        /// Underscores in names of headers.
        "httpHeadersWithUnderscoresAction" => underscores: UnderscoreHeaders,
        /// Whether slashes in a row become one.
        "httpMergeSlashes" => merge_slashes: Option<bool>,
        /// What is done with `%2F` and `%5C` in a path.
        "httpPathWithEscapedSlashesAction" => escaped_slashes: EscapedSlashes,
        /// Connections of the whole process.
        "globalDownstreamConnectionLimit" => global_connection_limit: Option<i32>,
        /// Connections of one listener.
        "listenerConnectionLimit" => listener_connection_limit: Option<i32>,
    }
}
