//! HTTP/1 in front: reads heads, runs exchanges one after the other, holds no buffers between them.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};

use limen_wire::h1;
use limen_wire::head::{BodyLength, Fields, MethodKind, RequestHead, ResponseHead, Version};

use super::Connection;
use super::last_said::LastSaid;
use super::linger::{Linger, linger};
use super::patience::Patience;
use super::places::{Desk, Places};
use super::tcp::Cut;
use crate::clock::{Clock, Timer};
use crate::exchange::apart::{apart, seldom};
use crate::exchange::error::Error;
use crate::exchange::front::{ConnInfo, Front, FrontFail};
use crate::exchange::live::Live;
use crate::exchange::{self, reply};
use crate::observe::limits::Limit;
use crate::stream::Stream;
use crate::stream::inbound::{Inbound, ReadFail};
use crate::stream::outbound::Outbound;
use crate::worker::Worker;
use crate::worker::memory::Exchange;

/// After the last response the client may still be sending.
const LINGER: Linger = Linger { silent_ms: 1_000, most_ms: 1_000 };

/// How the wait for a request ended.
enum Arrived {
    Head(Box<Exchange>),
    Bad(Box<Exchange>, Error),
    /// Nothing more comes or is wanted.
    Over,
}

/// A connection between requests: one box, so that the task that waits on it is small.
pub(crate) struct Http1<S: Cut> {
    pub(crate) conn: Connection,
    pub(crate) io: S,
    pub(crate) info: ConnInfo,
    /// May hold the connection's first bytes.
    pub(crate) input: Inbound,
    pub(crate) output: Outbound,
    pub(crate) timer: Timer,
    pub(crate) places: Rc<ExchangePlaces<S>>,
}

impl<S: Cut> Drop for Http1<S> {
    fn drop(&mut self) {
        // Nobody knows how far the response has come: it must not end as if it were complete.
        if std::thread::panicking() {
            self.io.cut();
        }
    }
}

/// Where a worker's exchanges take place.
pub(crate) type ExchangePlaces<S> = Places<Job<S>, Served<S>>;

/// A request to serve, on its connection; or the error that its head came to.
pub(crate) type Job<S> = (Box<Http1<S>>, Box<Exchange>, Option<Error>);

/// The connection, and what becomes of it.
pub(crate) type Served<S> = (Box<Http1<S>>, After);

