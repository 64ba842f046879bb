//! HTTP/2 in front: one task drives a connection and all of its streams.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use limen_wire::h1::HeadError;
use limen_wire::h2::{H2Error, Incoming, Limits, ResetReason, ServerConnection, ServerStream};
use limen_wire::head::{BodyLength, Fields, RequestHead, ResponseHead};

use super::Connection;
use super::linger::{Linger, linger};
use super::streams::{Inbox, Streams};
use super::unread::Unread;
use crate::clock::{Clock, Timer};
use crate::exchange::apart::seldom;
use crate::exchange::error::Error;
use crate::exchange::front::{ConnInfo, Front, FrontFail};
use crate::exchange::live::Live;
use crate::exchange::{self, reply};
use crate::filter::policy;
use crate::observe::limits::Limit;
use crate::serve::patience::Patience;
use crate::stream::Stream;
use crate::worker::Worker;
use crate::worker::memory::Exchange;

/// How long a client has to say that it has heard that it is to go, before no more streams are taken.
const FAREWELL_MS: u64 = 1_000;
/// How long the last words may take to be written to a client that is not waited for any longer.
const LAST_WORDS_MS: u64 = 2_000;
/// How long a client may take to close when all has been said. What it reads it tells of, so that one that is slow has
/// longer than one that is silent.
const LINGER: Linger = Linger { silent_ms: 2_000, most_ms: 30_000 };
/// How long a connection without streams keeps the memory of the last ones.
const REST_MS: u64 = 5_000;

/// Serves a connection to its end.
pub(crate) async fn serve<S: Stream>(conn: Connection, io: S, info: Rc<ConnInfo>) {
    let worker = conn.worker.clone();
    let timer = worker.clock.timer();
    timer.arm_in(worker.config.limits.handshake_timeout_ms);
    let own = &worker.config.limits;
    let tables = worker.tables();
    let http = tables.listener(conn.listener).map_or(&policy::DEFAULT, |listener| &listener.http);
    let limits = Limits {
        max_concurrent_streams: http.max_streams.unwrap_or(own.max_streams),
        initial_stream_window: http.stream_window.unwrap_or(own.stream_window),
        initial_connection_window: http.connection_window.unwrap_or(own.connection_window),
        max_header_list: u32::try_from(own.max_head_bytes).unwrap_or(u32::MAX),
        max_fields: own.max_fields,
        max_unwritten: own.max_unwritten_bytes,
        credit: own.h2_credit,
        ..Limits::default()
    };
    drop(tables);
    let shaken = tokio::select! {
        biased;
        shaken = Box::pin(ServerConnection::handshake(io, &limits)) => shaken,
        () = timer.expired() => return,
    };
    let Ok(h2) = shaken else { return };
    let age = (conn.until_ms != u64::MAX).then(|| {
        let timer = worker.clock.timer();
        timer.arm(conn.until_ms);
        timer
    });
    let mut driver = Driver {
        conn,
        info,
        h2,
        head: RequestHead::default(),
        second: worker.clock.recent_ms() / 1000,
        timer,
        age,
        unfinished: None,
        unfinished_ms: 0,
        late: None,
        leave: None,
        streams: Streams::new(),
        closing: false,
        parting: false,
        failed: false,
        lingering: false,
        unread: Unread::default(),
        rested: false,
        rested_ms: 0,
        slim: false,
    };
    let end = poll_fn(|cx| driver.poll(cx, place)).await;
    if let End::Order = end {
        drop(driver.streams);
        seldom(farewell(&driver.conn, driver.h2.into_inner(), &driver.timer)).await;
    }
}

/// All has been said and written, and may still be on its way. A client that reads it tells of its windows meanwhile.
async fn farewell<S: Stream>(conn: &Connection, mut io: S, timer: &Timer) {
    let clock = &conn.worker.clock;
    let Linger { silent_ms, mut most_ms } = LINGER;
    if conn.is_leaving() {
        most_ms = conn.leave_ms.get().saturating_sub(clock.now_ms()).clamp(silent_ms, most_ms);
    }
    linger(&mut io, (clock, timer), Linger { silent_ms, most_ms }, vec![0; 4096]).await;
}

/// How a connection ends.
enum End {
    /// Everything that was begun has been answered.
    Order,
    /// At once.
    Cut,
}

