//! Header operations.

use serde::Serialize;

use crate::rare::Empty;

/// Operations in the order remove, set, add. Names are lower case; values are templates of [`ValuePart`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HeaderOps {
    /// Fields to drop.
    pub remove: Vec<String>,
    /// Fields to overwrite.
    pub set: Vec<HeaderValue>,
    /// Fields to append as lines of their own.
    pub add: Vec<HeaderValue>,
}

impl HeaderOps {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

impl Empty for HeaderOps {
    const EMPTY: &'static HeaderOps = &HeaderOps { remove: Vec::new(), set: Vec::new(), add: Vec::new() };
}

/// A field with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderValue {
    /// Lower-case name.
    pub name: String,
    /// What it is set to, in pieces put together per request.
    pub value: Vec<ValuePart>,
}

/// A piece of a header value: Envoy's `%VAR%` substitution, parsed once by translation (`%%` is a literal `%`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ValuePart {
    /// As it stands.
    Literal(String),
    /// A substitution by the operator's name and argument, such as `REQ(x-user)` or `DOWNSTREAM_REMOTE_ADDRESS`.
    Operator(Operator),
}

/// The substitutions that header values can use. `%PROTOCOL%` and the rest of the log's operators are the log's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Operator {
    /// `%REQ(name)%`: a request header (lower case, pseudo headers with their colon), empty where absent.
    RequestHeader(String),
    /// `%RESP(name)%`: a response header.
    ResponseHeader(String),
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`: trusted client address with port.
    DownstreamRemoteAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`.
    DownstreamRemoteAddressWithoutPort,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`.
    DownstreamLocalAddress,
    /// `%PROTOCOL%`.
    Protocol,
    /// `%REQUESTED_SERVER_NAME%`.
    RequestedServerName,
    /// `%UPSTREAM_HOST%` (responses).
    UpstreamHost,
    /// `%UPSTREAM_CLUSTER%`.
    UpstreamCluster,
    /// `%RESPONSE_CODE%` (responses).
    ResponseCode,
    /// `%RESPONSE_FLAGS%` (responses).
    ResponseFlags,
    /// `%START_TIME%`: ISO 8601 with milliseconds, UTC.
    StartTime,
    /// `%HOSTNAME%`.
    Hostname,
}
