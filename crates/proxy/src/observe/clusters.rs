//! What is known of clusters: their numbers, and what the control side adds (endpoints, ejections, limits).

use std::sync::Arc;

use super::interner::Interner;
use super::names::metrics;
use super::statistics::ClusterStat;
use crate::limits::cluster::{ClusterLimits, Usage};
use crate::limits::outlier::Why;

/// Clusters that are counted by name at most, over the life of the process. The rest count together as `overflow`.
pub const MAX_CLUSTERS: usize = 10_000;

/// An interned name of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClusterId(pub(super) u32);

impl ClusterId {
    /// Where clusters count whose own name would be one too many.
    pub(super) const OVERFLOW: ClusterId = ClusterId(0);
}

/// How often endpoints had too many errors in a row, and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ejections {
    active: u64,
    five_xx: u64,
    gateway: u64,
    local: u64,
    overflow: u64,
}

/// What the control side knows of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterFacts {
    /// It is in the configuration in force.
    pub(crate) configured: bool,
    /// Endpoints, and those of them that may be chosen.
    pub(crate) members: (u64, u64),
    /// Errors of its endpoints are watched.
    pub(crate) watched: bool,
    /// Its limits, if it has any.
    pub(crate) limits: Option<Arc<ClusterLimits>>,
    ejections: Ejections,
}

impl ClusterFacts {
    /// So many endpoints are left out now.
    pub(crate) fn left_out(&mut self, now: usize) {
        self.ejections.active = now as u64;
    }

    /// An endpoint was left out, or was not although it should be.
    pub(crate) fn judged(&mut self, why: Why, ejected: bool) {
        let counts = &mut self.ejections;
        let which = match why {
            _ if !ejected => &mut counts.overflow,
            Why::FiveXx => &mut counts.five_xx,
            Why::Gateway => &mut counts.gateway,
            Why::Local => &mut counts.local,
        };
        *which += 1;
    }
}

/// All clusters that were ever named.
pub(super) struct ClusterBook {
    names: Interner<String>,
    facts: Vec<ClusterFacts>,
    limit: usize,
}

impl ClusterBook {
    /// That knows so many clusters at most.
    pub(super) fn new(limit: usize) -> ClusterBook {
        let names = Interner::starting_with(vec!["overflow".to_owned()]);
        ClusterBook { names, facts: vec![ClusterFacts::default()], limit }
    }

    pub(super) fn id(&mut self, name: &str) -> ClusterId {
        let name = name.to_owned();
        if self.names.list.len() > self.limit {
            return self.names.known(&name).map_or(ClusterId::OVERFLOW, ClusterId);
        }
        let id = self.names.id(name);
        self.facts.resize_with(self.names.list.len(), ClusterFacts::default);
        ClusterId(id)
    }

    /// Nothing is told of those that count together: they would overwrite each other.
    pub(super) fn tell(&mut self, id: ClusterId, tell: impl FnOnce(&mut ClusterFacts)) {
        if let Some(facts) = self.facts.get_mut(id.0 as usize).filter(|_| id != ClusterId::OVERFLOW) {
            tell(facts);
        }
    }

    /// Every cluster, in the order of ids. One that has left the configuration is not shown, and goes on where it
    /// stood when it comes back.
    pub(super) fn all(&self) -> Vec<ClusterTotals> {
        let all = self.names.list.iter().zip(&self.facts);
        all.map(|(name, facts)| ClusterTotals { name: Arc::clone(name), facts: facts.clone(), numbers: None })
            .collect()
    }
}

/// What readers see of one cluster.
pub(super) struct ClusterTotals {
    pub(super) name: Arc<String>,
    facts: ClusterFacts,
    /// Sums over workers; `None`: nothing was sent to it.
    pub(super) numbers: Option<[u64; ClusterStat::COUNT]>,
}

impl ClusterTotals {
    /// Whether it is to be seen.
    pub(super) fn shows(&self) -> bool {
        self.facts.configured || self.numbers.is_some() && &**self.name == "overflow"
    }

