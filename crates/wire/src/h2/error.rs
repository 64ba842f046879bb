//! What can go wrong on a connection or a stream, without naming the codec.

use std::fmt;
use std::io;

/// Why a stream or connection was reset (RFC 9113 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetReason(pub u32);

impl ResetReason {
    /// NO_ERROR: the answer is complete, the rest of the request is not wanted.
    pub const NO_ERROR: ResetReason = ResetReason(0);
    /// PROTOCOL_ERROR: the peer broke the protocol; also for a malformed message.
    pub const PROTOCOL_ERROR: ResetReason = ResetReason(1);
    /// INTERNAL_ERROR: our fault, or that of what is behind us.
    pub const INTERNAL_ERROR: ResetReason = ResetReason(2);
    /// FLOW_CONTROL_ERROR: more data than there was room for.
    pub const FLOW_CONTROL_ERROR: ResetReason = ResetReason(3);
    /// STREAM_CLOSED: a frame on a stream that had ended.
    pub const STREAM_CLOSED: ResetReason = ResetReason(5);
    /// FRAME_SIZE_ERROR: a frame of a length that it may not have.
    pub const FRAME_SIZE_ERROR: ResetReason = ResetReason(6);
    /// REFUSED_STREAM: nothing was done, the request may be sent again.
    pub const REFUSED_STREAM: ResetReason = ResetReason(7);
    /// CANCEL: no longer wanted.
    pub const CANCEL: ResetReason = ResetReason(8);
    /// COMPRESSION_ERROR: a header block that cannot be decoded.
    pub const COMPRESSION_ERROR: ResetReason = ResetReason(9);
    /// CONNECT_ERROR: a tunnel broke.
    pub const CONNECT_ERROR: ResetReason = ResetReason(10);
    /// ENHANCE_YOUR_CALM: the peer asks too much.
    pub const ENHANCE_YOUR_CALM: ResetReason = ResetReason(11);
    /// HTTP_1_1_REQUIRED: try another version.
    pub const HTTP_1_1_REQUIRED: ResetReason = ResetReason(13);
}

impl fmt::Display for ResetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&::h2::Reason::from(self.0), f)
    }
}

impl From<ResetReason> for ::h2::Reason {
    fn from(reason: ResetReason) -> ::h2::Reason {
        reason.0.into()
    }
}

impl From<::h2::Reason> for ResetReason {
    fn from(reason: ::h2::Reason) -> ResetReason {
        ResetReason(reason.into())
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum H2Error {
    /// The stream was reset, by the peer (`remote`) or by us.
    #[error("stream reset by {}: {reason}", side(*remote))]
    Reset {
        /// Why.
        reason: ResetReason,
        /// By the peer.
        remote: bool,
    },
    /// The connection was ended, by the peer (`remote`) or by us because the peer broke the protocol.
    #[error("connection ended by {}: {reason}", side(*remote))]
    GoAway {
        /// Why.
        reason: ResetReason,
        /// By the peer.
        remote: bool,
    },
    /// The stream below failed.
    #[error("connection failed: {0}")]
    Io(#[source] io::Error),
    /// The stream or its sending half was closed before.
    #[error("stream closed")]
    Closed,
    /// A head of ours that HTTP/2 cannot carry; names what is wrong.
    #[error("head cannot be sent: {0}")]
    Head(&'static str),
    /// A head or trailers of the peer with more bytes than are taken.
    #[error("fields too large")]
    TooLarge,
    /// A head or trailers of the peer with more fields than are taken.
    #[error("too many fields")]
    TooManyFields,
    /// Used against its rules, as by sending data after the end.
    #[error("misuse: {0}")]
    Misuse(String),
}

fn side(remote: bool) -> &'static str {
    if remote { "the peer" } else { "us" }
}

impl H2Error {
    /// The peer reset this stream (a client that went away).
    pub fn is_remote_reset(&self) -> bool {
        matches!(self, H2Error::Reset { remote: true, .. })
    }

    /// The stream below failed.
    pub fn is_io(&self) -> bool {
        matches!(self, H2Error::Io(_))
    }

    /// The whole connection ended, not just this stream.
    pub fn is_connection(&self) -> bool {
        matches!(self, H2Error::Io(_) | H2Error::GoAway { .. })
    }

    /// The code that was sent or received.
    pub fn reason(&self) -> Option<ResetReason> {
        match self {
            H2Error::Reset { reason, .. } | H2Error::GoAway { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}

impl From<::h2::Error> for H2Error {
    fn from(error: ::h2::Error) -> H2Error {
        let remote = error.is_remote();
        match error.reason() {
            Some(reason) if error.is_go_away() => H2Error::GoAway { reason: reason.into(), remote },
            Some(reason) => H2Error::Reset { reason: reason.into(), remote },
            None if error.get_io().is_some_and(|error| error.kind() == io::ErrorKind::QuotaExceeded) => {
                H2Error::GoAway { reason: ResetReason::ENHANCE_YOUR_CALM, remote: false }
            }
            None if error.is_io() => {
                H2Error::Io(error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))
            }
            None => H2Error::Misuse(error.to_string()),
        }
    }
}
