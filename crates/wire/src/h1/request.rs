//! Requests: request line, target, host and what follows from the fields (RFC 9112 3, RFC 9110 7).

use crate::authority;
use crate::head::{BodyLength, Known, MAX_METHOD_BYTES, MethodKind, RequestHead, Version, Weight};

use super::fields::{Framing, find_end, is_token, is_token_byte, line_error, list, slots};
use super::{HeadError, Limits};

/// Parses one request head from the front of `input` into `head`.
///
/// `scanned` is how far earlier calls looked for the end of this head, so that a trickled head costs linear time: 0 for
/// a new head, and set back to 0 when the head is complete. `Ok(None)`: more bytes are wanted. `Ok(Some(n))`: the head
/// took the first `n` bytes. One empty line before the request is skipped (RFC 9112 2.2).
///
/// # Errors
/// See [`HeadError`]; what can be told from the first bytes is told at once. `head` then holds nothing of use.
pub fn parse_request(
    input: &[u8],
    scanned: &mut usize,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Option<usize>, HeadError> {
    let skipped = match input {
        [b'\r', b'\n', ..] => 2,
        [b'\r'] => return Ok(None),
        _ => 0,
    };
    let rest = &input[skipped..];
    check_method(rest)?;
    match find_end(rest, scanned, limits)? {
        None => Ok(None),
        Some(end) => {
            parse_whole(&rest[..end], limits, head)?;
            Ok(Some(skipped + end))
        }
    }
}

/// Refuses what cannot become a request, as soon as that shows: what has no space within so many bytes is none.
fn check_method(start: &[u8]) -> Result<(), HeadError> {
    let looked = &start[..start.len().min(MAX_METHOD_BYTES + 1)];
    match looked.iter().position(|byte| !is_token_byte(*byte)) {
        Some(at) if at > 0 && looked[at] == b' ' => Ok(()),
        None if looked.len() <= MAX_METHOD_BYTES => Ok(()),
        _ => Err(HeadError::Bad("method")),
    }
}

fn parse_whole(raw: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<(), HeadError> {
    let mut slots = slots();
    let most = limits.max_fields.min(slots.len());
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(raw, &mut slots[..most]) {
        Ok(httparse::Status::Complete(end)) if end == raw.len() => {}
        Ok(_) => return Err(HeadError::Bad("field line")),
        Err(httparse::Error::Version) => return Err(version_error(raw)),
        Err(error) => return Err(line_error(error)),
    }
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(HeadError::Bad("request line"));
    };
    let http_11 = parsed.version == Some(1);
    head.clear();
    head.fields.load(raw);
    head.fields.spelling.remember(parsed.headers.iter().map(|line| line.name.as_bytes()));
    head.version = if http_11 { Version::H11 } else { Version::H10 };
    head.weight = Weight { bytes: raw.len() as u32, fields: parsed.headers.len() as u32 };
    let span = head.fields.part(raw, method.as_bytes());
    head.place_method(span);

    let mut lines = Lines::default();
    for line in parsed.headers.iter() {
        let (name, value) = (line.name.as_bytes(), line.value);
        let known = Known::of(name);
        if !lines.take(known, value)? {
            let (name, value) = (head.fields.part(raw, name), head.fields.part(raw, value));
            head.fields.push(known, name, value);
        }
    }
    lines.framing.check(http_11)?;
    place_target(raw, target.as_bytes(), lines.host, head)?;
    finish(raw, &lines, head)?;
    lines.framing.drop_nominated(parsed.headers, &mut head.fields)
}

/// What the fields that do not stay in the list say.
#[derive(Default)]
struct Lines<'a> {
    framing: Framing,
    host: Option<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    upgrade_unusable: bool,
    expect_continue: bool,
    te_trailers: bool,
    content_type: bool,
}