/// A connection and its streams.
struct Driver<S, F> {
    conn: Connection,
    info: Rc<ConnInfo>,
    h2: ServerConnection<S>,
    /// The head that arrives next.
    head: RequestHead,
    /// The second in which it was looked at the time last.
    second: u64,
    timer: Timer,
    /// Fires when the connection has lived for as long as it may.
    age: Option<Timer>,
    /// What the client has begun and not completed, and since when; when that takes too long.
    unfinished: Option<u64>,
    unfinished_ms: u64,
    late: Option<Timer>,
    /// Runs while what let the connection in is not there.
    leave: Option<Timer>,
    streams: Streams<Started, F>,
    /// The client has been told that no more streams are taken.
    closing: bool,
    /// It may not have heard so yet.
    parting: bool,
    /// The connection is over, and the client has a moment left to hear why.
    failed: bool,
    /// The client has a moment left to take what waits for it.
    lingering: bool,
    unread: Unread,
    /// No stream is open, and the timer runs since then.
    rested: bool,
    rested_ms: u64,
    /// The memory of streams has been given back, and the timer waits for the idle timeout.
    slim: bool,
}

impl<S: Stream, F: Future<Output = ()>> Driver<S, F> {
    /// Takes new streams, polls those that were woken, writes what they have to say. `make` makes the future
    /// of a place for streams.
    fn poll(&mut self, cx: &mut Context<'_>, make: impl Fn(Rc<Inbox<Started>>) -> F) -> Poll<End> {
        let old = self.age.as_ref().is_some_and(|age| age.poll_fired(cx));
        if self.conn.look(cx) {
            self.leave = self.conn.is_leaving().then(|| {
                let timer = self.conn.worker.clock.timer();
                timer.arm(self.conn.leave_ms.get());
                timer
            });
        }
        if !self.closing && (old || self.leave.is_some()) {
            self.close();
        }
        if self.leave.as_ref().is_some_and(|leave| leave.poll_fired(cx)) && !self.info.over.replace(true) {
            self.streams.wake_all();
        }
        let second = self.conn.worker.clock.recent_ms() / 1000;
        if second != self.second {
            self.h2.pass_time(u32::try_from(second.saturating_sub(self.second)).unwrap_or(u32::MAX));
            self.second = second;
        }
        loop {
            match self.h2.poll_accept(&mut self.head, cx) {
                Poll::Ready(Some(Ok(incoming))) => {
                    let last = self.conn.begin_request();
                    self.end_rest();
                    if last && !self.closing {
                        self.close();
                    }
                    let started = Started::new(&self.conn.worker, &self.info, incoming, &mut self.head);
                    self.streams.start(started, &make, cx);
                    continue;
                }
                Poll::Ready(ended) => {
                    self.tell();
                    return Poll::Ready(if ended.is_none() { End::Order } else { End::Cut });
                }
                Poll::Pending => {}
            }
            // What streams have queued is written by the next turn.
            if !self.streams.poll(cx) {
                break;
            }
        }
        self.tell();
        if self.unread.poll_over(self.h2.unread(), &self.conn.worker, cx) {
            self.conn.worker.refused_for(Limit::StallTime);
            return Poll::Ready(End::Cut);
        }
        if self.h2.has_failed() {
            return self.poll_failed(cx);
        }
        self.watch_heads(cx);
        if self.closing {
            return self.poll_end(cx);
        }
        self.watch_idleness(cx);
        Poll::Pending
    }

    /// Tells what the connection has come to, when that changes.
    fn tell(&mut self) {
        let Some(tally) = self.h2.tally() else { return };
        let counters = &self.conn.worker.counters;
        for (limit, most) in [
            (Limit::Streams, u64::from(tally.streams)),
            (Limit::Credit, tally.spent.into()),
            (Limit::UnwrittenBytes, tally.unwritten as u64),
            (Limit::StreamWindow, tally.ahead_on_stream.into()),
            (Limit::ConnectionWindow, tally.ahead.into()),
        ] {
            counters.limit_seen(limit, most);
        }
        let (bytes, fields) = tally.blocks_refused;
        for (limit, times) in [
            (Limit::Streams, tally.streams_refused),
            (Limit::UnwrittenBytes, tally.choked),
            (Limit::HeaderBytes, bytes),
            (Limit::Headers, fields),
        ] {
            counters.limit_refused(limit, times.into());
        }
        if let Some(work) = tally.sent_away {
            counters.sent_away(work);
        }
    }

