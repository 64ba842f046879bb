//! The TLS handshake: the chain is chosen by SNI from the ClientHello, then the codec by ALPN.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::server::{Accepted, Acceptor, ClientHello, ServerConfig};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::permission::Permission;
use super::{Connection, sniff, spawn_http1, spawn_http2, tcp};
use crate::exchange::front::ConnInfo;
use crate::exchange::secured::Secured;
use crate::observe::limits::Limit;
use crate::observe::{Counter, Flags, ListenerStat, Record};
use crate::stream::inbound::Inbound;
use crate::stream::peered::{self, Peered};
use crate::table::listeners::{Clients, Configs, Inside, Serves};
use crate::table::tcp::TcpRoute;

/// Does the handshake within its time and serves what is inside. A hello that no chain covers is closed and logged with
/// flag `NR`.
/// `first`: what was read of the hello already; all of it, or nothing.
pub(crate) async fn serve(
    mut conn: Connection,
    io: TcpStream,
    first: Vec<u8>,
    local: SocketAddr,
    remote: SocketAddr,
) {
    let worker = conn.worker.clone();
    let timer = worker.clock.timer();
    timer.arm_in(worker.config.limits.handshake_timeout_ms);
    let since_ms = worker.clock.now_ms();
    let done = tokio::select! {
        biased;
        done = Box::pin(handshake(&conn, io, &first, local, remote)) => done,
        () = timer.expired() => {
            worker.refused_for(Limit::HandshakeTime);
            Err(Unshaken::Failed)
        }
    };
    drop(timer);
    if done.is_ok() {
        let took_ms = worker.clock.now_ms().saturating_sub(since_ms);
        worker.counters.limit_seen(Limit::HandshakeTime, took_ms);
    }
    conn.count(match &done {
        Ok(_) => ListenerStat::TlsHandshakes,
        Err(Unshaken::NoChain) => ListenerStat::NoChain,
        Err(Unshaken::Failed) => ListenerStat::TlsErrors,
    });
    let Ok((stream, info, inside)) = done else {
        worker.count(Counter::TlsHandshakeErrors);
        return;
    };
    conn.secured.clone_from(&info.secured);
    conn.permission = Permission::of(&inside);
    if let Inside::Tcp(route) = inside {
        let route = route_now(&conn, &info).unwrap_or(route);
        let peer = stream.get_ref().1.alpn_protocol() == Some(peered::PROTOCOL);
        return tcp::spawn(conn, Peered::new(stream, peer), info, route, Vec::new());
    }
    let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    match protocol.as_deref() {
        Some(b"h2") => spawn_http2(conn, stream, info),
        Some(_) => spawn_http1(conn, stream, info, Inbound::empty()),
        None => sniff(conn, stream, info).await,
    }
}

/// Why a handshake came to nothing.
enum Unshaken {
    /// Nothing serves the name that was asked for.
    NoChain,
    /// The client broke off, refused what it was shown or was refused, or took too long.
    Failed,
}

