//! What the data plane says back: which generation every worker serves, what was bound, what was wrong.

use std::net::SocketAddr;

use serde::Serialize;

use crate::address::Address;

/// The state of the data plane after a generation has been swapped in on every worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The newest generation that every worker serves; 0 before the first.
    pub generation: u64,
    /// Every listener of that generation.
    pub listeners: Vec<BoundListener>,
    /// What could not be done as the IR asks.
    pub problems: Vec<AppliedProblem>,
    /// Endpoints that are left out for what they answered, sorted.
    pub ejected: Vec<Ejected>,
}

/// An endpoint that gets no requests for a while.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ejected {
    /// `outbound|port|subset|host`.
    pub cluster: String,
    /// Where it is.
    pub address: Address,
}

/// A listener and its socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoundListener {
    /// `<ip>_<port>`.
    pub name: String,
    /// The port that the configuration declares.
    pub declared: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Whether connections, or what is decrypted of them, are handed on without being looked into, and no HTTP is spoken.
    pub tcp: bool,
    /// Whether it takes datagrams.
    pub udp: bool,
    /// Where it was to be bound.
    pub wanted: SocketAddr,
    /// Where it is bound; `None`: it is not, and a problem says why.
    pub bound: Option<SocketAddr>,
    /// What a user should know about it, such as that the port was moved.
    pub note: Option<String>,
}

/// Something that compilation or binding found wrong, with the object to blame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct AppliedProblem {
    /// Code of the diagnostic.
    pub code: &'static str,
    /// Kind of the object.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The path of the field, empty for the whole object.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub mend: String,
}

/// A port that cannot be bound.
pub const PORT_NOT_BOUND: &str = "LIM0201";
/// A certificate that cannot be served.
pub const CERTIFICATE_REJECTED: &str = "LIM0202";
/// A TLS server that is left without anything to offer.
pub const TLS_NOT_SERVED: &str = "LIM0203";
/// Certificate authorities that cannot be used.
pub const AUTHORITIES_REJECTED: &str = "LIM0205";
/// A rule that cannot be compiled.
pub const RULE_NOT_COMPILED: &str = "LIM0204";
/// A format of the access log that is not understood.
pub const ACCESS_LOG_FORMAT: &str = "LIM0206";
/// A file for access logs that cannot be written.
pub const ACCESS_LOG_FILE: &str = "LIM0207";
/// A filter of access logs that is not understood.
pub const ACCESS_LOG_FILTER: &str = "LIM0208";
/// A collector that spans cannot be sent to.
pub const SPANS_NOT_SENT: &str = "LIM0209";
