//! Listeners: an address, what is understood there, and which routes it serves.

use std::net::SocketAddr;

use serde::Serialize;

use crate::atoms::{HostPattern, Port};
use crate::origin::Origin;
use crate::policy::http::{HttpPolicy, is_default};
use crate::route::RouteTableName;
use crate::tls::ServerTls;

/// One bound address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Envoy's form `<ip>_<port>`, such as `0.0.0.0_8080`.
    pub name: String,
    /// The port that the configuration declares: what matches and redirects speak of.
    pub declared: Port,
    /// Where the socket is bound.
    pub bind: SocketAddr,
    /// How HTTP is understood there.
    #[serde(skip_serializing_if = "is_default")]
    pub http: HttpPolicy,
    /// What is spoken there.
    pub serves: Serves,
    /// The first server that declared it.
    pub origin: Origin,
}

/// What a listener does with a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Serves {
    /// HTTP/1.x and HTTP/2 with prior knowledge in clear text.
    Http(RouteTableName),
    /// TLS: the chain is chosen by SNI, exact name first, then the longest suffix, then the chain for any name.
    /// A hello that no chain covers is closed.
    Tls(Vec<TlsChain>),
}

/// TLS settings and routes of the server names that one Gateway server declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsChain {
    /// Unique on the listener; names the chain in dumps and binds its session tickets.
    pub name: String,
    /// SNI names that this chain serves; `Any` also takes clients without SNI.
    pub server_names: Vec<HostPattern>,
    /// How the handshake is done.
    pub tls: ServerTls,
    /// The routes of HTTP requests inside.
    pub routes: RouteTableName,
    /// The server that declared it.
    pub origin: Origin,
}
