//! The response on its way to the client.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use limen_wire::head::BodyLength;

use super::apart::seldom;
use super::cors;
use super::error::Error;
use super::front::Front;
use super::live::{Live, context, grpc_status};
use super::session;
use super::silence::Silence;
use super::tunnel;
use super::upload::Upload;
use crate::clock::Timer;
use crate::faults::{self, Point};
use crate::filter::response;
use crate::observe::Flags;
use crate::observe::limits::Limit;
use crate::table::clusters::Cluster;
use crate::table::routes::{Action, Destination, Rule};
use crate::upstream::back::Back;
use crate::upstream::fail::Fail;
use crate::upstream::{EndpointState, InFlight};

/// An answered attempt: what the response's body comes from.
pub(super) struct Answered {
    pub(super) back: Back,
    pub(super) endpoint: Rc<EndpointState>,
    pub(super) _in_flight: InFlight,
}

/// Sends the response on: its head with the filters applied, then its body as it comes.
#[expect(clippy::too_many_arguments, reason = "the parts of an exchange that an answer needs")]
pub(super) async fn respond<F: Front>(
    live: &mut Live<'_, '_, F>,
    rule: &Rule,
    destination: &Destination,
    cluster: &Cluster,
    answered: Answered,
    upload: &mut Upload,
    (timer, deadline_ms): (&Timer, u64),
    flags: Flags,
) -> Result<(), Error> {
    let (worker, conn) = (live.worker, live.conn);
    let Answered { mut back, endpoint, _in_flight } = answered;
    // Operations can ask for the status.
    let status = live.exchange.response.status;
    live.outcome(status, flags, "via_upstream".into());
    let exchange = &mut *live.exchange;
    let keeps = exchange.response.keep_alive;
    let added = &live.note.http.added;
    let took_ms = added.envoy.then(|| live.note.service_time_ms.unwrap_or_default());
    response::begin(&mut exchange.response, took_ms, &mut exchange.scratch);
    for cookie in &exchange.cookies {
        exchange.response.fields.add(b"set-cookie", cookie.as_bytes());
    }
    for (name, value) in &exchange.granted {
        exchange.response.fields.add(name, value);
    }
    if let Action::Forward(to) = &rule.action
        && to.resumes
        && let Some(session) = session::session_of(to, destination)
    {
        session::tell(live, session, endpoint.address);
    }
    let exchange = &mut *live.exchange;
    for ops in [&destination.response_headers, &rule.response_headers] {
        if !ops.is_empty() {
            let context = context(worker, conn, &exchange.request, &live.note);
            ops.apply_response(&mut exchange.response, &exchange.request, &context, &mut exchange.headers);
        }
    }
    cors::answer(&live.note, exchange);
    worker.with_date(|date| response::finish(&mut exchange.response, &added.server, date));
    exchange.response.keep_alive = !live.front.closes(&exchange.request);
    let end = exchange.response.body == BodyLength::None;
    live.front.begin(&live.exchange.response, end).map_err(|_| Error::client_gone())?;
    if status == 101 {
        return seldom(tunnel::run(live, &mut back, upload)).await;
    }

    let mut download = Download { ended: end, stalled: false, watched: None, polled: false };
    timer.arm(deadline_ms);
    let mut silence = Silence::watch(worker, live.note.http, live.note.start_us);
    poll_fn(|cx| {
        let polled = download.poll(live, &mut back, upload, (timer, deadline_ms), cx);
        let moved = live.note.received + live.note.sent;
        let over = |silence: &mut Silence| silence.is_over(moved, upload.done, cx);
        match silence.as_deref_mut().filter(|_| polled.is_pending()).and_then(over) {
            Some(error) => Poll::Ready(Err(error)),
            None => polled,
        }
    })
    .await?;
    let now_ms = worker.clock.recent_ms();
    if back.finish(keeps, cluster, &endpoint, &worker.buffers, now_ms) {
        worker.has_idle();
    }
    Ok(())
}

/// The response's body on its way to the client.
struct Download {
    /// The end has been queued.
    ended: bool,
    /// The client does not take what is ready for it.
    stalled: bool,
    /// It has been polled before, so time may have passed.
    polled: bool,
    /// Bytes that had been sent when the timer began to watch a client that takes nothing, and when that was.
    watched: Option<(u64, u64)>,
}

