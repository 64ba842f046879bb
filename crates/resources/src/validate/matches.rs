//! Rules for the matches of an HTTP route.

use std::collections::BTreeMap;

use super::syntax::{check_regex, is_token};
use super::virtual_service::{Whole, gateway_name, optional_port};
use super::{Check, Path};
use crate::istio::{HttpMatch, StringMatch};

/// The names that begin with `:` and can be matched.
const PSEUDO: [&str; 5] = [":method", ":scheme", ":authority", ":path", ":status"];

pub(super) fn check(check: &mut Check<'_>, at: Path<'_>, matches: &HttpMatch, whole: Whole) {
    if let Some(StringMatch::Regex(expression)) = &matches.uri {
        check_regex(check, at.field("uri").field("regex"), expression);
    }
    for (name, text) in
        [("scheme", &matches.scheme), ("method", &matches.method), ("authority", &matches.authority)]
    {
        if let Some(text) = text {
            string_match(check, at.field(name), text);
        }
    }
    headers(check, at.field("headers"), &matches.headers, whole);
    headers(check, at.field("withoutHeaders"), &matches.without_headers, whole);
    for (name, text) in &matches.query_params {
        let map = at.field("queryParams");
        if name.is_empty() {
            check.error(map, "expected the name of a query parameter", "write it before the `:`");
        }
        string_match(check, map.field(name), text);
    }
    optional_port(check, at.field("port"), matches.port);
    for (index, gateway) in matches.gateways.iter().enumerate() {
        gateway_name(check, at.field("gateways").item(index), gateway);
    }
}

/// Not for paths: there an empty prefix is possible.
fn string_match(check: &mut Check<'_>, at: Path<'_>, text: &StringMatch) {
    match text {
        StringMatch::Prefix(prefix) if prefix.is_empty() => {
            check.error(
                at.field("prefix"),
                "expected a prefix, found nothing",
                "write `{}` to ask only for presence",
            );
        }
        StringMatch::Regex(expression) => check_regex(check, at.field("regex"), expression),
        _ => {}
    }
}

fn headers(check: &mut Check<'_>, at: Path<'_>, headers: &BTreeMap<String, StringMatch>, whole: Whole) {
    for (name, text) in headers {
        let entry = at.field(name);
        if name.starts_with("@request.auth.claims") {
            if whole.mesh {
                let mend = "bind the VirtualService to gateways only";
                check.error(entry, "claims of a token can only be matched at gateways", mend);
            }
        } else if name.starts_with(':') {
            if !PSEUDO.contains(&name.as_str()) {
                check.error(
                    entry,
                    format!("there is no header {name}"),
                    format!("write one of {}", PSEUDO.join(", ")),
                );
            }
        } else if !is_token(name) {
            check.error(entry, format!("{name:?} is no header name"), "use letters, digits and `-`");
        }
        // Istio lets this one regular expression, which is none, stand for presence here.
        let star = at.to_string().ends_with("withoutHeaders") && *text == StringMatch::Regex("*".to_owned());
        if !star {
            string_match(check, entry, text);
        }
    }
}
