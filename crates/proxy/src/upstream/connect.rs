//! New connections to origins.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use limen_wire::head::Version;
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::EndpointState;
use super::back::Back;
use super::fail::Fail;
use super::http2::Shared;
use super::io::OriginIo;
use super::origin::OriginConn;
use crate::clock::{Clock, Timer};
use crate::limits::cluster::Place;
use crate::observe::{Counter, WorkerCounters};
use crate::table::clusters::{Cluster, OriginTls, Protocol};

/// A worker's clock and counters.
type Own<'a> = (&'a Rc<Clock>, &'a Rc<WorkerCounters>);

/// What a connection must be for a request to go over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manner {
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// The name that was asked for in the handshake, where the host of the request decides it.
    pub(crate) name: Option<ServerName<'static>>,
    /// What is sent before anything else, TLS included.
    pub(crate) prelude: Box<[u8]>,
}

impl Manner {
    /// That of a request for `authority`.
    pub(crate) fn of(cluster: &Cluster, client: Version, authority: &[u8]) -> Manner {
        let by_host = cluster.tls.as_ref().is_some_and(|tls| tls.name.is_none());
        Manner {
            protocol: cluster.protocol.towards(client),
            name: by_host.then(|| server_name(authority)).flatten(),
            prelude: Box::default(),
        }
    }

    /// That of a connection which is no request's.
    pub(crate) fn bytes(prelude: Vec<u8>) -> Manner {
        Manner { protocol: Protocol::Http1, name: None, prelude: prelude.into() }
    }
}

/// The host of an authority, without port and brackets.
fn server_name(authority: &[u8]) -> Option<ServerName<'static>> {
    let text = std::str::from_utf8(authority).ok()?;
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => text.split(':').next()?,
    };
    ServerName::try_from(host.to_ascii_lowercase()).ok()
}

/// A connection that nothing was said on yet.
pub(crate) struct Dialled {
    pub(crate) io: OriginIo,
    /// The gateway's own address on it.
    pub(crate) local: SocketAddr,
    /// Counts it against the cluster's limit.
    pub(crate) place: Place,
}

/// Connects within the cluster's time. `timer` must not be in use otherwise; the earlier of its deadline
/// (`until_ms`, the route's) and the connect timeout counts.
pub(crate) async fn dial(
    cluster: &Cluster,
    address: SocketAddr,
    manner: &Manner,
    (timer, counters): (&Timer, &Rc<WorkerCounters>),
    (now_ms, until_ms): (u64, u64),
    place: Place,
) -> Result<Dialled, Fail> {
    let connect_by = now_ms + cluster.connect_timeout_ms;
    timer.arm(connect_by.min(until_ms));
    let connected = tokio::select! {
        biased;
        connected = open(cluster, address, manner) => connected,
        () = timer.expired() => Err(if until_ms < connect_by { Fail::Timeout } else { Fail::ConnectTimeout }),
    };
    let (io, local) = connected.inspect_err(|_| counters.add(Counter::UpstreamConnectErrors, 1))?;
    if let Some(keepalive) = &cluster.keepalive {
        // A socket that refuses the option still works.
        let _ = socket2::SockRef::from(io.socket()).set_tcp_keepalive(keepalive);
    }
    Ok(Dialled { io, local, place })
}

