//! The origin's side of an exchange, whatever version it speaks: the counterpart of
//! [`Front`](crate::exchange::front::Front).

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use limen_wire::head::{BodyLength, Fields, MethodKind, RequestHead, ResponseHead};

use super::EndpointState;
use super::fail::Fail;
use super::http2::Http2;
use super::origin::OriginConn;
use crate::observe::ClusterStat;
use crate::stream::Buffers;
use crate::table::clusters::Cluster;

/// What carries one request to an origin, and its answer back.
pub(crate) enum Back {
    /// A connection that is the request's own for as long as the exchange lasts.
    Http1(Box<OriginConn>),
    /// A stream of a connection that others share. Dropping it before its end cancels the stream.
    Http2(Box<Http2>),
}

impl Back {
    /// The gateway's own address, if it has one.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Back::Http1(conn) => conn.local,
            Back::Http2(stream) => stream.local(),
        }
    }

    /// Whether no request has been sent on its connection yet: it was made just now.
    pub(crate) fn is_new(&self) -> bool {
        match self {
            Back::Http1(conn) => conn.requests == 0,
            Back::Http2(stream) => stream.is_first(),
        }
    }

    /// Queues a request's head, and its end if it has no body. `https`: how the client speaks to the gateway.
    pub(crate) fn begin(&mut self, head: &RequestHead, https: bool, buffers: &Buffers) -> Result<(), Fail> {
        match self {
            Back::Http1(conn) => {
                conn.begin(head, buffers);
                if head.body == BodyLength::None {
                    conn.end(None);
                }
                Ok(())
            }
            Back::Http2(stream) => stream.begin(head, https),
        }
    }

    /// Takes body bytes, at least one unless `data` is empty; they may stay queued until [`Back::poll_flush`]. An error
    /// is told by the answer.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Deaf>> {
        match self {
            Back::Http1(conn) => conn.poll_send(cx, data).map_err(|_| Deaf),
            Back::Http2(stream) => stream.poll_send(cx, data),
        }
    }

    /// The request's body is complete. Call once after the last piece, then flush.
    pub(crate) fn end(&mut self, trailers: Option<&Fields>) {
        match self {
            Back::Http1(conn) => conn.end(trailers),
            Back::Http2(stream) => stream.end(trailers),
        }
    }

    /// Hands everything queued to the connection.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> Poll<Result<(), Deaf>> {
        match self {
            Back::Http1(conn) => conn.poll_flush(cx, buffers).map_err(|_| Deaf),
            // The connection's task writes; nothing is held back here.
            Back::Http2(_) => Poll::Ready(Ok(())),
        }
    }

    /// Reads the next head of the response; an interim one (1xx) is followed by another.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: MethodKind,
        head: &mut ResponseHead,
        buffers: &Buffers,
    ) -> Poll<Result<(), Fail>> {
        match self {
            Back::Http1(conn) => conn.poll_head(cx, method, head, buffers),
            Back::Http2(stream) => stream.poll_head(cx, head),
        }
    }

    /// Makes [`Back::data`] hold the next piece of the response's body; `Ok(false)`: it has ended, and
    /// [`Back::trailers`] are what they are.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fail>> {
        match self {
            Back::Http1(conn) => conn.poll_data(cx),
            Back::Http2(stream) => stream.poll_data(cx),
        }
    }

    /// The piece of body that was found.
    pub(crate) fn data(&self) -> &[u8] {
        match self {
            Back::Http1(conn) => conn.data(),
            Back::Http2(stream) => stream.data(),
        }
    }

    /// Whether neither body nor trailers follow the piece that was found, as far as is known.
    pub(crate) fn is_last(&self) -> bool {
        match self {
            Back::Http1(conn) => conn.is_last(),
            Back::Http2(stream) => stream.is_last(),
        }
    }

    /// The first `n` bytes of `data` are done with.
    pub(crate) fn consume(&mut self, n: usize, buffers: &Buffers) {
        match self {
            Back::Http1(conn) => conn.consume(n, buffers),
            Back::Http2(stream) => stream.consume(n),
        }
    }

    /// What came after the body.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        match self {
            Back::Http1(conn) => conn.trailers(),
            Back::Http2(stream) => stream.trailers(),
        }
    }

    /// After a 101: what is read and sent from now on is another protocol's, without framing (of
    /// HTTP/1, that is; a stream goes on as it was).
    pub(crate) fn tunnel(&mut self) {
        if let Back::Http1(conn) = self {
            conn.tunnel();
        }
    }

    /// Of a tunnel: sends what is pending and says that nothing more follows, without ceasing to read.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Deaf>> {
        match self {
            Back::Http1(conn) => conn.poll_close(cx).map_err(|_| Deaf),
            Back::Http2(stream) => {
                stream.close();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Takes the buffers that a silent tunnel has given back.
    pub(crate) fn take_buffers(&mut self, buffers: &Buffers) {
        if let Back::Http1(conn) = self {
            conn.take_buffers(buffers);
        }
    }

    /// Gives back the buffers that hold nothing.
    pub(crate) fn give_buffers(&mut self, buffers: &Buffers) {
        if let Back::Http1(conn) = self {
            conn.give_buffers(buffers);
        }
    }

    /// After an exchange: keeps what another request can use. `keeps`: the answer allows it. True if an idle connection
    /// is left that has to be watched.
    pub(crate) fn finish(
        self,
        keeps: bool,
        cluster: &Cluster,
        endpoint: &Rc<EndpointState>,
        buffers: &Buffers,
        now_ms: u64,
    ) -> bool {
        match self {
            Back::Http1(mut conn) => {
                let spent = cluster.max_requests.is_some_and(|most| conn.requests >= most);
                if spent {
                    conn.count(ClusterStat::CxMaxRequests);
                }
                let kept = conn.finish(keeps && !spent, buffers);
                if kept {
                    conn.idle_since = now_ms;
                    endpoint.put_idle(conn, cluster.limits.as_ref());
                }
                kept
            }
            Back::Http2(_) => true,
        }
    }
}

/// The origin takes no more of the request. It may have answered all the same, so reading says what has happened.
#[derive(Debug)]
pub(crate) struct Deaf;
