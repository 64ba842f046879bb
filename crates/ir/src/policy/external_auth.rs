//! A service that decides on requests (Envoy's ext_authz).

use serde::Serialize;

use crate::atoms::Millis;
use crate::cluster::ClusterKey;

/// Who is asked before a request goes on. Where no answer can be had that is understood, the request is refused with 403.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExternalAuth {
    /// The service; where the IR has no cluster of that key everything is refused.
    pub cluster: ClusterKey,
    /// How it is asked.
    pub form: AuthForm,
    /// Bytes of the request's body that it is told at the most; a longer body is refused with 413. `None`: it is told
    /// nothing of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_most: Option<u16>,
    /// How long it may take.
    pub timeout: Millis,
}

/// How a service is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthForm {
    /// By a request with the method, host and path of the one in question. 200 lets that in; any other answer is the
    /// client's.
    Http(HttpAuth),
    /// By a call of `envoy.service.auth.v3.Authorization/Check`.
    Grpc(GrpcAuth),
}

/// A request that asks. Names of header fields are lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpAuth {
    /// Stands before the path; empty or with a slash at its beginning and none at its end.
    pub path_prefix: String,
    /// Fields that are sent besides `authorization`.
    pub sends: Vec<String>,
    /// Fields of the answer that the request goes on with, and none of the client's of these names; `None`: all that do
    /// not speak of the answer itself.
    pub takes: Option<Vec<String>>,
}

/// A call that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrpcAuth {
    /// `:authority`.
    pub authority: String,
    /// Fields that it tells, in lower case; `None`: all.
    pub sends: Option<Vec<String>>,
}
