//! How a listener understands HTTP, whatever its routes say.

use serde::Serialize;

use crate::atoms::Millis;

/// How a listener understands HTTP. The default is what Istio gives a gateway; only what differs is dumped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HttpPolicy {
    /// How paths are spelt before anything looks at them.
    #[serde(skip_serializing_if = "is_default")]
    pub path: PathPolicy,
    /// What is done with names of header fields that hold an underscore.
    #[serde(skip_serializing_if = "is_default")]
    pub underscores: Underscores,
    /// Proxies in front of the gateway that are trusted to say who the client is.
    #[serde(skip_serializing_if = "is_default")]
    pub trusted_hops: u32,
    /// What becomes of `x-forwarded-client-cert`.
    #[serde(skip_serializing_if = "is_default")]
    pub client_cert: ForwardClientCert,
    /// Names of header fields keep their spelling from HTTP/1 to HTTP/1; else they are in lower case.
    #[serde(skip_serializing_if = "is_default")]
    pub keeps_spelling: bool,
    /// Header fields that the gateway adds.
    #[serde(skip_serializing_if = "is_default")]
    pub added: AddedHeaders,
    /// How long a client may take.
    #[serde(skip_serializing_if = "is_default")]
    pub times: HttpTimes,
    /// HTTP/2.
    #[serde(skip_serializing_if = "is_default")]
    pub h2: H2Limits,
    /// Calls in gRPC-Web become those of gRPC.
    #[serde(skip_serializing_if = "is_default")]
    pub grpc_web: bool,
}

/// Is nothing to be said of it?
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How paths are spelt, in the order in which it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathPolicy {
    /// `%2F` and `%5C`.
    pub escaped_slashes: EscapedSlashes,
    /// RFC 3986 6.2.2: dot segments, escapes that need not be; backslashes become slashes.
    pub normalize: bool,
    /// Slashes in a row become one.
    pub merge_slashes: bool,
}

impl Default for PathPolicy {
    /// Istio's BASE.
    fn default() -> PathPolicy {
        PathPolicy { escaped_slashes: EscapedSlashes::Keep, normalize: true, merge_slashes: false }
    }
}

/// What is done with `%2F` and `%5C` in a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EscapedSlashes {
    /// They stay.
    #[default]
    Keep,
    /// 400.
    Reject,
    /// 307 to the path without them.
    Redirect,
    /// They are read, and passed on, as what they stand for.
    Decode,
}

/// What is done with a request that has an underscore in the name of a header field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Underscores {
    /// Nothing.
    #[default]
    Allow,
    /// 400.
    Reject,
    /// The field is dropped.
    Drop,
}

/// What becomes of `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ForwardClientCert {
    /// It is dropped.
    Sanitize,
    /// It is passed on where the client has a certificate, else dropped.
    ForwardOnly,
    /// The client's certificate is added to it.
    AppendForward,
    /// It is replaced by the client's certificate, if it has one.
    #[default]
    SanitizeSet,
    /// It is passed on whatever the client is.
    AlwaysForwardOnly,
}

/// Header fields that the gateway adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddedHeaders {
    /// `server` in responses; `None`: the origin's own is passed on.
    pub server: Option<String>,
    /// A fresh `x-request-id` in requests.
    pub request_id: bool,
    /// `x-envoy-attempt-count` in requests.
    pub attempt_count: bool,
    /// The other `x-envoy-` fields of requests and responses, but for the client's address.
    pub envoy: bool,
    /// `x-forwarded-host` where a route rewrites the host.
    pub forwarded_host: bool,
    /// `x-forwarded-port`.
    pub forwarded_port: bool,
    /// What sidecars and their telemetry are told of the gateway.
    #[serde(skip_serializing_if = "is_default")]
    pub peer_metadata: PeerMetadata,
}

/// To whom `x-envoy-peer-metadata` and its id are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerMetadata {
    /// To every service.
    #[default]
    Everybody,
    /// To services of the mesh.
    InMesh,
}

/// What Istio's gateways call themselves.
pub const SERVER_NAME: &str = "istio-envoy";

impl Default for AddedHeaders {
    fn default() -> AddedHeaders {
        AddedHeaders {
            server: Some(SERVER_NAME.to_owned()),
            request_id: true,
            attempt_count: true,
            envoy: true,
            forwarded_host: false,
            forwarded_port: false,
            peer_metadata: PeerMetadata::Everybody,
        }
    }
}

/// How long a client may take; `None`: the process's limit where there is one, else no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HttpTimes {
    /// A connection without a request.
    pub idle: Option<Millis>,
    /// A request in which nothing moves.
    pub stream_idle: Option<Millis>,
    /// To receive a whole request.
    pub request: Option<Millis>,
    /// To receive the head of a request.
    pub request_head: Option<Millis>,
    /// A request, to the end of its answer.
    #[serde(skip_serializing_if = "is_default")]
    pub stream: Option<Millis>,
    /// A connection: when it is over, no more requests are taken on it.
    #[serde(skip_serializing_if = "is_default")]
    pub connection: Option<Millis>,
}

/// What an HTTP/2 connection may hold; `None`: what the process allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct H2Limits {
    /// Streams at once.
    #[serde(skip_serializing_if = "is_default")]
    pub max_streams: Option<u32>,
    /// Bytes of a stream that the client may send ahead.
    #[serde(skip_serializing_if = "is_default")]
    pub stream_window: Option<u32>,
    /// Bytes of all streams together that the client may send ahead.
    #[serde(skip_serializing_if = "is_default")]
    pub connection_window: Option<u32>,
}
