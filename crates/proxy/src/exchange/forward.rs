//! Forwarding: pick, connect, send, read the head, decide on a retry; then stream the response.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use limen_wire::h1;
use limen_wire::head::BodyLength;

use super::cors;
use super::error::Error;
use super::front::{Front, FrontFail};
use super::live::{Live, context};
use super::retry::{Attempts, Next};
use super::tunnel;
use crate::clock::Timer;
use crate::filter::{forwarded, response, rewrite};
use crate::limits::Permit;
use crate::observe::{Counter, Flags};
use crate::stream::inbound::ReadFail;
use crate::table::clusters::Cluster;
use crate::table::listeners::Tables;
use crate::table::routes::{Destination, Forward, Rewrite, Rule};
use crate::upstream::fail::Fail;
use crate::upstream::origin::OriginConn;
use crate::upstream::{EndpointState, InFlight, connect};

/// Interim (1xx) responses that an origin may send before its answer.
const MAX_INTERIM: u32 = 16;
/// A moment that never comes.
const NEVER: u64 = u64::MAX;

/// An answered attempt: the connection that the response's body comes from.
struct Answered {
    conn: Box<OriginConn>,
    endpoint: Rc<EndpointState>,
    _in_flight: InFlight,
}

/// Sends the request where its rule says and the response back.
pub(crate) async fn run<'t, F: Front>(
    live: &mut Live<'_, 't, F>,
    tables: &'t Tables,
    rule: &'t Rule,
    to: &'t Forward,
) -> Result<(), Error> {
    let worker = live.worker;
    let destination = &to.destinations[to.pick(worker.random_u32())];
    live.note.destination = Some(destination);
    let Some(cluster) = tables.cluster(destination.cluster) else {
        return Err(Error::origin(Fail::NoCluster, false));
    };
    live.note.service = cluster.service;
    let _permit =
        Permit::request(cluster.limits.as_ref()).ok_or_else(|| Error::origin(Fail::Overflow, false))?;
    prepare(live, rule, to, destination);

    let timer = live.exchange.timer.clone();
    let deadline_ms = to.timeout_ms.map_or(NEVER, |ms| worker.clock.recent_ms().saturating_add(ms));
    let mut attempts = Attempts::new(&to.retry, live.exchange.request.method_kind);
    let mut upload =
        Upload { sent_of_replay: 0, done: false, keep: attempts.possible(), origin_deaf: false, interim: 0 };
    let answered = loop {
        attempts.begun += 1;
        live.note.attempts = attempts.begun;
        let outcome = attempt(live, cluster, destination, &attempts, &mut upload, &timer, deadline_ms).await;
        let (next, answered) = match outcome {
            Ok(answered) => {
                let status = live.exchange.response.status;
                let next = attempts.after_answer(status, grpc_status(live), upload.keep);
                if !matches!(next, Next::Again(_)) {
                    break (answered, next);
                }
                (next, Ok(answered))
            }
            Err(Stop::Attempt(fail)) => (attempts.after_failure(&fail, upload.keep), Err(fail)),
            Err(Stop::Exchange(error)) => return Err(error),
        };
        // An answer that is not taken costs its connection: its body may be long.
        match (next, answered) {
            (Next::Again(at_most), _) => {
                worker.count(Counter::Retries);
                pause(live, &timer, at_most, deadline_ms).await?;
                upload.again();
            }
            (next, Err(fail)) => {
                let exhausted = if next == Next::Exhausted { Flags::URX } else { Flags::NONE };
                return Err(Error::origin(fail, attempts.begun > 1).with(exhausted));
            }
            (_, Ok(_)) => {}
        }
    };
    let (answered, next) = answered;
    let flags = if next == Next::Exhausted { Flags::URX } else { Flags::NONE };
    respond(live, rule, destination, cluster, answered, &mut upload, (&timer, deadline_ms), flags).await
}

