//! Rules for fault, mirrors and corsPolicy.

use super::super::syntax::{check_duration, check_regex, is_token};
use super::super::virtual_service::destination;
use super::super::{Check, Path};
use crate::istio::{CorsPolicy, Fault, GRPC_STATUS, HttpRoute, Percent, StringMatch};

const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

pub(super) fn check(check: &mut Check<'_>, at: Path<'_>, route: &HttpRoute) {
    if let Some(fault) = &route.fault {
        self::fault(check, at.field("fault"), fault);
    }
    mirrors(check, at, route);
    if let Some(cors) = &route.cors_policy {
        self::cors(check, at.field("corsPolicy"), cors);
    }
}

/// 0, or 0.0001 to 100.
fn percentage(check: &mut Check<'_>, at: Path<'_>, percent: Option<&Percent>) {
    let Some(Percent { value }) = percent else { return };
    if *value != 0.0 && !(0.0001..=100.0).contains(value) {
        check.error(
            at.field("value"),
            format!("expected 0, or 0.0001 to 100, found {value}"),
            "it counts in percent",
        );
    }
}

fn fault(check: &mut Check<'_>, at: Path<'_>, fault: &Fault) {
    if fault.delay.is_none() && fault.abort.is_none() {
        check.error(at, "expected delay or abort", "write one of them");
    }
    if let Some(delay) = &fault.delay {
        let at = at.field("delay");
        percentage(check, at.field("percentage"), delay.percentage.as_ref());
        if delay.percent > 100 {
            check.error(
                at.field("percent"),
                format!("expected 0 to 100, found {}", delay.percent),
                "it counts in percent",
            );
        }
        if delay.exponential_delay.is_some() {
            check.error(
                at.field("exponentialDelay"),
                "exponentialDelay cannot be served",
                "write fixedDelay",
            );
        } else if delay.fixed_delay.is_none() {
            check.error(at.field("fixedDelay"), "expected a duration", "write fixedDelay: 5s, for example");
        }
        check_duration(check, at.field("fixedDelay"), delay.fixed_delay);
    }
    if let Some(abort) = &fault.abort {
        let at = at.field("abort");
        percentage(check, at.field("percentage"), abort.percentage.as_ref());
        if !abort.http2_error.is_empty() {
            check.error(at.field("http2Error"), "http2Error cannot be served", "write httpStatus");
        }
        match abort.http_status {
            Some(status) if !(200..=600).contains(&status) => {
                check.error(
                    at.field("httpStatus"),
                    format!("expected a status from 200 to 600, found {status}"),
                    "write 503, for example",
                );
            }
            Some(_) if !abort.grpc_status.is_empty() => {
                check.error(
                    at.field("grpcStatus"),
                    "httpStatus and grpcStatus cannot stand together",
                    "keep one",
                );
            }
            None if abort.grpc_status.is_empty() => {
                check.warn(at, "expected a status", "write httpStatus: 503")
            }
            _ => {}
        }
        if !abort.grpc_status.is_empty() && !GRPC_STATUS.contains(&abort.grpc_status.as_str()) {
            let message = format!("expected a gRPC status, found {:?}", abort.grpc_status);
            check.error(at.field("grpcStatus"), message, format!("write one of {}", GRPC_STATUS.join(", ")));
        }
    }
}

fn mirrors(check: &mut Check<'_>, at: Path<'_>, route: &HttpRoute) {
    if route.mirror.is_some() && !route.mirrors.is_empty() {
        check.error(at.field("mirrors"), "mirror and mirrors cannot stand together", "keep mirrors");
    }
    if let Some(mirror) = &route.mirror {
        destination(check, at.field("mirror"), mirror);
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let list = at.field("mirrors");
        let at = list.item(index);
        destination(check, at.field("destination"), &mirror.destination);
        percentage(check, at.field("percentage"), mirror.percentage.as_ref());
    }
    percentage(check, at.field("mirrorPercentage"), route.mirror_percentage.as_ref());
    if let Some(percent) = route.mirror_percent.filter(|percent| *percent > 100) {
        check.error(
            at.field("mirrorPercent"),
            format!("expected 0 to 100, found {percent}"),
            "it counts in percent",
        );
    }
}

fn cors(check: &mut Check<'_>, at: Path<'_>, cors: &CorsPolicy) {
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        let list = at.field("allowOrigins");
        let at = list.item(index);
        match origin {
            StringMatch::Present => check.error(
                at,
                "expected exact, prefix or regex",
                "write exact: https://example.com, for example",
            ),
            StringMatch::Exact(text) | StringMatch::Prefix(text) if text.is_empty() => {
                check.error(
                    at,
                    "expected an origin, found nothing",
                    "write https://example.com, for example",
                );
            }
            StringMatch::Regex(expression) => check_regex(check, at.field("regex"), expression),
            _ => {}
        }
    }
    for (index, method) in cors.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            let mend = format!("write one of {}", METHODS.join(", "));
            check.error(at.field("allowMethods").item(index), format!("{method:?} is no method"), mend);
        }
    }
    for (field, names) in [("allowHeaders", &cors.allow_headers), ("exposeHeaders", &cors.expose_headers)] {
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !is_token(name)) {
            check.error(
                at.field(field).item(index),
                format!("{name:?} is no header name"),
                "use letters, digits and `-`",
            );
        }
    }
    if let Some(age) = cors.max_age {
        check_duration(check, at.field("maxAge"), cors.max_age);
        if age.millis() % 1000 != 0 {
            check.error(
                at.field("maxAge"),
                format!("expected whole seconds, found {age}"),
                "write it in seconds, such as 60s",
            );
        }
    }
}
