//! Who the client is, as the upstream is told. The peer is taken for an edge client (Envoy's `use_remote_address`):
//! it may say nothing about itself that the upstream would trust.

use std::net::IpAddr;

use limen_wire::head::{Known, RequestHead};

use super::{request_id, text};

/// What the gateway itself knows about a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    /// The address of the peer.
    pub(crate) client: IpAddr,
    /// The request came over TLS.
    pub(crate) https: bool,
    /// For the request id.
    pub(crate) random: u128,
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

/// Drops what an outside client may not say and writes what the gateway knows: `x-forwarded-for` with the client
/// appended, `x-forwarded-proto`, `x-envoy-external-address`, a fresh `x-request-id`.
pub(crate) fn apply(head: &mut RequestHead, edge: &Edge, scratch: &mut Vec<u8>) {
    scratch.clear();
    let mut received = 0;
    head.fields.retain(|known, name, value| match known {
        Known::XForwardedFor => {
            if !value.is_empty() {
                scratch.extend_from_slice(value);
                scratch.push(b',');
                received = scratch.len();
            }
            false
        }
        Known::XForwardedProto | Known::XRequestId => false,
        Known::XEnvoy => !NOT_FROM_OUTSIDE.contains(&name),
        Known::Other => name.len() != 23 || name != b"x-forwarded-client-cert",
        _ => true,
    });
    text::push_ip(scratch, edge.client);
    head.fields.add_known(Known::XForwardedFor, b"x-forwarded-for", scratch);
    let scheme: &[u8] = if edge.https { b"https" } else { b"http" };
    head.fields.add_known(Known::XForwardedProto, b"x-forwarded-proto", scheme);
    let client = scratch.get(received..).unwrap_or_default();
    head.fields.add_known(Known::XEnvoy, b"x-envoy-external-address", client);
    head.fields.add_known(Known::XRequestId, b"x-request-id", &request_id::uuid4(edge.random));
}

/// Tells the upstream which attempt this is, from 1, and how many milliseconds the gateway will wait for it, if it
/// waits for a certain time only.
pub(crate) fn attempt(head: &mut RequestHead, count: u32, timeout_ms: Option<u64>, scratch: &mut Vec<u8>) {
    let mut number = |name: &[u8], number: u64| {
        scratch.clear();
        text::push_decimal(scratch, number);
        // `apply` has dropped what the client sent, so only an earlier attempt can have left a line.
        if count > 1 {
            head.fields.retain(|known, other, _| known != Known::XEnvoy || other != name);
        }
        head.fields.add_known(Known::XEnvoy, name, scratch);
    };
    number(b"x-envoy-attempt-count", count.into());
    if let Some(timeout_ms) = timeout_ms {
        number(b"x-envoy-expected-rq-timeout-ms", timeout_ms);
    }
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
