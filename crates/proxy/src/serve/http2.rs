//! HTTP/2 in front: one task drives a connection and all of its streams.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use limen_wire::h1::HeadError;
use limen_wire::h2::{H2Error, Incoming, Limits, RecvBody, ResetReason, Respond, SendBody, ServerConnection};
use limen_wire::head::{BodyLength, RequestHead, ResponseHead};

use super::Connection;
use super::streams::{Inbox, Streams};
use crate::clock::Timer;
use crate::exchange::error::Error;
use crate::exchange::front::{ConnInfo, Front, FrontFail};
use crate::exchange::live::Live;
use crate::exchange::{self, reply};
use crate::serve::patience::Patience;
use crate::stream::Stream;
use crate::worker::Worker;
use crate::worker::memory::Exchange;

/// An answer's body up to this size is handed to the codec without asking for room.
const SMALL: usize = 4096;
/// How long a client that was told to go may take to do so once no stream is open.
const LINGER_MS: u64 = 2_000;
/// How long a connection without streams keeps the memory of the last ones.
const REST_MS: u64 = 5_000;

/// Serves a connection to its end.
pub(crate) async fn serve<S: Stream>(conn: Connection, io: S, info: Rc<ConnInfo>) {
    let worker = conn.worker.clone();
    let timer = worker.clock.timer();
    timer.arm_in(worker.config.limits.handshake_timeout_ms);
    let limits = Limits {
        max_concurrent_streams: worker.config.limits.max_streams,
        max_header_list: u32::try_from(worker.config.limits.max_head_bytes).unwrap_or(u32::MAX),
        max_fields: worker.config.limits.max_fields,
        ..Limits::default()
    };
    let shaken = tokio::select! {
        biased;
        shaken = Box::pin(ServerConnection::handshake(io, &limits)) => shaken,
        () = timer.expired() => return,
    };
    let Ok(h2) = shaken else { return };
    let mut driver = Driver {
        conn,
        info,
        h2,
        timer,
        streams: Streams::new(),
        closing: false,
        lingering: false,
        rested: false,
    };
    poll_fn(|cx| driver.poll(cx, place)).await;
}

/// A connection and its streams.
struct Driver<S, F> {
    conn: Connection,
    info: Rc<ConnInfo>,
    h2: ServerConnection<S>,
    timer: Timer,
    streams: Streams<Started, F>,
    /// The client has been told that no more streams are taken.
    closing: bool,
    /// The client has a moment left to close.
    lingering: bool,
    /// No stream is open and the memory of streams has been given back; the timer waits for the idle timeout.
    rested: bool,
}

