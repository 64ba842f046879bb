//! Heads and chunks as bytes (RFC 9112). What is written stems from parsed forms only, with exactly one framing field.

use crate::head::{BodyLength, Fields, Known, MethodKind, RequestHead, ResponseHead, Version};

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk, no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends a request head for an HTTP/1.1 upstream, in origin form: host, the fields in order, the one framing field,
/// the empty line. Names have the spelling that [`Fields::keep_spelling`] remembers, else they are in lower case. `Expect` is written only where there is a body to wait with. A `Connection` field is written only for an upgrade ([`RequestHead::upgrade`]), together with it.
pub fn encode_request(head: &RequestHead, out: &mut Vec<u8>) {
    let start = out.len();
    out.reserve(head.fields.stored() + 4 * head.fields.len() + 96);
    out.extend_from_slice(head.method());
    out.push(b' ');
    let target =
        if head.method_kind == MethodKind::Connect { head.authority() } else { head.path_and_query() };
    out.extend_from_slice(if target.is_empty() { b"/" } else { target });
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(head.authority());
    out.extend_from_slice(b"\r\n");
    put_fields(&head.fields, None, out);
    match head.body {
        BodyLength::Known(length) => put_length(length, out),
        BodyLength::Marked | BodyLength::UntilClose => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n")
        }
        BodyLength::None if matches!(head.method(), b"POST" | b"PUT" | b"PATCH") => put_length(0, out),
        BodyLength::None => {}
    }
    if head.expect_continue && head.body != BodyLength::None {
        out.extend_from_slice(b"expect: 100-continue\r\n");
    }
    if let Some(protocols) = head.upgrade_protocol() {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        out.extend_from_slice(protocols);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    head.fields.spelling.restore(out.get_mut(start..).unwrap_or_default());
}

/// How the body of a response is delimited for the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Nothing is said.
    Silent,
    /// `content-length`
    Length(u64),
    /// `transfer-encoding: chunked`
    Chunked,
    /// By the end of the connection.
    Close,
}

fn framing(head: &ResponseHead, client: Version, request: MethodKind) -> Framing {
    let bodiless = request == MethodKind::Head || head.status == 304;
    match (head.status, head.body) {
        (100..=199 | 204, _) => Framing::Silent,
        (200..=299, _) if request == MethodKind::Connect => Framing::Silent,
        (_, BodyLength::Known(length)) => Framing::Length(length),
        _ if bodiless => head.named_length.map_or(Framing::Silent, Framing::Length),
        (_, BodyLength::None) => Framing::Length(0),
        _ if client == Version::H10 => Framing::Close,
        _ => Framing::Chunked,
    }
}

/// Appends a response head for an HTTP/1 client: status line with the standard reason, the fields in order, the one
/// framing field, what is to become of the connection, the empty line. `request` is the kind of method it answers.
///
/// An HTTP/1.0 client gets a body of unknown length until the connection closes, whatever `keep_alive` says
/// (see [`chunked_response`]).
pub fn encode_response(
    head: &ResponseHead,
    client: Version,
    request: MethodKind,
    keep_alive: bool,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.reserve(head.fields.stored() + 4 * head.fields.len() + 96);
    put_status_line(head.status, out);
    put_fields(&head.fields, (head.status == 101).then_some(Known::Upgrade), out);
    let framing = framing(head, client, request);
    match framing {
        Framing::Length(length) => put_length(length, out),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Silent | Framing::Close => {}
    }
    match head.status {
        101 => out.extend_from_slice(b"connection: upgrade\r\n"),
        100..=199 => {}
        _ if !keep_alive || framing == Framing::Close => out.extend_from_slice(b"connection: close\r\n"),
        _ if client == Version::H10 => out.extend_from_slice(b"connection: keep-alive\r\n"),
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
    head.fields.spelling.restore(out.get_mut(start..).unwrap_or_default());
}

/// Whether [`encode_response`] chooses the chunked coding. If it does not though the body is `Marked` or `UntilClose`,
/// and the response may have one, the connection must be closed after the body.
pub fn chunked_response(head: &ResponseHead, client: Version, request: MethodKind) -> bool {
    framing(head, client, request) == Framing::Chunked
}

/// Appends the line before a chunk of `len` bytes, which must not be 0 (that would be the last chunk).
pub fn encode_chunk_header(len: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let count = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..count).rev().map(|digit| DIGITS[len >> (4 * digit) & 0xf]));
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk with trailers (RFC 9112 7.1.2).
pub fn encode_last_chunk(trailers: &Fields, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    put_fields(trailers, None, out);
    out.extend_from_slice(b"\r\n");
}

fn put_status_line(status: u16, out: &mut Vec<u8>) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    put_decimal(u64::from(status), out);
    out.push(b' ');
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    out.extend_from_slice(reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The fields that go from one side to the other, and the per-hop field that is `wanted`. Other per-hop fields have no
/// business in the list; should a filter have put one there, two framing fields must still never be written.
fn put_fields(fields: &Fields, wanted: Option<Known>, out: &mut Vec<u8>) {
    fields.write_lines(|known| !known.is_per_hop() || Some(known) == wanted, out);
}

fn put_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    put_decimal(length, out);
    out.extend_from_slice(b"\r\n");
}

fn put_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
