//! The call `envoy.service.auth.v3.Authorization/Check`: `CheckRequest` and `CheckResponse`, as much of them as is used.

use std::borrow::Cow;
use std::collections::BTreeMap;

use limen_wire::head::{BodyLength, Fields, RequestHead, Version};
use limen_wire::protobuf::{Message, Value, field};

use super::{About, Denial, Granted, GrpcForm, Heard, Strange, Verdict, settable};

pub(super) const PATH: &[u8] = b"/envoy.service.auth.v3.Authorization/Check";

/// The message of the call, framed.
pub(super) fn question(form: &GrpcForm, about: &About<'_>) -> Vec<u8> {
    let mut message = Message::default();
    message.message(1, |attributes| {
        attributes.message(1, |source| {
            peer(source, about.client, about.principal);
        });
        attributes.message(2, |destination| {
            peer(destination, about.local, "");
        });
        attributes.message(4, |request| {
            request.message(1, |time| {
                time.number(1, (about.start_ms / 1000) as i64);
                time.number(2, (about.start_ms % 1000) as i64 * 1_000_000);
            });
            request.message(2, |http| self::http(http, form, about));
        });
        if let Some(name) = about.server_name {
            attributes.message(12, |session| {
                session.text(1, name);
            });
        }
    });
    let mut body = Vec::new();
    message.frame(&mut body);
    body
}

/// `AttributeContext.Peer`
fn peer(peer: &mut Message, address: std::net::SocketAddr, principal: &str) {
    peer.message(1, |own| {
        own.message(1, |socket| {
            socket.text(2, &address.ip().to_canonical().to_string()).number(3, i64::from(address.port()));
        });
    });
    peer.text(4, principal);
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// `AttributeContext.HttpRequest`
fn http(http: &mut Message, form: &GrpcForm, about: &About<'_>) {
    let request = about.request;

    let scheme = if about.https { "https" } else { "http" };
    let length = match request.body {
        BodyLength::None => 0,
        BodyLength::Known(length) => length.try_into().unwrap_or(i64::MAX),
        BodyLength::Marked | BodyLength::UntilClose => -1,
    };
    http.text(1, &text(request.fields.get(b"x-request-id").unwrap_or_default()));
    http.text(2, &text(request.method()));
    for (name, value) in fields(form, request, scheme) {
        http.message(3, |entry| {
            entry.text(1, &text(&name)).text(2, &text(&value));
        });
    }
    http.text(4, &text(request.path_and_query()));
    http.text(5, &text(request.authority()));
    http.text(6, scheme);
    http.number(9, length);
    http.text(
        10,
        match request.version {
            Version::H2 => "HTTP/2",
            other => other.as_str(),
        },
    );
    // A text that is none cannot be said as one.
    match std::str::from_utf8(about.body) {
        Ok(body) => http.text(11, body),
        Err(_) => http.bytes(12, about.body),
    };
}

/// The fields that are told, those that HTTP/2 has for the parts of a request among them; several of one name are joined.
fn fields(form: &GrpcForm, request: &RequestHead, scheme: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let parts = [
        (&b":method"[..], request.method()),
        (b":path", request.path_and_query()),
        (b":authority", request.authority()),
        (b":scheme", scheme.as_bytes()),
    ];
    let own = request.fields.iter().map(|(_, name, value)| (name, value));
    let told = |name: &[u8]| form.sends.as_ref().is_none_or(|sends| sends.iter().any(|sent| **sent == *name));
    let mut fields: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (name, value) in parts.into_iter().chain(own).filter(|(name, _)| told(name)) {
        fields
            .entry(name.to_vec())
            .and_modify(|joined| {
                joined.extend_from_slice(if name == b"cookie" { b"; " } else { b"," });
                joined.extend_from_slice(value);
            })
            .or_insert_with(|| value.to_vec());
    }
    fields
}

/// What the answer to the call means, and `request` as it goes on.
pub(super) fn answer(heard: &Heard<'_>, request: &mut RequestHead) -> Result<Verdict, Strange> {
    let Heard { head, body, trailers } = heard;
    if head.status != 200 {
        return Err("a status other than 200");
    }
    let status = |fields: &Fields| fields.get(b"grpc-status").map(<[u8]>::to_vec);
    let status = trailers.and_then(status).or_else(|| status(&head.fields));
    if status.as_deref() != Some(b"0") {
        return Err("a call that failed");
    }
    let message = unframed(body).ok_or("no message, or not one")?;
    let read = CheckResponse::read(message).ok_or("a message that is none")?;
    let CheckResponse { code, denied, ok } = read;
    match (code, denied, ok) {
        // A service that leaves out the status where that is 0 says what is let in, all the same.
        (Some(0), None, Some(ok)) | (None, None, Some(ok)) => allowed(ok, request).map(Verdict::Allowed),
        (Some(0), None, None) => Ok(Verdict::Allowed(Granted::new())),
        (Some(_), Some(denied), _) => self::denied(denied).map(Verdict::Denied),
        (Some(_), None, _) => Ok(Verdict::Denied(Denial { status: 403, ..Denial::default() })),
        (None, Some(denied), _) => self::denied(denied).map(Verdict::Denied),
        (None, None, None) => Err("a message that says nothing"),
    }
}

/// The one message of a body, which is not compressed.
fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (head, message) = body.split_at_checked(5)?;
    let (flag, length) = head.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    (*flag == 0 && usize::try_from(length) == Ok(message.len())).then_some(message)
}

