//! New connections to origins.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use limen_wire::head::RequestHead;
use limen_wire::proxy_protocol;
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

use super::EndpointState;
use super::back::Back;
use super::counted::Counted;
use super::fail::Fail;
use super::http2::websocket_key;
use super::io::{OriginIo, Socket};
use super::origin::OriginConn;
use crate::address::Address;
use crate::clock::Timer;
use crate::limits::cluster::Place;
use crate::observe::WorkerCounters;
use crate::observe::cluster_name::ClusterName;
use crate::table::clusters::{Cluster, OriginTls, Protocol};

/// What a connection must be for a request to go over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Or something else, which is not looked into.
    pub(crate) bytes: bool,
    /// How it was begun.
    pub(crate) opening: Opening,
}

/// What was said on a connection before any request, as far as requests differ in it. Most do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Opening(Option<Rc<Said>>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    name: Option<ServerName<'static>>,
    prelude: Vec<u8>,
}

impl Opening {
    /// That of a request of `ends` (the client and where it connected to) for this authority, if it has one.
    fn of(cluster: &Cluster, authority: Option<&[u8]>, ends: Ends) -> Opening {
        let by_host = cluster.tls.as_ref().is_some_and(|tls| tls.name.is_none());
        if !by_host && cluster.proxy_protocol.is_none() {
            return Opening::default();
        }
        let name = authority.filter(|_| by_host).and_then(server_name);
        Opening(Some(Rc::new(Said { name, prelude: prelude(cluster, ends) })))
    }

    /// The name that was asked for in the handshake, where the host of the request decides it.
    fn name(&self) -> Option<&ServerName<'static>> {
        self.0.as_ref()?.name.as_ref()
    }

    /// What was sent before anything else, TLS included; it is one client's.
    fn prelude(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |said| &said.prelude)
    }

    /// It is one client's: others have no use for the connection.
    pub(crate) fn is_ones(&self) -> bool {
        !self.prelude().is_empty()
    }
}

impl Manner {
    /// That of a request of `ends` (the client and where it connected to). One that asks for another protocol goes in
    /// HTTP/1.1 wherever it goes, unless it is a WebSocket and the endpoint may take it over HTTP/2 (RFC 8441): HTTP/2
    /// has no upgrades, and most servers of both take them on the same port.
    pub(crate) fn of(
        cluster: &Cluster,
        endpoint: &EndpointState,
        request: &RequestHead,
        ends: Ends,
    ) -> Manner {
        Manner {
            protocol: match request.upgrade {
                Some(_) if endpoint.no_tunnels.get() || websocket_key(request).is_none() => Protocol::Http1,
                _ => cluster.protocol.towards(request.version),
            },
            bytes: false,
            opening: Opening::of(cluster, Some(request.authority()), ends),
        }
    }

    /// Requests share such connections.
    pub(crate) fn is_shared(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// That of a connection which is no request's.
    pub(crate) fn bytes(cluster: &Cluster, ends: Ends) -> Manner {
        Manner { protocol: Protocol::Http1, bytes: true, opening: Opening::of(cluster, None, ends) }
    }
}

/// A client, and where it connected to.
type Ends = (SocketAddr, SocketAddr);

fn prelude(cluster: &Cluster, (client, local): Ends) -> Vec<u8> {
    let mut header = Vec::new();
    if let Some(version) = cluster.proxy_protocol {
        proxy_protocol::encode(version, client, local, &mut header);
    }
    header
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
    /// The gateway's own address on it, if it has one.
    pub(crate) local: Option<SocketAddr>,
    /// Counts it.
    pub(crate) counted: Counted,
}

/// Connects within the cluster's time. `timer` must not be in use otherwise; the earlier of its deadline
/// (`until_ms`, the route's) and the connect timeout counts.
pub(crate) async fn dial(
    cluster: &Cluster,
    endpoint: &EndpointState,
    manner: &Manner,
    (timer, counters): (&Timer, &Rc<WorkerCounters>),
    (now_ms, until_ms): (u64, u64),
    place: Place,
) -> Result<Dialled, Fail> {
    let counted = Counted::begin(cluster, counters, place);
    let connect_by = now_ms + cluster.connect_timeout_ms;
    timer.arm(connect_by.min(until_ms));
    let connected = tokio::select! {
        biased;
        connected = open(cluster, endpoint, manner) => connected,
        () = timer.expired() => Err(if until_ms < connect_by { Fail::Timeout } else { Fail::ConnectTimeout }),
    };
    let (io, local) = connected.inspect_err(|fail| counted.failed(fail))?;
    if let Some(keepalive) = &cluster.keepalive {
        io.socket().keep_alive(keepalive);
    }
    Ok(Dialled { io, local, counted })
}

async fn open(
    cluster: &Cluster,
    endpoint: &EndpointState,
    manner: &Manner,
) -> Result<(OriginIo, Option<SocketAddr>), Fail> {
    let tls = match &cluster.tls {
        None => None,
        Some(OriginTls { speakers_only: true, .. }) if !endpoint.in_mesh => None,
        Some(OriginTls { name, configs: Ok(configs), .. }) => Some((name, configs)),
        Some(OriginTls { configs: Err(why), .. }) => return Err(Fail::Connect((&**why).into())),
    };
    let mut io = Socket::connect(endpoint.address).await?;
    let local = io.local().map_err(|error| Fail::of_connect(&error))?;
    if manner.opening.is_ones() {
        io.write_all(manner.opening.prelude()).await.map_err(|error| Fail::of_connect(&error))?;
    }
    let Some((name, configs)) = tls else { return Ok((OriginIo::Plain(io), local)) };
    let config = match manner.protocol {
        _ if manner.bytes => &configs.bytes,
        Protocol::Http1 => &configs.http1,
        Protocol::Http2 => &configs.http2,
    };
    let of_service = || server_name(ClusterName::parse(&cluster.name)?.host.as_bytes());
    let name = name.clone().or_else(|| manner.opening.name().cloned()).or_else(of_service);
    let name = name.unwrap_or_else(|| match endpoint.address {
        Address::Inet(address) => ServerName::from(address.ip()),
        // None is asked for of an IP address; no certificate is for this one.
        Address::Unix(_) => ServerName::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    });
    let handshake = TlsConnector::from(config.clone()).connect(name, io);
    let io = handshake.await.map_err(|error| Fail::of_handshake(&error))?;
    Ok((OriginIo::Tls(Box::new(io)), local))
}

/// A connection for HTTP/1.1; see [`dial`].
pub(super) async fn http1(
    cluster: &Cluster,
    endpoint: &EndpointState,
    manner: Manner,
    (timer, counters): (&Timer, &Rc<WorkerCounters>),
    times: (u64, u64),
    place: Place,
) -> Result<Back, Fail> {
    let dialled = dial(cluster, endpoint, &manner, (timer, counters), times, place).await?;
    let Dialled { io, local, mut counted } = dialled;
    counted.made(Some(Protocol::Http1));
    let mut conn = Box::new(OriginConn::new(io, (local, manner.opening), cluster.heads, counted));
    conn.expires_ms = cluster.max_lifetime_ms.map_or(u64::MAX, |lifetime| times.0.saturating_add(lifetime));
    Ok(Back::Http1(conn))
}
