//! Answers that the gateway makes itself. The one place where an error becomes a response.

use std::borrow::Cow;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use limen_wire::head::{BodyLength, Fields, Version};

use super::cors;
use super::error::{Error, Fault, LEAVING};
use super::front::{Front, FrontFail};
use super::live::{Live, context};
use crate::filter::external_auth::Denial;
use crate::filter::grpc_timeout;
use crate::filter::redirect::{self, Redirect};
use crate::filter::response;
use crate::observe::limits::Limit;
use crate::observe::{Counter, Flags};
use crate::table::routes::{Reply, Rule, VirtualHost};

/// Answers an error. If the head of a response has gone out already, the response is broken off instead.
pub(crate) async fn error<F: Front>(live: &mut Live<'_, '_, F>, error: Error) {
    let mut error = error.reset(live.front.was_reset());
    // The log tells when it ended; nobody has looked at the clock since the request was taken.
    live.worker.clock.now_us();
    live.worker.count(match error.fault {
        Fault::Client => Counter::ClientFaults,
        Fault::Config => Counter::ConfigFaults,
        Fault::Origin => Counter::OriginFaults,
        Fault::Overload => Counter::RequestsShed,
    });
    if let Some(limit) = error.limit {
        live.worker.refused_for(limit);
    }
    let begun = live.note.code != 0;
    let farewell = if begun && error.details == LEAVING { error.grpc_status } else { None };
    let call = !begun && error.status != 0 && grpc_timeout::is_call(&live.exchange.request);
    let status = match (begun, call) {
        (true, _) => live.note.code,
        (_, true) => 200,
        _ => error.status,
    };
    live.exchange.transport = std::mem::take(&mut error.transport);
    live.outcome(status, error.flags, std::mem::take(&mut error.details));
    if begun || status == 0 {
        let farewell = farewell.is_some_and(|status| end_call(live, status, &error.body));
        if !farewell {
            live.front.abort();
        }
        return;
    }
    let response = &mut live.exchange.response;
    response.clear();
    if error.overloaded && live.note.http.added.envoy {
        response.fields.add(b"x-envoy-overloaded", b"true");
    }
    if call {
        let grpc_status = error.grpc_status.unwrap_or_else(|| grpc_status_of(error.status));
        response.fields.add(b"content-type", b"application/grpc");
        response.fields.add(b"grpc-status", grpc_status.to_string().as_bytes());
        // The texts are ours and need no encoding, but for what the system says of a connection.
        let message = std::mem::take(&mut error.body);
        if !message.is_empty() && message.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'%') {
            response.fields.add(b"grpc-message", message.as_bytes());
        }
    }
    let rule = live.note.rule;
    let _ = send(live, status, error.body.as_bytes(), rule).await;
}

/// Ends an answered gRPC call by its trailers; whether its client could be told so.
#[cold]
fn end_call<F: Front>(live: &mut Live<'_, '_, F>, status: u8, message: &str) -> bool {
    let request = &live.exchange.request;
    if request.version != Version::H2 || !grpc_timeout::is_call(request) {
        return false;
    }
    let mut trailers = Fields::default();
    trailers.add(b"grpc-status", status.to_string().as_bytes());
    trailers.add(b"grpc-message", message.as_bytes());
    live.front.end(Some(&trailers)).is_ok()
}

