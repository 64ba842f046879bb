//! Responses: status line and framing (RFC 9112 4 and 6.3).

use crate::head::{BodyLength, Known, MethodKind, RequestHead, ResponseHead, Version, Weight};

use super::fields::{Framing, find_end, line_error, list, slots};
use super::{HeadError, Limits};

/// Parses one response head from the front of `input` into `head`; `request` is what kind of method it answers.
///
/// `scanned` and the result are as in [`super::parse_request`]. A 1xx comes back as a head with that status: the caller
/// goes on with the next head, and bounds how many it takes. A 101 has no body, is not kept alive and keeps its
/// `upgrade` field.
///
/// # Errors
/// See [`HeadError`]. `head` then holds nothing of use, and the connection must be closed.
pub fn parse_response(
    input: &[u8],
    scanned: &mut usize,
    limits: &Limits,
    request: MethodKind,
    head: &mut ResponseHead,
) -> Result<Option<usize>, HeadError> {
    check_start(input)?;
    match find_end(input, scanned, limits)? {
        None => Ok(None),
        Some(end) => {
            parse_whole(&input[..end], limits, request, head)?;
            Ok(Some(end))
        }
    }
}

/// Refuses what cannot become a response, as soon as that shows.
fn check_start(input: &[u8]) -> Result<(), HeadError> {
    const START: &[u8] = b"HTTP/1.";
    match input.iter().zip(START).position(|(got, want)| got != want) {
        None => Ok(()),
        Some(5) if input[5].is_ascii_digit() => Err(HeadError::Version),
        Some(_) => Err(HeadError::Bad("status line")),
    }
}

fn parse_whole(
    raw: &[u8],
    limits: &Limits,
    request: MethodKind,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    let mut slots = slots();
    let most = limits.max_fields.min(slots.len());
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, raw, &mut slots[..most]) {
        Ok(httparse::Status::Complete(end)) if end == raw.len() => {}
        Ok(_) => return Err(HeadError::Bad("field line")),
        Err(error) => return Err(line_error(error)),
    }
    let http_11 = parsed.version == Some(1);
    head.clear();
    head.fields.load(raw);
    head.fields.spelling.remember(parsed.headers.iter().map(|line| line.name.as_bytes()));
    head.version = if http_11 { Version::H11 } else { Version::H10 };
    head.weight = Weight { bytes: raw.len() as u32, fields: parsed.headers.len() as u32 };
    head.status = match parsed.code {
        Some(code @ 100..=999) => code,
        _ => return Err(HeadError::Bad("status code")),
    };

    let mut framing = Framing::default();
    for line in parsed.headers.iter() {
        let (name, value) = (line.name.as_bytes(), line.value);
        let known = Known::of(name);
        match known {
            Known::ContentLength => framing.content_length(value)?,
            Known::TransferEncoding => framing.transfer_encoding(value)?,
            Known::Connection => framing.connection(value)?,
            _ if known.is_per_hop() && (known != Known::Upgrade || head.status != 101) => {}
            _ => {
                let (name, value) = (head.fields.part(raw, name), head.fields.part(raw, value));
                head.fields.push(known, name, value);
            }
        }
    }
    framing.check(http_11)?;
    finish(&framing, request, head)?;
    framing.drop_nominated(parsed.headers, &mut head.fields)
}

/// Fills in what follows from status, request and framing fields together (RFC 9112 6.3).
fn finish(framing: &Framing, request: MethodKind, head: &mut ResponseHead) -> Result<(), HeadError> {
    let http_11 = head.version == Version::H11;
    let framed = framing.chunked || framing.content_length.is_some();
    head.keep_alive = framing.persists(http_11);
    match head.status {
        100..=199 => {
            if framed {
                return Err(HeadError::Bad("framing field in a 1xx response"));
            }
            if head.status == 101 {
                if !framing.upgrade || head.fields.get_known(Known::Upgrade).is_none() {
                    return Err(HeadError::Bad("101 without upgrade"));
                }
                head.keep_alive = false;
            }
        }
        // Framing fields are forbidden here; a server that sends them may send a body too, so it is not used again.
        200..=299 if request == MethodKind::Connect => head.keep_alive = false,
        204 => head.keep_alive &= !framing.chunked && framing.content_length.unwrap_or(0) == 0,
        _ if request == MethodKind::Head || head.status == 304 => head.named_length = framing.content_length,
        _ if framing.chunked => head.body = BodyLength::Marked,
        _ => match framing.content_length {
            Some(0) => {}
            Some(length) => head.body = BodyLength::Known(length),
            None => {
                head.body = BodyLength::UntilClose;
                head.keep_alive = false;
            }
        },
    }
    Ok(())
}

/// Whether a 101 changes to one of the protocols that the request, as it was sent upstream, asked for: only then may the
/// connection become a tunnel (RFC 9110 7.8).
pub fn upgrade_accepted(request: &RequestHead, response: &ResponseHead) -> bool {
    let (Some(asked), 101) = (request.upgrade_protocol(), response.status) else { return false };
    let mut chosen = response.fields.get_all(b"upgrade").flat_map(list).peekable();
    chosen.peek().is_some()
        && chosen.all(|protocol| list(asked).any(|offer| offer.eq_ignore_ascii_case(protocol)))
}
