//! The socket to an origin.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connected stream.
pub(crate) enum OriginIo {
    /// Clear text.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl OriginIo {
    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            OriginIo::Plain(io) => io,
            OriginIo::Tls(io) => io.get_ref().0,
        }
    }

    /// Nothing has come in: neither a close nor bytes. Costs no system call unless the socket was reported readable.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match self {
            OriginIo::Plain(io) => io.poll_read_ready(&mut cx).is_pending(),
            // What came may be a ticket, which is not for us.
            OriginIo::Tls(io) => {
                let mut byte = [0; 1];
                Pin::new(io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}

impl AsyncRead for OriginIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            OriginIo::Plain(io) => Pin::new(io).poll_read(cx, buf),
            OriginIo::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for OriginIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            OriginIo::Plain(io) => Pin::new(io).poll_write(cx, buf),
            OriginIo::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            OriginIo::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            OriginIo::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            OriginIo::Plain(io) => io.is_write_vectored(),
            OriginIo::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            OriginIo::Plain(io) => Pin::new(io).poll_flush(cx),
            OriginIo::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            OriginIo::Plain(io) => Pin::new(io).poll_shutdown(cx),
            OriginIo::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
