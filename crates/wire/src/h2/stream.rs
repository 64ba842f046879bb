//! The two directions of one stream.

use bytes::Bytes;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use crate::head::{Fields, ResponseHead};

use super::convert;
use super::{H2Error, ResetReason};

/// The body of a request.
///
/// The peer may send as much as its window allows; data that was taken gives nothing back until
/// [`RecvBody::release`] says that it has gone on.
#[derive(Debug)]
pub struct RecvBody {
    inner: ::h2::RecvStream,
}

impl RecvBody {
    pub(super) fn new(inner: ::h2::RecvStream) -> RecvBody {
        RecvBody { inner }
    }

    /// The next piece; `None` at the end of the data (trailers may follow).
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, H2Error>>> {
        self.inner.poll_data(cx).map(|data| data.map(|data| data.map_err(H2Error::from)))
    }

    /// [`RecvBody::poll_data`] as a future.
    pub async fn data(&mut self) -> Option<Result<Bytes, H2Error>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// Gives back window for `n` bytes of data that have gone on. More than was received counts as all of it.
    pub fn release(&mut self, n: usize) {
        let flow = self.inner.flow_control();
        let n = n.min(flow.used_capacity());
        // Fails only for more than was received.
        let _ = flow.release_capacity(n);
    }

    /// Whether nothing more will come, trailers included.
    pub fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    /// The trailers, after the end of the data; fields that may not be trailers are left out (RFC 9110 6.5.1).
    pub fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Fields>, H2Error>> {
        let trailers = ready!(self.inner.poll_trailers(cx))?;
        Poll::Ready(Ok(trailers.map(|headers| convert::trailers(&headers))))
    }

    /// [`RecvBody::poll_trailers`] as a future.
    ///
    /// # Errors
    /// The stream or connection failed.
    pub async fn trailers(&mut self) -> Result<Option<Fields>, H2Error> {
        poll_fn(|cx| self.poll_trailers(cx)).await
    }
}

/// Where the answer to one request goes.
#[derive(Debug)]
pub struct Respond {
    inner: ::h2::server::SendResponse<Bytes>,
}

impl Respond {
    pub(super) fn new(inner: ::h2::server::SendResponse<Bytes>) -> Respond {
        Respond { inner }
    }

    /// Sends the head of the answer. `end`: no body follows, and there is nothing to send data into.
    ///
    /// # Errors
    /// [`H2Error::Head`] if HTTP/2 cannot carry the head; otherwise the stream is gone or was answered already.
    pub fn send_head(&mut self, head: &ResponseHead, end: bool) -> Result<Option<SendBody>, H2Error> {
        let inner = self.inner.send_response(convert::response(head)?, end)?;
        Ok((!end).then_some(SendBody { inner }))
    }

    /// Sends a 1xx head, other than 101, which HTTP/2 does not have (RFC 9113 8.6).
    ///
    /// # Errors
    /// As [`Respond::send_head`].
    pub fn send_informational(&mut self, head: &ResponseHead) -> Result<(), H2Error> {
        match head.status {
            100 | 102..=199 => Ok(self.inner.send_informational(convert::response(head)?)?),
            _ => Err(H2Error::Head("status of an informational response")),
        }
    }

    /// Ends the stream without an answer, or without the rest of it.
    pub fn reset(&mut self, reason: ResetReason) {
        self.inner.send_reset(reason.into());
    }

    /// Ready when the client gave up this request, before the answer was begun.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ResetReason> {
        self.inner.poll_reset(cx).map(reset_reason)
    }
}

/// Where the body of an answer goes. A stream whose handles ([`RecvBody`], [`Respond`], this) are all dropped before its
/// end is reset with CANCEL. Only the task that polled last is woken: poll capacity and reset from one task.
#[derive(Debug)]
pub struct SendBody {
    inner: ::h2::SendStream<Bytes>,
}

impl SendBody {
    /// Asks for room for `wanted` bytes; ready with how many, from 1 to `wanted`, may be sent now. 0 for 0.
    pub fn poll_capacity(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<Result<usize, H2Error>> {
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        self.inner.reserve_capacity(wanted);
        loop {
            let room = self.inner.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            match ready!(self.inner.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => {
                    return Poll::Ready(Err(match self.inner.poll_reset(cx) {
                        Poll::Ready(Ok(reason)) => H2Error::Reset { reason: reason.into(), remote: true },
                        Poll::Ready(Err(error)) => error.into(),
                        Poll::Pending => H2Error::Closed,
                    }));
                }
            }
        }
    }

    /// [`SendBody::poll_capacity`] as a future.
    ///
    /// # Errors
    /// The stream was reset, or the connection failed.
    pub async fn capacity(&mut self, wanted: usize) -> Result<usize, H2Error> {
        poll_fn(|cx| self.poll_capacity(wanted, cx)).await
    }

    /// Sends data; `end`: this is the last of it, and no trailers follow. More than [`SendBody::poll_capacity`] allowed
    /// is buffered without bound, so ask first; an empty piece needs no capacity.
    ///
    /// # Errors
    /// The stream is gone or was ended already.
    pub fn send_data(&mut self, data: Bytes, end: bool) -> Result<(), H2Error> {
        Ok(self.inner.send_data(data, end)?)
    }

    /// Sends trailers, which end the stream.
    ///
    /// # Errors
    /// As [`SendBody::send_data`]; [`H2Error::Head`] if HTTP/2 cannot carry them.
    pub fn send_trailers(&mut self, trailers: &Fields) -> Result<(), H2Error> {
        Ok(self.inner.send_trailers(convert::header_map(trailers, 0)?)?)
    }

    /// Ends the stream without the rest of the body.
    pub fn reset(&mut self, reason: ResetReason) {
        self.inner.send_reset(reason.into());
    }

    /// Ready when the client gave up the answer.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ResetReason> {
        self.inner.poll_reset(cx).map(reset_reason)
    }
}

/// A connection that failed gives up all its streams.
fn reset_reason(outcome: Result<::h2::Reason, ::h2::Error>) -> ResetReason {
    match outcome {
        Ok(reason) => reason.into(),
        Err(error) => error.reason().map_or(ResetReason::CANCEL, ResetReason::from),
    }
}
