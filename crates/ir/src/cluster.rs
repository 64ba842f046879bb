//! Clusters: sets of endpoints with one way of reaching them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;

use crate::atoms::Millis;
use crate::origin::Origin;
use crate::policy::outlier::OutlierDetection;
use crate::policy::warmup::Warmup;
use crate::tls::ClientTls;

/// Istio's `outbound|<port>|<subset>|<fqdn>`, or `outbound_.<port>_.<subset>_.<fqdn>` where clients name it; `udp` for
/// `outbound` where it takes datagrams. Behind it `@<namespace>` where two services have one host, and how it is spoken to
/// where that is not the service's usual way: `;http2`, `;gateway=<namespace>/<name>`.
///
/// A clone is the same name in the same place; two that are in one place are equal without being looked into, as most are
/// that are compared: stages walk thousands of clusters beside those of before.
#[derive(Clone)]
pub struct ClusterKey(Arc<ClusterName>);

/// What a [`ClusterKey`] consists of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName {
    /// The service's port (not the endpoint's).
    pub port: u16,
    /// The subset; empty for the whole service.
    pub subset: String,
    /// The service's host name.
    pub host: String,
    /// Empty: the service that the host is of. Else another service of the same host, which objects of this namespace mean
    /// by it, as it is theirs.
    pub namespace: String,
    /// Clients choose it by server name (AUTO_PASSTHROUGH, or TLSRoutes where a policy asks for TLS): their TLS goes to it as
    /// it is, and none is added.
    pub by_server_name: bool,
    /// It is a port for datagrams, whose number a port for connections may have, too.
    pub datagrams: bool,
    /// It is spoken to in HTTP/2, whatever its port is said to speak.
    pub http2: bool,
    /// The Gateway, as `namespace/name`, whose own certificate it is shown; empty: none's.
    pub gateway: String,
}

impl Deref for ClusterKey {
    type Target = ClusterName;

    fn deref(&self) -> &ClusterName {
        &self.0
    }
}

impl PartialEq for ClusterKey {
    fn eq(&self, other: &ClusterKey) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
    }
}

impl Eq for ClusterKey {}

impl PartialOrd for ClusterKey {
    fn partial_cmp(&self, other: &ClusterKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ClusterKey {
    fn cmp(&self, other: &ClusterKey) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl Hash for ClusterKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClusterName { port, subset, host, namespace, by_server_name, datagrams, http2, gateway } =
            &*self.0;
        if *by_server_name {
            return write!(f, "outbound_.{port}_.{subset}_.{host}");
        }
        let way = if *datagrams { "udp" } else { "outbound" };
        write!(f, "{way}|{port}|{subset}|{host}")?;
        if !namespace.is_empty() {
            write!(f, "@{namespace}")?;
        }
        if *http2 {
            f.write_str(";http2")?;
        }
        if !gateway.is_empty() {
            write!(f, ";gateway={gateway}")?;
        }
        Ok(())
    }
}

impl Serialize for ClusterKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// How the endpoints of a cluster are chosen and connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its key.
    pub key: ClusterKey,
    /// The service it stands for, as the metrics name it.
    pub service: ServiceLabels,
    /// The service is not of the mesh.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// What its port is declared to speak.
    pub protocol: Protocol,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// How connections are made and kept.
    pub connection: ConnectionPolicy,
    /// How they are made safe; `None`: clear text, which is not printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// How new endpoints come to their full share; `None`: they have it at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// When an endpoint is left out; `None`: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier: Option<OutlierDetection>,
    /// Its endpoint is the first address of a name's answers: another address means no more than that new connections go
    /// there, and those that there are go on being used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keeps_connections: bool,
    /// The Service or ServiceEntry.
    pub origin: Origin,
    /// The DestinationRule that shaped it, else the BackendTLSPolicy, if one did.
    pub policy_origin: Option<Origin>,
}

/// What `destination_service*` labels say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServiceLabels {
    /// `destination_service`: the host.
    pub host: String,
    /// `destination_service_name`.
    pub name: String,
    /// `destination_service_namespace`.
    pub namespace: String,
}

/// What a service's port is declared to speak (`appProtocol`, the first word of its name, a ServiceEntry's `protocol`).
/// Declaring `https` or `tls` starts no TLS: that takes a DestinationRule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// Nothing that is known: it is found out where that is possible, and HTTP routes send HTTP/1.1.
    Undetected,
    /// HTTP/1.1.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC, which is HTTP/2.
    Grpc,
    /// gRPC-Web, which Istio sends over HTTP/2.
    GrpcWeb,
    /// HTTP in TLS.
    Https,
    /// Anything in TLS.
    Tls,
    /// Bytes; also Mongo, MySQL and Redis, which a gateway passes as bytes.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// Is it HTTP/2 by declaration?
    pub fn is_http2(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }
}

/// How an endpoint is chosen among the healthy ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Balance {
    /// In turn, weighted.
    RoundRobin,
    /// The less busy of two taken at random (weighted).
    LeastRequest,
    /// At random, weighted.
    Random,
    /// By the request's hash, on a ring; at random where there is none.
    RingHash {
        /// Places on the ring at the least.
        minimum_size: u64,
    },
    /// By the request's hash, from Maglev's table; at random where there is none.
    Maglev {
        /// A prime.
        table_size: u64,
    },
}

