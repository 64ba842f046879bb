//! The traffic policy of a `DestinationRule`, of a subset or of a port.

use std::collections::BTreeMap;

use crate::decode::{spec, words};
use crate::duration::GoDuration;

spec! {
    /// How to speak to a service.
    pub struct TrafficPolicy {
        /// How an endpoint is chosen.
        "loadBalancer" => load_balancer: Option<LoadBalancer>,
        /// Connections and their limits.
        "connectionPool" => connection_pool: Option<ConnectionPool>,
        /// When an endpoint is left out.
        "outlierDetection" => outlier_detection: Option<OutlierDetection>,
        /// TLS towards the service.
        "tls" => tls: Option<ClientTls>,
        /// For single ports; replaces the rest for them.
        "portLevelSettings" => port_level_settings: Vec<PortTrafficPolicy>,
        /// Through a CONNECT or POST tunnel.
        "tunnel" => tunnel: Option<Tunnel>,
        /// Begin connections with a PROXY header.
        "proxyProtocol" => proxy_protocol: Option<ProxyProtocol>,
        /// How many retries may run at once.
        "retryBudget" => retry_budget: Option<RetryBudget>,
    }
}

spec! {
    /// How to speak to one port of a service.
    pub struct PortTrafficPolicy {
        /// Which port.
        "port" => port: Option<PortNumber>,
        /// How an endpoint is chosen.
        "loadBalancer" => load_balancer: Option<LoadBalancer>,
        /// Connections and their limits.
        "connectionPool" => connection_pool: Option<ConnectionPool>,
        /// When an endpoint is left out.
        "outlierDetection" => outlier_detection: Option<OutlierDetection>,
        /// TLS towards the port.
        "tls" => tls: Option<ClientTls>,
    }
}

spec! {
    /// A port by number, or by name where Limen looks that up.
    pub struct PortNumber {
        /// 1 to 65535; 0: not given.
        "number" => number: u32,
        /// Reserved in Istio's API.
        "name" => name: String,
    }
}

spec! {
    /// How an endpoint is chosen.
    pub struct LoadBalancer {
        /// One of the simple ways.
        "simple" => simple: Option<SimpleLb>,
        /// By a hash of the request.
        "consistentHash" => consistent_hash: Option<ConsistentHash>,
        /// By locality.
        "localityLbSetting" => locality_lb_setting: Option<LocalityLb>,
        /// By zone.
        "zoneAwareLbSetting" => zone_aware_lb_setting: Option<ZoneAwareLb>,
        /// Slow start.
        "warmup" => warmup: Option<Warmup>,
        /// Deprecated spelling of `warmup.duration`.
        "warmupDurationSecs" => warmup_duration_secs: Option<GoDuration>,
    }
}

words! {
    /// Simple ways to choose an endpoint.
    pub enum SimpleLb {
        /// The default, which is LEAST_REQUEST.
        Unspecified = "UNSPECIFIED",
        /// Deprecated name of LEAST_REQUEST.
        LeastConn = "LEAST_CONN",
        /// At random.
        Random = "RANDOM",
        /// The original destination.
        Passthrough = "PASSTHROUGH",
        /// In turn.
        RoundRobin = "ROUND_ROBIN",
        /// The less busy of two.
        LeastRequest = "LEAST_REQUEST",
    }
}

spec! {
    /// Choosing by a hash.
    pub struct ConsistentHash {
        /// Of this header.
        "httpHeaderName" => http_header_name: String,
        /// Of this cookie.
        "httpCookie" => http_cookie: Option<HttpCookie>,
        /// Of the client's address.
        "useSourceIp" => use_source_ip: Option<bool>,
        /// Of this query parameter.
        "httpQueryParameterName" => http_query_parameter_name: String,
        /// Deprecated place of the ring's size.
        "minimumRingSize" => minimum_ring_size: u64,
        /// With a ring.
        "ringHash" => ring_hash: Option<RingHash>,
        /// With Maglev's table.
        "maglev" => maglev: Option<Maglev>,
    }
}

spec! {
    /// A cookie that names an endpoint.
    pub struct HttpCookie {
        /// Its name.
        "name" => name: String,
        /// Its path.
        "path" => path: String,
        /// Set with this life time if missing.
        "ttl" => ttl: Option<GoDuration>,
        /// Further attributes.
        "attributes" => attributes: Vec<CookieAttribute>,
    }
}

