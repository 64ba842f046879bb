//! The socket to an origin.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::fail::Fail;
use crate::address::Address;
use crate::stream::connect_unix;

/// A socket of either kind.
pub(crate) enum Socket {
    Inet(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects.
    pub(crate) async fn connect(to: Address) -> Result<Socket, Fail> {
        match to {
            Address::Inet(address) => {
                let io = TcpStream::connect(address).await.map_err(|error| Fail::of_connect(&error))?;
                // What is written is written whole, so waiting for more only costs time; a socket that refuses the
                // option still works.
                let _ = io.set_nodelay(true);
                Ok(Socket::Inet(io))
            }
            Address::Unix(path) => {
                connect_unix(path).await.map(Socket::Unix).map_err(|error| Fail::of_local_connect(&error))
            }
        }
    }

    /// The gateway's own address on it; a unix socket that connects has none.
    pub(crate) fn local(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Socket::Inet(io) => io.local_addr().map(Some),
            Socket::Unix(_) => Ok(None),
        }
    }

    /// Asks for probes while it is silent. The other end of a unix socket cannot vanish unseen.
    pub(crate) fn keep_alive(&self, probes: &TcpKeepalive) {
        if let Socket::Inet(io) = self {
            // A socket that refuses the option still works.
            let _ = SockRef::from(io).set_tcp_keepalive(probes);
        }
    }

    /// It will be reset when it is dropped. Unix sockets know no resets, and where one cannot be had an ordinary end
    /// must do.
    pub(crate) fn cut(&self) {
        if let Socket::Inet(io) = self {
            let _ = SockRef::from(io).set_linger(Some(Duration::ZERO));
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Inet(io) => io.poll_read_ready(cx),
            Socket::Unix(io) => io.poll_read_ready(cx),
        }
    }
}

/// A connected stream.
pub(crate) enum OriginIo {
    /// Clear text.
    Plain(Socket),
    /// TLS.
    Tls(Box<TlsStream<Socket>>),
}

impl OriginIo {
    /// The socket below.
    pub(crate) fn socket(&self) -> &Socket {
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

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Inet(io) => Pin::new(io).poll_read(cx, buf),
            Socket::Unix(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Inet(io) => Pin::new(io).poll_write(cx, buf),
            Socket::Unix(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Inet(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Socket::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Inet(io) => io.is_write_vectored(),
            Socket::Unix(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Inet(io) => Pin::new(io).poll_flush(cx),
            Socket::Unix(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Inet(io) => Pin::new(io).poll_shutdown(cx),
            Socket::Unix(io) => Pin::new(io).poll_shutdown(cx),
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
