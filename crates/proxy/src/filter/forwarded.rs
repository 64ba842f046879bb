//! Who the client is, as the upstream is told. The peer is taken for an edge client (Envoy's `use_remote_address`):
//! it may say nothing about itself that the upstream would trust, unless so many proxies in front are trusted.

use std::net::IpAddr;

use limen_wire::head::{Known, RequestHead, Span};

use super::policy::{AddedHeaders, HttpPolicy};
use super::{client_cert, request_id, text};

/// What the gateway itself knows about a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge<'p> {
    pub(crate) policy: &'p HttpPolicy,
    /// The port that the client was meant to reach.
    pub(crate) port: u16,
    /// The address of the peer.
    pub(crate) peer: IpAddr,
    /// The request came over TLS.
    pub(crate) https: bool,
    /// What the client says of certificates before its own stays.
    pub(crate) keep_client_cert: bool,
    /// For the request id.
    pub(crate) random: u128,
}

/// What is known of the client when those in front were heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Its address, if that is not the peer's.
    pub(crate) client: Option<IpAddr>,
    /// It spoke https with the first of them.
    pub(crate) https: bool,
}

/// Fields that steer Envoy or vouch for a client. From outside they are dropped; `x-envoy-peer-metadata` and its id
/// as well, since an upstream's telemetry would take them for this gateway's.
const NOT_FROM_OUTSIDE: &[&[u8]] = &[
    b"x-envoy-attempt-count",
    b"x-envoy-decorator-operation",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-envoy-external-address",
    b"x-envoy-force-trace",
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-hedge-on-rq-per-try-timeout",
    b"x-envoy-internal",
    b"x-envoy-ip-tags",
    b"x-envoy-max-retries",
    b"x-envoy-original-path",
    b"x-envoy-original-host",
    b"x-envoy-peer-metadata",
    b"x-envoy-peer-metadata-id",
    b"x-envoy-retriable-header-names",
    b"x-envoy-retriable-status-codes",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-retry-on",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-upstream-rq-timeout-alt-response",
    b"x-envoy-upstream-rq-timeout-ms",
];

/// Drops what an outside client may not say and writes what the gateway knows: `x-forwarded-for` with the peer
/// appended, `x-forwarded-proto`, `x-envoy-external-address`, a fresh `x-request-id`.
///
/// With N trusted hops the client is the Nth address from the right of what was received, the peer if there are fewer
/// or that is none; and a received `x-forwarded-proto` counts if it is `http` or `https`.
pub(crate) fn apply(head: &mut RequestHead, edge: &Edge<'_>, scratch: &mut Vec<u8>) -> Heard {
    let HttpPolicy { trusted_hops, added, .. } = edge.policy;
    scratch.clear();
    let mut said_https = None;
    let mut has_port = false;
    head.fields.retain(|known, name, value| match known {
        Known::XForwardedFor => {
            if !value.is_empty() {
                scratch.extend_from_slice(value);
                scratch.push(b',');
            }
            false
        }
        Known::XForwardedProto => {
            said_https = match said_https {
                None => is_https(value),
                // Several are a list, which is no scheme.
                Some(_) => Some(edge.https),
            };
            false
        }
        Known::XRequestId => !added.request_id,
        Known::XEnvoy => !NOT_FROM_OUTSIDE.contains(&name),
        Known::Other if added.forwarded_port && name == b"x-forwarded-port" => {
            has_port = *trusted_hops > 0;
            has_port
        }
        Known::Other => name.len() != 23 || name != client_cert::NAME || edge.keep_client_cert,
        _ => true,
    });
    let received = scratch.len();
    let heard = match trusted_hops {
        0 => Heard { client: None, https: edge.https },
        hops => Heard { client: trusted(scratch, *hops), https: said_https.unwrap_or(edge.https) },
    };
    text::push_ip(scratch, edge.peer);
    head.fields.add_known(Known::XForwardedFor, b"x-forwarded-for", scratch);
    let scheme: &[u8] = if heard.https { b"https" } else { b"http" };
    head.fields.add_known(Known::XForwardedProto, b"x-forwarded-proto", scheme);
    if let Some(client) = heard.client {
        scratch.truncate(received);
        text::push_ip(scratch, client);
    }
    let client = scratch.get(received..).unwrap_or_default();
    head.fields.add_known(Known::XEnvoy, b"x-envoy-external-address", client);
    if added.request_id {
        head.fields.add_known(Known::XRequestId, b"x-request-id", &request_id::uuid4(edge.random));
    }
    if added.forwarded_port && !has_port {
        scratch.clear();
        text::push_decimal(scratch, edge.port.into());
        head.fields.add(b"x-forwarded-port", scratch);
    }
    heard
}

/// Whether a scheme is `https`; `None`: it is neither that nor `http`.
fn is_https(scheme: &[u8]) -> Option<bool> {
    match scheme {
        b"https" => Some(true),
        b"http" => Some(false),
        other if other.eq_ignore_ascii_case(b"https") => Some(true),
        other => other.eq_ignore_ascii_case(b"http").then_some(false),
    }
}

/// The address with this number from the right, from 1, in a list whose elements each end with a comma.
fn trusted(received: &[u8], number: u32) -> Option<IpAddr> {
    let list = received.strip_suffix(b",")?;
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    let address = list.rsplit(|byte| *byte == b',').nth(place)?;
    std::str::from_utf8(address).ok()?.trim().parse().ok()
}

/// Says which host the client asked for, now that another one will be (`x-forwarded-host`, behind what is there).
pub(crate) fn host_rewritten(head: &mut RequestHead, asked: Span, scratch: &mut Vec<u8>) {
    scratch.clear();
    let name = b"x-forwarded-host";
    for before in head.fields.get_all(name) {
        scratch.extend_from_slice(before);
        scratch.push(b',');
    }
    scratch.extend_from_slice(head.fields.text(asked));
    head.fields.set(name, scratch);
}

/// Tells the upstream which attempt this is, from 1, and how many milliseconds the gateway will wait for it, if it
/// waits for a certain time only.
pub(crate) fn attempt(
    head: &mut RequestHead,
    added: &AddedHeaders,
    (count, timeout_ms): (u32, Option<u64>),
    scratch: &mut Vec<u8>,
) {
    let mut number = |name: &[u8], number: u64| {
        scratch.clear();
        text::push_decimal(scratch, number);
        // `apply` has dropped what the client sent, so only an earlier attempt can have left a line.
        if count > 1 {
            head.fields.retain(|known, other, _| known != Known::XEnvoy || other != name);
        }
        head.fields.add_known(Known::XEnvoy, name, scratch);
    };
    if added.attempt_count {
        number(b"x-envoy-attempt-count", count.into());
    }
    if let Some(timeout_ms) = timeout_ms.filter(|_| added.envoy) {
        number(b"x-envoy-expected-rq-timeout-ms", timeout_ms);
    }
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
