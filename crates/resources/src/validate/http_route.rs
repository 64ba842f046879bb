//! Rules for the HTTP routes of a `VirtualService`.

mod actions;
mod extras;
mod headers;

use super::syntax::{check_duration, is_dns_label};
use super::virtual_service::{Whole, destination, weights};
use super::{Check, Path, matches};
use crate::istio::{Delegate, HttpRoute, Retries};

pub(super) fn check(check: &mut Check<'_>, at: Path<'_>, route: &HttpRoute, whole: Whole) {
    for (index, matching) in route.matches.iter().enumerate() {
        matches::check(check, at.field("match").item(index), matching, whole);
    }
    one_action(check, at, route, whole);
    if let Some(redirect) = &route.redirect {
        actions::redirect(check, at.field("redirect"), redirect, &route.matches);
    }
    if let Some(response) = &route.direct_response {
        actions::direct_response(check, at.field("directResponse"), response);
    }
    if let Some(rewrite) = &route.rewrite {
        actions::rewrite(check, at.field("rewrite"), rewrite);
    }
    for (index, weighted) in route.route.iter().enumerate() {
        destination(check, at.field("route").item(index).field("destination"), &weighted.destination);
    }
    weights(check, at.field("route"), route.route.iter().map(|weighted| weighted.weight));
    check_duration(check, at.field("timeout"), route.timeout);
    if let Some(retries) = &route.retries {
        self::retries(check, at.field("retries"), retries);
    }
    headers::check(check, at, route);
    extras::check(check, at, route);
}

/// Exactly one of route, redirect, directResponse and delegate; and what cannot stand beside it.
fn one_action(check: &mut Check<'_>, at: Path<'_>, route: &HttpRoute, whole: Whole) {
    let actions = [
        (!route.route.is_empty(), "route"),
        (route.redirect.is_some(), "redirect"),
        (route.direct_response.is_some(), "directResponse"),
        (route.delegate.is_some(), "delegate"),
    ];
    let given: Vec<&str> = actions.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
    match given.as_slice() {
        [_] => {}
        [] => check.error(
            at,
            "expected one of route, redirect, directResponse, delegate",
            "write where requests go",
        ),
        [first, second, ..] => {
            check.error(
                at.field(second),
                format!("{first} and {second} cannot stand together"),
                "keep one of them",
            );
        }
    }
    let answers = route.redirect.is_some() || route.direct_response.is_some();
    for (present, name) in [(route.rewrite.is_some(), "rewrite"), (route.fault.is_some(), "fault")] {
        if answers && present {
            let message = format!("{name} cannot stand beside redirect or directResponse");
            check.error(at.field(name), message, format!("remove {name}"));
        }
    }
    if let Some(delegate) = &route.delegate {
        self::delegate(check, at.field("delegate"), delegate, whole);
    }
}

fn delegate(check: &mut Check<'_>, at: Path<'_>, delegate: &Delegate, whole: Whole) {
    if whole.delegate {
        check.error(
            at,
            "a VirtualService without hosts cannot delegate further",
            "write the route itself here",
        );
    }
    if delegate.name.is_empty() {
        check.error(
            at.field("name"),
            "expected the name of a VirtualService",
            "write the name of one that has no hosts",
        );
    }
    if !delegate.namespace.is_empty() && !is_dns_label(&delegate.namespace) {
        let message = format!("expected a namespace, found {:?}", delegate.namespace);
        check.error(at.field("namespace"), message, "use lower-case letters, digits and `-`");
    }
}

/// Words for `retryOn` that are no status codes.
const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

pub(super) fn retries(check: &mut Check<'_>, at: Path<'_>, retries: &Retries) {
    if retries.attempts > 2_147_483_647 {
        check.error(
            at.field("attempts"),
            format!("expected at most 2147483647, found {}", retries.attempts),
            "leave the field out for the default",
        );
    }
    if retries.attempts == 0 {
        let pointless = [
            (retries.per_try_timeout.is_some(), "perTryTimeout"),
            (!retries.retry_on.is_empty(), "retryOn"),
            (retries.retry_remote_localities.is_some(), "retryRemoteLocalities"),
        ];
        for name in pointless.iter().filter(|(given, _)| *given).map(|(_, name)| *name) {
            let message = format!("{name} means nothing with attempts 0, which turns retries off");
            check.error(at.field(name), message, "write attempts: 2, for example");
        }
    }
    check_duration(check, at.field("perTryTimeout"), retries.per_try_timeout);
    check_duration(check, at.field("backoff"), retries.backoff);
    if retries.retry_on.is_empty() {
        return;
    }
    for word in retries.retry_on.split(',') {
        let status = word.len() == 3 && word.parse::<u16>().is_ok_and(|code| (100..=599).contains(&code));
        if status || RETRY_ON.contains(&word) {
            continue;
        }
        let mend = match crate::decode::nearest(word.trim(), &RETRY_ON) {
            Some(meant) if meant == word.trim() => "write commas without spaces".to_owned(),
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("write status codes or words of {}", RETRY_ON.join(", ")),
        };
        check.error(at.field("retryOn"), format!("{word:?} is no condition for a retry"), mend);
    }
}
