//! Policies of rules.

use limen_ir::policy::cors::{Cors as IrCors, UnmatchedPreflights};
use limen_ir::policy::fault::{
    Abort as IrAbort, AbortStatus as IrAbortStatus, Delay as IrDelay, Fault as IrFault,
};
use limen_ir::policy::hash::{HashCookie as IrHashCookie, HashPolicy as IrHashPolicy, MadeCookie};
use limen_ir::policy::retry::Retry as IrRetry;
use limen_ir::policy::session::{Session as IrSession, SessionKept};

use crate::filter::cors::CorsFields;
use crate::filter::fault::{AbortStatus, Fault};
use crate::filter::hash::{HashCookie, HashPolicy};
use crate::filter::session::Session;
use crate::filter::share::Share;
use crate::table::cors::{Cors, Origins};
use crate::table::matcher::TextTest;
use crate::table::retry::{Retry, RetryOn, RetryPolicy};

/// Cross-origin rules, with the origins compiled already.
pub(super) fn cors(cors: &IrCors, tests: Vec<TextTest>) -> Cors {
    let IrCors {
        origins: _,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        unmatched_preflights,
    } = cors;
    let bytes = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().into());
    let fields = CorsFields {
        allow_methods: bytes(allow_methods),
        allow_headers: bytes(allow_headers),
        expose_headers: bytes(expose_headers),
        max_age: max_age.map(|seconds| seconds.to_string().into_bytes().into()),
        allow_credentials: *allow_credentials,
    };
    let ignore_unmatched = *unmatched_preflights == UnmatchedPreflights::Ignore;
    Cors { origins: Origins::new(tests), fields, ignore_unmatched }
}

/// Injected faults.
pub(super) fn fault(fault: &IrFault) -> Fault {
    let IrFault { delay, abort } = fault;
    let share = |share: limen_ir::Share| Share::new(share.millionths());
    Fault {
        delay: delay.as_ref().map(|IrDelay { share: of, fixed }| (share(*of), fixed.get())),
        abort: abort.as_ref().map(|IrAbort { share: of, status }| {
            let status = match status {
                IrAbortStatus::Http(status) => AbortStatus::Http(*status),
                IrAbortStatus::Grpc(status) => AbortStatus::Grpc(*status),
            };
            (share(*of), status)
        }),
    }
}

/// Retries.
pub(super) fn retry(retry: &IrRetry) -> Retry {
    let policy = match retry {
        IrRetry::Off => return Retry::Off,
        IrRetry::Safe => return Retry::Safe,
        IrRetry::Policy(policy) => policy,
    };
    let mut status_codes = policy.on.status_codes.clone();
    status_codes.sort_unstable();
    Retry::Policy(Box::new(RetryPolicy {
        attempts: policy.attempts,
        per_try_timeout_ms: policy.per_try_timeout.map(limen_ir::Millis::get),
        on: RetryOn {
            five_xx: policy.on.five_xx,
            gateway_error: policy.on.gateway_error,
            reset: policy.on.reset,
            reset_before_request: policy.on.reset_before_request,
            connect_failure: policy.on.connect_failure,
            refused_stream: policy.on.refused_stream,
            retriable_4xx: policy.on.retriable_4xx,
            rate_limited: policy.on.rate_limited,
            status_codes: status_codes.into(),
            grpc: policy.on.grpc.iter().fold(0, |bits, name| bits | grpc_bit(name)),
        },
        backoff_ms: policy.backoff.get(),
        least_wait_ms: if policy.backoff_at_least { policy.backoff.get() } else { 0 },
        avoid_previous: policy.avoid_previous,
        other_localities: policy.other_localities,
    }))
}

/// The bit of a gRPC status by the name that `retryOn` gives it.
fn grpc_bit(name: &str) -> u32 {
    match name {
        "cancelled" => 1 << 1,
        "deadline-exceeded" => 1 << 4,
        "resource-exhausted" => 1 << 8,
        "internal" => 1 << 13,
        "unavailable" => 1 << 14,
        _ => 0,
    }
}

/// What a request is hashed by.
pub(super) fn hash(ir: &IrHashPolicy) -> HashPolicy {
    let bytes = |text: &str| text.as_bytes().into();
    match ir {
        IrHashPolicy::Header(name) => match &**name {
            ":authority" => HashPolicy::Authority,
            ":path" => HashPolicy::Path,
            ":method" => HashPolicy::Method,
            name => HashPolicy::Header(bytes(name)),
        },
        IrHashPolicy::Cookie(IrHashCookie { name, made }) => {
            let made = made.as_ref().map(|made| cookie_rest(made).into());
            HashPolicy::Cookie(HashCookie { name: bytes(name), made })
        }
        IrHashPolicy::SourceIp => HashPolicy::SourceIp,
        IrHashPolicy::QueryParameter(name) => HashPolicy::QueryParameter(bytes(name)),
    }
}

pub(super) fn session(ir: &IrSession) -> Session {
    let IrSession { name, kept, lasts } = ir;
    let lasts_s = lasts.map(|lasts| lasts.get().div_ceil(1000));
    let rest = "; Path=/; HttpOnly; SameSite=Lax";
    let cookie = match (kept, lasts_s) {
        (SessionKept::Header, _) => None,
        (SessionKept::PermanentCookie, Some(lasts)) => Some(format!("; Max-Age={lasts}{rest}").into()),
        (SessionKept::Cookie | SessionKept::PermanentCookie, _) => Some(rest.into()),
    };
    Session { name: name.as_str().into(), cookie, lasts_s }
}

/// What follows a cookie's value, in Envoy's order.
fn cookie_rest(made: &MadeCookie) -> String {
    let MadeCookie { ttl, path, attributes } = made;
    let mut rest = ttl.map_or(String::new(), |ttl| format!("; Max-Age={}", ttl.get() / 1000));
    if !path.is_empty() {
        rest.push_str("; Path=");
        rest.push_str(path);
    }
    for (name, value) in attributes {
        rest.push_str("; ");
        rest.push_str(name);
        if !value.is_empty() {
            rest.push('=');
            rest.push_str(value);
        }
    }
    rest.push_str("; HttpOnly");
    rest
}
