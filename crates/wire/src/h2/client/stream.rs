//! The two directions of one stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};

use super::Room;
use super::guard::Credit;
use crate::h2::H2Error;
use crate::head::{Fields, Known};
use crate::trailers::may_trail;

/// The body of a response.
///
/// The server may send as much as its window allows; data that was taken gives nothing back until
/// [`RecvBody::release`] says that it has gone on.
#[derive(Debug)]
pub struct RecvBody {
    inner: ::h2::RecvStream,
    room: Room,
}

impl RecvBody {
    pub(super) fn new(inner: ::h2::RecvStream, room: Room) -> RecvBody {
        RecvBody { inner, room }
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
        let Some(headers) = ready!(self.inner.poll_trailers(cx))? else { return Poll::Ready(Ok(None)) };
        self.room.weigh(&headers)?;
        Poll::Ready(Ok(Some(trailers(&headers))))
    }

    /// [`RecvBody::poll_trailers`] as a future.
    ///
    /// # Errors
    /// The stream or connection failed.
    pub async fn trailers(&mut self) -> Result<Option<Fields>, H2Error> {
        poll_fn(|cx| self.poll_trailers(cx)).await
    }
}

/// Where the body of a request goes. A stream whose handles ([`super::Answer`], [`RecvBody`], this) are all dropped
/// before its end is reset with CANCEL. Only the task that polled last is woken: poll capacity and reset from one task.
#[derive(Debug)]
pub struct SendBody {
    inner: ::h2::SendStream<Bytes>,
    credit: Arc<Credit>,
}

impl SendBody {
    pub(super) fn new(inner: ::h2::SendStream<Bytes>, credit: Arc<Credit>) -> SendBody {
        SendBody { inner, credit }
    }

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
        let bytes = data.len();
        self.inner.send_data(data, end)?;
        self.credit.sent(bytes);
        Ok(())
    }

    /// Sends trailers, which end the stream.
    ///
    /// # Errors
    /// As [`SendBody::send_data`]; [`H2Error::Head`] if HTTP/2 cannot carry them.
    pub fn send_trailers(&mut self, trailers: &Fields) -> Result<(), H2Error> {
        Ok(self.inner.send_trailers(header_map(trailers, 0)?)?)
    }
}

/// The fields that may go on, with room for `more`.
pub(super) fn header_map(fields: &Fields, more: usize) -> Result<HeaderMap, H2Error> {
    let mut headers =
        HeaderMap::try_with_capacity(fields.len() + more).map_err(|_| H2Error::Head("too many fields"))?;
    for (known, name, value) in fields.iter() {
        if known.is_per_hop() {
            continue;
        }
        let name = HeaderName::from_lowercase(name).map_err(|_| H2Error::Head("field name"))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| H2Error::Head("field value"))?;
        headers.try_append(name, value).map_err(|_| H2Error::Head("too many fields"))?;
    }
    Ok(headers)
}

/// Copies trailers, without fields that may not stand there.
fn trailers(headers: &HeaderMap) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in headers {
        let name = name.as_str().as_bytes();
        if may_trail(Known::of(name), name) {
            fields.add(name, value.as_bytes());
        }
    }
    fields
}
