//! Listeners: an address, what is understood there, and which routes it serves.

use std::net::SocketAddr;

use serde::Serialize;

use crate::atoms::{HostPattern, Port};
use crate::origin::Origin;
use crate::policy::http::{HttpPolicy, is_default};
use crate::route::RouteTableName;
use crate::tcp::TcpRoute;
use crate::tls::ServerTls;
use crate::udp::UdpRoute;

/// One bound address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Envoy's form `<ip>_<port>`, such as `0.0.0.0_8080`; of datagrams `udp_<ip>_<port>`.
    pub name: String,
    /// The port that the configuration declares: what matches and redirects speak of.
    pub declared: Port,
    /// Where the socket is bound.
    pub bind: SocketAddr,
    /// The number of the gateway that it belongs to, among those of the process.
    #[serde(skip_serializing_if = "is_default")]
    pub gateway: usize,
    /// How HTTP is understood there.
    #[serde(skip_serializing_if = "is_default")]
    pub http: HttpPolicy,
    /// Every connection begins with a PROXY header, which says where the client is; others are closed.
    #[serde(skip_serializing_if = "is_default")]
    pub proxy_protocol: bool,
    /// Clients' connections that the process may have, on whichever listener; above it new ones are closed here.
    #[serde(skip_serializing_if = "is_default")]
    pub max_connections: Option<u32>,
    /// What is spoken there.
    pub serves: Serves,
    /// The first server that declared it.
    pub origin: Origin,
    /// The servers that share it with that one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Origin>,
}

/// What a listener does with a connection, or with datagrams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Serves {
    /// HTTP/1.x and HTTP/2 with prior knowledge in clear text.
    Http(RouteTableName),
    /// TCP in clear text: every connection goes where the route says.
    Tcp(TcpRoute),
    /// UDP: every flow of datagrams goes where the route says.
    Udp(UdpRoute),
    /// TLS: the server name of the hello decides among chains and what is passed through, exact name first, then the
    /// longest suffix, then `Any`. No name stands twice.
    Tls {
        /// What is decrypted here.
        chains: Vec<TlsChain>,
        /// What is handed on as it is.
        passthrough: Vec<Passthrough>,
        /// What clients get that do not begin with TLS, or whose server name nothing covers; `None`: they are closed.
        #[serde(skip_serializing_if = "Option::is_none")]
        plain: Option<Inside>,
    },
}

impl Serves {
    /// The route tables that it names.
    pub fn tables(&self) -> impl Iterator<Item = &RouteTableName> {
        let (own, chains, plain): (_, &[TlsChain], _) = match self {
            Serves::Http(table) => (Some(table), &[], None),
            Serves::Tcp(_) | Serves::Udp(_) => (None, &[], None),
            Serves::Tls { chains, passthrough: _, plain } => (None, chains, plain.as_ref()),
        };
        let inside = chains.iter().map(|chain| &chain.inside).chain(plain);
        own.into_iter().chain(inside.filter_map(|inside| match inside {
            Inside::Http(table) => Some(table),
            Inside::Tcp(_) => None,
        }))
    }
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
    /// What is spoken inside.
    pub inside: Inside,
    /// The server that declared it.
    pub origin: Origin,
}

/// What is spoken inside TLS, or beside it in clear text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Inside {
    /// HTTP, by the protocol that ALPN chose.
    Http(RouteTableName),
    /// Anything: every connection goes where the route says.
    Tcp(TcpRoute),
}

/// TLS connections that are handed on undecrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passthrough {
    /// The server names.
    pub server_names: Vec<HostPattern>,
    /// The client must offer one of these protocols by ALPN; empty: any client will do.
    pub alpn: Vec<String>,
    /// Where they go.
    pub route: TcpRoute,
}
