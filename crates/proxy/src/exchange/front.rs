//! The client's side of an exchange, whatever version it speaks.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use limen_wire::head::{Fields, RequestHead, ResponseHead};

use super::secured::Secured;
use crate::clock::Clock;
use crate::observe::ListenerId;
use crate::stream::inbound::Excess;
use crate::table::listeners::ListenerSlot;

/// What is known of a client's connection.
#[derive(Debug)]
pub(crate) struct ConnInfo {
    /// The listener that accepted it.
    pub(crate) listener: ListenerSlot,
    /// The series that it is counted under.
    pub(crate) counted: ListenerId,
    /// The TLS chain that was chosen for it; `None`: clear text.
    pub(crate) chain: Option<Arc<str>>,
    /// Where the client connected to.
    pub(crate) local: SocketAddr,
    /// The client.
    pub(crate) remote: SocketAddr,
    /// Who is at the other end of the socket; not the client, where a balancer says in a PROXY header who that is.
    pub(crate) direct: SocketAddr,
    /// TLS.
    pub(crate) https: bool,
    /// The server name of the handshake.
    pub(crate) server_name: Option<Rc<str>>,
    /// What the handshake established; `None`: clear text.
    pub(crate) secured: Option<Rc<Secured>>,
    /// Such as `TLSv1.3`.
    pub(crate) tls_version: Option<&'static str>,
    /// Such as `TLS_AES_128_GCM_SHA256`.
    pub(crate) tls_cipher: Option<&'static str>,
    /// It has no time left: what let it in has gone, or the process ends. Its exchanges come to their end now.
    pub(crate) over: Cell<bool>,
}

impl ConnInfo {
    /// In clear text.
    pub(crate) fn clear(
        (listener, counted): (ListenerSlot, ListenerId),
        local: SocketAddr,
        remote: SocketAddr,
    ) -> ConnInfo {
        ConnInfo {
            listener,
            counted,
            chain: None,
            local,
            remote,
            direct: remote,
            https: false,
            server_name: None,
            secured: None,
            tls_version: None,
            tls_cipher: None,
            over: Cell::new(false),
        }
    }
}

/// Why a front cannot go on.
#[derive(Debug)]
pub(crate) enum FrontFail {
    /// The client has gone or reset the stream.
    Gone,
    /// The client broke the framing of its body.
    Framing,
    /// The client sent more after its body than is taken.
    Trailers(Excess),
    /// The body has taken too long as a whole.
    Late,
}

/// One exchange as the client's codec sees it: a source of request body, a sink for the response.
pub(crate) trait Front {
    /// Makes [`Front::body`] hold the next piece of the request's body; `Ok(false)`: it has ended.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, FrontFail>>;
    /// The body must have come to its end at this moment of the worker's clock, in milliseconds.
    fn receive_by(&mut self, _clock: &Rc<Clock>, _at_ms: u64) {}
    /// The piece that was found.
    fn body(&self) -> &[u8];
    /// The first `n` bytes of it are done with.
    fn consume(&mut self, n: usize);
    /// What came after the request's body, once that has ended.
    fn trailers(&self) -> Option<&Fields>;

    /// Whether [`Front::interim`] does anything: if not, the origin is not asked for leave to send a body.
    fn passes_interim(&self) -> bool {
        false
    }
    /// Queues an interim response (1xx but 101), before the head of the response.
    fn interim(&mut self, _head: &ResponseHead) {}
    /// Queues the head of the response; `end`: it has no body.
    fn begin(&mut self, head: &ResponseHead, end: bool) -> Result<(), FrontFail>;
    /// Takes body bytes, at least one unless `data` is empty; `last`: no more will follow these. They may stay queued
    /// until [`Front::poll_flush`].
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8], last: bool) -> Poll<Result<usize, FrontFail>>;
    /// The response's body is complete. Call once after the last piece, then flush.
    fn end(&mut self, trailers: Option<&Fields>) -> Result<(), FrontFail>;
    /// Hands everything queued to the connection.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>>;
    /// Whether the client has given up this exchange and not its connection, in the words of Envoy's details.
    fn was_reset(&self) -> Option<&'static str> {
        None
    }
    /// The response cannot be completed: makes sure that the client does not take it for complete.
    fn abort(&mut self);

    /// Whether bytes of another protocol can be passed through after the head of a 101 (RFC 9110 7.8).
    fn can_tunnel(&self) -> bool {
        false
    }
    /// The head of a 101 has been queued: what is read and sent from now on is the other protocol's, without framing
    /// or a limit of time, and the connection ends with it.
    fn tunnel(&mut self) {}
    /// Sends what is queued and says that nothing more follows, without ceasing to read.
    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>> {
        Poll::Ready(Ok(()))
    }
    /// Gives back the buffers that hold nothing, while a tunnel is silent.
    fn rest(&mut self) {}

    /// Whether the access log and the metrics are to know of the exchange.
    fn is_recorded(&self) -> bool {
        true
    }
    /// Whether the client has gone, as far as is known without reading what it may still send.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool;
    /// Whether the connection ends with this exchange (HTTP/1).
    fn closes(&self, request: &RequestHead) -> bool;
}
