//! What is asked, when, and over what.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::tally::Tally;

/// Longer than any answer of a gateway that works takes, on a machine that does other things as well.
const GUARD: Duration = Duration::from_secs(20);
/// The host whose routes are flipped between two services.
pub(crate) const FLIP: &str = "flip.example.com";
/// The host whose service loses endpoints and gets them back.
pub(crate) const POOL: &str = "pool.example.com";
/// The largest body.
pub(crate) const LARGEST: usize = 16 * 1024;

/// A connection, in clear text or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Any connection.
pub(crate) type Io = Box<dyn Wire>;

/// What all who make load share.
pub(crate) struct Load {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) tls: Tls,
    pub(crate) tally: Tally,
    /// Bodies are parts of it.
    pub(crate) text: bytes::Bytes,
    over: Cell<bool>,
}

/// How clients do TLS: HTTP/1.1, HTTP/2, and without taking up an earlier session.
pub(crate) struct Tls {
    pub(crate) h1: Arc<ClientConfig>,
    pub(crate) h2: Arc<ClientConfig>,
    pub(crate) anew: Arc<ClientConfig>,
}

impl Load {
    /// Nobody asks anything yet.
    pub(crate) fn new(http: SocketAddr, https: SocketAddr, tls: Tls) -> Load {
        // Any text will do in which no part is like another.
        let mut x = 0x2545_F491_4F6C_DD1D_u64;
        let text = std::iter::repeat_with(|| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            b'a' + (x % 26) as u8
        });
        let text = text.take(2 * LARGEST).collect::<Vec<u8>>().into();
        Load { http, https, tls, tally: Tally::default(), text, over: Cell::new(false) }
    }

    /// Everyone is to come to an end.
    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    /// Whether everyone is to come to an end.
    pub(crate) fn over(&self) -> bool {
        self.over.get()
    }

    /// Connects; `tls`: in TLS.
    pub(crate) async fn connect(&self, tls: Option<&Arc<ClientConfig>>) -> Result<Io, String> {
        guarded("connecting", async {
            let to = if tls.is_some() { self.https } else { self.http };
            let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else { return Ok(Box::new(stream) as Io) };
            let name = ServerName::try_from(FLIP).map_err(|error| error.to_string())?;
            let done = TlsConnector::from(tls.clone()).connect(name, stream).await;
            Ok(Box::new(done.map_err(|error| format!("handshake: {error}"))?) as Io)
        })
        .await
    }
}

/// Gives up after a time in which anything must have happened.
pub(crate) async fn guarded<T>(
    what: &str,
    does: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::time::timeout(GUARD, does).await.unwrap_or_else(|_| Err(format!("no end of {what}")))
}

/// A request.
pub(crate) struct Job {
    pub(crate) host: &'static str,
    /// No other request has this path.
    pub(crate) path: String,
    /// A POST sends this part of the text.
    pub(crate) body: Option<(usize, usize)>,
}

/// Requests one after the other: hosts in turn, three of eight POSTs.
pub(crate) struct Work {
    lane: String,
    nth: usize,
}

impl Work {
    pub(crate) fn new(lane: String) -> Work {
        Work { lane, nth: 0 }
    }

    pub(crate) fn next(&mut self) -> Job {
        self.nth += 1;
        let nth = self.nth;
        let host = if nth % 16 < 8 { FLIP } else { POOL };
        // Sizes and places that have no period with the hosts.
        let length = if nth.is_multiple_of(64) { LARGEST } else { 1 + nth * 131 % 4096 };
        // With the calls, which are all POSTs, that makes half.
        let body = matches!(nth % 8, 0 | 3 | 6).then_some((nth * 97 % LARGEST, length));
        Job { host, path: format!("/{}/{nth}", self.lane), body }
    }
}

/// Turns at a steady rate, whatever the answers do.
pub(crate) struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    /// Begins somewhere in the first interval, so that not all lanes ask at once.
    pub(crate) fn new(interval: Duration, lane: usize) -> Pace {
        let part = lane.wrapping_mul(0x9E37_79B9) % 1000;
        Pace { next: Instant::now() + interval.mul_f64(part as f64 / 1000.0), interval }
    }

    /// Waits for the next turn. Turns that were missed by more than a second are left out.
    pub(crate) async fn turn(&mut self) {
        tokio::time::sleep_until(self.next).await;
        let late = Instant::now().saturating_duration_since(self.next);
        self.next += if late > Duration::from_secs(1) { late } else { self.interval };
    }
}