impl<S: Stream, F: Future<Output = ()>> Driver<S, F> {
    /// Takes new streams, polls those that were woken, writes what they have to say. `make` makes the future
    /// of a place for streams.
    fn poll(&mut self, cx: &mut Context<'_>, make: impl Fn(Rc<Inbox<Started>>) -> F) -> Poll<()> {
        if !self.closing && self.conn.ending() {
            self.close();
        }
        self.conn.watch(cx);
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok(incoming))) => {
                    let started = Started::new(&self.conn.worker, &self.info, incoming);
                    self.streams.start(started, &make, cx);
                    continue;
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            // What streams have queued is written by the next turn.
            if !self.streams.poll(cx) {
                break;
            }
        }
        if self.closing {
            return self.poll_end(cx);
        }
        self.watch_idleness(cx);
        Poll::Pending
    }

    /// The client has been told to go: when the last stream has ended it is given a moment to do so. It need not even be
    /// reading, so nothing here waits for it.
    fn poll_end(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.streams.is_empty() {
            self.lingering = false;
            return Poll::Pending;
        }
        if !std::mem::replace(&mut self.lingering, true) {
            self.timer.arm_in(LINGER_MS);
        }
        if self.timer.poll_fired(cx) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn close(&mut self) {
        self.closing = true;
        self.h2.graceful_shutdown();
    }

    fn watch_idleness(&mut self, cx: &Context<'_>) {
        let idle_ms = self.conn.worker.config.limits.idle_timeout_ms;
        if !self.streams.is_empty() {
            if self.rested {
                self.rested = false;
                self.timer.disarm();
            }
            return;
        }
        if !self.rested {
            self.rested = true;
            self.timer.arm_in(if self.streams.holds_memory() { REST_MS.min(idle_ms) } else { idle_ms });
        }
        if self.timer.poll_fired(cx) {
            if self.streams.rest() {
                self.timer.arm_in(idle_ms.saturating_sub(REST_MS));
                let _ = self.timer.poll_fired(cx);
            } else {
                self.close();
                // The codec writes what closing queued when it is polled again.
                cx.waker().wake_by_ref();
            }
        }
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
    fn new(worker: &Rc<Worker>, info: &Rc<ConnInfo>, incoming: Incoming) -> Started {
        let mut exchange = worker.take_exchange();
        let bad = incoming.head(&mut exchange.request).err();
        let Incoming { body, respond, .. } = incoming;
        let body_done = bad.is_none() && exchange.request.body == BodyLength::None;
        let front = H2Front {
            body,
            piece: Bytes::new(),
            body_done,
            respond,
            send: None,
            patience: Patience::new(worker),
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
    body: RecvBody,
    piece: Bytes,
    body_done: bool,
    respond: Respond,
    /// The response's body, once its head has gone out.
    send: Option<SendBody>,
    patience: Patience,
}

fn gone(_: H2Error) -> FrontFail {
    FrontFail::Gone
}

impl Front for H2Front {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, FrontFail>> {
        if !self.piece.is_empty() {
            return Poll::Ready(Ok(true));
        }
        if self.body_done {
            return Poll::Ready(Ok(false));
        }
        loop {
            let Poll::Ready(next) = self.body.poll_data(cx) else { return self.patience.poll_over(cx) };
            match next {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    self.patience.renew()?;
                    self.piece = piece;
                    return Poll::Ready(Ok(true));
                }
                Some(Err(error)) => return Poll::Ready(Err(gone(error))),
                None => {
                    self.body_done = true;
                    return Poll::Ready(Ok(false));
                }
            }
        }
    }

    fn body(&self) -> &[u8] {
        &self.piece
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.piece.len());
        self.piece.advance(n);
        self.body.release(n);
    }

    fn begin(&mut self, head: &ResponseHead, end: bool) -> Result<(), FrontFail> {
        self.send = self.respond.send_head(head, end).map_err(gone)?;
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8], last: bool) -> Poll<Result<usize, FrontFail>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(FrontFail::Gone)) };
        // A small answer is handed over whole: asking for room first costs more than the few bytes that the codec may
        // have to hold until there is some.
        let whole = last && data.len() <= SMALL;
        let room =
            if whole { data.len() } else { ready!(send.poll_capacity(data.len(), cx)).map_err(gone)? };
        let n = room.min(data.len());
        let last = last && n == data.len();
        send.send_data(Bytes::copy_from_slice(&data[..n]), last).map_err(gone)?;
        if last {
            self.send = None;
        }
        Poll::Ready(Ok(n))
    }

    fn end(&mut self) -> Result<(), FrontFail> {
        match &mut self.send {
            Some(send) => send.send_data(Bytes::new(), true).map_err(gone),
            None => Ok(()),
        }
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>> {
        // The connection's task writes; nothing is held back here.
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        match &mut self.send {
            Some(send) => send.reset(ResetReason::INTERNAL_ERROR),
            None => self.respond.reset(ResetReason::INTERNAL_ERROR),
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).is_ready(),
            None => self.respond.poll_reset(cx).is_ready(),
        }
    }

    fn closes(&self, _request: &RequestHead) -> bool {
        false
    }
}
