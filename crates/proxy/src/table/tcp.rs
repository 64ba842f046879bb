//! Where connections go that are not looked into.

use std::sync::Arc;

use super::routes::ClusterSlot;

/// One of several destinations for each connection.
#[derive(Debug)]
pub(crate) struct TcpRoute {
    /// At least one.
    pub(crate) destinations: Vec<TcpDestination>,
    /// Sum of the weights.
    pub(crate) total_weight: u64,
    /// Milliseconds of silence in both directions after which a connection is closed.
    pub(crate) idle_timeout_ms: Option<u64>,
    /// Milliseconds after which a connection is closed in any case.
    pub(crate) max_duration_ms: Option<u64>,
}

/// One weighted destination.
#[derive(Debug)]
pub(crate) struct TcpDestination {
    /// Where it is in the tables.
    pub(crate) cluster: ClusterSlot,
    /// Its name.
    pub(crate) cluster_name: Arc<str>,
    /// At least 1.
    pub(crate) weight: u32,
}

impl TcpRoute {
    /// The destination that an evenly distributed random number falls on.
    pub(crate) fn pick(&self, random: u32) -> Option<&TcpDestination> {
        pick(&self.destinations, self.total_weight, random)
    }
}

/// The destination that an evenly distributed random number falls on; `total_weight` is the sum of theirs.
pub(super) fn pick(
    destinations: &[TcpDestination],
    total_weight: u64,
    random: u32,
) -> Option<&TcpDestination> {
    let mut at = (u128::from(random) * u128::from(total_weight)) >> u32::BITS;
    for destination in destinations {
        let weight = u128::from(destination.weight);
        if at < weight {
            return Some(destination);
        }
        at -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_gets_its_share_of_all_numbers() {
        let destination =
            |weight| TcpDestination { cluster: ClusterSlot(0), cluster_name: "".into(), weight };
        let route = TcpRoute {
            destinations: vec![destination(1), destination(3)],
            total_weight: 4,
            idle_timeout_ms: None,
            max_duration_ms: None,
        };
        let quarter = u32::MAX / 4;
        for (random, weight) in [(0, 1), (quarter, 1), (quarter + 1, 3), (u32::MAX, 3)] {
            assert_eq!(route.pick(random).map(|to| to.weight), Some(weight), "{random}");
        }
    }
}
