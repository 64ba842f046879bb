//! Clusters and endpoints as the workers read them.

use std::sync::Arc;

use limen_wire::head::Version;
use limen_wire::proxy_protocol::ProxyVersion;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::hashing::HashTable;
use crate::address::Address;
use crate::limits::cluster::ClusterLimits;
use crate::limits::outlier::Watch;
use crate::observe::ClusterId;
use crate::observe::counters::{ServiceId, WorkloadId};

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balance {
    /// In turn, weighted.
    RoundRobin,
    /// The less busy of two.
    LeastRequest,
    /// At random, weighted.
    Random,
    /// By the request's hash; at random where it has none.
    Hash,
}

/// What an origin is spoken to in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, with prior knowledge.
    Http2,
}

/// How the protocol of a cluster is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Always this one.
    Only(Protocol),
    /// The client's: HTTP/2 for HTTP/2, HTTP/1.1 for what is older.
    AsClient,
}

impl Speaks {
    /// The protocol for a request that came in this version.
    pub(crate) fn towards(self, client: Version) -> Protocol {
        match (self, client) {
            (Speaks::Only(protocol), _) => protocol,
            (Speaks::AsClient, Version::H2) => Protocol::Http2,
            (Speaks::AsClient, Version::H10 | Version::H11) => Protocol::Http1,
        }
    }
}

/// TLS towards a cluster.
#[derive(Debug)]
pub(crate) struct OriginTls {
    /// The name that is asked for; `None`: the host of the request.
    pub(crate) name: Option<ServerName<'static>>,
    /// The handshake, or why none can be made, as clients hear it.
    pub(crate) configs: Result<Configs, Box<str>>,
    /// Only endpoints that say they speak it; the others get clear text.
    pub(crate) speakers_only: bool,
}

/// The handshake for what is spoken.
#[derive(Debug)]
pub(crate) struct Configs {
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) http2: Arc<ClientConfig>,
    /// For what is not looked into.
    pub(crate) bytes: Arc<ClientConfig>,
}

/// How an HTTP/2 connection is asked whether the origin is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// Milliseconds between two questions.
    pub(crate) interval_ms: u64,
    /// Milliseconds to answer one; then the connection is closed.
    pub(crate) timeout_ms: u64,
}

/// A cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// `outbound|port|subset|host`.
    pub(crate) name: Arc<str>,
    /// The series that its requests are counted under.
    pub(crate) service: ServiceId,
    /// What else of it is counted under.
    pub(crate) series: ClusterId,
    /// The service is not of the mesh.
    pub(crate) external: bool,
    /// How an endpoint is chosen.
    pub(crate) balance: Balance,
    /// Milliseconds to connect.
    pub(crate) connect_timeout_ms: u64,
    /// Milliseconds until an unused connection is closed.
    pub(crate) idle_timeout_ms: Option<u64>,
    /// Requests on one connection before it is closed.
    pub(crate) max_requests: Option<u32>,
    /// HTTP/1.1 or HTTP/2.
    pub(crate) protocol: Speaks,
    /// HTTP/2: streams on one connection at a time.
    pub(crate) max_streams: Option<u32>,
    /// HTTP/2: how a silent connection is found out.
    pub(crate) keep_alive: Option<KeepAlive>,
    /// TLS; `None`: clear text.
    pub(crate) tls: Option<OriginTls>,
    /// Milliseconds after which a connection takes no new request.
    pub(crate) max_lifetime_ms: Option<u64>,
    /// Probes on idle connections.
    pub(crate) keepalive: Option<socket2::TcpKeepalive>,
    /// What connections begin with; they are one client's then.
    pub(crate) proxy_protocol: Option<ProxyVersion>,
    /// What heads of its answers may be.
    pub(crate) heads: limen_wire::h1::Limits,
    /// Limits of the whole process, shared by all workers and by all generations with the same numbers.
    pub(crate) limits: Option<Arc<ClusterLimits>>,
    /// Connections to an endpoint that is no more go on being used.
    pub(crate) keeps_connections: bool,
    /// Says whether a pool made for one generation may serve another: equal settings, equal fingerprint.
    pub(crate) fingerprint: u64,
}

/// The endpoints of a cluster.
#[derive(Debug, Default)]
pub(crate) struct EndpointSet {
    /// All, those that may not be chosen too: they keep their connections for when they come back.
    pub(crate) endpoints: Box<[Endpoint]>,
    /// Those that may be chosen. None: nobody may.
    pub(crate) groups: Box<[Group]>,
}

impl EndpointSet {
    /// How many there are, and how many of them may be chosen.
    pub(crate) fn members(&self) -> (u64, u64) {
        let chosen: usize = self.groups.iter().map(|group| group.members.len()).sum();
        (self.endpoints.len() as u64, chosen as u64)
    }
}

impl EndpointSet {
    /// Who may be chosen of the first priority in which none of those `tried` is, at random by weight.
    pub(crate) fn elsewhere(&self, random: u32, tried: &[Address]) -> Option<Address> {
        let tried = |priority: u32| {
            self.endpoints.iter().any(|one| one.priority == priority && tried.contains(&one.address))
        };
        let chosen = self.endpoints.iter().filter(|one| one.weight > 0);
        let first = chosen.clone().map(|one| one.priority).filter(|priority| !tried(*priority)).min()?;
        let members = chosen.filter(|one| one.priority == first);
        let total: u64 = members.clone().map(|one| u64::from(one.weight)).sum();
        let mut at = ((u128::from(random) * u128::from(total)) >> u32::BITS) as u64;
        for one in members {
            if at < u64::from(one.weight) {
                return Some(one.address);
            }
            at -= u64::from(one.weight);
        }
        None
    }
}

/// Endpoints that share a part of the cluster's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Its part, in relation to the other groups', at least 1.
    pub(crate) share: u32,
    /// Index into the set's endpoints, and weight within the group, at least 1. Not empty.
    pub(crate) members: Box<[(u32, u32)]>,
    /// Finds a member by a request's hash, for [`Balance::Hash`].
    pub(crate) hash: Option<Arc<HashTable>>,
}

/// An endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Where to connect.
    pub(crate) address: Address,
    /// Whom its requests are counted under.
    pub(crate) workload: WorkloadId,
    /// Counts its errors, if the configuration wants that.
    pub(crate) watch: Option<Arc<Watch>>,
    /// Lower ones come first.
    pub(crate) priority: u32,
    /// Its part of what its priority gets; 0: it may not be chosen.
    pub(crate) weight: u32,
    /// It says that it speaks the TLS of its mesh.
    pub(crate) in_mesh: bool,
}
