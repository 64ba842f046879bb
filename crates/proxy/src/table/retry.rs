//! When a failed attempt is tried again, as the workers read it.

/// The retry policy of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Never.
    Off,
    /// Once more, only where nothing can have been processed: connect failure, or reset before any response byte if
    /// the method is idempotent or no request byte was sent.
    Safe,
    /// As written.
    Policy(Box<RetryPolicy>),
}

/// A written retry policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Retries after the first attempt.
    pub(crate) attempts: u32,
    /// Milliseconds for each attempt; `None`: only the route's timeout.
    pub(crate) per_try_timeout_ms: Option<u64>,
    /// On which failures.
    pub(crate) on: RetryOn,
    /// Base of the exponential back-off in milliseconds.
    pub(crate) backoff_ms: u64,
    /// No wait is shorter than this, in milliseconds.
    pub(crate) least_wait_ms: u64,
    /// Prefer endpoints that this request has not tried.
    pub(crate) avoid_previous: bool,
    /// After two attempts, go to endpoints of priorities that the request has not tried.
    pub(crate) other_localities: bool,
}

/// Conditions, named as in `retryOn`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RetryOn {
    /// Any 5xx answer, and every failure without an answer.
    pub(crate) five_xx: bool,
    /// 502, 503, 504, and every failure without an answer.
    pub(crate) gateway_error: bool,
    /// The upstream closed without answering.
    pub(crate) reset: bool,
    /// The upstream closed before the request's head was sent.
    pub(crate) reset_before_request: bool,
    /// No connection.
    pub(crate) connect_failure: bool,
    /// HTTP/2 REFUSED_STREAM.
    pub(crate) refused_stream: bool,
    /// An answer that says `x-envoy-ratelimited`; without this it is final whatever its status.
    pub(crate) rate_limited: bool,
    /// 409.
    pub(crate) retriable_4xx: bool,
    /// Further statuses, sorted.
    pub(crate) status_codes: Box<[u16]>,
    /// gRPC statuses, bit n for status n.
    pub(crate) grpc: u32,
}

impl RetryOn {
    /// Does an answer of this status ask for another attempt?
    pub(crate) fn status(&self, status: u16) -> bool {
        (self.five_xx && (500..600).contains(&status))
            || (self.gateway_error && matches!(status, 502..=504))
            || (self.retriable_4xx && status == 409)
            || self.status_codes.binary_search(&status).is_ok()
    }

    /// Does a gRPC answer of this `grpc-status` ask for another attempt?
    pub(crate) fn grpc_status(&self, status: u32) -> bool {
        status < u32::BITS && self.grpc & (1 << status) != 0
    }
}