/// Istio's default of `ringHash.minimumRingSize`.
pub const DEFAULT_RING_SIZE: u64 = 1024;
/// The largest ring (Envoy).
pub const MAX_RING_SIZE: u64 = 8 * 1024 * 1024;
/// Istio's default of `maglev.tableSize`.
pub const DEFAULT_MAGLEV_SIZE: u64 = 65_537;
/// The largest table (Envoy).
pub const MAX_MAGLEV_SIZE: u64 = 5_000_011;

/// How connections to a cluster's endpoints are made and kept. Changing it retires the pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ConnectionPolicy {
    /// Time to connect.
    pub connect_timeout: Millis,
    /// An unused connection is closed after this; `None`: never.
    pub idle_timeout: Option<Millis>,
    /// Requests on one connection before it is closed; `None`: no limit.
    pub max_requests: Option<u32>,
    /// Connections to the cluster in the whole process; `None`: no limit and no counter.
    pub max_connections: Option<u32>,
    /// Requests in flight to the cluster in the whole process; `None`: no limit and no counter.
    pub max_active_requests: Option<u32>,
    /// Requests that wait for a connection in the whole process, also while it is made; `None`: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pending: Option<u32>,
    /// Retries under way in the whole process; `None`: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<RetryLimit>,
    /// A connection takes no new request when it is older; `None`: however old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Millis>,
    /// Probes on idle connections; `None`: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<TcpKeepalive>,
    /// Connections begin with a header that says where the client is, in this version of the PROXY protocol, and so are
    /// one client's; `None`: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyVersion>,
    /// The version of HTTP; HTTP/1.1 is not printed.
    #[serde(skip_serializing_if = "HttpVersion::is_http1")]
    pub http: HttpVersion,
    /// HTTP/2: streams on one connection at a time; `None`: as many as the origin allows.
    pub max_streams: Option<u32>,
    /// HTTP/2: how a connection whose origin is gone without a word is found out; `None`: it is not asked.
    pub keep_alive: Option<KeepAlive>,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The version of HTTP that endpoints are spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// HTTP/2 for clients of HTTP/2, HTTP/1.1 for others.
    AsClient,
}

impl HttpVersion {
    fn is_http1(&self) -> bool {
        *self == HttpVersion::Http1
    }
}

/// PING frames on an HTTP/2 connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct KeepAlive {
    /// Time from one to the next.
    pub interval: Millis,
    /// Time for the answer; then the connection is closed.
    pub timeout: Millis,
}

/// How many retries may be under way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryLimit {
    /// This many.
    Count(u32),
    /// A share of the requests in flight.
    Budget {
        /// In millionths.
        share: u32,
        /// This many are always allowed.
        at_least: u32,
    },
    /// A share of the requests of a time, which retries are counted over, too.
    Rate {
        /// In millionths.
        share: u32,
        /// The time.
        over: Millis,
        /// This many are always allowed…
        at_least: u32,
        /// … in this time.
        per: Millis,
    },
}

/// TCP keep-alive; `None`: as the system has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TcpKeepalive {
    /// Probes that may be lost.
    pub probes: Option<u32>,
    /// Idle time before the first.
    pub time: Option<Millis>,
    /// Time between them.
    pub interval: Option<Millis>,
}

/// Istio's default connect timeout.
pub const DEFAULT_CONNECT_TIMEOUT_MS: u64 = 10_000;
/// Istio's default upstream idle timeout.
pub const DEFAULT_IDLE_TIMEOUT_MS: u64 = 3_600_000;

impl ConnectionPolicy {
    /// Istio's defaults.
    pub fn istio_default() -> ConnectionPolicy {
        ConnectionPolicy {
            connect_timeout: Millis::new(DEFAULT_CONNECT_TIMEOUT_MS).unwrap_or_else(|| unreachable!()),
            idle_timeout: Millis::new(DEFAULT_IDLE_TIMEOUT_MS),
            max_requests: None,
            max_connections: None,
            max_active_requests: None,
            http: HttpVersion::Http1,
            max_streams: None,
            keep_alive: None,
            max_pending: None,
            max_retries: None,
            max_lifetime: None,
            keepalive: None,
            proxy_protocol: None,
        }
    }
}

impl ClusterKey {
    /// The cluster that routes name; `port` is the service's, `subset` empty for the whole service.
    pub fn new(port: u16, subset: &str, host: &str) -> ClusterKey {
        ClusterKey(Arc::new(ClusterName {
            port,
            subset: subset.to_owned(),
            host: host.to_owned(),
            namespace: String::new(),
            by_server_name: false,
            datagrams: false,
            http2: false,
            gateway: String::new(),
        }))
    }

    /// The same but for what `change` does to it.
    pub fn with(&self, change: impl FnOnce(&mut ClusterName)) -> ClusterKey {
        let mut name = ClusterName::clone(&self.0);
        change(&mut name);
        ClusterKey(Arc::new(name))
    }
}
