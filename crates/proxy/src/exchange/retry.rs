//! Whether a failed attempt is tried again.

use limen_wire::head::{MethodKind, ResponseHead};

use super::live::grpc_status;
use crate::observe::Flags;
use crate::table::retry::{Retry, RetryOn, RetryPolicy};
use crate::upstream::fail::Fail;

/// Longest back-off as a multiple of the base.
const LONGEST: u64 = 10;

/// The attempts of one request.
pub(crate) struct Attempts<'t> {
    retry: &'t Retry,
    method: MethodKind,
    /// Attempts begun.
    pub(crate) begun: u32,
}

/// What to do after a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after this many milliseconds at the most (the wait is drawn at random).
    Again(u64),
    /// The failure does not ask for another attempt.
    Final,
    /// It does, but there have been enough.
    Exhausted,
    /// It does, but too many of the cluster's retries are under way.
    Overflow,
}

impl Next {
    /// What the log says of it, where it ends the request.
    pub(crate) fn flags(&self) -> Flags {
        match self {
            Next::Again(_) | Next::Final => Flags::NONE,
            Next::Exhausted => Flags::URX,
            Next::Overflow => Flags::UO,
        }
    }
}

impl<'t> Attempts<'t> {
    pub(crate) fn new(retry: &'t Retry, method: MethodKind) -> Attempts<'t> {
        Attempts { retry, method, begun: 0 }
    }

    /// Whether any failure could be tried again, so that the body is worth keeping.
    pub(crate) fn possible(&self) -> bool {
        !matches!(self.retry, Retry::Off)
    }

    /// The written policy.
    pub(crate) fn policy(&self) -> Option<&'t RetryPolicy> {
        match self.retry {
            Retry::Policy(policy) => Some(policy),
            Retry::Off | Retry::Safe => None,
        }
    }

    /// Whether this attempt goes to another priority than earlier ones, of which so many count: they are looked at after
    /// each two (Istio).
    pub(crate) fn leaves(&self) -> Option<usize> {
        self.policy().filter(|policy| policy.other_localities)?;
        let before = self.begun.saturating_sub(1) as usize;
        (before >= 2).then_some(before - before % 2)
    }

    /// Whether another attempt is wanted after a failure without an answer. `replayable`: the body can be sent again.
    pub(crate) fn after_failure(&self, fail: &Fail, replayable: bool) -> Next {
        let wanted = replayable
            && match self.retry {
                Retry::Off => false,
                Retry::Safe => safe(fail, self.method),
                Retry::Policy(policy) => wanted(policy, fail),
            };
        self.next(wanted)
    }

    /// Whether another attempt is wanted after an answer.
    pub(crate) fn after_answer(&self, answer: &ResponseHead, replayable: bool) -> Next {
        let wanted = replayable && self.policy().is_some_and(|policy| wanted_after(&policy.on, answer));
        self.next(wanted)
    }

    /// How long to wait, in milliseconds, where the back-off is this (at least 1).
    pub(crate) fn wait(&self, random: u32, at_most_ms: u64) -> u64 {
        let least = self.policy().map_or(0, |policy| policy.least_wait_ms);
        (u64::from(random) % at_most_ms + 1).max(least)
    }

    fn next(&self, wanted: bool) -> Next {
        let allowed = match self.retry {
            Retry::Off => 0,
            Retry::Safe => 1,
            Retry::Policy(policy) => policy.attempts,
        };
        match wanted {
            false => Next::Final,
            true if self.begun > allowed => Next::Exhausted,
            true => Next::Again(self.policy().map_or(0, |policy| backoff(policy, self.begun))),
        }
    }
}

/// Exponential from the base: base, 3 × base, 7 × base …, at the most ten times the base (Envoy).
fn backoff(policy: &RetryPolicy, attempt: u32) -> u64 {
    let factor = 1u64.checked_shl(attempt).map_or(LONGEST, |power| (power - 1).min(LONGEST));
    policy.backoff_ms.saturating_mul(factor)
}

/// Nothing can have been processed.
fn safe(fail: &Fail, method: MethodKind) -> bool {
    match fail {
        Fail::Connect(_) | Fail::ConnectTimeout | Fail::Refused => true,
        Fail::Reset => matches!(method, MethodKind::Head | MethodKind::Idempotent),
        Fail::Closed { sent } => !sent || matches!(method, MethodKind::Head | MethodKind::Idempotent),
        _ => false,
    }
}

fn wanted_after(on: &RetryOn, answer: &ResponseHead) -> bool {
    if answer.fields.get(b"x-envoy-ratelimited").is_some() {
        return on.rate_limited;
    }
    on.status(answer.status)
        || on.grpc != 0 && grpc_status(&answer.fields).is_some_and(|status| on.grpc_status(status))
}

fn wanted(policy: &RetryPolicy, fail: &Fail) -> bool {
    let on = &policy.on;
    match fail {
        Fail::Connect(_) | Fail::ConnectTimeout => {
            on.connect_failure || on.five_xx || on.gateway_error || on.reset || on.reset_before_request
        }
        Fail::Closed { sent } => {
            on.five_xx || on.gateway_error || on.reset || (on.reset_before_request && !sent)
        }
        Fail::Refused => on.refused_stream || on.five_xx || on.gateway_error || on.reset,
        Fail::Garbage | Fail::TooMuch(_) | Fail::Reset | Fail::PerTryTimeout => {
            on.five_xx || on.gateway_error || on.reset
        }
        Fail::Overflow | Fail::NoCluster | Fail::NoEndpoint | Fail::Timeout | Fail::Unsayable => false,
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