/// The head as the origin is to see it.
fn prepare<F: Front>(live: &mut Live<'_, '_, F>, rule: &Rule, to: &Forward, destination: &Destination) {
    let (worker, conn) = (live.worker, live.conn);
    let exchange = &mut *live.exchange;
    for ops in [&destination.request_headers, &rule.request_headers] {
        if !ops.is_empty() {
            let context = context(worker, conn, &exchange.request, &live.note);
            ops.apply_request(&mut exchange.request, &context, &mut exchange.headers);
        }
    }
    if !live.front.can_tunnel() {
        exchange.request.upgrade = None;
    }
    exchange.request.expect_continue &= live.front.passes_interim();
    if let Some(host) = &to.host_rewrite {
        exchange.request.set_authority(host);
    }
    if live.note.http.added.forwarded_host && exchange.request.authority_span() != live.note.authority {
        forwarded::host_rewritten(&mut exchange.request, live.note.authority, &mut exchange.scratch);
    }
    match &to.path_rewrite {
        None => {}
        Some(Rewrite::Matched(rewrite)) => rewrite.apply(&mut exchange.request, &mut exchange.scratch),
        Some(Rewrite::Found(found)) => {
            rewrite::substitute(&mut exchange.request, &mut exchange.scratch, |path, to| {
                worker.substitute(found, path, to);
            });
        }
    }
}

/// Why an attempt ended without an answer.
enum Stop {
    /// The attempt failed; another may be made.
    Attempt(Fail),
    /// There is nobody to make another for.
    Exchange(Error),
}

impl Stop {
    /// An attempt at an endpoint that counts against it, if it is its fault.
    fn of(endpoint: &EndpointState, fail: Fail) -> Stop {
        endpoint.failed(&fail);
        Stop::Attempt(fail)
    }
}

/// One attempt: until the head of an answer is in `live.exchange.response`.
#[expect(clippy::too_many_arguments, reason = "the parts of an exchange that outlive an attempt")]
async fn attempt<F: Front>(
    live: &mut Live<'_, '_, F>,
    cluster: &Arc<Cluster>,
    destination: &Destination,
    attempts: &Attempts<'_>,
    upload: &mut Upload,
    timer: &Timer,
    deadline_ms: u64,
) -> Result<Answered, Stop> {
    let worker = live.worker;
    let state = worker.upstreams.cluster(destination).ok_or(Stop::Attempt(Fail::NoCluster))?;
    let avoid: &[_] =
        if attempts.policy().is_none_or(|policy| policy.avoid_previous) { &live.exchange.tried } else { &[] };
    let endpoint = state.pick(&mut || worker.random_u32(), avoid).ok_or(Stop::Attempt(Fail::NoEndpoint))?;
    live.note.upstream_host = Some(endpoint.address);
    live.note.workload = endpoint.workload.get();
    live.exchange.tried.push(endpoint.address);
    if live.exchange.request.authority().is_empty() {
        // An HTTP/1.0 client need not name a host; HTTP/1.1, which goes on from here, must.
        live.exchange.request.set_authority(endpoint.address.to_string().as_bytes());
    }
    let in_flight = InFlight::new(&endpoint);

    // The first attempt is made within the poll that took the request.
    let now_ms = if attempts.begun > 1 { worker.clock.now_ms() } else { worker.clock.recent_ms() };
    let mut conn = match endpoint.take_idle() {
        Some(conn) => conn,
        None => {
            let times = (now_ms, deadline_ms);
            // Boxed: it is seldom needed, and every exchange would have to be large enough to hold it.
            Box::pin(connect::connect(cluster, endpoint.address, (timer, &worker.counters), times))
                .await
                .map_err(|fail| Stop::of(&endpoint, fail))?
        }
    };
    live.note.upstream_local = Some(conn.local);
    let connected_us = if conn.requests == 0 { worker.clock.now_us() } else { worker.clock.recent_us() };
    let per_try = attempts.policy().and_then(|policy| policy.per_try_timeout_ms);
    let attempt_by = per_try.map_or(NEVER, |ms| (connected_us / 1000).saturating_add(ms));
    timer.arm(deadline_ms.min(attempt_by));
    let expected_ms = (deadline_ms != NEVER).then(|| deadline_ms.saturating_sub(now_ms).max(1));
    let exchange = &mut *live.exchange;
    let said = (attempts.begun, expected_ms);
    forwarded::attempt(&mut exchange.request, &live.note.http.added, said, &mut exchange.scratch);

    conn.begin(&exchange.request, &worker.buffers);
    if exchange.request.body == BodyLength::None {
        conn.end();
        upload.done = true;
    }
    poll_fn(|cx| poll_answer(live, &mut conn, upload, timer, attempt_by < deadline_ms, cx)).await.map_err(
        |stop| match stop {
            Stop::Attempt(fail) => Stop::of(&endpoint, fail),
            Stop::Exchange(error) => Stop::Exchange(error),
        },
    )?;
    endpoint.answered(&live.exchange.response);
    let answered_us = worker.clock.now_us();
    live.note.service_time_ms = Some(answered_us.saturating_sub(connected_us) / 1000);
    live.note.first_byte_us = Some(answered_us - live.note.start_us);
    Ok(Answered { conn, endpoint, _in_flight: in_flight })
}

