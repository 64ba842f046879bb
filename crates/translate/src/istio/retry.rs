//! Retries.

use limen_ir::atoms::Millis;
use limen_ir::policy::retry::{DEFAULT_BACKOFF_MS, Retry, RetryOn, RetryPolicy};
use limen_resources::Problem;
use limen_resources::istio::Retries;

use crate::messages::{At, route};

/// What Istio does where nothing is written.
fn istio_default() -> Retry {
    Retry::Policy(Box::new(RetryPolicy {
        attempts: 2,
        per_try_timeout: None,
        on: default_conditions(),
        backoff: default_backoff(),
        backoff_at_least: false,
        avoid_previous: true,
        other_localities: false,
    }))
}

/// Where nothing is written: what the mesh says, if it says anything.
pub(crate) fn unwritten(mesh: Option<&Retry>, as_istio: bool) -> Retry {
    match mesh {
        Some(retry) => retry.clone(),
        None if as_istio => istio_default(),
        None => Retry::Safe,
    }
}

/// A written `retries` block; without `attempts` it turns retries off.
pub(crate) fn written(retries: &Retries, at: At<'_>, field: &str, problems: &mut Vec<Problem>) -> Retry {
    if retries.attempts == 0 {
        return Retry::Off;
    }
    let conditions = format!("{field}.retryOn");
    Retry::Policy(Box::new(RetryPolicy {
        attempts: retries.attempts,
        per_try_timeout: retries.per_try_timeout.and_then(|timeout| Millis::new(timeout.millis())),
        on: read_conditions(&retries.retry_on, at.field(&conditions), problems),
        backoff: retries.backoff.and_then(|base| Millis::new(base.millis())).unwrap_or_else(default_backoff),
        backoff_at_least: false,
        avoid_previous: retries.retry_ignore_previous_hosts.unwrap_or(true),
        other_localities: retries.retry_remote_localities.unwrap_or(false),
    }))
}

fn default_backoff() -> Millis {
    Millis::new(DEFAULT_BACKOFF_MS).unwrap_or_else(|| unreachable!())
}

fn default_conditions() -> RetryOn {
    RetryOn {
        connect_failure: true,
        refused_stream: true,
        grpc: vec!["cancelled".to_owned(), "unavailable".to_owned()],
        ..RetryOn::default()
    }
}

/// Tokens separated by commas; none: Istio's default.
fn read_conditions(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> RetryOn {
    if text.is_empty() {
        return default_conditions();
    }
    let mut on = RetryOn::default();
    for token in text.split(',').map(str::trim) {
        match token {
            "5xx" => on.five_xx = true,
            "gateway-error" => on.gateway_error = true,
            "reset" => on.reset = true,
            "reset-before-request" => on.reset_before_request = true,
            "connect-failure" => on.connect_failure = true,
            "refused-stream" => on.refused_stream = true,
            "retriable-4xx" => on.retriable_4xx = true,
            // Only says that the numbers count, which they do anyway.
            "retriable-status-codes" => {}
            "envoy-ratelimited" => on.rate_limited = true,
            "cancelled" | "deadline-exceeded" | "internal" | "resource-exhausted" | "unavailable" => {
                on.grpc.push(token.to_owned());
            }
            "retriable-headers" => {
                let message = "condition retriable-headers has no effect: there is no way to say which headers";
                problems.push(route::no_effect(at, message, "remove it"));
            }
            "http3-post-connect-failure" => {
                let message = "condition http3-post-connect-failure has no effect: backends are not spoken to in HTTP/3";
                problems.push(route::no_effect(at, message, "remove it"));
            }
            _ => match token.parse().ok().filter(|code| (100..=599).contains(code)) {
                Some(code) => on.status_codes.push(code),
                None => problems.push(route::invalid(
                    at,
                    format!("`{token}` is no condition for retries, and is left out"),
                    "write HTTP statuses or names such as 5xx, gateway-error, connect-failure, refused-stream",
                )),
            },
        }
    }
    on.grpc.sort();
    on.grpc.dedup();
    on.status_codes.sort_unstable();
    on.status_codes.dedup();
    on
}
