//! HTTP/2 in front: one task for the connection, one for each stream.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use limen_wire::h1::HeadError;
use limen_wire::h2::{H2Error, Incoming, Limits, RecvBody, ResetReason, Respond, SendBody, ServerConnection};
use limen_wire::head::{BodyLength, RequestHead, ResponseHead};

use super::Connection;
use crate::exchange::error::Error;
use crate::exchange::front::{ConnInfo, Front, FrontFail};
use crate::exchange::live::Live;
use crate::exchange::{self, reply};
use crate::stream::Stream;
use crate::worker::Worker;
use crate::worker::memory::Exchange;

/// Serves a connection to its end.
pub(crate) async fn serve<S: Stream>(conn: Connection, io: S, info: Rc<ConnInfo>) {
    let worker = conn.worker.clone();
    let timer = worker.clock.timer();
    timer.arm_in(worker.config.limits.handshake_timeout_ms);
    let limits = Limits {
        max_concurrent_streams: worker.config.limits.max_streams,
        max_header_list: u32::try_from(worker.config.limits.max_head_bytes).unwrap_or(u32::MAX),
        ..Limits::default()
    };
    let shaken = tokio::select! {
        biased;
        shaken = Box::pin(ServerConnection::handshake(io, &limits)) => shaken,
        () = timer.expired() => return,
    };
    let Ok(mut h2) = shaken else { return };
    let idle_ms = worker.config.limits.idle_timeout_ms;
    timer.arm_in(idle_ms);
    let mut closing = false;
    loop {
        let next = poll_fn(|cx| {
            if !closing && conn.ending() {
                closing = true;
                h2.graceful_shutdown();
            }
            conn.watch(cx);
            if timer.poll_fired(cx) {
                if h2.has_streams() {
                    timer.arm_in(idle_ms);
                    let _ = timer.poll_fired(cx);
                } else {
                    h2.graceful_shutdown();
                }
            }
            h2.poll_accept(cx)
        })
        .await;
        match next {
            Some(Ok(incoming)) => {
                timer.arm_in(idle_ms);
                start(&worker, &info, incoming);
            }
            Some(Err(_)) | None => return,
        }
    }
}

/// A stream's task.
fn start(worker: &Rc<Worker>, info: &Rc<ConnInfo>, incoming: Incoming) {
    let mut exchange = worker.take_exchange();
    let head = incoming.head(&mut exchange.request);
    let Incoming { body, respond, .. } = incoming;
    let body_done = head.is_ok() && exchange.request.body == BodyLength::None;
    let front = H2Front { body, piece: Bytes::new(), body_done, respond, send: None };
    let (worker, info) = (worker.clone(), info.clone());
    match head {
        Ok(()) => drop(tokio::task::spawn_local(stream(worker, info, front, exchange))),
        Err(error) => drop(tokio::task::spawn_local(refuse(worker, info, front, exchange, error))),
    }
}

/// Serves one stream. A request body that nobody read is refused by the codec when the front is dropped, after what is
/// queued has gone out.
async fn stream(worker: Rc<Worker>, info: Rc<ConnInfo>, mut front: H2Front, mut exchange: Box<Exchange>) {
    exchange::run(&worker, &info, &mut front, &mut exchange).await;
    worker.give_exchange(exchange);
}

/// Answers a head that cannot be taken.
async fn refuse(
    worker: Rc<Worker>,
    info: Rc<ConnInfo>,
    mut front: H2Front,
    mut exchange: Box<Exchange>,
    error: HeadError,
) {
    let mut live = Live::begin(&worker, &info, &mut front, &mut exchange);
    reply::error(&mut live, Error::head(&error)).await;
    drop(live);
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
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
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
        let window = ready!(send.poll_capacity(data.len(), cx)).map_err(gone)?;
        let n = window.min(data.len());
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