async fn handshake(
    conn: &Connection,
    io: TcpStream,
    first: &[u8],
    local: SocketAddr,
    remote: SocketAddr,
) -> Result<(Box<TlsStream<TcpStream>>, ConnInfo, Inside), Unshaken> {
    let failed = |_| Unshaken::Failed;
    let start_us = conn.worker.clock.now_us();
    let begun = match first {
        [] => LazyConfigAcceptor::new(Acceptor::default(), io).await.map_err(failed)?,
        hello => StartHandshake::from_parts(accepted(hello).ok_or(Unshaken::Failed)?, io),
    };
    let server_name = begun.client_hello().server_name().map(Rc::from);
    let Some(Chosen { chain, config, clients, own_uris, inside }) = choose(conn, &begun.client_hello())
    else {
        let record = Record {
            flags: Flags::NR,
            details: "filter_chain_not_found",
            sni: server_name.as_deref(),
            duration_us: conn.worker.clock.now_us() - start_us,
            downstream_direct_remote: conn.balancer.unwrap_or(remote),
            ..Record::new(conn.worker.clock.epoch_ms(start_us), local, remote)
        };
        conn.worker.log(conn.listener, &record);
        return Err(Unshaken::NoChain);
    };
    let mut stream = Box::new(begun.into_stream(config).await.map_err(failed)?);
    if stream.get_ref().1.alpn_protocol() == Some(peered::PROTOCOL) {
        stream.write_all(&conn.worker.introduction.greeting).await.map_err(failed)?;
    }
    let session = stream.get_ref().1;
    // What the ticket remembers was true when it was issued; the certificates may have run out since.
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    let certificates = session.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|der| der.clone().into_owned()).collect();
    let satisfied = match clients {
        Clients::Verified(verifier) if !resumed => Some(verifier),
        _ => None,
    };
    let of = (chain.clone(), server_name.clone(), own_uris);
    let secured = Secured::new(conn.listener, of, certificates, satisfied);
    let clock = &conn.worker.clock;
    if !secured.stands(&conn.worker.tables(), || clock.epoch_ms(clock.now_us())) {
        return Err(Unshaken::Failed);
    }
    let info = ConnInfo {
        listener: conn.listener,
        counted: conn.counted,
        chain: Some(chain),
        local,
        remote,
        direct: conn.balancer.unwrap_or(remote),
        https: true,
        server_name,
        secured: Some(Rc::new(secured)),
        tls_version: session.protocol_version().map(version),
        tls_cipher: session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
        over: Cell::new(false),
    };
    Ok((stream, info, inside))
}

/// A hello that was read already. A client waits for the answer before it says more, so nothing follows it.
fn accepted(mut hello: &[u8]) -> Option<Accepted> {
    let mut acceptor = Acceptor::default();
    loop {
        if acceptor.read_tls(&mut hello).ok()? == 0 {
            return None;
        }
        if let Some(accepted) = acceptor.accept().ok()? {
            return hello.is_empty().then_some(accepted);
        }
    }
}

/// A chain that can do its handshake.
struct Chosen {
    chain: Arc<str>,
    config: Arc<ServerConfig>,
    clients: Clients,
    own_uris: Arc<[String]>,
    inside: Inside,
}

/// The chain for a server name, if it has what its handshake needs.
fn choose(conn: &Connection, hello: &ClientHello<'_>) -> Option<Chosen> {
    let tables = conn.worker.tables();
    let Serves::Tls(chains) = &tables.listener(conn.listener)?.serves else { return None };
    let chain = chains.chain(hello.server_name())?;
    Some(Chosen {
        chain: chain.name.clone(),
        config: offered(chain.config.as_ref()?, hello),
        clients: chain.clients.clone(),
        own_uris: chain.own_uris.clone(),
        inside: chain.inside.clone(),
    })
}

/// Where the chain that did the handshake leads now: since it was chosen the tables may be others.
fn route_now(conn: &Connection, info: &ConnInfo) -> Option<Arc<TcpRoute>> {
    let tables = conn.worker.tables();
    let Serves::Tls(chains) = &tables.listener(conn.listener)?.serves else { return None };
    let chain =
        chains.chain(info.server_name.as_deref()).filter(|chain| info.chain.as_ref() == Some(&chain.name))?;
    match &chain.inside {
        Inside::Tcp(route) => Some(route.clone()),
        Inside::Http(_) => None,
    }
}

/// The settings for a client by the protocols that it offers.
fn offered(configs: &Configs, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
    let own = &configs.offering.alpn_protocols;
    let none_fits =
        hello.alpn().is_some_and(|mut offered| !offered.any(|name| own.iter().any(|own| own == name)));
    if none_fits { configs.without_alpn.clone() } else { configs.offering.clone() }
}

fn version(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "-",
    }
}