/// Serves one exchange after the other.
async fn exchanges<S: Cut>(desk: Rc<Desk<Job<S>, Served<S>>>) {
    loop {
        let (mut held, head, bad) = desk.next().await;
        let after = exchange(&mut held, head, bad).await;
        desk.done((held, after));
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve<S: Cut>(mut held: Box<Http1<S>>) {
    let places = held.places.clone();
    loop {
        let mut wait = Wait { spread: None, reading_since: None };
        let idle_since = held.conn.worker.clock.now_ms();
        let idle_until = idle_since.saturating_add(held.conn.idle_ms);
        held.timer.arm(idle_until.min(held.conn.until_ms));
        let arrived = poll_fn(|cx| wait.poll(&mut held, cx)).await;
        held.timer.disarm();
        let (head, bad) = match arrived {
            Arrived::Head(head) => (head, None),
            Arrived::Bad(head, error) => (head, Some(error)),
            Arrived::Over => break,
        };
        if held.conn.requests > 0 {
            let worker = &held.conn.worker;
            let idle = worker.clock.recent_ms().saturating_sub(idle_since);
            worker.counters.limit_seen(Limit::IdleTime, idle);
        }
        let after;
        (held, after) = places.serve((held, head, bad), exchanges).await;
        match after {
            After::Next => {}
            After::Close => break,
            After::Cut => return,
        }
    }
    let Http1 { conn, io, input, timer, .. } = &mut *held;
    let sink = input.take_buffer().unwrap_or_else(|| vec![0; 4096]);
    seldom(linger(io, (&*conn.worker.clock, &*timer), LINGER, sink)).await;
}

/// What becomes of a connection after an exchange.
pub(crate) enum After {
    /// Another request may come.
    Next,
    /// It ends, the response is complete.
    Close,
    /// It ends at once: the client must not take the response for complete.
    Cut,
}

/// Runs one exchange, or answers a head that could not be taken.
async fn exchange<S: Cut>(held: &mut Http1<S>, mut exchange: Box<Exchange>, bad: Option<Error>) -> After {
    let last = held.conn.begin_request();
    let Http1 { conn, io, info, input, output, timer, .. } = held;
    let worker = &*conn.worker;
    if conn.is_leaving() {
        timer.arm(conn.leave_ms.get());
    }
    output.give_buffer(|| worker.buffers.take_write());
    let mut front = H1Front::new(conn, io, input, output, &exchange.request);
    front.close = last;
    match bad {
        None => {
            let mut run = std::pin::pin!(exchange::run(worker, info, &mut front, &mut exchange));
            poll_fn(|cx| {
                leave(conn, info, timer, cx);
                run.as_mut().poll(cx)
            })
            .await;
        }
        Some(error) => {
            front.close = true;
            let mut live = Live::begin(worker, info, &mut front, &mut exchange);
            apart!(reply::error(&mut live, error));
        }
    }
    let by_close = front.by_close;
    let after = match (front.aborted, front.close) {
        (true, _) => After::Cut,
        (false, true) => After::Close,
        (false, false) => After::Next,
    };
    worker.give_exchange(exchange);
    if let Some(buffer) = output.take_buffer() {
        worker.buffers.give_write(buffer);
    }
    if by_close && matches!(after, After::Cut) {
        io.cut();
    }
    after
}

/// When what let the connection in has gone, its exchange has a while to finish.
fn leave(conn: &Connection, info: &ConnInfo, timer: &Timer, cx: &mut Context<'_>) {
    if conn.look(cx) {
        timer.arm(conn.leave_ms.get());
    }
    if conn.is_leaving() && timer.poll_fired(cx) {
        info.over.set(true);
    }
}

/// Waiting for a request.
struct Wait {
    /// When an idle connection that is to end will be closed.
    spread: Option<u64>,
    /// A part of a head is there since this millisecond: the deadline is the head's.
    reading_since: Option<u64>,
}

impl Wait {
    fn poll<S: Cut>(&mut self, held: &mut Http1<S>, cx: &mut Context<'_>) -> Poll<Arrived> {
        let Http1 { conn, io, input, timer, .. } = held;
        let worker = &conn.worker;
        input.give_buffer(|| worker.buffers.take_read());
        let mut exchange = worker.take_exchange();
        exchange.request.fields.keep_spelling(conn.keeps_spelling);
        match input.poll_request(io, cx, worker.h1_limits(), &mut exchange.request) {
            Poll::Ready(Ok(())) if exchange.request.version == Version::H10 && !worker.config.http10 => {
                return Poll::Ready(Arrived::Bad(exchange, Error::low_version()));
            }
            Poll::Ready(Ok(())) => {
                if let Some(since) = self.reading_since {
                    worker
                        .counters
                        .limit_seen(Limit::HeaderTime, worker.clock.now_ms().saturating_sub(since));
                }
                return Poll::Ready(Arrived::Head(exchange));
            }
            Poll::Ready(Err(ReadFail::Head(error))) => {
                return Poll::Ready(Arrived::Bad(exchange, Error::head(&error)));
            }
            Poll::Ready(Err(_)) => {
                worker.give_exchange(exchange);
                return Poll::Ready(Arrived::Over);
            }
            Poll::Pending => {}
        }
        if self.reading_since.is_none() && input.has_unread() {
            self.reading_since = Some(worker.clock.now_ms());
            timer.arm_in(conn.head_ms);
        }
        // A head that comes slowly holds memory for as long as it may, and its request would be refused.
        if self.reading_since.is_some() && worker.sheds_requests() {
            return Poll::Ready(Arrived::Bad(exchange, Error::overloaded()));
        }
        if timer.poll_fired(cx) {
            if self.reading_since.is_some() {
                return Poll::Ready(Arrived::Bad(exchange, Error::head_timeout()));
            }
            if self.spread.is_none() && worker.clock.recent_ms() < conn.until_ms {
                worker.refused_for(Limit::IdleTime);
            }
            worker.give_exchange(exchange);
            return Poll::Ready(Arrived::Over);
        }
        worker.give_exchange(exchange);
        if self.reading_since.is_none() {
            if let Some(buffer) = input.take_buffer() {
                worker.buffers.give_read(buffer);
            }
            self.park(conn, timer, cx);
        }
        Poll::Pending
    }

    /// An idle connection learns here that it is to end, and draws a moment for it, so that not all close at once.
    fn park(&mut self, conn: &Connection, timer: &Timer, cx: &mut Context<'_>) {
        conn.watch(cx);
        if self.spread.is_none() && conn.ending() {
            let worker = &conn.worker;
            let window = (worker.config.drain.as_millis() as u64 / 6).max(1);
            let at = worker.clock.now_ms() + u64::from(worker.random_u32()) % window;
            self.spread = Some(at);
            timer.arm(at);
            // The timer may fire before this task is polled again.
            if timer.poll_fired(cx) {
                cx.waker().wake_by_ref();
            }
        }
    }
}

/// One exchange on an HTTP/1 connection.
struct H1Front<'a, S> {
    conn: &'a Connection,
    worker: &'a Worker,
    io: &'a mut S,
    input: &'a mut Inbound,
    output: &'a mut Outbound,
    version: Version,
    method: MethodKind,
    /// The client understands trailers.
    te_trailers: bool,
    patience: Patience,
    /// The client has said its last, and may still wait for its answer.
    last_said: Option<Box<LastSaid>>,
    /// What passes is another protocol's.
    tunnel: bool,
    /// The connection ends with this exchange.
    close: bool,
    /// The end of the connection is that of the response.
    by_close: bool,
    /// The response is incomplete: the connection must not end as if it were not.
    aborted: bool,
}

impl<'a, S: Stream> H1Front<'a, S> {
    fn new(
        conn: &'a Connection,
        io: &'a mut S,
        input: &'a mut Inbound,
        output: &'a mut Outbound,
        request: &RequestHead,
    ) -> Self {
        H1Front {
            conn,
            worker: &conn.worker,
            io,
            input,
            output,
            version: request.version,
            method: request.method_kind,
            te_trailers: request.te_trailers,
            patience: Patience::default(),
            last_said: None,
            tunnel: false,
            close: false,
            by_close: false,
            aborted: false,
        }
    }

    /// Gives back the buffer to read into, if it holds nothing.
    fn give_input(&mut self) {
        if let Some(buffer) = self.input.take_buffer() {
            self.worker.buffers.give_read(buffer);
        }
    }

    /// Something of the answer is on its way.
    fn answered(&mut self) {
        if let Some(last) = &mut self.last_said {
            last.answered(self.worker);
        }
    }
}

impl<S: Stream> Front for H1Front<'_, S> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, FrontFail>> {
        if self.tunnel {
            self.input.give_buffer(|| self.worker.buffers.take_read());
        }
        let Poll::Ready(read) = self.input.poll_data(self.io, cx) else {
            return if self.tunnel { Poll::Pending } else { self.patience.poll_over(cx) };
        };
        if !self.tunnel {
            self.patience.check()?;
        }
        Poll::Ready(read.map_err(|fail| match fail {
            ReadFail::Body | ReadFail::Head(_) => FrontFail::Framing,
            ReadFail::Trailers(limit) => FrontFail::Trailers(limit),
            ReadFail::Closed | ReadFail::Cut | ReadFail::Io => FrontFail::Gone,
        }))
    }

    fn body(&self) -> &[u8] {
        self.input.data()
    }

    fn consume(&mut self, n: usize) {
        self.input.consume(n);
        if self.input.wants_more_room() {
            self.input.enlarge(&self.worker.buffers);
        }
    }

    fn passes_interim(&self) -> bool {
        // HTTP/1.0 knows no 1xx (RFC 9110 15.2).
        self.version == Version::H11
    }

    fn interim(&mut self, head: &ResponseHead) {
        h1::encode_response(head, self.version, self.method, true, self.output.begin(false));
    }

    fn trailers(&self) -> Option<&Fields> {
        self.input.trailers()
    }

    fn begin(&mut self, head: &ResponseHead, _end: bool) -> Result<(), FrontFail> {
        let chunked = h1::chunked_response(head, self.version, self.method);
        self.by_close = matches!(head.body, BodyLength::Marked | BodyLength::UntilClose) && !chunked;
        self.close |= !head.keep_alive || self.by_close;
        let keep = !self.close;
        self.answered();
        h1::encode_response(head, self.version, self.method, keep, self.output.begin(chunked));
        Ok(())
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        _last: bool,
    ) -> Poll<Result<usize, FrontFail>> {
        let sent = self.output.poll_send(self.io, cx, data).map_err(|_| FrontFail::Gone);
        if sent.is_ready() {
            self.answered();
        }
        sent
    }

    fn end(&mut self, trailers: Option<&Fields>) -> Result<(), FrontFail> {
        // Only a client that says so wants them (RFC 9110 6.5.1).
        self.output.end(trailers.filter(|_| self.te_trailers));
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>> {
        self.output.poll_flush(self.io, cx).map_err(|_| FrontFail::Gone)
    }

    fn abort(&mut self) {
        self.output.abandon();
        (self.close, self.aborted) = (true, true);
    }

    fn receive_by(&mut self, clock: &Rc<Clock>, at_ms: u64) {
        self.patience.until(clock, at_ms);
    }

    fn can_tunnel(&self) -> bool {
        true
    }

    fn tunnel(&mut self) {
        self.input.unframed();
        (self.tunnel, self.close) = (true, true);
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>> {
        self.output.poll_close(self.io, cx).map_err(|_| FrontFail::Gone)
    }

    fn rest(&mut self) {
        self.give_input();
        if let Some(buffer) = self.output.take_buffer() {
            self.worker.buffers.give_write(buffer);
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(last) = &self.last_said {
            return last.is_over(self.worker, cx);
        }
        // What a client pipelines is kept for later, up to a buffer; then it is left in the socket.
        while self.input.body_done() && self.input.unread().len() < crate::stream::BUFFER / 2 {
            self.input.give_buffer(|| self.worker.buffers.take_read());
            match self.input.poll_read(self.io, cx) {
                Poll::Ready(Err(_)) => return true,
                Poll::Ready(Ok(0)) => {
                    self.give_input();
                    // A client that closes its half only looks the same until something is sent to it (RFC 9112 9.6).
                    let last = self.last_said.insert(Box::new(LastSaid::now(self.worker)));
                    return last.is_over(self.worker, cx);
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    self.give_input();
                    return false;
                }
            }
        }
        false
    }

    fn closes(&self, request: &RequestHead) -> bool {
        let until_ms = self.conn.until_ms;
        let old = until_ms != u64::MAX && self.worker.clock.recent_ms() >= until_ms;
        // What it has sent ahead is still answered.
        let last = self.last_said.is_some() && !self.input.has_unread();
        self.close || old || last || !request.keep_alive || !self.input.body_done() || self.conn.is_leaving()
    }
}
