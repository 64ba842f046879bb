//! Keeps web pages away from the admin port: a page of a hostile site can make a browser send requests here (DNS
//! rebinding, cross-site forms), but it cannot make it send our Host and no foreign Origin.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Answers 403 unless the request names this port by a loopback name or by the address that it is bound to.
pub(super) async fn local_names_only(
    State(bound): State<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if host_allowed(request.headers(), request.uri(), bound.ip())
        && origin_allowed(request.headers(), bound.ip())
    {
        return next.run(request).await;
    }
    let text = "403: the admin port answers only to localhost, 127.0.0.1, [::1] and its own address\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

fn host_allowed(headers: &HeaderMap, uri: &Uri, bound: IpAddr) -> bool {
    if uri.authority().is_some_and(|authority| !is_local(authority.host(), bound)) {
        return false;
    }
    one(headers, HOST).is_some_and(|host| is_local(without_port(host), bound))
}

/// Browsers send an Origin with everything that can do harm; other clients send none.
fn origin_allowed(headers: &HeaderMap, bound: IpAddr) -> bool {
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    let host =
        one(headers, ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| without_port(host));
    host.is_some_and(|host| is_local(host, bound))
}

fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_local(host: &str, bound: IpAddr) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip == bound && !bound.is_unspecified(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>, allowed: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let bound = "10.0.0.7".parse().unwrap();
        let got = host_allowed(&headers, &Uri::from_static("/"), bound) && origin_allowed(&headers, bound);
        assert_eq!(got, allowed, "{host} {origin:?}");
    }

    #[test]
    fn only_local_names_pass() {
        for host in
            ["localhost:15000", "LOCALHOST", "127.0.0.1:15000", "[::1]:15000", "10.0.0.7:15000", "127.8.8.8"]
        {
            check(host, None, true);
        }
        for host in
            ["evil.example:15000", "10.0.0.8", "localhost.evil.example", "0.0.0.0:15000", ":15000", ""]
        {
            check(host, None, false);
        }
    }

    #[test]
    fn foreign_pages_do_not_pass() {
        check("localhost:15000", Some("http://localhost:15000"), true);
        check("localhost:15000", Some("https://evil.example"), false);
        check("localhost:15000", Some("null"), false);
    }
}
