//! What requests and responses have in common: where a head ends, and what its fields say of framing and connection.

use crate::head::{Fields, Known};
use httparse::Header;
use std::mem::MaybeUninit;

use super::{HeadError, Limits};

/// The most field lines that [`Limits::max_fields`] can allow.
pub const MAX_FIELDS: usize = 256;

/// Spans count in 32 bits; no head comes near this.
const MAX_HEAD_BYTES: usize = 16 * 1024 * 1024;

/// Room on the stack for the lines of one head.
pub(super) type Slots<'a> = [MaybeUninit<Header<'a>>; MAX_FIELDS];

/// Empty room.
pub(super) const fn slots<'a>() -> Slots<'a> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// Finds the end of the head: the offset after its empty line. Looks at each byte once over all calls.
pub(super) fn find_end(
    head: &[u8],
    scanned: &mut usize,
    limits: &Limits,
) -> Result<Option<usize>, HeadError> {
    let max = limits.max_head_bytes.min(MAX_HEAD_BYTES);
    let window = &head[..head.len().min(max)];
    let from = (*scanned).min(window.len());
    for at in memchr::memchr_iter(b'\n', &window[from..]) {
        let before = &window[..from + at];
        let Some(line) = before.strip_suffix(b"\r") else {
            return Err(HeadError::Bad("line feed without carriage return"));
        };
        if line.ends_with(b"\n") {
            *scanned = 0;
            return Ok(Some(from + at + 1));
        }
    }
    *scanned = window.len();
    if head.len() >= max { Err(HeadError::TooLarge) } else { Ok(None) }
}

/// The rule behind an error of the line parser.
pub(super) fn line_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::Bad("field name"),
        httparse::Error::HeaderValue => HeadError::Bad("control byte in a field value"),
        httparse::Error::NewLine => HeadError::Bad("line end"),
        httparse::Error::Status => HeadError::Bad("status line"),
        httparse::Error::Token => HeadError::Bad("request line"),
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Version => HeadError::Version,
    }
}

/// Whether `byte` may stand in a token (RFC 9110 5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
        || byte.is_ascii_alphanumeric()
}

/// Whether `text` is a token.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// Whether a field of this name and value can be written such that it is read as this one field.
pub fn is_field(name: &[u8], value: &[u8]) -> bool {
    is_token(name) && value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

/// The elements of a comma-separated list, without white space around them and without the empty ones.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// What the fields say of framing and of the connection.
#[derive(Default)]
pub(super) struct Framing {
    /// `Content-Length`, if there.
    pub content_length: Option<u64>,
    /// `Transfer-Encoding: chunked` was there.
    pub chunked: bool,
    /// `Connection: close` was there.
    pub close: bool,
    /// `Connection: keep-alive` was there.
    pub keep_alive: bool,
    /// `Connection: upgrade` was there.
    pub upgrade: bool,
    /// `Connection` nominates other fields.
    nominates: bool,
}

impl Framing {
    /// `Content-Length`: digits, once (RFC 9112 6.3; we do not even take two equal ones).
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let length = decimal(value).ok_or(HeadError::Bad("content-length"))?;
        match self.content_length.replace(length) {
            None => Ok(()),
            Some(_) => Err(HeadError::Bad("several content-length fields")),
        }
    }

    /// `Transfer-Encoding`: exactly `chunked`, once.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Bad("transfer-encoding other than chunked"));
        }
        if std::mem::replace(&mut self.chunked, true) {
            return Err(HeadError::Bad("several transfer-encoding fields"));
        }
        Ok(())
    }

    /// One `Connection` line.
    pub(super) fn connection(&mut self, value: &[u8]) -> Result<(), HeadError> {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if is_token(option) {
                self.nominates = true;
            } else {
                return Err(HeadError::Bad("connection option"));
            }
        }
        Ok(())
    }

    /// What must hold of the framing fields together (RFC 9112 6.1).
    pub(super) fn check(&self, http_11: bool) -> Result<(), HeadError> {
        if self.chunked && self.content_length.is_some() {
            return Err(HeadError::Bad("transfer-encoding with content-length"));
        }
        if self.chunked && !http_11 {
            return Err(HeadError::Bad("transfer-encoding in HTTP/1.0"));
        }
        Ok(())
    }

    /// Whether the connection may carry another message.
    pub(super) fn persists(&self, http_11: bool) -> bool {
        !self.close && (http_11 || self.keep_alive)
    }

    /// Drops the fields that `Connection` nominates. It may not nominate those that others rely upon.
    pub(super) fn drop_nominated(&self, lines: &[Header<'_>], fields: &mut Fields) -> Result<(), HeadError> {
        if !self.nominates {
            return Ok(());
        }
        let values = lines.iter().filter(|line| Known::of(line.name.as_bytes()) == Known::Connection);
        for option in values.flat_map(|line| list(line.value)) {
            let name = option.to_ascii_lowercase();
            if is_protected(&name) {
                return Err(HeadError::Bad("connection nominates a protected field"));
            }
            // The upgrade of a 101 is nominated as it must be, and stays: it is written anew, not passed on.
            if name != b"upgrade" {
                fields.remove(&name);
            }
        }
        Ok(())
    }
}

/// Fields that a client must not be able to have dropped: who is asked, who asks, what is carried, and what the mesh
/// says of it.
fn is_protected(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 21] = [
        b"authorization",
        b"b3",
        b"baggage",
        b"cache-control",
        b"cookie",
        b"date",
        b"expect",
        b"forwarded",
        b"host",
        b"origin",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"set-cookie",
        b"traceparent",
        b"tracestate",
        b"transfer-encoding",
        b"true-client-ip",
        b"via",
        b"www-authenticate",
        b"x-real-ip",
        b"x-request-id",
    ];
    const PREFIXES: [&[u8]; 7] =
        [b"access-control-", b"content-", b"sec-", b"x-b3-", b"x-envoy-", b"x-forwarded-", b"x-istio-"];
    NAMES.binary_search(&name).is_ok() || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Digits only, below 2^63.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    (number <= i64::MAX as u64).then_some(number)
}
