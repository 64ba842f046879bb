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
use session::{CHOKED, HEADER, MAX_PAYLOAD, Session};

pub use error::{H2Error, ResetReason};
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
    /// Bytes of one decoded header list, 32 more per field (RFC 9113 6.5.2). Above it the stream is answered 431; a
    /// block of four times as many closes the connection.
    pub max_header_list: u32,
    /// Fields of one head, each cookie crumb counted: small indexed fields cost a sender one byte each.
    pub max_fields: usize,
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
            extended_connect: false,
        }
    }
}

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
            (session.failure(), session.is_done(), session.pending().len() > CHOKED)
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

    /// Announces that the connection ends now and why. Go on accepting until that gives `None` or an error, so that the
    /// announcement gets written.
    pub fn abrupt_shutdown(&mut self, reason: ResetReason) {
        self.session.borrow_mut().fail(reason);
    }

    /// Whether any stream is in use.
    pub fn has_streams(&self) -> bool {
        self.session.borrow().has_streams()
    }

    /// So many seconds have passed since this was last said: a connection that only makes work is sent away sooner than
    /// one that does so slowly.
    pub fn pass_time(&mut self, seconds: u32) {
        self.session.borrow_mut().earn_time(seconds);
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
