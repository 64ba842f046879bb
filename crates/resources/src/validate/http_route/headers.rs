//! Rules for the header operations of a route and of its destinations.

use super::super::syntax::is_token;
use super::super::{Check, Path};
use crate::istio::{HeaderOperations, Headers, HttpRoute};

pub(super) fn check(check: &mut Check<'_>, at: Path<'_>, route: &HttpRoute) {
    let mut hosts = Hosts { first: None };
    if route.rewrite.as_ref().is_some_and(|rewrite| !rewrite.authority.is_empty()) {
        hosts.first = Some(at.field("rewrite").field("authority").to_string());
    }
    if let Some(headers) = &route.headers {
        both(check, at.field("headers"), headers, &mut hosts);
    }
    let on_route = hosts.first.clone();
    for (index, weighted) in route.route.iter().enumerate() {
        // Each destination may rewrite the host, unless the whole route does.
        let mut hosts = Hosts { first: on_route.clone() };
        if let Some(headers) = &weighted.headers {
            both(check, at.field("route").item(index).field("headers"), headers, &mut hosts);
        }
    }
}

/// Where the host was rewritten first.
struct Hosts {
    first: Option<String>,
}

impl Hosts {
    fn rewritten(&mut self, check: &mut Check<'_>, at: Path<'_>) {
        match &self.first {
            Some(first) => {
                check.error(at, format!("the host is rewritten in {first} already"), "keep one of them")
            }
            None => self.first = Some(at.to_string()),
        }
    }
}

fn both(check: &mut Check<'_>, at: Path<'_>, headers: &Headers, hosts: &mut Hosts) {
    if let Some(operations) = &headers.request {
        self::operations(check, at.field("request"), operations, Some(hosts));
    }
    if let Some(operations) = &headers.response {
        self::operations(check, at.field("response"), operations, None);
    }
}

/// `hosts` only where the host may be rewritten, which is on requests.
fn operations(
    check: &mut Check<'_>,
    at: Path<'_>,
    operations: &HeaderOperations,
    mut hosts: Option<&mut Hosts>,
) {
    for (field, map) in [("set", &operations.set), ("add", &operations.add)] {
        for (name, value) in map {
            let map = at.field(field);
            let at = map.field(name);
            let host = name.eq_ignore_ascii_case("host") || name == ":authority";
            match &mut hosts {
                Some(hosts) if host => hosts.rewritten(check, at),
                _ => header_name(check, at, name),
            }
            header_value(check, at, value);
        }
    }
    for (index, name) in operations.remove.iter().enumerate() {
        header_name(check, at.field("remove").item(index), name);
    }
}

fn header_name(check: &mut Check<'_>, at: Path<'_>, name: &str) {
    if name.eq_ignore_ascii_case("host") || name.starts_with(':') {
        check.error(
            at,
            format!("{name:?} cannot be changed here"),
            "rewrite.authority changes the host of requests",
        );
    } else if !is_token(name) {
        check.error(at, format!("{name:?} is no header name"), "use letters, digits and `-`");
    }
}

/// `%` begins and ends a variable; `%%` is the sign itself.
fn header_value(check: &mut Check<'_>, at: Path<'_>, value: &str) {
    if value.replace("%%", "").matches('%').count() % 2 == 1 {
        let message = format!("the `%` in {value:?} begins a variable that does not end");
        check.error(at, message, "write %% for the sign, or %NAME% for a variable");
    }
    if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        check.error(at, "the value of a header is one line", "remove the line break");
    }
}
