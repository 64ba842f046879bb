//! Heads to and from the types of the `http` crate, and the rules that a received head must keep (RFC 9113 8).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, DATE, HOST, HeaderMap, HeaderName, HeaderValue, SERVER};
use http::{Response, StatusCode, request};

use crate::authority;
use crate::h1::{HeadError, decimal};
use crate::head::{BodyLength, Fields, Known, MethodKind, RequestHead, ResponseHead, Version};

use super::H2Error;

/// Copies a request head. `ended`: the stream carries no body.
pub(super) fn request_head(
    parts: &request::Parts,
    ended: bool,
    max_fields: usize,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    head.clear();
    head.version = Version::H2;
    if parts.headers.len() > max_fields {
        return Err(HeadError::TooManyFields);
    }
    head.set_method(parts.method.as_str().as_bytes());
    place_target(parts, head)?;
    let mut length = None;
    for (name, value) in &parts.headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        if value.first().is_some_and(is_blank) || value.last().is_some_and(is_blank) {
            return Err(HeadError::Bad("white space around a field value"));
        }
        match Known::of(name) {
            Known::Host => {}
            Known::ContentLength => {
                let named = decimal(value).ok_or(HeadError::Bad("content-length"))?;
                if length.replace(named).is_some() {
                    return Err(HeadError::Bad("several content-length fields"));
                }
            }
            Known::Te if value.eq_ignore_ascii_case(b"trailers") => head.te_trailers = true,
            Known::Te => return Err(HeadError::Bad("te other than trailers")),
            Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => head.expect_continue = true,
            Known::Expect => return Err(HeadError::Expectation),
            Known::Trailer => {}
            known if known.is_per_hop() => return Err(HeadError::Bad("connection-specific field")),
            _ if name == b"cookie" => join_cookies(&parts.headers, &mut head.fields),
            _ => head.fields.add(name, value),
        }
    }
    head.body = match length {
        Some(length) if ended && length > 0 => return Err(HeadError::Bad("content-length without a body")),
        _ if ended => BodyLength::None,
        Some(0) => BodyLength::None,
        Some(length) => BodyLength::Known(length),
        None => BodyLength::Marked,
    };
    Ok(())
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `:scheme` (seen only beside `:authority`), `:path` and `:authority`, which must agree with `host` (RFC 9113 8.3.1).
fn place_target(parts: &request::Parts, head: &mut RequestHead) -> Result<(), HeadError> {
    if parts.uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(HeadError::Bad("scheme"));
    }
    let mut hosts = parts.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let (host, named) = (hosts.next(), parts.uri.authority().map(|named| named.as_str().as_bytes()));
    if hosts.next().is_some() {
        return Err(HeadError::Bad("several host fields"));
    }
    let authority = named.or(host).ok_or(HeadError::Bad("no authority"))?;
    if !authority::is_valid(authority) {
        return Err(HeadError::Bad("authority"));
    }
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
        return Err(HeadError::Bad("authority and host differ"));
    }
    head.set_authority(authority);
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes();
    match head.method_kind {
        MethodKind::Connect if !authority::has_port(authority) => {
            return Err(HeadError::Bad("CONNECT target"));
        }
        MethodKind::Connect => {}
        _ if path.starts_with(b"/") && path.is_ascii() => head.set_path(path),
        _ if path == b"*" && head.method() == b"OPTIONS" => head.set_path(path),
        _ => return Err(HeadError::Bad("path")),
    }
    Ok(())
}

/// One `cookie` line out of all crumbs (RFC 9113 8.2.3), where the first of them stood.
fn join_cookies(headers: &HeaderMap, fields: &mut Fields) {
    if fields.get(b"cookie").is_some() {
        return;
    }
    let mut crumbs = headers.get_all(COOKIE).iter();
    let first = crumbs.next().map_or(&b""[..], HeaderValue::as_bytes);
    match crumbs.size_hint() {
        (0, Some(0)) => fields.add(b"cookie", first),
        _ => {
            let rest = crumbs.flat_map(|crumb| [&b"; "[..], crumb.as_bytes()]);
            let joined: Vec<&[u8]> = std::iter::once(first).chain(rest).collect();
            fields.add(b"cookie", &joined.concat());
        }
    }
}

/// Makes a response head for the codec.
pub(super) fn response(head: &ResponseHead) -> Result<Response<()>, H2Error> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(|_| H2Error::Head("status code"))?;
    let length = match (head.status, head.body) {
        (100..=199 | 204, _) => None,
        (_, BodyLength::Known(length)) => Some(length),
        _ => head.named_length,
    };
    let mut headers = header_map(&head.fields, 1)?;
    if let Some(length) = length {
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.headers_mut() = headers;
    Ok(response)
}

/// The fields that may go on, with room for `more`.
pub(super) fn header_map(fields: &Fields, more: usize) -> Result<HeaderMap, H2Error> {
    let mut headers =
        HeaderMap::try_with_capacity(fields.len() + more).map_err(|_| H2Error::Head("too many fields"))?;
    // One allocation for all values, which share it.
    let values = Bytes::copy_from_slice(fields.raw());
    for (known, name, value) in fields.iter_placed() {
        if known.is_per_hop() {
            continue;
        }
        let name = header_name(known, name)?;
        let value =
            HeaderValue::from_maybe_shared(values.slice(value)).map_err(|_| H2Error::Head("field value"))?;
        headers.try_append(name, value).map_err(|_| H2Error::Head("too many fields"))?;
    }
    Ok(headers)
}

/// The names that nearly every response has are not parsed again.
fn header_name(known: Known, name: &[u8]) -> Result<HeaderName, H2Error> {
    static SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
    Ok(match (known, name) {
        (Known::Date, _) => DATE,
        (Known::Server, _) => SERVER,
        (Known::Other, b"content-type") => CONTENT_TYPE,
        (Known::XEnvoy, b"x-envoy-upstream-service-time") => SERVICE_TIME.clone(),
        _ => HeaderName::from_lowercase(name).map_err(|_| H2Error::Head("field name"))?,
    })
}

/// Copies trailers, without fields that may not stand there (RFC 9110 6.5.1): framing, routing, authentication.
pub(super) fn trailers(headers: &HeaderMap) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in headers {
        let name = name.as_str().as_bytes();
        let forbidden = Known::of(name).is_per_hop()
            || matches!(name, b"authorization" | b"cookie" | b"set-cookie" | b"proxy-authorization")
            || name.starts_with(b"x-forwarded-")
            || name.starts_with(b"content-");
        if !forbidden {
            fields.add(name, value.as_bytes());
        }
    }
    fields
}