async fn open(
    cluster: &Cluster,
    address: SocketAddr,
    manner: &Manner,
) -> Result<(OriginIo, SocketAddr), Fail> {
    let tls = match &cluster.tls {
        None => None,
        Some(OriginTls { name, configs: Ok(configs) }) => Some((name, configs)),
        Some(OriginTls { configs: Err(why), .. }) => return Err(Fail::Connect((&**why).into())),
    };
    let mut io = TcpStream::connect(address).await.map_err(|error| Fail::of_connect(&error))?;
    // What is written is written whole, so waiting for more only costs time; a socket that refuses the option still works.
    let _ = io.set_nodelay(true);
    let local = io.local_addr().map_err(|error| Fail::of_connect(&error))?;
    if !manner.prelude.is_empty() {
        io.write_all(&manner.prelude).await.map_err(|error| Fail::of_connect(&error))?;
    }
    let Some((name, configs)) = tls else { return Ok((OriginIo::Plain(io), local)) };
    let config = match manner.protocol {
        Protocol::Http1 => &configs.http1,
        Protocol::Http2 => &configs.http2,
    };
    let of_service = || server_name(cluster.name.rsplit('|').next().unwrap_or_default().as_bytes());
    let name = name.clone().or_else(|| manner.name.clone()).or_else(of_service);
    let name = name.unwrap_or_else(|| ServerName::from(address.ip()));
    let handshake = TlsConnector::from(config.clone()).connect(name, io);
    let io = handshake.await.map_err(|error| Fail::of_handshake(&error))?;
    Ok((OriginIo::Tls(Box::new(io)), local))
}

/// A connection for HTTP/1.1; see [`dial`].
pub(super) async fn http1(
    cluster: &Cluster,
    address: SocketAddr,
    manner: Manner,
    (timer, counters): (&Timer, &Rc<WorkerCounters>),
    times: (u64, u64),
    place: Place,
) -> Result<Back, Fail> {
    let dialled = dial(cluster, address, &manner, (timer, counters), times, place).await?;
    let Dialled { io, local, place } = dialled;
    let mut conn = Box::new(OriginConn::new(io, (local, manner.name), place, counters.clone()));
    conn.expires_ms = cluster.max_lifetime_ms.map_or(u64::MAX, |lifetime| times.0.saturating_add(lifetime));
    Ok(Back::Http1(conn))
}

/// A shared connection that is being made. Requests wait for it together, and it is made even if the first of them goes
/// away.
pub(crate) struct Dial {
    pub(crate) manner: Manner,
    outcome: RefCell<Option<Result<Rc<Shared>, Fail>>>,
    done: Notify,
}

/// A stream of a shared connection, one that is being made already if there is one with room.
pub(super) async fn join(
    cluster: &Arc<Cluster>,
    endpoint: &Rc<EndpointState>,
    manner: &Manner,
    (timer, own): (&Timer, Own<'_>),
) -> Result<Back, Fail> {
    loop {
        let dial = match endpoint.dialing(cluster, manner) {
            Some(dial) => dial,
            None => start(cluster, endpoint, manner, own),
        };
        let outcome = loop {
            if let Some(outcome) = &*dial.outcome.borrow() {
                break outcome.clone();
            }
            tokio::select! {
                biased;
                () = dial.done.notified() => {}
                () = timer.expired() => return Err(Fail::Timeout),
            }
        };
        let shared = outcome?;
        if !shared.is_spent() && shared.has_room() {
            return Ok(Back::Http2(shared.open()));
        }
        if let Some(back) = endpoint.take(manner, 0) {
            return Ok(back);
        }
    }
}

fn start(
    cluster: &Arc<Cluster>,
    endpoint: &Rc<EndpointState>,
    manner: &Manner,
    (clock, counters): Own<'_>,
) -> Rc<Dial> {
    let made = Rc::new(Dial { manner: manner.clone(), outcome: RefCell::default(), done: Notify::new() });
    let (cluster, clock, counters) = (cluster.clone(), clock.clone(), counters.clone());
    let (endpoint, waited) = (endpoint.clone(), made.clone());
    endpoint.begin_dial(&made);
    tokio::task::spawn_local(async move {
        let timer = clock.timer();
        let times = (clock.now_ms(), u64::MAX);
        let own = (&timer, &counters);
        let dialled = match Place::take(cluster.limits.as_ref()) {
            Some(place) => dial(&cluster, endpoint.address, &made.manner, own, times, place).await,
            None => Err(Fail::Overflow),
        };
        let outcome = match dialled {
            Ok(dialled) => Shared::begin(dialled, &made.manner, &cluster, (&clock, &counters)).await,
            Err(fail) => Err(fail),
        };
        endpoint.dialed(&made, outcome.as_ref().ok());
        *made.outcome.borrow_mut() = Some(outcome);
        made.done.notify_waiters();
    });
    waited
}
