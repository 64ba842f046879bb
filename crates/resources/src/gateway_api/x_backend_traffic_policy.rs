//! `XBackendTrafficPolicy`: how often requests to a backend are tried again, and how clients stay at its endpoints.

use super::backend_tls_policy::LocalReference;
use super::http_route::SessionPersistence;
use crate::decode::spec;
use crate::duration::GoDuration;

spec! {
    /// `gateway.networking.x-k8s.io` `XBackendTrafficPolicy`.
    pub struct XBackendTrafficPolicy {
        /// What it is for, in its own namespace: Services and XBackends.
        "targetRefs" => target_refs: Vec<LocalReference>,
        /// How many requests may be tried again; absent: as many as routes say.
        "retryConstraint" => retry_constraint: Option<RetryConstraint>,
        /// How the requests of one client stay at one endpoint, where its route says nothing of that.
        "sessionPersistence" => session_persistence: Option<SessionPersistence>,
    }
}

spec! {
    /// How many requests may be tried again.
    pub struct RetryConstraint {
        /// Of all of a time.
        "budget" => budget: RetryConstraintBudget,
        /// As many as may be in any case.
        "minRetryRate" => min_retry_rate: RequestRate,
    }
}

spec! {
    /// A share of the requests of a time.
    pub struct RetryConstraintBudget {
        /// 0 to 100; absent: 20.
        "percent" => percent: Option<u32>,
        /// 1s to 1h; absent: 10s.
        "interval" => interval: Option<GoDuration>,
    }
}

spec! {
    /// So many requests in a time.
    pub struct RequestRate {
        /// 1 to 1000000; absent: 10.
        "count" => count: Option<u32>,
        /// At most 1h; absent: 1s.
        "interval" => interval: Option<GoDuration>,
    }
}
