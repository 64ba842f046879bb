//! One HTTP/1.1 connection to an origin.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use limen_wire::h1;
use limen_wire::head::{BodyLength, Fields, MethodKind, RequestHead, ResponseHead};

use super::connect::Opening;
use super::counted::Counted;
use super::fail::Fail;
use super::io::OriginIo;
use crate::observe::ClusterStat;
use crate::stream::Buffers;
use crate::stream::inbound::{Inbound, ReadFail};
use crate::stream::outbound::Outbound;

/// A connection; between requests it holds no buffers.
pub(crate) struct OriginConn {
    io: OriginIo,
    /// The gateway's own address on it, if it has one.
    pub(crate) local: Option<SocketAddr>,
    /// How it was begun.
    pub(crate) opening: Opening,
    /// What heads may be.
    heads: h1::Limits,
    input: Inbound,
    output: Outbound,
    /// Requests begun on it.
    pub(crate) requests: u32,
    /// Millisecond in which it was last given back.
    pub(crate) idle_since: u64,
    /// Millisecond from which on it takes no new request.
    pub(crate) expires_ms: u64,
    /// The request is complete as far as this side is concerned.
    request_done: bool,
    /// A request was begun on it that has not come to its end.
    busy: bool,
    counted: Counted,
}

impl Drop for OriginConn {
    fn drop(&mut self) {
        if self.busy {
            self.counted.with_request();
        }
    }
}

impl OriginConn {
    pub(crate) fn new(
        io: OriginIo,
        (local, opening): (Option<SocketAddr>, Opening),
        heads: h1::Limits,
        counted: Counted,
    ) -> OriginConn {
        OriginConn {
            heads,
            counted,
            busy: false,
            io,
            local,
            opening,
            input: Inbound::empty(),
            output: Outbound::default(),
            requests: 0,
            idle_since: 0,
            request_done: true,
            expires_ms: u64::MAX,
        }
    }

    /// Nothing has been heard since it was given back: neither a close nor bytes that no request asked for. Costs no
    /// system call unless the socket was reported readable.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let quiet = self.io.is_quiet();
        if !quiet {
            self.counted.by_origin();
        }
        quiet
    }

    /// Queues a request's head.
    pub(crate) fn begin(&mut self, head: &RequestHead, buffers: &Buffers) {
        self.output.give_buffer(|| buffers.take_write());
        self.requests += 1;
        self.request_done = false;
        self.busy = true;
        let out = self.output.begin(head.body == BodyLength::Marked);
        h1::encode_request(head, out);
    }

    /// Takes body bytes; see [`Outbound::poll_send`].
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.output.poll_send(&mut self.io, cx, data)
    }

    /// The request's body is complete.
    pub(crate) fn end(&mut self, trailers: Option<&Fields>) {
        self.output.end(trailers);
        self.request_done = true;
    }

    /// Writes what is pending. When the request is out its buffer goes back: while an answer is awaited none is held, so
    /// that few buffers, warm ones, serve many requests.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> Poll<io::Result<()>> {
        ready!(self.output.poll_flush(&mut self.io, cx))?;
        if self.request_done
            && let Some(buffer) = self.output.take_buffer()
        {
            buffers.give_write(buffer);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads the head of the response.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: MethodKind,
        head: &mut ResponseHead,
        buffers: &Buffers,
    ) -> Poll<Result<(), Fail>> {
        self.input.give_buffer(|| buffers.take_read());
        let read = self.input.poll_response(&mut self.io, cx, method, (&self.heads, head));
        if read.is_pending()
            && let Some(buffer) = self.input.take_buffer()
        {
            buffers.give_read(buffer);
        }
        Poll::Ready(ready!(read).map_err(|fail| self.broken(fail, Fail::of_head)))
    }

    /// Makes [`OriginConn::data`] hold the next piece of the response's body; `Ok(false)`: it has ended.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fail>> {
        let read = self.input.poll_data(&mut self.io, cx);
        read.map_err(|fail| self.broken(fail, Fail::of_body))
    }

    fn broken(&self, fail: ReadFail, of: fn(ReadFail) -> Fail) -> Fail {
        let fail = of(fail);
        if let Fail::Closed { .. } = fail {
            self.counted.by_origin();
        }
        fail
    }

    /// Counts for its cluster.
    pub(crate) fn count(&self, stat: ClusterStat) {
        self.counted.count(stat);
    }

    /// The piece of body that was found.
    pub(crate) fn data(&self) -> &[u8] {
        self.input.data()
    }

    /// Whether no more body follows the piece that was found, as far as is known.
    pub(crate) fn is_last(&self) -> bool {
        self.input.is_last() && self.input.trailers().is_none()
    }

    /// The first `n` bytes of `data` are done with.
    pub(crate) fn consume(&mut self, n: usize, buffers: &Buffers) {
        self.input.consume(n);
        if self.input.wants_more_room() {
            self.input.enlarge(buffers);
        }
    }

    /// After a 101: what is read and sent from now on is another protocol's, without framing.
    pub(crate) fn tunnel(&mut self) {
        self.input.unframed();
    }

    /// Sends what is pending and says that nothing more follows, without ceasing to read.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_close(&mut self.io, cx)
    }

    /// Takes the buffers that a silent tunnel has given back.
    pub(crate) fn take_buffers(&mut self, buffers: &Buffers) {
        self.input.give_buffer(|| buffers.take_read());
        self.output.give_buffer(|| buffers.take_write());
    }

    /// Gives back the buffers that hold nothing.
    pub(crate) fn give_buffers(&mut self, buffers: &Buffers) {
        if let Some(buffer) = self.input.take_buffer() {
            buffers.give_read(buffer);
        }
        if let Some(buffer) = self.output.take_buffer() {
            buffers.give_write(buffer);
        }
    }

    /// What came after the response's body.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        self.input.trailers()
    }

    /// After an exchange: whether another request may follow. Gives the buffers back; bytes that nothing asked for
    /// poison the connection.
    pub(crate) fn finish(&mut self, response_keeps: bool, buffers: &Buffers) -> bool {
        let clean = response_keeps
            && self.request_done
            && self.output.is_flushed()
            && self.input.body_done()
            && !self.input.has_unread();
        self.busy = !(self.request_done && self.input.body_done());
        if clean {
            self.give_buffers(buffers);
        }
        clean
    }
}
