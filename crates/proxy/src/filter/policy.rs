//! How a listener understands HTTP: what the filters that run on every request go by.

use std::sync::Arc;

use super::client_cert::ForwardClientCert;

/// How a listener understands HTTP, whatever its routes say. Times in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct HttpPolicy {
    /// How paths are spelt before anything looks at them.
    pub(crate) path: PathPolicy,
    /// What is done with names of header fields that hold an underscore.
    pub(crate) underscores: Underscores,
    /// Proxies in front that are trusted to say who the client is.
    pub(crate) trusted_hops: u32,
    /// What becomes of `x-forwarded-client-cert`.
    pub(crate) client_cert: ForwardClientCert,
    /// Names of header fields keep their spelling from HTTP/1 to HTTP/1.
    pub(crate) keeps_spelling: bool,
    /// Header fields that the gateway adds.
    pub(crate) added: AddedHeaders,
    /// A connection without a request.
    pub(crate) idle_ms: Option<u64>,
    /// A request in which nothing moves.
    pub(crate) stream_idle_ms: Option<u64>,
    /// To receive a whole request.
    pub(crate) request_ms: Option<u64>,
    /// To receive the head of a request.
    pub(crate) request_head_ms: Option<u64>,
    /// A request, to the end of its answer.
    pub(crate) stream_ms: Option<u64>,
    /// A connection: when it is over, no more requests are taken on it.
    pub(crate) connection_ms: Option<u64>,
    /// Streams of an HTTP/2 connection at once.
    pub(crate) max_streams: Option<u32>,
    /// Bytes that a client may send ahead on one of them, and on all together.
    pub(crate) stream_window: Option<u32>,
    pub(crate) connection_window: Option<u32>,
    /// Calls in gRPC-Web are taken.
    pub(crate) grpc_web: bool,
}

/// What holds where no listener has been asked yet.
pub(crate) static DEFAULT: HttpPolicy = DEFAULT_POLICY;

const DEFAULT_POLICY: HttpPolicy = HttpPolicy {
    path: PathPolicy { escaped_slashes: EscapedSlashes::Keep, normalize: true, merge_slashes: false },
    underscores: Underscores::Allow,
    trusted_hops: 0,
    client_cert: ForwardClientCert::SanitizeSet,
    keeps_spelling: false,
    added: AddedHeaders {
        server: ServerName::Istio,
        request_id: true,
        attempt_count: true,
        envoy: true,
        forwarded_host: false,
        forwarded_port: false,
        peer_metadata_in_mesh: false,
    },
    idle_ms: None,
    stream_idle_ms: None,
    request_ms: None,
    request_head_ms: None,
    stream_ms: None,
    connection_ms: None,
    max_streams: None,
    stream_window: None,
    connection_window: None,
    grpc_web: false,
};

/// For what the gateway asks of its own accord: nothing is added, and answers stay as they are.
pub(crate) static OWN: HttpPolicy = HttpPolicy {
    added: AddedHeaders {
        server: ServerName::PassOn,
        request_id: false,
        attempt_count: false,
        envoy: false,
        forwarded_host: false,
        forwarded_port: false,
        peer_metadata_in_mesh: true,
    },
    ..DEFAULT_POLICY
};

/// How paths are spelt, in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathPolicy {
    /// `%2F` and `%5C`.
    pub(crate) escaped_slashes: EscapedSlashes,
    /// Dot segments, escapes that need not be, backslashes.
    pub(crate) normalize: bool,
    /// Slashes in a row become one.
    pub(crate) merge_slashes: bool,
}

/// What is done with `%2F` and `%5C` in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EscapedSlashes {
    Keep,
    Reject,
    Redirect,
    Decode,
}

/// What is done with names of header fields that hold an underscore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Underscores {
    Allow,
    Reject,
    Drop,
}

/// `server` in responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerName {
    /// What Istio's gateways say.
    Istio,
    /// This.
    Named(Arc<str>),
    /// The origin's own, if it says any.
    PassOn,
}

/// Header fields that the gateway adds.
#[derive(Debug, Clone)]
pub(crate) struct AddedHeaders {
    /// `server` in responses.
    pub(crate) server: ServerName,
    /// A fresh `x-request-id`.
    pub(crate) request_id: bool,
    /// `x-envoy-attempt-count`.
    pub(crate) attempt_count: bool,
    /// The other `x-envoy-` fields, but for the client's address.
    pub(crate) envoy: bool,
    /// `x-forwarded-host` where a route rewrites the host.
    pub(crate) forwarded_host: bool,
    /// `x-forwarded-port`.
    pub(crate) forwarded_port: bool,
    /// Who the gateway is, is told to services of the mesh only; else to all.
    pub(crate) peer_metadata_in_mesh: bool,
}