spec! {
    /// An attribute of a cookie.
    pub struct CookieAttribute {
        /// Its name.
        "name" => name: String,
        /// Its value.
        "value" => value: String,
    }
}

spec! {
    /// A hash ring.
    pub struct RingHash {
        /// Lowest number of places.
        "minimumRingSize" => minimum_ring_size: u64,
    }
}

spec! {
    /// Maglev's table.
    pub struct Maglev {
        /// A prime.
        "tableSize" => table_size: Option<u64>,
    }
}

spec! {
    /// Balancing by locality.
    pub struct LocalityLb {
        /// Shares by locality.
        "distribute" => distribute: Vec<LocalityDistribute>,
        /// Where to when a region fails.
        "failover" => failover: Vec<LocalityFailover>,
        /// Labels that order endpoints.
        "failoverPriority" => failover_priority: Vec<String>,
        /// On or off.
        "enabled" => enabled: Option<bool>,
    }
}

spec! {
    /// Shares of traffic that begins at a locality.
    pub struct LocalityDistribute {
        /// The locality.
        "from" => from: String,
        /// Shares that sum to 100.
        "to" => to: BTreeMap<String, u32>,
    }
}

spec! {
    /// From a region to another.
    pub struct LocalityFailover {
        /// The region that fails.
        "from" => from: String,
        /// The region that stands in.
        "to" => to: String,
    }
}

spec! {
    /// Balancing by zone.
    pub struct ZoneAwareLb {
        /// On or off.
        "enabled" => enabled: Option<bool>,
        /// Where to when a region fails.
        "failover" => failover: Vec<LocalityFailover>,
        /// Labels that order endpoints.
        "failoverPriority" => failover_priority: Vec<String>,
        /// With fewer endpoints zones do not count.
        "minClusterSize" => min_cluster_size: Option<u64>,
    }
}

spec! {
    /// Slow start of new endpoints.
    pub struct Warmup {
        /// How long.
        "duration" => duration: Option<GoDuration>,
        /// Share at the beginning.
        "minimumPercent" => minimum_percent: Option<f64>,
        /// Shape of the curve.
        "aggression" => aggression: Option<f64>,
    }
}

spec! {
    /// Connections and their limits.
    pub struct ConnectionPool {
        /// Of every protocol.
        "tcp" => tcp: Option<TcpPool>,
        /// Of HTTP.
        "http" => http: Option<HttpPool>,
    }
}

spec! {
    /// Connections of every protocol.
    pub struct TcpPool {
        /// 0: no limit.
        "maxConnections" => max_connections: u32,
        /// Default 10 s.
        "connectTimeout" => connect_timeout: Option<GoDuration>,
        /// Probes on idle connections.
        "tcpKeepalive" => tcp_keepalive: Option<TcpKeepalive>,
        /// A connection lives so long at most.
        "maxConnectionDuration" => max_connection_duration: Option<GoDuration>,
        /// Default 1 h; 0 turns it off.
        "idleTimeout" => idle_timeout: Option<GoDuration>,
    }
}

spec! {
    /// Probes on idle connections.
    pub struct TcpKeepalive {
        /// How many may be lost.
        "probes" => probes: u32,
        /// Idle time before the first.
        "time" => time: Option<GoDuration>,
        /// Time between them.
        "interval" => interval: Option<GoDuration>,
    }
}

spec! {
    /// HTTP requests and connections.
    pub struct HttpPool {
        /// Requests that may wait for a connection; 0: no limit.
        "http1MaxPendingRequests" => http1_max_pending_requests: u32,
        /// Requests under way; 0: no limit.
        "http2MaxRequests" => http2_max_requests: u32,
        /// 0: no limit; 1: no keep-alive.
        "maxRequestsPerConnection" => max_requests_per_connection: u32,
        /// Retries under way; 0: no limit.
        "maxRetries" => max_retries: u32,
        /// Default 1 h.
        "idleTimeout" => idle_timeout: Option<GoDuration>,
        /// From HTTP/1.1 to HTTP/2?
        "h2UpgradePolicy" => h2_upgrade_policy: H2UpgradePolicy,
        /// Use the protocol that the client speaks.
        "useClientProtocol" => use_client_protocol: bool,
        /// Streams on one connection; 0: no limit.
        "maxConcurrentStreams" => max_concurrent_streams: u32,
        /// PING frames.
        "http2KeepAlive" => http2_keep_alive: Option<Http2KeepAlive>,
    }
}

