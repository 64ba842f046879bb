//! One stream: the body of a request, and its answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::head::{Fields, ResponseHead};

use super::session::Session;
use super::{H2Error, ResetReason};

/// One request's stream. Dropped before its answer is complete, it is reset with CANCEL. Only the task that polled last
/// is woken: poll everything of one stream from one task.
pub struct ServerStream {
    session: Rc<RefCell<Session>>,
    index: u32,
}

impl ServerStream {
    pub(super) fn new(session: Rc<RefCell<Session>>, index: u32) -> ServerStream {
        ServerStream { session, index }
    }

    /// The next piece of the body, which replaces what is in `into`; `false` at the end of the data (trailers may
    /// follow). The peer may send as much as its window allows; data that was taken gives nothing back until
    /// [`ServerStream::release`] says that it has gone on.
    ///
    /// # Errors
    /// The stream or connection failed.
    pub fn poll_data(&mut self, into: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Result<bool, H2Error>> {
        self.session.borrow_mut().poll_data(self.index, into, cx)
    }

    /// [`ServerStream::poll_data`] as a future.
    ///
    /// # Errors
    /// As there.
    pub async fn data(&mut self, into: &mut Vec<u8>) -> Result<bool, H2Error> {
        poll_fn(|cx| self.poll_data(into, cx)).await
    }

    /// Gives back window for `n` bytes of data that have gone on. More than was received counts as all of it.
    pub fn release(&mut self, n: usize) {
        self.session.borrow_mut().release(self.index, n);
    }

    /// The trailers, once the data has ended; fields that may not be trailers are left out (RFC 9110 6.5.1).
    pub fn take_trailers(&mut self) -> Option<Fields> {
        self.session.borrow_mut().take_trailers(self.index)
    }

    /// Sends the head of the answer. `end`: no body follows.
    ///
    /// # Errors
    /// [`H2Error::Head`] if HTTP/2 cannot carry the head; otherwise the stream is gone or was answered already.
    pub fn send_head(&mut self, head: &ResponseHead, end: bool) -> Result<(), H2Error> {
        self.session.borrow_mut().send_head(self.index, head, end)
    }

    /// Sends a 1xx head, other than 101, which HTTP/2 does not have (RFC 9113 8.6).
    ///
    /// # Errors
    /// As [`ServerStream::send_head`].
    pub fn send_informational(&mut self, head: &ResponseHead) -> Result<(), H2Error> {
        match head.status {
            100 | 102..=199 => self.send_head(head, false),
            _ => Err(H2Error::Head("status of an informational response")),
        }
    }

    /// Asks for room for `wanted` bytes; ready with how many, from 1 to `wanted`, may be sent now. 0 for 0.
    ///
    /// # Errors
    /// The stream or connection failed.
    pub fn poll_capacity(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<Result<usize, H2Error>> {
        self.session.borrow_mut().poll_room(self.index, wanted, cx)
    }

    /// [`ServerStream::poll_capacity`] as a future.
    ///
    /// # Errors
    /// As there.
    pub async fn capacity(&mut self, wanted: usize) -> Result<usize, H2Error> {
        poll_fn(|cx| self.poll_capacity(wanted, cx)).await
    }

    /// Sends data, no more than [`ServerStream::poll_capacity`] has just allowed; `end`: this is the last of it, and no
    /// trailers follow. An empty piece needs no capacity.
    ///
    /// # Errors
    /// The stream is gone or was ended already, or there is no room.
    pub fn send_data(&mut self, data: &[u8], end: bool) -> Result<(), H2Error> {
        self.session.borrow_mut().send_data(self.index, data, end)
    }

    /// Sends trailers, which end the stream.
    ///
    /// # Errors
    /// As [`ServerStream::send_data`]; [`H2Error::Head`] if HTTP/2 cannot carry them.
    pub fn send_trailers(&mut self, trailers: &Fields) -> Result<(), H2Error> {
        self.session.borrow_mut().send_trailers(self.index, trailers)
    }

    /// Ends the stream without an answer, or without the rest of it.
    pub fn reset(&mut self, reason: ResetReason) {
        self.session.borrow_mut().reset(self.index, reason);
    }

    /// Why the client gave up this request; `None`: it has not, or the connection ended before.
    pub fn peer_reset(&self) -> Option<ResetReason> {
        self.session.borrow_mut().peer_reset(self.index)
    }

    /// Ready when the client gave up this request, or the connection ended.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ResetReason> {
        self.session.borrow_mut().poll_reset(self.index, cx)
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        self.session.borrow_mut().drop_stream(self.index);
    }
}

impl std::fmt::Debug for ServerStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerStream").field("index", &self.index).finish_non_exhaustive()
    }
}