    /// How a fact stands; `None`: it says nothing about this cluster.
    pub(super) fn fact(&self, fact: Fact) -> Option<u64> {
        let (facts, counts) = (&self.facts, &self.facts.ejections);
        let used = |part: fn(&Usage) -> Option<(u32, u32)>| part(&facts.limits.as_ref()?.usage());
        let open = |part| used(part).map(|(used, most)| u64::from(used >= most));
        let left = |part| used(part).map(|(used, most)| u64::from(most.saturating_sub(used)));
        let watched = |count: u64| facts.watched.then_some(count);
        match fact {
            Fact::MembershipTotal => facts.configured.then_some(facts.members.0),
            Fact::MembershipHealthy => facts.configured.then_some(facts.members.1),
            Fact::EjectionsActive => watched(counts.active),
            Fact::EjectionsEnforced => watched(counts.five_xx + counts.gateway + counts.local),
            Fact::EjectionsFiveXx => watched(counts.five_xx),
            Fact::EjectionsGateway => watched(counts.gateway),
            Fact::EjectionsLocal => watched(counts.local),
            Fact::EjectionsOverflow => watched(counts.overflow),
            Fact::ConnectionsOpen => open(|usage| usage.connections),
            Fact::ConnectionsLeft => left(|usage| usage.connections),
            Fact::PendingOpen => open(|usage| usage.pending),
            Fact::PendingLeft => left(|usage| usage.pending),
            Fact::RequestsOpen => open(|usage| usage.requests),
            Fact::RequestsLeft => left(|usage| usage.requests),
            Fact::RetriesOpen => open(|usage| usage.retries),
            Fact::RetriesLeft => left(|usage| usage.retries),
        }
    }
}

metrics! {
    /// What the control side tells of a cluster.
    Fact;
    MembershipTotal Gauge "membership_total" "endpoints" "Endpoints.",
    MembershipHealthy Gauge "membership_healthy" "endpoints" "Endpoints that requests are sent to.",
    EjectionsActive Gauge "outlier_detection.ejections_active" "endpoints"
        "Endpoints that are left out for their errors.",
    EjectionsEnforced Counter "outlier_detection.ejections_enforced_total" "endpoints"
        "Endpoints left out for their errors.",
    EjectionsFiveXx Counter "outlier_detection.ejections_enforced_consecutive_5xx" "endpoints"
        "Endpoints left out for answers of 5xx in a row.",
    EjectionsGateway Counter "outlier_detection.ejections_enforced_consecutive_gateway_failure" "endpoints"
        "Endpoints left out for answers of 502, 503 and 504 in a row.",
    EjectionsLocal Counter "outlier_detection.ejections_enforced_consecutive_local_origin_failure" "endpoints"
        "Endpoints left out for connections that failed in a row.",
    EjectionsOverflow Counter "outlier_detection.ejections_overflow" "endpoints"
        "Endpoints not left out, although they should be, because too many were already.",
    ConnectionsOpen Gauge "circuit_breakers.default.cx_open" "" "1 if there may be no more connections.",
    ConnectionsLeft Gauge "circuit_breakers.default.remaining_cx" "connections" "Connections that there may be more.",
    PendingOpen Gauge "circuit_breakers.default.rq_pending_open" "" "1 if no more requests may wait.",
    PendingLeft Gauge "circuit_breakers.default.remaining_pending" "requests" "Requests that may wait besides.",
    RequestsOpen Gauge "circuit_breakers.default.rq_open" "" "1 if no more requests may be under way.",
    RequestsLeft Gauge "circuit_breakers.default.remaining_rq" "requests" "Requests that may be under way besides.",
    RetriesOpen Gauge "circuit_breakers.default.rq_retry_open" "" "1 if no more retries may be under way.",
    RetriesLeft Gauge "circuit_breakers.default.remaining_retries" "requests" "Retries that may be under way besides.",
}

#[cfg(test)]
#[path = "clusters_tests.rs"]
mod tests;