/// Sends what there is of the request and looks for the head of the response, which may come first.
fn poll_answer<F: Front>(
    live: &mut Live<'_, '_, F>,
    conn: &mut OriginConn,
    upload: &mut Upload,
    timer: &Timer,
    per_try: bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Stop>> {
    if timer.poll_fired(cx) {
        let fail = if per_try { Fail::PerTryTimeout } else { Fail::Timeout };
        return Poll::Ready(Err(Stop::Attempt(fail)));
    }
    if let Poll::Ready(Err(error)) = upload.poll(live, conn, cx) {
        return Poll::Ready(Err(Stop::Exchange(error)));
    }
    loop {
        let method = live.exchange.request.method_kind;
        match conn.poll_head(cx, method, &mut live.exchange.response, &live.worker.buffers) {
            Poll::Ready(Ok(())) if live.exchange.response.status == 101 => {
                // Only to a protocol that the client asked for may the origin switch.
                let switched = h1::upgrade_accepted(&live.exchange.request, &live.exchange.response);
                return Poll::Ready(if switched { Ok(()) } else { Err(Stop::Attempt(Fail::Garbage)) });
            }
            Poll::Ready(Ok(())) if live.exchange.response.status < 200 => {
                upload.interim += 1;
                if upload.interim > MAX_INTERIM {
                    return Poll::Ready(Err(Stop::Attempt(Fail::Garbage)));
                }
                pass_interim(live, upload);
            }
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(Fail::Closed { .. })) if upload.origin_deaf && !upload.any_sent() => {
                return Poll::Ready(Err(Stop::Attempt(Fail::Closed { sent: false })));
            }
            Poll::Ready(Err(fail)) => return Poll::Ready(Err(Stop::Attempt(fail))),
            Poll::Pending => break,
        }
    }
    let unsent = upload.interim > 0 && matches!(live.front.poll_flush(cx), Poll::Ready(Err(_)));
    if unsent || live.front.poll_gone(cx) {
        return Poll::Ready(Err(Stop::Exchange(Error::client_gone())));
    }
    Poll::Pending
}

/// Passes a 1xx on, if the client can make anything of it; leave to send the body only if it waits for that. After
/// that there is no other attempt (Envoy): the client has been told what this origin makes of the request.
fn pass_interim<F: Front>(live: &mut Live<'_, '_, F>, upload: &mut Upload) {
    let exchange = &mut *live.exchange;
    let waits = std::mem::take(&mut exchange.request.expect_continue);
    if exchange.response.status == 100 && !waits || !live.front.passes_interim() {
        return;
    }
    exchange.request.expect_continue = waits && exchange.response.status != 100;
    live.front.interim(&exchange.response);
    upload.keep = false;
}

