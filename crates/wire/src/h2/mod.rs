//! HTTP/2, server side (RFC 9113): our own codec. [`session`] is the state machine, which sees bytes only; around it
//! stands a shell that is generic over the stream it is given. It opens no socket and asks no clock. The client's side,
//! in [`client`], is bought.

pub mod client;
mod error;
mod head;
mod hpack;
mod session;
mod stream;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::h1::{H2_PREFACE, HeadError};
use crate::head::RequestHead;
use session::{HEADER, MAX_PAYLOAD, Session};

pub use error::{H2Error, ResetReason};
pub use session::{Tally, Work};
pub use stream::ServerStream;

/// What one connection may take of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams open at a time.
    pub max_concurrent_streams: u32,
    /// Bytes that a peer may send on one stream before we give back window.
    pub initial_stream_window: u32,
    /// Bytes that a peer may send on all streams together before we give back window.
    pub initial_connection_window: u32,
    /// Bytes of one decoded header list, 32 more per field (RFC 9113 6.5.2). Above it the stream is answered 431; four
    /// times as many, encoded or decoded, close the connection.
    pub max_header_list: u32,
    /// Fields of one head, each cookie crumb counted: small indexed fields cost a sender one byte each.
    pub max_fields: usize,
    /// Nothing is read while more bytes than this wait to be written, and streams give no data while a quarter of it does.
    pub max_unwritten: usize,
    /// What a connection may spend on work that is of no use by itself before it is sent away (ENHANCE_YOUR_CALM); each
    /// second and each useful frame earns some again, up to as much.
    pub credit: u32,
    /// Whether a client may ask for a tunnel with `:protocol` (RFC 8441).
    pub extended_connect: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_concurrent_streams: 100,
            initial_stream_window: 256 * 1024,
            initial_connection_window: 1024 * 1024,
            max_header_list: 64 * 1024,
            max_fields: 128,
            max_unwritten: 256 * 1024,
            credit: 4_000,
            extended_connect: false,
        }
    }
}

impl Limits {
    /// Bytes of a header block, before and after decoding, that close the connection.
    fn most_decoded(&self) -> usize {
        self.max_header_list as usize * 4
    }

    /// Bytes of all heads of one connection's streams, decoded: more streams are refused.
    fn most_heads(&self) -> usize {
        self.max_header_list as usize * LARGE_HEADS
    }
}

/// Heads of the largest size that the streams of a connection may have together.
const LARGE_HEADS: usize = 16;

/// Room for what is read at once: at least one frame.
const INPUT: usize = 2 * (HEADER + MAX_PAYLOAD);

/// One client connection.
///
/// All reading and writing happens within [`ServerConnection::poll_accept`]: it must be polled for as long as any stream
/// of the connection is in use.
pub struct ServerConnection<S> {
    io: S,
    session: Rc<RefCell<Session>>,
    /// `input[start..end]` has been read and is not yet understood.
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Something was written that the stream below may still hold.
    unflushed: bool,
    /// Bytes that were written.
    written: u64,
    /// Bytes of frames that were understood.
    understood: u64,
    /// Nothing is expected: what is read is not given memory for longer than it takes.
    resting: bool,
}

