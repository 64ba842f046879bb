//! The kinds of `networking.istio.io`, and of the other Istio groups what selects.

mod destination_rule;
mod gateway;
mod matching;
mod mesh;
mod policy;
mod provider;
mod proxy_config;
mod service_entry;
mod telemetry;
mod traffic_policy;
mod virtual_service;
mod workload_entry;

pub use destination_rule::{DestinationRule, Subset, WorkloadSelector};
pub use gateway::{Gateway, Server, ServerPort, ServerTls, TlsCertificate, TlsMode, TlsVersion};
pub use matching::{HttpMatch, StringMatch};
pub use mesh::{
    AccessLogEncoding, DefaultTrafficPolicy, IngressControllerMode, MESH_CONFIG_MAP, MESH_FILE, MESH_KEY,
    MeshConfig, MeshTls, MeshTlsVersion, Normalization, PathNormalization,
};
pub use policy::{Policy, TargetRef};
pub use provider::{
    DatadogProvider, DefaultProviders, ExtensionProvider, FileAccessLog, LogFormat, Opaque,
    OpenTelemetryProvider, OtlpGrpc, OtlpHttp, ProviderHeader, SkyWalkingProvider, TraceContext,
    ZipkinProvider,
};
pub use proxy_config::{
    ConnectionProfile, ConnectionSettings, EscapedSlashes, ForwardClientCert, GatewayTopology, HeaderChoice,
    HeaderSwitch, MetadataExchange, MetadataExchangeMode, PROXY_CONFIG_ANNOTATION, ProxyConfig, ProxyHeaders,
    ProxyImage, ProxyOptions, ProxyStatsMatcher, ProxyTracing, STATISTICS_ANNOTATIONS, ServerHeader,
    TracerAddress, UnderscoreHeaders,
};
pub use service_entry::{Resolution, ServiceEntry, ServiceEntryPort, ServiceLocation, WorkloadLabels};
pub use telemetry::{
    AccessLogging, CustomTag, LogFilter, Metric, MetricSelector, Metrics, MetricsOverride, ProviderRef,
    TagOperation, TagOverride, TagSource, TagValue, Telemetry, TelemetryMatch, TelemetrySelector, Tracing,
    WorkloadMode,
};
pub use traffic_policy::{
    ClientTls, ClientTlsMode, ConnectionPool, ConsistentHash, CookieAttribute, H2UpgradePolicy,
    Http2KeepAlive, HttpCookie, HttpPool, LoadBalancer, LocalityDistribute, LocalityFailover, LocalityLb,
    Maglev, OutlierDetection, PortNumber, PortTrafficPolicy, ProxyProtocol, ProxyProtocolVersion,
    RetryBudget, RingHash, SimpleLb, TcpKeepalive, TcpPool, TrafficPolicy, Tunnel, Warmup, ZoneAwareLb,
};
pub use virtual_service::{
    Abort, Body, CorsPolicy, Delay, Delegate, DerivePort, Destination, DirectResponse, Fault, GRPC_STATUS,
    HeaderOperations, Headers, HttpRoute, Mirror, Percent, Redirect, RegexRewrite, Retries, Rewrite,
    RouteDestination, TcpMatch, TcpRoute, TlsMatch, TlsRoute, UnmatchedPreflights, VirtualService,
    WeightedDestination,
};
pub use workload_entry::WorkloadEntry;
