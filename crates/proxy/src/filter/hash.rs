//! The hash of a request, for clusters that are balanced by it.

use std::fmt::Write;
use std::net::SocketAddr;

use limen_wire::head::RequestHead;
use twox_hash::XxHash64;

/// One ingredient of a request's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HashPolicy {
    /// All values of a header; lower case.
    Header(Box<[u8]>),
    /// The host.
    Authority,
    /// The path with its query.
    Path,
    /// The method.
    Method,
    /// A cookie.
    Cookie(HashCookie),
    /// The client's address.
    SourceIp,
    /// The first query parameter of a name, as it stands.
    QueryParameter(Box<[u8]>),
}

/// A cookie that keeps a client on an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HashCookie {
    /// Its name.
    pub(crate) name: Box<[u8]>,
    /// What follows the value where the gateway makes it (`; Max-Age=…`); `None`: it makes none.
    pub(crate) made: Option<Box<str>>,
}

/// The two ends of the client's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// The hash of a request; `None`: it has nothing that is hashed. `cookies`: what the client is to be given.
pub(crate) fn hash(
    policies: &[HashPolicy],
    head: &RequestHead,
    ends: Ends,
    cookies: &mut Vec<String>,
) -> Option<u64> {
    let own = policies.iter().filter_map(|policy| one(policy, head, ends, cookies));
    // Turning keeps two equal parts from undoing each other (Envoy).
    own.fold(None, |sum: Option<u64>, hash| Some(sum.map_or(0, |sum| sum.rotate_left(1)) ^ hash))
}

/// Of bytes.
pub(crate) fn of(bytes: &[u8], seed: u64) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

fn one(policy: &HashPolicy, head: &RequestHead, ends: Ends, cookies: &mut Vec<String>) -> Option<u64> {
    match policy {
        HashPolicy::Header(name) => {
            let mut values = head.fields.get_all(name);
            let first = values.next()?;
            match values.next() {
                None => Some(of(first, 0)),
                Some(second) => {
                    let mut all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
                    all.sort_unstable();
                    Some(of(&all.concat(), 0))
                }
            }
        }
        HashPolicy::Authority => Some(of(head.authority(), 0)),
        HashPolicy::Path => Some(of(head.path_and_query(), 0)),
        HashPolicy::Method => Some(of(head.method(), 0)),
        HashPolicy::SourceIp => Some(of(ends.remote.ip().to_string().as_bytes(), 0)),
        HashPolicy::QueryParameter(name) => {
            let mut pairs = head.query()?.split(|byte| *byte == b'&');
            pairs.find_map(|pair| value_of(pair, name)).map(|value| of(value, 0))
        }
        HashPolicy::Cookie(cookie) => match sent(head, &cookie.name) {
            Some(value) => Some(of(value, 0)),
            None => Some(made(cookie, cookie.made.as_deref()?, ends, cookies)),
        },
    }
}

/// The value of `name=value`; empty where there is no `=`.
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match pair.strip_prefix(name)? {
        [] => Some(&[][..]),
        [b'=', value @ ..] => Some(value),
        _ => None,
    }
}

/// The value of the first cookie of that name, without quotes. An empty one is none.
pub(crate) fn sent<'a>(head: &'a RequestHead, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = head.fields.get_all(b"cookie").flat_map(|line| line.split(|byte| *byte == b';'));
    let value = pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))?;
    let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    (!bare.is_empty()).then_some(bare)
}

/// The hash of a cookie that the client is given now: the same for all requests of its connection.
fn made(cookie: &HashCookie, rest: &str, ends: Ends, cookies: &mut Vec<String>) -> u64 {
    let value = format!("{:016x}", of(format!("{}{}", ends.remote, ends.local).as_bytes(), 0));
    let mut text = String::from_utf8_lossy(&cookie.name).into_owned();
    // Writing to a String does not fail.
    let _ = write!(text, "=\"{value}\"{rest}");
    cookies.push(text);
    of(value.as_bytes(), 0)
}

#[cfg(test)]
#[path = "hash_tests.rs"]
mod tests;
