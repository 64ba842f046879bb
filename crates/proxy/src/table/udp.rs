//! Where datagrams go.

use super::tcp::{self, TcpDestination};

/// One of several destinations for each flow.
#[derive(Debug)]
pub(crate) struct UdpRoute {
    /// None: datagrams are dropped.
    pub(crate) destinations: Vec<TcpDestination>,
    /// Sum of the weights.
    pub(crate) total_weight: u64,
    /// Milliseconds of silence in both directions after which a flow has ended.
    pub(crate) idle_timeout_ms: u64,
}

impl UdpRoute {
    /// The destination that an evenly distributed random number falls on.
    pub(crate) fn pick(&self, random: u32) -> Option<&TcpDestination> {
        tcp::pick(&self.destinations, self.total_weight, random)
    }

    /// Is the cluster of that name among its destinations?
    pub(crate) fn leads_to(&self, cluster_name: &str) -> bool {
        self.destinations.iter().any(|to| &*to.cluster_name == cluster_name)
    }
}
