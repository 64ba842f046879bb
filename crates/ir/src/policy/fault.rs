//! Injected faults.

use serde::Serialize;

use crate::atoms::{Millis, Share};

/// What is done to a share of the requests before anything else. The delay comes first; both may befall one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// A wait.
    pub delay: Option<Delay>,
    /// An answer of the gateway's own, so that the request goes nowhere.
    pub abort: Option<Abort>,
}

/// An injected wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delay {
    /// Of the requests.
    pub share: Share,
    /// How long.
    pub fixed: Millis,
}

/// An injected answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Abort {
    /// Of the requests.
    pub share: Share,
    /// What it says.
    pub status: AbortStatus,
}

/// The status of an injected answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AbortStatus {
    /// 200 to 599.
    Http(u16),
    /// 0 to 16, in an answer that is trailers only; a client that does not speak gRPC gets 200.
    Grpc(u8),
}
