use super::*;
use crate::table::retry::RetryOn;

fn refused() -> Fail {
    Fail::Connect("refused".into())
}

fn policy(attempts: u32, on: RetryOn) -> Retry {
    Retry::Policy(Box::new(RetryPolicy {
        attempts,
        per_try_timeout_ms: None,
        on,
        backoff_ms: 25,
        least_wait_ms: 0,
        avoid_previous: true,
        other_localities: false,
    }))
}

fn after(retry: &Retry, method: MethodKind, begun: u32, fail: &Fail, replayable: bool) -> Next {
    Attempts { begun, ..Attempts::new(retry, method) }.after_failure(fail, replayable)
}

#[test]
fn without_a_policy_only_what_cannot_have_been_processed_is_sent_again() {
    use MethodKind::{Head, Idempotent, Other};
    let cases = [
        (refused(), Other, Next::Again(0)),
        (Fail::ConnectTimeout, Other, Next::Again(0)),
        (Fail::Closed { sent: true }, Idempotent, Next::Again(0)),
        (Fail::Closed { sent: true }, Head, Next::Again(0)),
        (Fail::Closed { sent: true }, Other, Next::Final),
        (Fail::Closed { sent: false }, Other, Next::Again(0)),
        (Fail::Refused, Other, Next::Again(0)),
        (Fail::Reset, Idempotent, Next::Again(0)),
        (Fail::Reset, Other, Next::Final),
        (Fail::Garbage, Idempotent, Next::Final),
        (Fail::Timeout, Idempotent, Next::Final),
        (Fail::NoEndpoint, Idempotent, Next::Final),
    ];
    for (fail, method, expected) in cases {
        assert_eq!(after(&Retry::Safe, method, 1, &fail, true), expected, "{fail:?} {method:?}");
    }
}

#[test]
fn once_is_enough_without_a_policy_and_never_means_never() {
    let method = MethodKind::Idempotent;
    assert_eq!(after(&Retry::Safe, method, 2, &refused(), true), Next::Exhausted);
    assert_eq!(after(&Retry::Off, method, 1, &refused(), true), Next::Final);
}

#[test]
fn a_body_that_was_not_kept_is_never_sent_again() {
    let retry = policy(3, RetryOn { connect_failure: true, ..RetryOn::default() });
    assert_eq!(after(&retry, MethodKind::Other, 1, &refused(), false), Next::Final);
}

#[test]
fn a_policy_does_what_it_says() {
    let reset = Fail::Closed { sent: true };
    let connect = policy(1, RetryOn { connect_failure: true, ..RetryOn::default() });
    assert!(matches!(after(&connect, MethodKind::Other, 1, &refused(), true), Next::Again(_)));
    assert_eq!(after(&connect, MethodKind::Other, 2, &refused(), true), Next::Exhausted);
    assert_eq!(after(&connect, MethodKind::Other, 1, &reset, true), Next::Final);
    let resets = policy(1, RetryOn { reset: true, ..RetryOn::default() });
    assert!(matches!(after(&resets, MethodKind::Other, 1, &reset, true), Next::Again(_)));
    let before = policy(1, RetryOn { reset_before_request: true, ..RetryOn::default() });
    assert_eq!(after(&before, MethodKind::Other, 1, &reset, true), Next::Final);
    let unsent = Fail::Closed { sent: false };
    assert!(matches!(after(&before, MethodKind::Other, 1, &unsent, true), Next::Again(_)));
}

#[test]
fn what_never_reached_the_origin_is_before_the_request() {
    let before = policy(1, RetryOn { reset_before_request: true, ..RetryOn::default() });
    assert!(matches!(after(&before, MethodKind::Other, 1, &refused(), true), Next::Again(_)));
    assert_eq!(after(&before, MethodKind::Other, 1, &Fail::PerTryTimeout, true), Next::Final);
}

#[test]
fn an_attempt_that_takes_too_long_is_a_reset_and_no_status() {
    let on = |on: RetryOn| after(&policy(1, on), MethodKind::Other, 1, &Fail::PerTryTimeout, true);
    assert!(matches!(on(RetryOn { reset: true, ..RetryOn::default() }), Next::Again(_)));
    assert!(matches!(on(RetryOn { gateway_error: true, ..RetryOn::default() }), Next::Again(_)));
    assert_eq!(on(RetryOn { status_codes: [504].into(), ..RetryOn::default() }), Next::Final);
    assert_eq!(on(RetryOn { connect_failure: true, ..RetryOn::default() }), Next::Final);
}

fn answer(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    let mut answer = ResponseHead { status, ..ResponseHead::default() };
    fields.iter().for_each(|(name, value)| answer.fields.add(name.as_bytes(), value.as_bytes()));
    answer
}

#[test]
fn answers_are_judged_by_what_they_say_of_calls_and_of_rates() {
    let again = |on: RetryOn, answer: &ResponseHead| {
        let retry = policy(1, on);
        let attempts = Attempts { begun: 1, ..Attempts::new(&retry, MethodKind::Other) };
        matches!(attempts.after_answer(answer, true), Next::Again(_))
    };
    let unavailable = || RetryOn { grpc: 1 << 14, ..RetryOn::default() };
    assert!(again(unavailable(), &answer(200, &[("grpc-status", "14")])));
    assert!(!again(unavailable(), &answer(200, &[("grpc-status", "13")])));
    assert!(!again(unavailable(), &answer(200, &[("grpc-status", "x")])));
    let limited = answer(503, &[("x-envoy-ratelimited", "true")]);
    assert!(!again(RetryOn { five_xx: true, ..RetryOn::default() }, &limited));
    assert!(again(RetryOn { rate_limited: true, ..RetryOn::default() }, &limited));
    assert!(!again(RetryOn { rate_limited: true, ..RetryOn::default() }, &answer(503, &[])));
}

#[test]
fn answers_are_judged_by_status() {
    let retry = policy(2, RetryOn { gateway_error: true, status_codes: [429].into(), ..RetryOn::default() });
    let again = |begun, status| {
        let answer = answer(status, &[]);
        Attempts { begun, ..Attempts::new(&retry, MethodKind::Idempotent) }.after_answer(&answer, true)
    };
    assert!(matches!(again(1, 503), Next::Again(_)));
    assert!(matches!(again(1, 429), Next::Again(_)));
    assert_eq!(again(1, 500), Next::Final);
    assert_eq!(again(1, 200), Next::Final);
    assert_eq!(again(3, 503), Next::Exhausted);
}

#[test]
fn the_back_off_grows_to_ten_times_its_base() {
    let Retry::Policy(policy) = policy(9, RetryOn::default()) else { return };
    let waits: Vec<u64> = (1..6).map(|attempt| backoff(&policy, attempt)).collect();
    assert_eq!(waits, [25, 75, 175, 250, 250]);
    assert_eq!(backoff(&policy, 200), 250);
}

#[test]
fn a_wait_is_a_random_part_of_the_back_off_and_no_shorter_than_the_least() {
    let Retry::Policy(mut policy) = policy(9, RetryOn::default()) else { return };
    let waits = |policy: &RetryPolicy| {
        let retry = Retry::Policy(Box::new(policy.clone()));
        let attempts = Attempts::new(&retry, MethodKind::Idempotent);
        [0, 9, 74].map(|random| attempts.wait(random, 75))
    };
    assert_eq!(waits(&policy), [1, 10, 75]);
    policy.least_wait_ms = 25;
    assert_eq!(waits(&policy), [25, 25, 75]);
}