impl Download {
    fn poll<F: Front>(
        &mut self,
        live: &mut Live<'_, '_, F>,
        back: &mut Back,
        upload: &mut Upload,
        (timer, deadline_ms): (&Timer, u64),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if std::mem::replace(&mut self.polled, true) {
            live.worker.clock.now_us();
        }
        if timer.poll_fired(cx) {
            let now = live.worker.clock.recent_ms();
            return Poll::Ready(Err(if now >= deadline_ms {
                Error::origin(Fail::Timeout, false)
            } else {
                Error::stalled()
            }));
        }
        if live.conn.over.get() {
            return Poll::Ready(Err(Error::leaving()));
        }
        if !upload.done
            && let Poll::Ready(Err(error)) = upload.poll(live, back, cx)
        {
            return Poll::Ready(Err(error));
        }
        let moved = self.poll_move(live, back, cx);
        if self.stalled && moved.is_pending() {
            // Progress since the last look starts the patience anew.
            let patience = live.worker.config.limits.stall_timeout_ms;
            if self.watched.is_none_or(|(sent, _)| sent != live.note.sent) {
                let now = live.worker.clock.now_ms();
                timer.arm(deadline_ms.min(now.saturating_add(patience)));
                self.note_stall(live, now);
                self.watched = Some((live.note.sent, now));
            }
            let _ = timer.poll_fired(cx);
        } else if self.watched.is_some() {
            self.note_stall(live, live.worker.clock.recent_ms());
            self.watched = None;
            timer.arm(deadline_ms);
            let _ = timer.poll_fired(cx);
        }
        moved
    }

    /// The client takes something again, after how long?
    fn note_stall<F: Front>(&self, live: &Live<'_, '_, F>, now_ms: u64) {
        if let Some((_, since)) = self.watched {
            live.worker.counters.limit_seen(Limit::StallTime, now_ms.saturating_sub(since));
        }
    }

    fn poll_move<F: Front>(
        &mut self,
        live: &mut Live<'_, '_, F>,
        back: &mut Back,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let gone = |_| Error::client_gone();
        while !self.ended {
            match back.poll_data(cx) {
                Poll::Ready(Ok(true)) => {
                    faults::strike(Point::Body, || live.path());
                    let Poll::Ready(taken) = live.front.poll_send(cx, back.data(), back.is_last()) else {
                        self.stalled = true;
                        return Poll::Pending;
                    };
                    let taken = taken.map_err(gone)?;
                    self.stalled = false;
                    if let Some(call) = &mut live.exchange.grpc {
                        call.down.feed(back.data().get(..taken).unwrap_or_default());
                    }
                    back.consume(taken, &live.worker.buffers);
                    live.note.sent += taken as u64;
                }
                Poll::Ready(Ok(false)) => {
                    note_trailers(live, back);
                    live.front.end(back.trailers()).map_err(gone)?;
                    self.ended = true;
                }
                Poll::Ready(Err(fail)) => {
                    if let Some(limit) = fail.limit() {
                        live.worker.refused_for(limit);
                    }
                    return Poll::Ready(Err(broken(&fail)));
                }
                Poll::Pending => {
                    self.stalled = live.front.poll_flush(cx).map_err(gone)?.is_pending();
                    if live.front.poll_gone(cx) {
                        return Poll::Ready(Err(Error::client_gone()));
                    }
                    return Poll::Pending;
                }
            }
        }
        let flushed = live.front.poll_flush(cx).map_err(gone)?;
        self.stalled = flushed.is_pending();
        flushed.map(Ok)
    }
}

/// What counters and the log say of the trailers.
fn note_trailers<F: Front>(live: &mut Live<'_, '_, F>, back: &Back) {
    let Some(trailers) = back.trailers() else { return };
    if let Some(call) = &mut live.exchange.grpc {
        call.status = grpc_status(trailers);
    }
    if live.worker.logs_trailers() {
        live.exchange.trailers = Some(trailers.clone());
    }
}

/// The origin broke off in the middle of the response.
#[cold]
fn broken(fail: &Fail) -> Error {
    let mut error = Error::origin(Fail::Closed { sent: true }, false);
    let (flags, reason) = match fail {
        Fail::Garbage | Fail::TooMuch(_) => (Flags::UPE, "protocol_error"),
        Fail::Reset | Fail::Refused => (Flags::UR, "remote_reset"),
        _ => (Flags::UC, "connection_termination"),
    };
    error.flags = flags;
    error.details = format!("upstream_reset_after_response_started{{{reason}}}").into();
    error
}
