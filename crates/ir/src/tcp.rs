//! Where connections go whose content is not looked at.

use serde::Serialize;

use crate::atoms::Millis;
use crate::cluster::ClusterKey;
use crate::origin::Origin;

/// One of several destinations for each connection. An attempt that fails closes the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TcpRoute {
    /// At least one. Chosen at random in proportion to the weights.
    pub destinations: Vec<TcpDestination>,
    /// A connection on which neither side sends for this long is closed; `None`: never.
    pub idle_timeout: Option<Millis>,
    /// A connection is closed at this age; `None`: it may grow as old as it likes.
    pub max_duration: Option<Millis>,
    /// The route that made it.
    pub origin: Origin,
}

/// One weighted destination of connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TcpDestination {
    /// The cluster; where the IR has none of that key the connection is closed, flag `NC`.
    pub cluster: ClusterKey,
    /// Relative weight, at least 1 (destinations of weight 0 are left out by translation).
    pub weight: u32,
}