/// `CheckResponse`; its parts unread.
struct CheckResponse<'a> {
    /// `google.rpc.Status.code`; `None`: there is no status.
    code: Option<u64>,
    denied: Option<&'a [u8]>,
    ok: Option<&'a [u8]>,
}

impl<'a> CheckResponse<'a> {
    fn read(message: &'a [u8]) -> Option<CheckResponse<'a>> {
        let mut read = CheckResponse { code: None, denied: None, ok: None };
        each(message, |number, value| match (number, value) {
            (1, Value::Bytes(status)) => {
                let mut code = 0;
                each(status, |number, value| {
                    if let (1, Value::Number(own)) = (number, value) {
                        code = own;
                    }
                    Some(())
                })?;
                read.code = Some(code);
                Some(())
            }
            // Of the two the last counts.
            (2, Value::Bytes(denied)) => {
                (read.denied, read.ok) = (Some(denied), None);
                Some(())
            }
            (3, Value::Bytes(ok)) => {
                (read.denied, read.ok) = (None, Some(ok));
                Some(())
            }
            (1..=3, _) => None,
            _ => Some(()),
        })?;
        Some(read)
    }
}

/// Calls for each field; `None`: the message is none.
fn each<'a>(mut bytes: &'a [u8], mut read: impl FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let (number, value, rest) = field(bytes)?;
        read(number, value)?;
        bytes = rest;
    }
    Some(())
}

/// What is done with a field that there may be already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfThere,
}

/// `HeaderValueOption`
struct FieldOption<'a> {
    name: &'a [u8],
    value: &'a [u8],
    action: Action,
}

fn option(message: &[u8]) -> Option<FieldOption<'_>> {
    let (mut name, mut value, mut append, mut action) = (&b""[..], &b""[..], None, 0);
    each(message, |number, part| match (number, part) {
        (1, Value::Bytes(pair)) => each(pair, |number, part| match (number, part) {
            (1, Value::Bytes(own)) => {
                name = own;
                Some(())
            }
            // `raw_value` stands for a value that is no text.
            (2 | 3, Value::Bytes(own)) => {
                if !own.is_empty() {
                    value = own;
                }
                Some(())
            }
            _ => Some(()),
        }),
        (2, Value::Bytes(wrapped)) => {
            append = Some(false);
            each(wrapped, |number, part| {
                if let (1, Value::Number(own)) = (number, part) {
                    append = Some(own != 0);
                }
                Some(())
            })
        }
        (3, Value::Number(own)) => {
            action = own;
            Some(())
        }
        _ => Some(()),
    })?;
    let action = match (append, action) {
        (Some(true), _) => Action::Append,
        // The first value is also that of who says nothing, which here is to overwrite (Envoy).
        (_, 0 | 2) => Action::Overwrite,
        (_, 1) => Action::AddIfAbsent,
        (_, 3) => Action::OverwriteIfThere,
        _ => return None,
    };
    Some(FieldOption { name, value, action })
}

