//! Ports behind a balancer that says in front of everything where the client is.

use limen_wire::proxy_protocol::{Header, Parsed, parse};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Connection;
use crate::observe::Counter;
use crate::observe::limits::Limit;

/// Reads the header, and nothing behind it, within the time of a handshake. `None`: there is none, or it is not as it
/// must be; the connection is to be closed, as nobody else may say where it comes from.
pub(crate) async fn header(conn: &Connection, io: &mut TcpStream) -> Option<Header> {
    let timer = conn.worker.clock.timer();
    timer.arm_in(conn.worker.config.limits.handshake_timeout_ms);
    let header = tokio::select! {
        biased;
        header = read(io) => header,
        () = timer.expired() => {
            conn.worker.refused_for(Limit::HandshakeTime);
            None
        }
    };
    if header.is_none() {
        conn.worker.count(Counter::ProxyHeaderErrors);
    }
    header
}

async fn read(io: &mut TcpStream) -> Option<Header> {
    let mut bytes = Vec::with_capacity(128);
    loop {
        match parse(&bytes) {
            Parsed::Header(header, _) => return Some(header),
            Parsed::Malformed => return None,
            Parsed::NeedMore(more) => {
                let known = bytes.len();
                bytes.resize(known + more, 0);
                io.read_exact(bytes.get_mut(known..)?).await.ok()?;
            }
        }
    }
}
