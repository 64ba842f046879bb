//! Requests of one client that stay at one endpoint, by a note that the client brings along.

use serde::Serialize;

use crate::atoms::Millis;

/// How the gateway knows a client again, and its endpoint with it. Where that is gone, or the session is over, another is
/// chosen and noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Of the cookie or header; lower case if it is one.
    pub name: String,
    /// Where the client keeps its note.
    pub kept: SessionKept,
    /// From its beginning; `None`: without end.
    pub lasts: Option<Millis>,
}

/// Where a client keeps the note of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionKept {
    /// In a header of responses, which it sends back.
    Header,
    /// In a cookie, for as long as it runs.
    Cookie,
    /// In a cookie, for as long as the session lasts.
    PermanentCookie,
}
