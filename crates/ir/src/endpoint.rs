//! Endpoints: they change often, so they travel alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::cluster::ClusterKey;

/// The endpoints of every cluster. A cluster of the IR that is absent here has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// By cluster.
    pub clusters: BTreeMap<ClusterKey, Arc<ClusterEndpoints>>,
}

/// The endpoints of one cluster, sorted by address, no address twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ClusterEndpoints {
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One address that serves a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// Load-balancing weight, at least 1.
    pub weight: u32,
    /// Whether it may be chosen.
    pub health: Health,
    /// Who it is, for metrics.
    pub workload: Arc<WorkloadLabels>,
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