    /// A head, or a frame that is not of a body, has as long as a head of HTTP/1 has.
    fn watch_heads(&mut self, cx: &Context<'_>) {
        let unfinished = self.h2.unfinished();
        if unfinished != self.unfinished {
            let worker = &self.conn.worker;
            let now_ms = worker.clock.now_ms();
            if self.unfinished.is_some() {
                let took_ms = now_ms.saturating_sub(self.unfinished_ms);
                worker.counters.limit_seen(Limit::HeaderTime, took_ms);
            }
            (self.unfinished, self.unfinished_ms) = (unfinished, now_ms);
            match (unfinished, &self.late) {
                (None, late) => late.iter().for_each(Timer::disarm),
                (Some(_), _) => {
                    let timer = self.late.get_or_insert_with(|| self.conn.worker.clock.timer());
                    timer.arm_in(self.conn.head_ms);
                }
            }
        }
        let late = || self.late.as_ref().is_some_and(|timer| timer.poll_fired(cx));
        // It holds memory for as long as it may, and its request would be refused. What else is served here is let be.
        let shed = || self.conn.worker.sheds_requests() && self.streams.is_empty();
        let limit = match unfinished {
            Some(_) if late() => Limit::HeaderTime,
            Some(_) if shed() => Limit::Memory,
            _ => return,
        };
        self.conn.worker.refused_for(limit);
        // Once is enough, however long the client takes to hear it.
        self.late = None;
        self.h2.abrupt_shutdown(ResetReason::ENHANCE_YOUR_CALM);
        // The codec writes that when it is polled again.
        cx.waker().wake_by_ref();
    }

    /// Why the connection is over waits to be written: the client need not be reading.
    fn poll_failed(&mut self, cx: &Context<'_>) -> Poll<End> {
        if !std::mem::replace(&mut self.failed, true) {
            // There is nothing more that it could be told, and nobody else who needs the timer.
            self.closing = true;
            self.timer.arm_in(LAST_WORDS_MS);
        }
        if self.timer.poll_fired(cx) { Poll::Ready(End::Cut) } else { Poll::Pending }
    }

    /// The client has been told to go. When the last stream has ended and all is written, the codec is done; a client that
    /// does not read has its time for that, but no more of it than the connection has.
    fn poll_end(&mut self, cx: &Context<'_>) -> Poll<End> {
        if self.parting {
            if !self.timer.poll_fired(cx) {
                return Poll::Pending;
            }
            self.parting = false;
            self.h2.last_words();
            // The codec writes them when it is polled again.
            cx.waker().wake_by_ref();
        }
        if !self.streams.is_empty() || self.unread.waits() && !self.info.over.get() {
            self.lingering = false;
            return Poll::Pending;
        }
        if !std::mem::replace(&mut self.lingering, true) {
            self.timer.arm_in(LAST_WORDS_MS);
        }
        if self.timer.poll_fired(cx) { Poll::Ready(End::Cut) } else { Poll::Pending }
    }

    fn close(&mut self) {
        (self.closing, self.parting) = (true, true);
        self.h2.graceful_shutdown();
        self.timer.arm_in(FAREWELL_MS);
    }

    /// A request ends the time without one, even if it is answered at once.
    fn end_rest(&mut self) {
        if !std::mem::take(&mut self.rested) || self.closing {
            return;
        }
        self.timer.disarm();
        // The time before the first request is none between two.
        if self.conn.requests > 1 {
            let worker = &self.conn.worker;
            let idle_ms = worker.clock.now_ms().saturating_sub(self.rested_ms);
            worker.counters.limit_seen(Limit::IdleTime, idle_ms);
        }
    }

    fn watch_idleness(&mut self, cx: &Context<'_>) {
        let idle_ms = self.conn.idle_ms;
        if !self.streams.is_empty() {
            return;
        }
        if !self.rested {
            (self.rested, self.slim) = (true, false);
            self.rested_ms = self.conn.worker.clock.recent_ms();
            self.timer.arm_in(REST_MS.min(idle_ms));
        }
        if !self.timer.poll_fired(cx) {
            return;
        }
        if self.slim {
            self.conn.worker.refused_for(Limit::IdleTime);
            self.close();
            // The codec writes what closing queued when it is polled again.
            cx.waker().wake_by_ref();
            return;
        }
        self.slim = true;
        self.streams.rest();
        self.h2.rest();
        self.head = RequestHead::default();
        self.late.take_if(|_| self.unfinished.is_none());
        self.timer.arm_in(idle_ms.saturating_sub(REST_MS));
        let _ = self.timer.poll_fired(cx);
    }
}

/// What a stream begins with.
struct Started {
    worker: Rc<Worker>,
    info: Rc<ConnInfo>,
    front: H2Front,
    exchange: Box<Exchange>,
    /// Why its head cannot be taken.
    bad: Option<HeadError>,
}

