//! Endpoints: they change often, so they travel alone.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::cluster::ClusterKey;

/// The endpoints of every cluster. A cluster of the IR that is absent here has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// By cluster.
    pub clusters: Arc<BTreeMap<ClusterKey, Arc<ClusterEndpoints>>>,
}

/// The endpoints of one cluster, sorted by address, no address twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ClusterEndpoints {
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// Where something can be connected to. Serialised as `ip:port` or `unix://…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// The path of a unix socket, or `@` and an abstract name (`unix(7)`).
    Unix(Arc<str>),
}

/// The most bytes of a socket's path or abstract name (`unix(7)`).
const LONGEST_SOCKET: usize = 107;

impl Address {
    /// The unix socket that is written as `unix:///path` or `unix://@name`.
    ///
    /// # Errors
    /// Why there can be none.
    pub fn unix(text: &str) -> Result<Address, &'static str> {
        let place = text.strip_prefix("unix://").unwrap_or_default();
        let (name, is_name) = match place.strip_prefix('@') {
            Some(name) => (name, !name.is_empty()),
            None => (place, place.starts_with('/') && !place.ends_with('/')),
        };
        if !is_name || name.chars().any(char::is_control) {
            return Err("it names no socket");
        }
        if name.len() > LONGEST_SOCKET {
            return Err("the system has names of up to 107 bytes only");
        }
        Ok(Address::Unix(place.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix://{path}"),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// One address that serves a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Where to connect.
    pub address: Address,
    /// Load-balancing weight, at least 1.
    pub weight: u32,
    /// Whether it may be chosen.
    pub health: Health,
    /// Who it is, for metrics.
    pub workload: Arc<WorkloadLabels>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Locality::is_unknown")]
    pub locality: Locality,
    /// Endpoints of a higher number get what those of lower ones cannot bear; from 0 without gaps.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// The weight of its locality among those of its priority; 0: it is not told apart from them.
    #[serde(skip_serializing_if = "is_zero")]
    pub locality_weight: u32,
    /// It says that it speaks the TLS of its mesh.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_mesh: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where something stands; parts that are not known are empty. Serialised as `region/zone/subzone`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// Such as `eu-west-1`.
    pub region: String,
    /// Such as `eu-west-1a`.
    pub zone: String,
    /// Such as a rack.
    pub subzone: String,
}

impl Locality {
    /// From `region/zone/subzone`, of which the end may be missing.
    pub fn parse(text: &str) -> Locality {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        Locality { region: part(), zone: part(), subzone: part() }
    }

    /// Nothing is known.
    pub fn is_unknown(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.subzone.is_empty()
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        if !(self.zone.is_empty() && self.subzone.is_empty()) {
            write!(f, "/{}", self.zone)?;
        }
        if self.subzone.is_empty() { Ok(()) } else { write!(f, "/{}", self.subzone) }
    }
}

impl Serialize for Locality {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Whether an endpoint may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// It may.
    Healthy,
    /// It is known but not ready: never chosen.
    Unready,
}

/// What `destination_workload*`, `destination_canonical_*`, `destination_app` and `_version` labels say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkloadLabels {
    /// The workload's name, `unknown` where none is known.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// Canonical service.
    pub canonical_service: String,
    /// Canonical revision.
    pub canonical_revision: String,
    /// `app` label.
    pub app: String,
    /// `version` label.
    pub version: String,
    /// Cluster id.
    pub cluster: String,
}

impl WorkloadLabels {
    /// Every label `unknown`.
    pub fn unknown() -> WorkloadLabels {
        let unknown = || "unknown".to_owned();
        WorkloadLabels {
            workload: unknown(),
            namespace: unknown(),
            canonical_service: unknown(),
            canonical_revision: unknown(),
            app: unknown(),
            version: unknown(),
            cluster: unknown(),
        }
    }
}