impl<'a> Lines<'a> {
    /// Reads a field that is not kept; `false` if it is to be kept.
    fn take(&mut self, known: Known, value: &'a [u8]) -> Result<bool, HeadError> {
        match known {
            Known::Host => {
                if self.host.replace(value).is_some() {
                    return Err(HeadError::Bad("several host fields"));
                }
            }
            Known::ContentLength => self.framing.content_length(value)?,
            Known::TransferEncoding => self.framing.transfer_encoding(value)?,
            Known::Connection => self.framing.connection(value)?,
            Known::Te => {
                self.te_trailers |= list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
            }
            Known::Upgrade => {
                self.upgrade_unusable |= self.upgrade.replace(value).is_some() || is_unusable(value)
            }
            Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => self.expect_continue = true,
            Known::Expect => return Err(HeadError::Expectation),
            Known::KeepAlive | Known::ProxyConnection | Known::Trailer | Known::Http2Settings => {}
            // What is looked at on the way and what is made of the body must be of one type.
            Known::ContentType if std::mem::replace(&mut self.content_type, true) => {
                return Err(HeadError::Bad("several content-type fields"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// An `Upgrade` that is never passed on: one that offers `h2c` (it would carry requests past us), or no list of protocols.
fn is_unusable(value: &[u8]) -> bool {
    let protocol = |offer: &[u8]| {
        let (name, version) = match memchr::memchr(b'/', offer) {
            Some(at) => (&offer[..at], Some(&offer[at + 1..])),
            None => (offer, None),
        };
        is_token(name) && version.is_none_or(is_token) && !name.eq_ignore_ascii_case(b"h2c")
    };
    list(value).next().is_none() || !list(value).all(protocol)
}

/// Puts path and authority in place, whatever the form of the target (RFC 9112 3.2).
fn place_target(
    raw: &[u8],
    target: &[u8],
    host: Option<&[u8]>,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    if !target.is_ascii() {
        return Err(HeadError::Bad("target is not ASCII"));
    }
    if memchr::memchr(b'#', target).is_some() {
        return Err(HeadError::Bad("fragment in target"));
    }
    match host {
        Some(host) if !authority::is_valid(host) => return Err(HeadError::Bad("host")),
        None if head.version == Version::H11 => return Err(HeadError::Bad("no host field")),
        _ => {}
    }
    let (authority, path) = if head.method_kind == MethodKind::Connect {
        if !authority::is_valid(target) || !authority::has_port(target) {
            return Err(HeadError::Bad("CONNECT target"));
        }
        (Some(target), &b""[..])
    } else if target.starts_with(b"/") {
        (None, target)
    } else if target == b"*" {
        if head.method() != b"OPTIONS" {
            return Err(HeadError::Bad("target * is for OPTIONS only"));
        }
        (None, target)
    } else {
        let (authority, path) = split_absolute(target)?;
        (Some(authority), path)
    };
    if let (Some(named), Some(host)) = (authority, host)
        && !named.eq_ignore_ascii_case(host)
    {
        return Err(HeadError::Bad("target and host differ"));
    }
    let span = match path {
        // `http://a` and `http://a?q`: an absolute target may leave out the root; OPTIONS without path means the server.
        b"" if head.method() == b"OPTIONS" => head.fields.store(b"*"),
        b"" if head.method_kind != MethodKind::Connect => head.fields.store(b"/"),
        [b'?', ..] => head.fields.store_parts(&[b"/", path]),
        _ => head.fields.part(raw, path),
    };
    head.place_path(span);
    let span = head.fields.part(raw, authority.or(host).unwrap_or_default());
    head.place_authority(span);
    Ok(())
}

/// Splits `http://authority/path?query` into authority and the rest.
fn split_absolute(target: &[u8]) -> Result<(&[u8], &[u8]), HeadError> {
    let scheme_end = match (target.get(..7), target.get(..8)) {
        (Some(scheme), _) if scheme.eq_ignore_ascii_case(b"http://") => 7,
        (_, Some(scheme)) if scheme.eq_ignore_ascii_case(b"https://") => 8,
        _ => return Err(HeadError::Bad("form of target")),
    };
    let rest = &target[scheme_end..];
    let (authority, path) = rest.split_at(memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len()));
    if !authority::is_valid(authority) {
        return Err(HeadError::Bad("authority in target"));
    }
    Ok((authority, path))
}

/// Fills in what follows from all fields together.
fn finish(raw: &[u8], lines: &Lines<'_>, head: &mut RequestHead) -> Result<(), HeadError> {
    let http_11 = head.version == Version::H11;
    let framing = &lines.framing;
    head.body = match framing.content_length {
        _ if framing.chunked => BodyLength::Marked,
        Some(length) if length > 0 => BodyLength::Known(length),
        _ => BodyLength::None,
    };
    if head.method_kind == MethodKind::Connect && head.body != BodyLength::None {
        return Err(HeadError::Bad("CONNECT with a body"));
    }
    head.keep_alive = framing.persists(http_11);
    head.te_trailers = lines.te_trailers;
    // An HTTP/1.0 client understands neither 100 nor 101 (RFC 9110 10.1.1, 7.8).
    head.expect_continue = http_11 && lines.expect_continue;
    if let (Some(protocols), true) = (lines.upgrade, http_11 && framing.upgrade && !lines.upgrade_unusable) {
        head.upgrade = Some(head.fields.part(raw, protocols));
    }
    Ok(())
}

/// Tells a version that we do not speak from a line that is no request line.
fn version_error(raw: &[u8]) -> HeadError {
    let line = &raw[..memchr::memchr(b'\r', raw).unwrap_or(raw.len())];
    match line.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default() {
        b"HTTP/1.0" | b"HTTP/1.1" => HeadError::Bad("request line"),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => HeadError::Version,
        _ => HeadError::Bad("request line"),
    }
}