/// The request's body on its way to the origin.
pub(super) struct Upload {
    /// Bytes of the replay buffer that this attempt has sent.
    sent_of_replay: usize,
    /// The body has been sent to its end.
    pub(super) done: bool,
    /// Everything read so far is in the replay buffer: the request can be sent again.
    keep: bool,
    /// The origin does not take any more; it may have answered all the same.
    pub(super) origin_deaf: bool,
    /// Interim responses that this attempt has seen.
    interim: u32,
}

impl Upload {
    /// Begins anew for the next attempt.
    fn again(&mut self) {
        *self = Upload { sent_of_replay: 0, done: false, origin_deaf: false, interim: 0, ..*self };
    }

    fn any_sent(&self) -> bool {
        self.sent_of_replay > 0 || !self.keep
    }

    /// Moves body from the client to the origin as far as both allow. An origin that fails here is left to be found out
    /// by reading its answer.
    pub(super) fn poll<F: Front>(
        &mut self,
        live: &mut Live<'_, '_, F>,
        conn: &mut OriginConn,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if self.origin_deaf {
            return Poll::Pending;
        }
        while !self.done {
            let replay = live.exchange.replay.get(self.sent_of_replay..).unwrap_or_default();
            if !replay.is_empty() {
                match ready!(conn.poll_send(cx, replay)) {
                    Ok(n) => self.sent_of_replay += n,
                    Err(_) => return self.deaf(),
                }
                continue;
            }
            match live.front.poll_body(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    conn.end();
                    self.done = true;
                    continue;
                }
                Poll::Ready(Err(FrontFail::Framing)) => return Poll::Ready(Err(Error::bad_body())),
                Poll::Ready(Err(FrontFail::Stalled)) => return Poll::Ready(Err(Error::stalled())),
                Poll::Ready(Err(FrontFail::Late)) => return Poll::Ready(Err(Error::late())),
                Poll::Ready(Err(FrontFail::Gone)) => return Poll::Ready(Err(Error::client_gone())),
                Poll::Pending => {
                    if let Poll::Ready(Err(_)) = conn.poll_flush(cx, &live.worker.buffers) {
                        return self.deaf();
                    }
                    return Poll::Pending;
                }
            }
            match ready!(conn.poll_send(cx, live.front.body())) {
                Ok(n) => self.moved(live, n),
                Err(_) => return self.deaf(),
            }
        }
        match ready!(conn.poll_flush(cx, &live.worker.buffers)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(_) => self.deaf(),
        }
    }

    fn deaf(&mut self) -> Poll<Result<(), Error>> {
        self.origin_deaf = true;
        Poll::Pending
    }

    /// `n` bytes of the front's body have gone out.
    fn moved<F: Front>(&mut self, live: &mut Live<'_, '_, F>, n: usize) {
        let replay = &mut live.exchange.replay;
        if self.keep {
            if replay.len() + n > live.worker.config.limits.replay_bytes {
                self.keep = false;
                replay.clear();
                self.sent_of_replay = 0;
            } else {
                replay.extend_from_slice(live.front.body().get(..n).unwrap_or_default());
                self.sent_of_replay = replay.len();
            }
        }
        live.note.received += n as u64;
        live.front.consume(n);
    }
}

/// Waits a random part of the back-off.
async fn pause<F: Front>(
    live: &mut Live<'_, '_, F>,
    timer: &Timer,
    at_most_ms: u64,
    deadline_ms: u64,
) -> Result<(), Error> {
    if at_most_ms == 0 {
        return Ok(());
    }
    let wait = u64::from(live.worker.random_u32()) % at_most_ms + 1;
    let until = live.worker.clock.now_ms().saturating_add(wait);
    timer.arm(until.min(deadline_ms));
    poll_fn(|cx| {
        if timer.poll_fired(cx) {
            return Poll::Ready(if deadline_ms <= until {
                Err(Error::origin(Fail::Timeout, false))
            } else {
                Ok(())
            });
        }
        if live.front.poll_gone(cx) {
            return Poll::Ready(Err(Error::client_gone()));
        }
        Poll::Pending
    })
    .await
}

