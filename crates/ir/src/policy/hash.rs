//! What of a request decides which endpoint serves it.

use serde::Serialize;

use crate::atoms::Millis;

/// One ingredient of a request's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HashPolicy {
    /// All values of a header; lower case, or `:authority`, `:path`, `:method`.
    Header(String),
    /// A cookie.
    Cookie(HashCookie),
    /// The client's address.
    SourceIp,
    /// The first query parameter of a name.
    QueryParameter(String),
}

/// A cookie that keeps a client on an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HashCookie {
    /// Its name.
    pub name: String,
    /// What a client without it is given; `None`: nothing, and it goes anywhere.
    pub made: Option<MadeCookie>,
}

/// A cookie that the gateway makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeCookie {
    /// How long it lives; `None`: as long as the client's session.
    pub ttl: Option<Millis>,
    /// `Path`; empty: none.
    pub path: String,
    /// Further attributes in order; without `=` where the value is empty.
    pub attributes: Vec<(String, String)>,
}
