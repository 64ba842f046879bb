//! The syntax of names, hosts, addresses, regular expressions.

use std::net::IpAddr;

use super::path::SPEC;
use super::{Check, Path};
use crate::duration::GoDuration;

/// An RFC 1123 label: lower-case letters, digits and `-`, at most 63, no `-` at either end.
pub(crate) fn is_dns_label(text: &str) -> bool {
    is_host_label(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// An RFC 1123 subdomain: labels between dots, at most 253 characters.
pub(crate) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// A label of a host name, in either case.
fn is_host_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A name of one or more labels, in either case, perhaps with a final dot.
pub(crate) fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 255 && text.split('.').all(is_host_label)
}

/// A host name, `*`, or a name whose first label is `*`.
pub(crate) fn is_wildcard_host(text: &str) -> bool {
    text == "*" || is_host_name(text.strip_prefix("*.").unwrap_or(text))
}

/// A token of RFC 9110, such as a header name.
pub(crate) fn is_token(text: &str) -> bool {
    let mark = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(mark)
}

/// An IP address.
pub(crate) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// An IP network such as `10.0.0.0/8`.
pub(crate) fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(bits) = bits.parse::<u8>() else { return false };
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => bits <= 32,
        Ok(IpAddr::V6(_)) => bits <= 128,
        Err(_) => false,
    }
}

/// An absolute unix socket, which must not be a folder, or an abstract one.
pub(crate) fn is_unix_address(text: &str) -> bool {
    text.strip_prefix("unix://").is_some_and(|path| match path.strip_prefix('@') {
        Some(name) => !name.is_empty(),
        None => path.starts_with('/') && !path.ends_with('/'),
    })
}

/// A host as in `destination.host`: a name, possibly short, an address, or a wildcard that is not `*` alone.
pub(crate) fn check_host(check: &mut Check<'_>, at: Path<'_>, host: &str) {
    if host.is_empty() {
        check.error(
            at,
            "expected the name of a service",
            "write it, such as `reviews` or `reviews.default.svc.cluster.local`",
        );
    } else if host == "*" {
        check.error(at, "a destination cannot be `*`", "name one service");
    } else if !is_wildcard_host(host) && !is_ip(host) {
        check.error(at, format!("expected a host name, found {host:?}"), host_mend(host));
    }
}

/// What to write instead of a host that is none.
pub(crate) fn host_mend(host: &str) -> String {
    let without_scheme = host.split_once("://").map_or(host, |(_, rest)| rest);
    let without_path = without_scheme.split('/').next().unwrap_or_default();
    let without_port = without_path.split_once(':').map_or(without_path, |(name, _)| name);
    match without_port {
        name if name != host && is_wildcard_host(name) => {
            format!("write {name}, without scheme, port and path")
        }
        name if name.contains('*') => {
            "a wildcard stands for the whole first label: write *.example.com".to_owned()
        }
        _ => "use letters, digits, `-` and dots".to_owned(),
    }
}

/// A port number from 1 to 65535.
pub(crate) fn check_port(check: &mut Check<'_>, at: Path<'_>, number: u32) {
    if !(1..=65_535).contains(&number) {
        check.error(
            at,
            format!("expected a port from 1 to 65535, found {number}"),
            "write its number, such as 80",
        );
    }
}

/// A duration that is not zero.
pub(crate) fn check_duration(check: &mut Check<'_>, at: Path<'_>, duration: Option<GoDuration>) {
    if duration.is_some_and(|duration| duration.millis() == 0) {
        check.error(at, "expected a duration of at least 1ms", "leave the field out for its default");
    }
}

/// An RE2 expression of at most 1024 characters.
pub(crate) fn check_regex(check: &mut Check<'_>, at: Path<'_>, expression: &str) {
    if expression.is_empty() {
        check.error(at, "expected a regular expression, found nothing", "write `.*` for any text");
    } else if expression.chars().count() > 1024 {
        check.error(
            at,
            "expected a regular expression of at most 1024 characters",
            "shorten it, or split the match",
        );
    } else if let Err(error) = regex_syntax::parse(expression) {
        let reason = regex_fault(&error);
        let mend = "Istio uses RE2: no look-around, no back-references; escape special characters with \\";
        check.error(at, format!("{expression:?} is no regular expression: {reason}"), mend);
    }
}

/// The last line of the parser's drawing, which is the reason.
fn regex_fault(error: &regex_syntax::Error) -> String {
    let drawing = error.to_string();
    let reason = drawing.lines().last().unwrap_or_default();
    reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
}

/// `exportTo`: `.`, `*`, namespaces; none twice; `*` alone. `~` only where it means something.
pub(crate) fn check_export_to(check: &mut Check<'_>, export_to: &[String], none_allowed: bool) {
    let list = SPEC.field("exportTo").to_string();
    let own = check.namespace();
    for (index, namespace) in export_to.iter().enumerate() {
        let at = format!("{list}[{index}]");
        let meant = |name: &str| if name == "." { own.to_owned() } else { name.to_owned() };
        let known = match namespace.as_str() {
            "*" | "~" if export_to.len() > 1 => {
                check.error(&at, format!("`{namespace}` must stand alone"), "remove the others");
                continue;
            }
            "." | "*" => true,
            "~" => none_allowed,
            name => is_dns_label(name),
        };
        if !known {
            check.error(
                &at,
                format!("expected `.`, `*` or a namespace, found {namespace:?}"),
                "use lower-case letters, digits and `-`",
            );
        }
        let before = export_to.iter().take(index);
        if before.map(|name| meant(name)).any(|name| name == meant(namespace)) {
            check.error(&at, format!("{namespace:?} stands there twice"), "remove one");
        }
    }
}

/// Is it a protocol that ports can have?
pub(crate) fn is_protocol(text: &str) -> bool {
    const PROTOCOLS: [&str; 14] = [
        "HTTP",
        "HTTPS",
        "GRPC",
        "GRPC-WEB",
        "HTTP2",
        "MONGO",
        "TCP",
        "TLS",
        "MYSQL",
        "REDIS",
        "UDP",
        "HTTP_PROXY",
        "HBONE",
        "DOUBLEHBONE",
    ];
    PROTOCOLS.contains(&text.to_ascii_uppercase().as_str())
}