const NO_MESSAGE: Strange = "a message that is none";

fn allowed(ok: &[u8], request: &mut RequestHead) -> Result<Granted, Strange> {
    let (mut granted, mut set, mut drop) = (Granted::new(), Vec::new(), Vec::new());
    let (mut removes, mut options) = (Vec::new(), Vec::new());
    each(ok, |number, value| {
        match (number, value) {
            (2, Value::Bytes(own)) => options.push((false, option(own)?)),
            (6, Value::Bytes(own)) => options.push((true, option(own)?)),
            (5, Value::Bytes(name)) => removes.push(name),
            (7, Value::Bytes(own)) => set.push(parameter(own)?),
            (8, Value::Bytes(name)) => drop.push(name),
            _ => {}
        }
        Some(())
    })
    .ok_or(NO_MESSAGE)?;
    for name in removes {
        // What HTTP needs stays.
        if let Some(name) = settable(name, b"")? {
            request.fields.remove(&name);
        }
    }
    for (of_response, FieldOption { name, value, action }) in options {
        let Some(name) = settable(name, value)? else { continue };
        if of_response {
            granted.push((name, value.to_vec()));
            continue;
        }
        let there = request.fields.get(&name).is_some();
        match action {
            Action::Append => request.fields.add(&name, value),
            Action::Overwrite => request.fields.set(&name, value),
            Action::OverwriteIfThere if there => request.fields.set(&name, value),
            Action::AddIfAbsent if !there => request.fields.add(&name, value),
            Action::OverwriteIfThere | Action::AddIfAbsent => {}
        }
    }
    if !set.is_empty() || !drop.is_empty() {
        query(request, &set, &drop);
    }
    Ok(granted)
}

/// `QueryParameter`
fn parameter(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut key, mut value) = (&b""[..], &b""[..]);
    each(message, |number, part| {
        match (number, part) {
            (1, Value::Bytes(own)) => key = own,
            (2, Value::Bytes(own)) => value = own,
            _ => {}
        }
        Some(())
    })?;
    Some((key, value))
}

/// Drops and sets parameters of the query.
fn query(request: &mut RequestHead, set: &[(&[u8], &[u8])], drop: &[&[u8]]) {
    let mut path = request.path().to_vec();
    let kept = request.query().unwrap_or_default().split(|byte| *byte == b'&').filter(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        !pair.is_empty() && !drop.contains(&name) && set.iter().all(|(own, _)| escaped(own) != name)
    });
    let mut pairs: Vec<Vec<u8>> = kept.map(<[u8]>::to_vec).collect();
    pairs.extend(set.iter().map(|(name, value)| [escaped(name), escaped(value)].join(&b'=')));
    if !pairs.is_empty() {
        path.push(b'?');
        path.extend(pairs.join(&b'&'));
    }
    request.set_path(&path);
}

/// All but what RFC 3986 2.3 leaves alone, as %XX.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'-' | b'.' | b'_' | b'~' => escaped.push(*byte),
            byte if byte.is_ascii_alphanumeric() => escaped.push(*byte),
            byte => escaped.extend(format!("%{byte:02X}").bytes()),
        }
    }
    escaped
}

/// `DeniedHttpResponse`
fn denied(message: &[u8]) -> Result<Denial, Strange> {
    let mut denial = Denial { status: 403, ..Denial::default() };
    let mut options = Vec::new();
    each(message, |number, value| {
        match (number, value) {
            (1, Value::Bytes(status)) => each(status, |number, value| {
                if let (1, Value::Number(code)) = (number, value) {
                    denial.status = u16::try_from(code).ok().filter(|code| (200..600).contains(code))?;
                }
                Some(())
            })?,
            (2, Value::Bytes(own)) => options.push(option(own)?),
            (3, Value::Bytes(body)) => denial.body = body.to_vec(),
            _ => {}
        }
        Some(())
    })
    .ok_or(NO_MESSAGE)?;
    for FieldOption { name, value, action } in options {
        let Some(name) = settable(name, value)? else { continue };
        match action {
            Action::Append => denial.fields.add(&name, value),
            _ => denial.fields.set(&name, value),
        }
    }
    Ok(denial)
}
