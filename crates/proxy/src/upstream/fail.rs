//! Why an attempt at an origin failed.

use crate::stream::inbound::ReadFail;

/// A failed attempt, before it is known what the client will hear.
#[derive(Debug)]
pub(crate) enum Fail {
    /// No such cluster.
    NoCluster,
    /// No endpoint that may be chosen.
    NoEndpoint,
    /// A limit of the cluster is reached.
    Overflow,
    /// The connection could not be made.
    Connect(std::io::Error),
    /// The connection was not made in time.
    ConnectTimeout,
    /// The origin closed or reset before any byte of its answer.
    Closed {
        /// Bytes of the request had gone out.
        sent: bool,
    },
    /// The origin answered something that is not HTTP.
    Garbage,
    /// The attempt took longer than its own limit.
    PerTryTimeout,
    /// The request took longer than the route's limit.
    Timeout,
}

impl Fail {
    /// Does it tell something about the endpoint that was tried?
    pub(crate) fn is_the_endpoints(&self) -> bool {
        match self {
            Fail::Connect(_)
            | Fail::ConnectTimeout
            | Fail::Closed { .. }
            | Fail::Garbage
            | Fail::PerTryTimeout
            | Fail::Timeout => true,
            Fail::NoCluster | Fail::NoEndpoint | Fail::Overflow => false,
        }
    }

    /// Of a read that failed before the head was complete.
    pub(crate) fn of_head(fail: ReadFail) -> Fail {
        match fail {
            ReadFail::Head(_) => Fail::Garbage,
            ReadFail::Closed | ReadFail::Cut | ReadFail::Io | ReadFail::Body => Fail::Closed { sent: true },
        }
    }
}
