//! HTTP/1.0 and HTTP/1.1 (RFC 9112): our own strict codec.
//!
//! Strict means: whatever two parsers could read in two ways is refused. A head is parsed in place out of the bytes that
//! were received, and always written anew from its parsed form, with exactly one framing field.

mod body;
mod encode;
mod fields;
mod request;
mod response;

pub use body::{BodyDecoder, BodyError, Decoded, MAX_EXTENSION_BYTES, MAX_TRAILER_BYTES, parse_trailers};
pub use encode::{
    CHUNK_END, LAST_CHUNK, chunked_response, encode_chunk_header, encode_last_chunk, encode_request,
    encode_response,
};
pub use fields::{MAX_FIELDS, is_field};
pub(crate) use fields::{decimal, is_token_byte};
pub use request::parse_request;
pub use response::{parse_response, upgrade_accepted};

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of start line and fields, line ends and the empty line included.
    pub max_head_bytes: usize,
    /// Field lines, at most [`MAX_FIELDS`].
    pub max_fields: usize,
}

impl Default for Limits {
    /// 64 KiB and 128 field lines, as in HTTP/2.
    fn default() -> Limits {
        Limits { max_head_bytes: 64 * 1024, max_fields: 128 }
    }
}

/// Why a head was refused. After any of them the connection must be closed: nobody knows where the next message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Malformed, or of a shape that two parsers could read in two ways; names the rule. 400 for a request, 502 for a
    /// response.
    #[error("malformed head: {0}")]
    Bad(&'static str),
    /// More bytes than [`Limits::max_head_bytes`]. 431 (RFC 6585 5).
    #[error("head too large")]
    TooLarge,
    /// More field lines than [`Limits::max_fields`]. 431.
    #[error("too many field lines")]
    TooManyFields,
    /// A version other than 1.0 and 1.1. 505 (RFC 9110 15.6.6).
    #[error("unsupported HTTP version")]
    Version,
    /// An `Expect` other than `100-continue`. 417 (RFC 9110 10.1.1).
    #[error("unsupported expectation")]
    Expectation,
}

/// Whether a connection begins with the HTTP/2 preface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preface {
    /// It does: HTTP/2 with prior knowledge.
    Yes,
    /// It does not: HTTP/1, or garbage.
    No,
    /// So far it does; more bytes are wanted.
    NeedMore,
}

pub(crate) const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Compares the first bytes of a connection with the HTTP/2 preface (RFC 9113 3.4).
pub fn is_h2_preface(input: &[u8]) -> Preface {
    if input.starts_with(H2_PREFACE) {
        Preface::Yes
    } else if H2_PREFACE.starts_with(input) {
        Preface::NeedMore
    } else {
        Preface::No
    }
}
