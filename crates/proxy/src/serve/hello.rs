//! Ports on which some TLS is handed on undecrypted: the hello is read first, and says which.

use std::net::SocketAddr;
use std::sync::Arc;

use limen_wire::client_hello::{self, ClientHello, Peeked};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::permission::Permission;
use super::{Connection, sniff, tcp, tls};
use crate::exchange::front::ConnInfo;
use crate::observe::limits::Limit;
use crate::observe::{Counter, Flags, ListenerStat, Record};
use crate::stream::prefixed::Prefixed;
use crate::table::listeners::{Inside, Serves};
use crate::table::tcp::TcpRoute;

/// Reads the hello within its time and hands the connection on: to where its server name says, or to be decrypted. What
/// is no TLS is served as such where the port has a server for it, and else closed and logged with flag `NR`.
pub(crate) async fn serve(mut conn: Connection, mut io: TcpStream, local: SocketAddr, remote: SocketAddr) {
    let worker = conn.worker.clone();
    let start_us = worker.clock.now_us();
    let timer = worker.clock.timer();
    timer.arm_in(worker.config.limits.handshake_timeout_ms);
    let read = tokio::select! {
        biased;
        read = Box::pin(read(&mut io)) => read,
        () = timer.expired() => {
            worker.refused_for(Limit::HandshakeTime);
            None
        }
    };
    drop(timer);
    let Some((peeked, first)) = read else {
        conn.count(ListenerStat::TlsErrors);
        return worker.count(Counter::TlsHandshakeErrors);
    };
    let hello = match peeked {
        Peeked::Hello(hello) => Some(hello),
        Peeked::NotTls | Peeked::Malformed | Peeked::NeedMore(_) => None,
    };
    if let Some(plain) = beside(&conn, hello.as_ref()) {
        conn.permission = Permission::of(&plain);
        let server_name = hello.and_then(|hello| hello.server_name);
        let info =
            ConnInfo { server_name: server_name.as_deref().map(Into::into), ..conn.clear(local, remote) };
        return match plain {
            // Few ports are so: the others need not hold its place.
            Inside::Http(_) => Box::pin(sniff(conn, Prefixed::new(first, io), info)).await,
            Inside::Tcp(route) => tcp::spawn(conn, io, info, route, first),
        };
    }
    let Some(hello) = hello else {
        worker.count(Counter::TlsHandshakeErrors);
        conn.count(ListenerStat::NoChain);
        let record = Record {
            flags: Flags::NR,
            details: "filter_chain_not_found",
            duration_us: worker.clock.now_us().saturating_sub(start_us),
            downstream_direct_remote: conn.balancer.unwrap_or(remote),
            ..Record::new(worker.clock.epoch_ms(start_us), local, remote)
        };
        return worker.log(conn.listener, &record);
    };
    let Some(route) = passes(&conn, &hello) else {
        return tls::serve(conn, io, first, local, remote).await;
    };
    let info =
        ConnInfo { server_name: hello.server_name.as_deref().map(Into::into), ..conn.clear(local, remote) };
    conn.permission = Permission::Undecrypted(info.server_name.clone());
    tcp::spawn(conn, io, info, route, first);
}

/// What is spoken in clear text beside TLS, for a client that did not begin with TLS or asks for a name that nothing
/// covers.
fn beside(conn: &Connection, hello: Option<&ClientHello>) -> Option<Inside> {
    let tables = conn.worker.tables();
    let Serves::Tls(chains) = &tables.listener(conn.listener)?.serves else { return None };
    let covered = |hello: &ClientHello| chains.choose(hello.server_name.as_deref()).is_some();
    chains.plain.clone().filter(|_| !hello.is_some_and(covered))
}

/// Where a connection is handed on to; `None`: it is to be decrypted, or to be refused where that is tried.
fn passes(conn: &Connection, hello: &ClientHello) -> Option<Arc<TcpRoute>> {
    let tables = conn.worker.tables();
    let Serves::Tls(chains) = &tables.listener(conn.listener)?.serves else { return None };
    let passed = chains.passes(hello.server_name.as_deref())?;
    let offers = passed.alpn.is_empty()
        || hello.protocols().any(|protocol| passed.alpn.iter().any(|wanted| **wanted == *protocol));
    offers.then(|| passed.route.clone())
}

/// The hello with the bytes that it stands in, or what else comes first. `None`: the client ended before.
async fn read(io: &mut TcpStream) -> Option<(Peeked, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(2 * 1024);
    loop {
        match client_hello::peek(&bytes) {
            Peeked::NeedMore(until) => {
                // So much is on its way; looking earlier would tell nothing new.
                while bytes.len() < until {
                    if io.read_buf(&mut bytes).await.ok()? == 0 {
                        return None;
                    }
                }
            }
            peeked => return Some((peeked, bytes)),
        }
    }
}
