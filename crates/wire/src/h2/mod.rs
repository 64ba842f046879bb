//! HTTP/2, server side: a thin skin over the `h2` crate, generic over the stream it is given. It opens no socket and asks
//! no clock, and nothing of the crate shows outside: heads become ours, errors become [`H2Error`].

mod convert;
mod error;
mod stream;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::h1::HeadError;
use crate::head::RequestHead;

pub use error::{H2Error, ResetReason};
pub use stream::{RecvBody, Respond, SendBody};

/// What one connection may take of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams open at a time.
    pub max_concurrent_streams: u32,
    /// Bytes that a peer may send on one stream before we give back window.
    pub initial_stream_window: u32,
    /// Bytes that a peer may send on all streams together before we give back window.
    pub initial_connection_window: u32,
    /// Bytes of one decoded header list, 32 more per field (RFC 9113 6.5.2). Above it the stream is answered 431, above
    /// four times as much the connection is closed.
    pub max_header_list: u32,
    /// Fields of one head, each cookie crumb counted: small indexed fields cost a sender one byte each.
    pub max_fields: usize,
    /// Bytes of response data buffered per stream.
    pub max_send_buffer: usize,
    /// Streams that the peer reset before we could accept them (rapid reset); more closes the connection.
    pub max_pending_resets: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_concurrent_streams: 100,
            initial_stream_window: 256 * 1024,
            initial_connection_window: 1024 * 1024,
            max_header_list: 64 * 1024,
            max_fields: 128,
            max_send_buffer: 256 * 1024,
            max_pending_resets: 20,
        }
    }
}

/// One client connection.
///
/// All reading and writing happens within [`ServerConnection::poll_accept`]: it must be polled for as long as any stream
/// of the connection is in use.
#[derive(Debug)]
pub struct ServerConnection<S> {
    inner: ::h2::server::Connection<S, Bytes>,
    max_fields: usize,
}

/// One request that arrived.
#[derive(Debug)]
pub struct Incoming {
    parts: http::request::Parts,
    /// The stream carries no body.
    ended: bool,
    max_fields: usize,
    /// The body.
    pub body: RecvBody,
    /// Where the answer goes.
    pub respond: Respond,
}

impl Incoming {
    /// Copies the head into one that is used again from request to request.
    ///
    /// # Errors
    /// The request must be answered with an error: 400, 417 or 431, as for HTTP/1. The head then holds as much as was
    /// understood.
    pub fn head(&self, head: &mut RequestHead) -> Result<(), HeadError> {
        convert::request_head(&self.parts, self.ended, self.max_fields, head)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerConnection<S> {
    /// Reads the preface and exchanges settings.
    ///
    /// # Errors
    /// The preface is wrong, or the stream failed.
    pub async fn handshake(io: S, limits: &Limits) -> Result<ServerConnection<S>, H2Error> {
        let inner = ::h2::server::Builder::new()
            .max_concurrent_streams(limits.max_concurrent_streams)
            .initial_window_size(limits.initial_stream_window)
            .initial_connection_window_size(limits.initial_connection_window)
            .max_header_list_size(limits.max_header_list)
            .max_send_buffer_size(limits.max_send_buffer)
            .max_pending_accept_reset_streams(limits.max_pending_resets)
            .handshake(io)
            .await?;
        Ok(ServerConnection { inner, max_fields: limits.max_fields })
    }

    /// The next request; `None` when the connection has ended in order. Drives all streams.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Incoming, H2Error>>> {
        self.inner.poll_accept(cx).map(|accepted| {
            accepted.map(|request| {
                let (request, respond) = request?;
                let (parts, body) = request.into_parts();
                Ok(Incoming {
                    parts,
                    ended: body.is_end_stream(),
                    max_fields: self.max_fields,
                    body: RecvBody::new(body),
                    respond: Respond::new(respond),
                })
            })
        })
    }

    /// [`ServerConnection::poll_accept`] as a future.
    pub async fn accept(&mut self) -> Option<Result<Incoming, H2Error>> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Announces that no more requests are taken (GOAWAY), and lets those that are under way finish. Go on accepting
    /// until that gives `None`, or an error of the stream below from a client that was gone before our last words.
    pub fn graceful_shutdown(&mut self) {
        self.inner.graceful_shutdown();
    }

    /// Announces that the connection ends now and why. Go on accepting until that gives `None` or an error, so that the
    /// announcement gets written.
    pub fn abrupt_shutdown(&mut self, reason: ResetReason) {
        self.inner.abrupt_shutdown(reason.into());
    }

    /// Whether any stream is in use.
    pub fn has_streams(&self) -> bool {
        self.inner.has_streams()
    }
}
