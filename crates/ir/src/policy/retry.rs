//! When a failed attempt is tried again.

use serde::Serialize;

use crate::atoms::Millis;

/// The retry policy of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Retry {
    /// Never.
    Off,
    /// No policy was written: once more, only where nothing can have been processed (connect failure, or reset before
    /// any response byte if the method is idempotent or no request byte was sent).
    Safe,
    /// Exactly what was written.
    Policy(Box<RetryPolicy>),
}

/// A written retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetryPolicy {
    /// Retries after the first attempt, at least 1.
    pub attempts: u32,
    /// Time for each attempt; `None`: only the route's timeout.
    pub per_try_timeout: Option<Millis>,
    /// On which failures.
    pub on: RetryOn,
    /// Base of the exponential back-off; the longest wait is ten times as much.
    pub backoff: Millis,
    /// No wait is shorter than that base (Gateway API); if not, each is a random part of the back-off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub backoff_at_least: bool,
    /// Prefer endpoints that this request has not tried.
    pub avoid_previous: bool,
    /// After two attempts, go to endpoints of priorities that this request has not tried.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other_localities: bool,
}

/// The conditions of `retryOn` (Envoy's names).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RetryOn {
    /// `5xx`: any 5xx answer, and every failure without an answer.
    pub five_xx: bool,
    /// `gateway-error`: 502, 503, 504.
    pub gateway_error: bool,
    /// `reset`: the upstream closed without answering.
    pub reset: bool,
    /// `reset-before-request`: closed before the request's head was sent.
    pub reset_before_request: bool,
    /// `connect-failure`.
    pub connect_failure: bool,
    /// `refused-stream`: HTTP/2 REFUSED_STREAM.
    pub refused_stream: bool,
    /// `retriable-4xx`: 409.
    pub retriable_4xx: bool,
    /// Numbers in `retryOn`: these statuses.
    pub status_codes: Vec<u16>,
    /// `envoy-ratelimited`: answers that say `x-envoy-ratelimited`; without this condition they are never asked again.
    pub rate_limited: bool,
    /// gRPC statuses by name: `cancelled`, `deadline-exceeded`, `internal`, `resource-exhausted`, `unavailable`.
    pub grpc: Vec<String>,
}

/// Istio's base back-off.
pub const DEFAULT_BACKOFF_MS: u64 = 25;