words! {
    /// Is HTTP/1.1 to become HTTP/2?
    pub enum H2UpgradePolicy {
        /// As the mesh says.
        Default = "DEFAULT",
        /// No.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// Yes.
        Upgrade = "UPGRADE",
    }
}

spec! {
    /// PING frames.
    pub struct Http2KeepAlive {
        /// Time between them.
        "interval" => interval: Option<GoDuration>,
        /// Wait for the answer.
        "timeout" => timeout: Option<GoDuration>,
    }
}

spec! {
    /// When an endpoint is left out for a while.
    pub struct OutlierDetection {
        /// Deprecated and without effect.
        "consecutiveErrors" => consecutive_errors: u32,
        /// Tell errors of the connection from those of the origin.
        "splitExternalLocalOriginErrors" => split_external_local_origin_errors: bool,
        /// Default 5.
        "consecutiveLocalOriginFailures" => consecutive_local_origin_failures: Option<u32>,
        /// 502, 503, 504 in a row; default off.
        "consecutiveGatewayErrors" => consecutive_gateway_errors: Option<u32>,
        /// 5xx in a row; default 5.
        "consecutive5xxErrors" => consecutive_5xx_errors: Option<u32>,
        /// Default 10 s.
        "interval" => interval: Option<GoDuration>,
        /// Default 30 s.
        "baseEjectionTime" => base_ejection_time: Option<GoDuration>,
        /// Default 10.
        "maxEjectionPercent" => max_ejection_percent: u32,
        /// Default 0.
        "minHealthPercent" => min_health_percent: u32,
        /// Codes that count as errors.
        "outlierDetectionHttpErrorCodes" => outlier_detection_http_error_codes: Vec<u32>,
    }
}

spec! {
    /// TLS towards a service.
    pub struct ClientTls {
        /// How.
        "mode" => mode: ClientTlsMode,
        /// Path of the certificate chain.
        "clientCertificate" => client_certificate: String,
        /// Path of the private key.
        "privateKey" => private_key: String,
        /// Path of the CAs; empty: the system's.
        "caCertificates" => ca_certificates: String,
        /// Reference to a Secret instead of files.
        "credentialName" => credential_name: String,
        /// Names of which the server's certificate must carry one.
        "subjectAltNames" => subject_alt_names: Vec<String>,
        /// SNI to send; empty: the host of the request.
        "sni" => sni: String,
        /// Accept any certificate.
        "insecureSkipVerify" => insecure_skip_verify: Option<bool>,
        /// Path of a revocation list.
        "caCrl" => ca_crl: String,
    }
}

words! {
    /// How to speak TLS to a service.
    pub enum ClientTlsMode {
        /// Plain text.
        Disable = "DISABLE",
        /// TLS.
        Simple = "SIMPLE",
        /// TLS with a client certificate.
        Mutual = "MUTUAL",
        /// TLS with the mesh's identity.
        IstioMutual = "ISTIO_MUTUAL",
    }
}

spec! {
    /// A tunnel through the service.
    pub struct Tunnel {
        /// CONNECT or POST.
        "protocol" => protocol: String,
        /// Name or address behind it.
        "targetHost" => target_host: String,
        /// Port behind it.
        "targetPort" => target_port: u32,
    }
}

spec! {
    /// A PROXY header at the beginning of connections.
    pub struct ProxyProtocol {
        /// Its version.
        "version" => version: ProxyProtocolVersion,
    }
}

words! {
    /// Version of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        /// Text.
        V1 = "V1",
        /// Binary.
        V2 = "V2",
    }
}

spec! {
    /// How many retries may run at once.
    pub struct RetryBudget {
        /// Share of requests; default 20.
        "percent" => percent: Option<f64>,
        /// So many are always allowed; default 3.
        "minRetryConcurrency" => min_retry_concurrency: Option<u32>,
        /// Over which time requests are counted.
        "budgetInterval" => budget_interval: Option<GoDuration>,
    }
}