/// Sends the response on: its head with the filters applied, then its body as it comes.
#[expect(clippy::too_many_arguments, reason = "the parts of an exchange that an answer needs")]
async fn respond<F: Front>(
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
    let Answered { conn: mut origin, endpoint, _in_flight } = answered;
    // Operations can ask for the status.
    let status = live.exchange.response.status;
    live.outcome(status, flags, "via_upstream".into());
    let exchange = &mut *live.exchange;
    let keeps = exchange.response.keep_alive;
    let added = &live.note.http.added;
    if added.envoy {
        let took_ms = live.note.service_time_ms.unwrap_or_default();
        response::service_time(&mut exchange.response, took_ms, &mut exchange.scratch);
    }
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
        // Boxed: it is seldom needed, and every exchange would have to be large enough to hold it.
        return Box::pin(tunnel::run(live, &mut origin, upload)).await;
    }

    let mut download = Download { ended: end, stalled: false, watched_at: None, polled: false };
    timer.arm(deadline_ms);
    poll_fn(|cx| download.poll(live, &mut origin, upload, (timer, deadline_ms), cx)).await?;
    let spent = cluster.max_requests.is_some_and(|most| origin.requests >= most);
    if origin.finish(keeps && !spent, &worker.buffers) {
        origin.idle_since = worker.clock.recent_ms();
        endpoint.put_idle(origin);
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
    /// Bytes that had been sent when the timer began to watch a client that takes nothing.
    watched_at: Option<u64>,
}

impl Download {
    fn poll<F: Front>(
        &mut self,
        live: &mut Live<'_, '_, F>,
        origin: &mut OriginConn,
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
                Error::client_gone()
            }));
        }
        if !upload.done
            && let Poll::Ready(Err(error)) = upload.poll(live, origin, cx)
        {
            return Poll::Ready(Err(error));
        }
        let moved = self.poll_move(live, origin, cx);
        if self.stalled && moved.is_pending() {
            // Progress since the last look starts the patience anew.
            let patience = live.worker.config.limits.stall_timeout_ms;
            if self.watched_at != Some(live.note.sent) {
                timer.arm(deadline_ms.min(live.worker.clock.now_ms().saturating_add(patience)));
                self.watched_at = Some(live.note.sent);
            }
            let _ = timer.poll_fired(cx);
        } else if self.watched_at.take().is_some() {
            timer.arm(deadline_ms);
            let _ = timer.poll_fired(cx);
        }
        moved
    }

    fn poll_move<F: Front>(
        &mut self,
        live: &mut Live<'_, '_, F>,
        origin: &mut OriginConn,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let gone = |_| Error::client_gone();
        while !self.ended {
            match origin.poll_data(cx) {
                Poll::Ready(Ok(true)) => {
                    let Poll::Ready(taken) = live.front.poll_send(cx, origin.data(), origin.is_last()) else {
                        self.stalled = true;
                        return Poll::Pending;
                    };
                    let taken = taken.map_err(gone)?;
                    self.stalled = false;
                    origin.consume(taken, &live.worker.buffers);
                    live.note.sent += taken as u64;
                }
                Poll::Ready(Ok(false)) => {
                    live.front.end().map_err(gone)?;
                    self.ended = true;
                }
                Poll::Ready(Err(fail)) => return Poll::Ready(Err(broken(&fail))),
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

/// The origin broke off in the middle of the response.
fn broken(fail: &ReadFail) -> Error {
    let mut error = Error::origin(Fail::Closed { sent: true }, false);
    error.details = "upstream_reset_after_response_started{connection_termination}".into();
    if let ReadFail::Body | ReadFail::Head(_) = fail {
        error.flags = Flags::UPE;
        error.details = "upstream_reset_after_response_started{protocol_error}".into();
    }
    error
}

/// `grpc-status` of an answer that is trailers only.
fn grpc_status<F: Front>(live: &Live<'_, '_, F>) -> Option<u32> {
    std::str::from_utf8(live.exchange.response.fields.get(b"grpc-status")?).ok()?.parse().ok()
}
