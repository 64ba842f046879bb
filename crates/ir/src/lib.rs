//! What the gateway should do, as plain data.
//!
//! The two rivers of the house meet here and only here: `translate` makes an [`Ir`] and [`Endpoints`] from
//! resources, `proxy` compiles them into tables. Nothing here knows Kubernetes, sockets, clocks or files; everything
//! is `Eq` and `Serialize`, so that an IR can be compared, dumped and shown to a user.
//!
//! Invariants: every name that a part refers to is looked up by the reader, who must bear its absence (a destination
//! may name a cluster that does not exist: that is Istio's 503 `NC`). Values that have a range are types of
//! [`atoms`]: if one exists it is right.
#![forbid(unsafe_code)]

pub mod access_log;
pub mod atoms;
pub mod cluster;
pub mod endpoint;
pub mod listener;
pub mod matcher;
pub mod origin;
pub mod policy;
pub mod rare;
pub mod route;
pub mod statistics;
pub mod tcp;
pub mod telemetry;
pub mod tls;
pub mod tracing;
pub mod udp;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

pub use atoms::{HostPattern, Millis, Pattern, Port, Share};
pub use cluster::{Cluster, ClusterKey};
pub use endpoint::{Address, ClusterEndpoints, Endpoint, Endpoints};
pub use listener::Listener;
pub use origin::Origin;
pub use rare::Rare;
pub use route::{RouteTable, RouteTableName, Rule, VirtualHost};
pub use telemetry::Telemetry;
pub use tls::{Authorities, Certificate, CertificateId};

/// All that a gateway process serves, but for the endpoints, which change more often and travel apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ir {
    /// Sorted by bind address; at most one per address, port and transport (UDP has ports of its own).
    pub listeners: Vec<Arc<Listener>>,
    /// Route tables by the name that listeners refer to.
    pub route_tables: BTreeMap<RouteTableName, Arc<RouteTable>>,
    /// Clusters by key. They change less often than routes.
    pub clusters: Arc<BTreeMap<ClusterKey, Arc<Cluster>>>,
    /// What is told of each gateway's traffic, by the number that listeners have; nothing is said of those beyond.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub telemetry: Vec<Arc<Telemetry>>,
    /// Which of Envoy's statistics are exposed; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<statistics::Statistics>,
    /// Server certificates by id.
    pub certificates: BTreeMap<CertificateId, Arc<Certificate>>,
    /// Certificate authorities by id.
    pub authorities: BTreeMap<CertificateId, Arc<Authorities>>,
}