/// What an HTTP status means to a gRPC client that gets no `grpc-status` ("HTTP to gRPC Status Code Mapping").
fn grpc_status_of(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// A rule's fixed response.
pub(crate) async fn fixed<F: Front>(
    live: &mut Live<'_, '_, F>,
    rule: &Rule,
    reply: &Reply,
) -> Result<(), Error> {
    let details = if &*reply.details == "direct_response" {
        Cow::Borrowed("direct_response")
    } else {
        Cow::Owned(reply.details.to_string())
    };
    live.outcome(reply.status, Flags::NONE, details);
    live.exchange.response.clear();
    let _ = send(live, reply.status, &reply.body, Some(rule)).await;
    Ok(())
}

/// The answer of whoever refuses the request.
pub(crate) async fn denied<F: Front>(
    live: &mut Live<'_, '_, F>,
    rule: &Rule,
    denial: &Denial,
) -> Result<(), Error> {
    let Denial { status, fields, body } = denial;
    let call = grpc_timeout::is_call(&live.exchange.request);
    live.outcome(if call { 200 } else { *status }, Flags::UAEX, "ext_authz_denied".into());
    let response = &mut live.exchange.response;
    response.clear();
    fields.iter().for_each(|(_, name, value)| response.fields.add(name, value));
    if call {
        response.fields.set(b"content-type", b"application/grpc");
        response.fields.set(b"grpc-status", grpc_status_of(*status).to_string().as_bytes());
    }
    let body = if call { &b""[..] } else { body };
    let _ = send(live, if call { 200 } else { *status }, body, Some(rule)).await;
    Ok(())
}

/// A rule's redirect.
pub(crate) async fn redirect<F: Front>(
    live: &mut Live<'_, '_, F>,
    host: &VirtualHost,
    rule: &Rule,
    to: &Redirect,
) -> Result<(), Error> {
    let location = redirect::location(to, &live.exchange.request, live.note.https, host.declared);
    live.outcome(to.code, Flags::NONE, "direct_response".into());
    live.exchange.response.clear();
    live.exchange.response.fields.add(b"location", &location);
    let _ = send(live, to.code, b"", Some(rule)).await;
    Ok(())
}

/// The permissions that a script of another origin asks for. Operations of the rule are not for it (Envoy).
pub(crate) async fn preflight<F: Front>(live: &mut Live<'_, '_, F>, rule: &Rule) -> Result<(), Error> {
    live.outcome(200, Flags::NONE, "cors_response".into());
    let exchange = &mut *live.exchange;
    exchange.response.clear();
    if let Some(cors) = &rule.cors {
        cors.fields.preflight(&exchange.request, &mut exchange.response.fields);
    }
    let _ = send(live, 200, b"", None).await;
    Ok(())
}

/// The same place by https.
pub(crate) async fn to_https<F: Front>(live: &mut Live<'_, '_, F>) -> Result<(), Error> {
    let location = redirect::to_https(&live.exchange.request);
    live.outcome(301, Flags::NONE, "direct_response".into());
    live.exchange.response.clear();
    live.exchange.response.fields.add(b"location", &location);
    let _ = send(live, 301, b"", None).await;
    Ok(())
}

/// The same place by the path as it is spelt now.
pub(crate) async fn to_path<F: Front>(live: &mut Live<'_, '_, F>) -> Result<(), Error> {
    live.outcome(307, Flags::NONE, "path_normalization_failed".into());
    let exchange = &mut *live.exchange;
    exchange.response.clear();
    let path = exchange.request.path_and_query();
    // A reference that begins with two slashes names a host (RFC 3986 4.2).
    let location = if path.starts_with(b"//") { [b"/.", path].concat() } else { path.to_vec() };
    exchange.response.fields.add(b"location", &location);
    let _ = send(live, 307, b"", None).await;
    Ok(())
}

/// Sends `exchange.response` with this status and body.
async fn send<F: Front>(
    live: &mut Live<'_, '_, F>,
    status: u16,
    body: &[u8],
    rule: Option<&Rule>,
) -> Result<(), FrontFail> {
    let (worker, conn) = (live.worker, live.conn);
    let exchange = &mut *live.exchange;
    exchange.response.status = status;
    if worker.logs_bodies() {
        exchange.local_body.extend_from_slice(body);
    }
    let bodyless = matches!(status, 204 | 304);
    exchange.response.body = match body.len() as u64 {
        0 => BodyLength::None,
        _ if bodyless => BodyLength::None,
        length => BodyLength::Known(length),
    };
    if !body.is_empty() && !bodyless && exchange.response.fields.get(b"content-type").is_none() {
        exchange.response.fields.add(b"content-type", b"text/plain");
    }
    let of_destination = live.note.destination.map(|destination| &destination.response_headers);
    let of_rule = rule.map(|rule| &rule.response_headers);
    for ops in of_destination.into_iter().chain(of_rule).filter(|ops| !ops.is_empty()) {
        let context = context(worker, conn, &exchange.request, &live.note);
        ops.apply_response(&mut exchange.response, &exchange.request, &context, &mut exchange.headers);
    }
    cors::answer(&live.note, exchange);
    worker.with_date(|date| response::finish(&mut exchange.response, &live.note.http.added.server, date));
    let head_only = exchange.request.method_kind == limen_wire::head::MethodKind::Head;
    let mut body = if bodyless || head_only { &b""[..] } else { body };
    if head_only && let BodyLength::Known(length) = exchange.response.body {
        exchange.response.named_length = Some(length);
        exchange.response.body = BodyLength::None;
    }
    exchange.response.keep_alive = !live.front.closes(&exchange.request);
    live.front.begin(&exchange.response, body.is_empty())?;
    let timer = exchange.timer.clone();
    timer.arm_in(worker.config.limits.stall_timeout_ms);
    let mut ended = body.is_empty();
    // At the deadline it is what tells the client of it; but one that had begun before ends then.
    let farewell = conn.over.get();
    let mut cut = Flags::DC;
    let mut is_cut = |cx: &mut Context<'_>| {
        if timer.poll_fired(cx) {
            worker.refused_for(Limit::StallTime);
        } else if conn.over.get() && !farewell {
            cut = Flags::LR;
        } else {
            return false;
        }
        true
    };
    let sent = poll_fn(|cx| {
        while !body.is_empty() {
            let taken = match live.front.poll_send(cx, body, true) {
                Poll::Pending if is_cut(cx) => return Poll::Ready(Err(FrontFail::Gone)),
                taken => ready!(taken)?,
            };
            live.note.sent += taken as u64;
            body = &body[taken..];
        }
        if !ended {
            ended = true;
            live.front.end(None)?;
        }
        match live.front.poll_flush(cx) {
            Poll::Pending if is_cut(cx) => Poll::Ready(Err(FrontFail::Gone)),
            flushed => flushed,
        }
    })
    .await;
    if sent.is_err() {
        live.note.flags |= cut;
        // Nothing may follow what is incomplete.
        live.front.abort();
    }
    sent
}