/// One request that arrived.
#[derive(Debug)]
pub struct Incoming {
    /// Whether it is to be served; otherwise it must be answered with an error: 400, 417 or 431, as for HTTP/1, and its
    /// head holds as much as was understood.
    pub verdict: Result<(), HeadError>,
    /// Its body, and where the answer goes.
    pub stream: ServerStream,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerConnection<S> {
    /// Reads the preface.
    ///
    /// # Errors
    /// The preface is wrong, or the stream failed.
    pub async fn handshake(mut io: S, limits: &Limits) -> Result<ServerConnection<S>, H2Error> {
        let mut preface = [0; H2_PREFACE.len()];
        io.read_exact(&mut preface).await.map_err(H2Error::Io)?;
        if preface != H2_PREFACE {
            return Err(H2Error::GoAway { reason: ResetReason::PROTOCOL_ERROR, remote: false });
        }
        let session = Rc::new(RefCell::new(Session::new(limits)));
        Ok(ServerConnection {
            io,
            session,
            input: Vec::new(),
            start: 0,
            end: 0,
            unflushed: false,
            written: 0,
            understood: 0,
            resting: false,
        })
    }

    /// The next request, whose head replaces what is in `head`; `None` when the connection has ended in order. Drives
    /// all streams.
    pub fn poll_accept(
        &mut self,
        head: &mut RequestHead,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Incoming, H2Error>>> {
        loop {
            let unread = self.input.get(self.start..self.end).unwrap_or_default();
            let (used, arrived) = self.session.borrow_mut().receive(unread, head);
            self.start += used;
            self.understood += used as u64;
            if let Some(arrived) = arrived {
                self.resting = false;
                let stream = ServerStream::new(self.session.clone(), arrived.index);
                return Poll::Ready(Some(Ok(Incoming { verdict: arrived.verdict, stream })));
            }
            match self.poll_more(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(None),
                Poll::Ready(Err(error)) => {
                    // Streams that are still held learn that nothing more will come.
                    self.session.borrow_mut().end(ResetReason::CANCEL, true);
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// [`ServerConnection::poll_accept`] as a future.
    pub async fn accept(&mut self, head: &mut RequestHead) -> Option<Result<Incoming, H2Error>> {
        poll_fn(|cx| self.poll_accept(head, cx)).await
    }

    /// Reads more, and writes what there is to be written when there is nothing to read. Ready with `false` when the
    /// connection has ended.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, H2Error>> {
        let (failure, done, choked) = {
            let mut session = self.session.borrow_mut();
            session.driver.get_or_insert_with(|| cx.waker().clone());
            (session.failure(), session.is_done(), session.is_choked())
        };
        if let Some(error) = failure {
            // The last words are written before the connection is given up.
            ready!(self.poll_write(cx)).map_err(H2Error::Io)?;
            return Poll::Ready(Err(error));
        }
        if done {
            ready!(self.poll_write(cx)).map_err(H2Error::Io)?;
            return Poll::Ready(Ok(false));
        }
        if choked && self.poll_write(cx).map_err(H2Error::Io)?.is_pending() {
            return Poll::Pending;
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(0)) => {
                self.session.borrow_mut().end(ResetReason::CANCEL, true);
                Poll::Ready(Ok(false))
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(true)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(H2Error::Io(error))),
            Poll::Pending => {
                let _ = self.poll_write(cx).map_err(H2Error::Io)?;
                if self.resting {
                    self.give_up_input();
                }
                Poll::Pending
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.input.len() - self.start < INPUT / 2 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.input.is_empty() {
            self.input.resize(INPUT, 0);
        }
        let mut window = ReadBuf::new(self.input.get_mut(self.end..).unwrap_or_default());
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut window))?;
        let n = window.filled().len();
        self.end += n;
        Poll::Ready(Ok(n))
    }

    /// Writes what there is.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut session = self.session.borrow_mut();
        while !session.pending().is_empty() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, session.pending()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            session.wrote(n);
            self.written += n as u64;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Announces that no more requests are taken (GOAWAY), and lets those that are under way finish. Go on accepting
    /// until that gives `None`, or an error of the stream below from a client that was gone before our last words.
    pub fn graceful_shutdown(&mut self) {
        self.session.borrow_mut().say_goodbye();
    }

    /// After [`ServerConnection::graceful_shutdown`], takes no more streams, though the client has not said that it has
    /// heard of it (RFC 9113 6.8).
    pub fn last_words(&mut self) {
        self.session.borrow_mut().say_last();
    }

    /// Announces that the connection ends now and why. Go on accepting until that gives `None` or an error, so that the
    /// announcement gets written.
    pub fn abrupt_shutdown(&mut self, reason: ResetReason) {
        self.session.borrow_mut().fail(reason);
    }

    /// What the connection has come to, if that has changed since it was asked last.
    pub fn tally(&mut self) -> Option<Tally> {
        self.session.borrow_mut().tally()
    }

    /// Whether any stream is in use.
    pub fn has_streams(&self) -> bool {
        self.session.borrow().has_streams()
    }

    /// What the client has begun and not completed, if it is a head, or a frame of any kind but DATA, whose streams have
    /// times of their own: a number that stays the same for as long as it is the same head or frame. `None` also while
    /// nothing is read, because the client does not.
    pub fn unfinished(&self) -> Option<u64> {
        let unread = self.input.get(self.start..self.end).unwrap_or_default();
        let session = self.session.borrow();
        if session.pending().len() > session.most_unwritten() {
            return None;
        }
        if let Some(stream) = session.open_head() {
            return Some(u64::from(stream) | 1 << 63);
        }
        (!unread.is_empty() && !session::is_data(unread)).then_some(self.understood)
    }

    /// How many bytes have been written, if more wait to be: a number that stays the same for as long as the client takes
    /// nothing of what there is for it.
    pub fn unread(&self) -> Option<u64> {
        let waits = self.unflushed || !self.session.borrow().pending().is_empty();
        waits.then_some(self.written)
    }

    /// The connection is over, whether the client can be told so or not.
    pub fn has_failed(&self) -> bool {
        self.session.borrow().failure().is_some()
    }

    /// The stream below, after the end.
    pub fn into_inner(self) -> S {
        self.io
    }

    /// So many seconds have passed since this was last said: a connection that only makes work is sent away sooner than
    /// one that does so slowly.
    pub fn pass_time(&mut self, seconds: u32) {
        self.session.borrow_mut().pass_time(seconds);
    }

    /// Gives back memory that a connection without streams does not need, until the next request arrives.
    pub fn rest(&mut self) {
        self.session.borrow_mut().rest();
        self.resting = true;
        self.give_up_input();
    }

    fn give_up_input(&mut self) {
        if self.start == self.end {
            (self.input, self.start, self.end) = (Vec::new(), 0, 0);
        }
    }
}

impl<S> std::fmt::Debug for ServerConnection<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConnection").field("unread", &(self.end - self.start)).finish_non_exhaustive()
    }
}