impl Started {
    /// Takes the head out of `head`, and leaves in it the memory of another.
    fn new(worker: &Rc<Worker>, info: &Rc<ConnInfo>, incoming: Incoming, head: &mut RequestHead) -> Started {
        let mut exchange = worker.take_exchange();
        std::mem::swap(&mut exchange.request, head);
        let Incoming { verdict, stream } = incoming;
        let bad = verdict.err();
        let front = H2Front {
            body_done: bad.is_none() && exchange.request.body == BodyLength::None,
            stream,
            piece: Vec::new(),
            taken: 0,
            trailers: None,
            begun: false,
            ended: false,
            patience: Patience::default(),
        };
        Started { worker: worker.clone(), info: info.clone(), front, exchange, bad }
    }
}

/// Serves one stream after the other.
async fn place(inbox: Rc<Inbox<Started>>) {
    loop {
        let started = inbox.next().await;
        stream(started).await;
        inbox.served();
    }
}

/// Serves one stream. A request body that nobody read is refused by the codec when the front is dropped, after what is
/// queued has gone out.
async fn stream(started: Started) {
    let Started { worker, info, mut front, mut exchange, bad } = started;
    match bad {
        None => exchange::run(&worker, &info, &mut front, &mut exchange).await,
        Some(error) => {
            let mut live = Live::begin(&worker, &info, &mut front, &mut exchange);
            reply::error(&mut live, Error::head(&error)).await;
        }
    }
    worker.give_exchange(exchange);
}

/// One exchange on an HTTP/2 stream.
struct H2Front {
    stream: ServerStream,
    /// The piece of body that came last, and how much of it is done with.
    piece: Vec<u8>,
    taken: usize,
    body_done: bool,
    /// What came after the body.
    trailers: Option<Fields>,
    /// The head of the response has gone out; the end of its body has.
    begun: bool,
    ended: bool,
    patience: Patience,
}

fn gone(_: H2Error) -> FrontFail {
    FrontFail::Gone
}

impl Front for H2Front {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, FrontFail>> {
        if self.taken < self.piece.len() {
            return Poll::Ready(Ok(true));
        }
        if self.body_done {
            return Poll::Ready(Ok(false));
        }
        let Poll::Ready(more) = self.stream.poll_data(&mut self.piece, cx) else {
            return self.patience.poll_over(cx);
        };
        self.patience.check()?;
        let more = more.map_err(gone)?;
        self.body_done = !more;
        if more {
            // At the end the piece stays, and is done with: who asks again is not to get it again.
            self.taken = 0;
        }
        if self.body_done {
            self.trailers = self.stream.take_trailers();
        }
        Poll::Ready(Ok(more))
    }

    fn receive_by(&mut self, clock: &Rc<Clock>, at_ms: u64) {
        self.patience.until(clock, at_ms);
    }

    fn body(&self) -> &[u8] {
        self.piece.get(self.taken..).unwrap_or_default()
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.piece.len() - self.taken);
        self.taken += n;
        self.stream.release(n);
    }

    fn passes_interim(&self) -> bool {
        true
    }

    fn interim(&mut self, head: &ResponseHead) {
        // A client that has gone is found out by what follows.
        let _ = self.stream.send_informational(head);
    }

    fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }

    fn begin(&mut self, head: &ResponseHead, end: bool) -> Result<(), FrontFail> {
        self.stream.send_head(head, end).map_err(gone)?;
        (self.begun, self.ended) = (true, end);
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8], last: bool) -> Poll<Result<usize, FrontFail>> {
        if !self.begun || self.ended {
            return Poll::Ready(Err(FrontFail::Gone));
        }
        let n = ready!(self.stream.poll_capacity(data.len(), cx)).map_err(gone)?;
        self.ended = last && n == data.len();
        self.stream.send_data(data.get(..n).unwrap_or_default(), self.ended).map_err(gone)?;
        Poll::Ready(Ok(n))
    }

    fn end(&mut self, trailers: Option<&Fields>) -> Result<(), FrontFail> {
        if !self.begun || std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match trailers.filter(|trailers| !trailers.is_empty()) {
            Some(trailers) => self.stream.send_trailers(trailers).map_err(gone),
            None => self.stream.send_data(b"", true).map_err(gone),
        }
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>> {
        // The connection's task writes; nothing is held back here.
        Poll::Ready(Ok(()))
    }

    fn was_reset(&self) -> Option<&'static str> {
        Some(match self.stream.peer_reset()? {
            ResetReason::REFUSED_STREAM => "http2.remote_refuse",
            _ => "http2.remote_reset",
        })
    }

    fn abort(&mut self) {
        self.stream.reset(ResetReason::INTERNAL_ERROR);
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        self.stream.poll_reset(cx).is_ready()
    }

    fn closes(&self, _request: &RequestHead) -> bool {
        false
    }
}
