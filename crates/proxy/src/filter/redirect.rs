//! Where a redirect leads.

use std::sync::Arc;

use limen_wire::head::RequestHead;

use super::rewrite::PathRewrite;
use super::text;

/// A redirect; parts that are `None` are taken from the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub(crate) code: u16,
    /// Whether the new scheme is `https`.
    pub(crate) https: Option<bool>,
    /// Replaces the host and drops the request's port.
    pub(crate) authority: Option<Arc<[u8]>>,
    /// The port to name; left out where it is the scheme's own.
    pub(crate) port: Option<RedirectPort>,
    /// What becomes of the path.
    pub(crate) path: Option<RedirectPath>,
}

/// Which port a redirect names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedirectPort {
    /// This one.
    Fixed(u16),
    /// None.
    SchemeDefault,
    /// The port that the host's configuration declares.
    Declared,
}

/// How a redirect changes the path. The query is kept unless the new path carries its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedirectPath {
    /// The whole path, without a query of its own.
    Full(Box<[u8]>),
    /// The whole path with its own query.
    FullWithQuery(Box<[u8]>),
    /// Only what the rule matched.
    Matched(PathRewrite),
}

/// The value of `location` for a request that came by https or not; `declared` is the host's declared port.
pub(crate) fn location(redirect: &Redirect, head: &RequestHead, https: bool, declared: u16) -> Vec<u8> {
    let mut to = Vec::with_capacity(head.path_and_query().len() + head.authority().len() + 32);
    let new_https = redirect.https.unwrap_or(https);
    to.extend_from_slice(if new_https { b"https://" } else { b"http://" });
    match &redirect.authority {
        Some(authority) => to.extend_from_slice(authority),
        None => {
            let changed = (new_https != https).then_some(https);
            to.extend_from_slice(host(head.authority(), redirect.port.is_some(), changed));
        }
    }
    let port = match redirect.port {
        Some(RedirectPort::Fixed(port)) => Some(port),
        Some(RedirectPort::Declared) => Some(declared),
        Some(RedirectPort::SchemeDefault) | None => None,
    };
    if let Some(port) = port.filter(|port| *port != if new_https { 443 } else { 80 }) {
        to.push(b':');
        text::push_decimal(&mut to, port.into());
    }
    match &redirect.path {
        None => to.extend_from_slice(head.path_and_query()),
        Some(RedirectPath::Matched(rewrite)) => rewrite.write(head.path_and_query(), &mut to),
        Some(RedirectPath::FullWithQuery(path)) => to.extend_from_slice(path),
        Some(RedirectPath::Full(path)) => {
            to.extend_from_slice(path);
            if let Some(query) = head.query() {
                to.push(b'?');
                to.extend_from_slice(query);
            }
        }
    }
    to
}

/// The value of `location` for `httpsRedirect`: the authority is kept as received, with its port.
pub(crate) fn to_https(head: &RequestHead) -> Vec<u8> {
    [&b"https://"[..], head.authority(), head.path_and_query()].concat()
}

/// The request's own host. Its port goes if another is named, or if the scheme changes and it is the old one's own.
fn host(authority: &[u8], named: bool, changed_from_https: Option<bool>) -> &[u8] {
    let after_brackets = memchr::memrchr(b']', authority).map_or(0, |at| at + 1);
    let Some(colon) = authority.get(after_brackets..).and_then(|rest| memchr::memrchr(b':', rest)) else {
        return authority;
    };
    let (host, port) = authority.split_at(after_brackets + colon);
    let old_default = match changed_from_https {
        Some(true) => port == b":443",
        Some(false) => port == b":80",
        None => false,
    };
    if named || old_default { host } else { authority }
}

#[cfg(test)]
#[path = "redirect_tests.rs"]
mod tests;
