//! Listeners and TLS chains as the workers read them, and the table of everything.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;

use super::clusters::{Cluster, EndpointSet};
use super::hosts::HostMap;
use super::logs::{Log, Logs};
use super::routes::{ClusterSlot, Origin, RouteTable};
use super::tcp::TcpRoute;
use super::tracing::Tracing;
use super::udp::UdpRoute;
use crate::filter::policy::HttpPolicy;
use crate::observe::ListenerId;

/// All that a worker serves from; immutable, swapped whole.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Counts installations; grows by one each.
    pub(crate) generation: u64,
    /// What is logged.
    pub(crate) logs: Logs,
    /// How requests are traced, by the number of the gateway.
    pub(crate) tracing: Vec<Option<Tracing>>,
    /// By [`ListenerSlot`]; a slot keeps its listener's address for the life of the process.
    pub(crate) listeners: Vec<Option<Arc<Listener>>>,
    /// By [`ClusterSlot`]; `None`: routes name it, but no such cluster exists.
    pub(crate) clusters: Arc<[Option<Arc<Cluster>>]>,
    /// By [`ClusterSlot`].
    pub(crate) endpoints: Arc<[Arc<EndpointSet>]>,
}

/// Index of a listener in [`Tables::listeners`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListenerSlot(pub(crate) u32);

impl Tables {
    /// The listener of a slot, if this generation still has it.
    pub(crate) fn listener(&self, slot: ListenerSlot) -> Option<&Arc<Listener>> {
        self.listeners.get(slot.0 as usize)?.as_ref()
    }

    /// The access logs of what a listener serves. Of one that is gone they are those of the first gateway.
    pub(crate) fn logs(&self, slot: ListenerSlot) -> &[Log] {
        self.logs.of(self.listener(slot).map_or(0, |listener| listener.gateway))
    }

    /// How the requests to a gateway are traced, if they are.
    pub(crate) fn tracing(&self, gateway: usize) -> Option<&Tracing> {
        self.tracing.get(gateway)?.as_ref()
    }

    /// The cluster of a slot, if it exists.
    pub(crate) fn cluster(&self, slot: ClusterSlot) -> Option<&Arc<Cluster>> {
        self.clusters.get(slot.0 as usize)?.as_ref()
    }
}

/// A listener.
#[derive(Debug)]
pub(crate) struct Listener {
    /// `<ip>_<port>`.
    pub(crate) name: Arc<str>,
    /// The port the configuration declares.
    pub(crate) declared: u16,
    /// Where it is to be bound.
    pub(crate) wanted: SocketAddr,
    /// The number of the gateway that it belongs to.
    pub(crate) gateway: usize,
    /// How HTTP is understood.
    pub(crate) http: HttpPolicy,
    /// Every connection begins with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// Clients' connections that the process may have; above it new ones are closed.
    pub(crate) max_connections: Option<u32>,
    /// What is spoken.
    pub(crate) serves: Serves,
    /// Whom its connections are counted under.
    pub(crate) id: ListenerId,
    /// The server that declared it.
    pub(crate) origin: Origin,
}

/// What a listener does with a connection, or with datagrams.
#[derive(Debug)]
pub(crate) enum Serves {
    /// HTTP in clear text.
    Http(Arc<RouteTable>),
    /// Anything in clear text.
    Tcp(Arc<TcpRoute>),
    /// Datagrams.
    Udp(Arc<UdpRoute>),
    /// TLS.
    Tls(TlsChains),
}

impl Serves {
    /// Are all connections handed on without being looked into?
    pub(crate) fn hands_on(&self) -> bool {
        let tcp = |inside: &Inside| matches!(inside, Inside::Tcp(_));
        match self {
            Serves::Http(_) | Serves::Udp(_) => false,
            Serves::Tcp(_) => true,
            Serves::Tls(TlsChains { chains, passthrough: _, plain, by_name: _ }) => {
                chains.iter().all(|chain| tcp(&chain.inside)) && plain.iter().all(tcp)
            }
        }
    }
}

/// The chains of a TLS listener, by SNI.
#[derive(Debug)]
pub(crate) struct TlsChains {
    /// In the order of the configuration.
    pub(crate) chains: Vec<TlsChain>,
    /// What is handed on undecrypted.
    pub(crate) passthrough: Vec<Passthrough>,
    /// What clients get that do not begin with TLS, or whose server name nothing covers.
    pub(crate) plain: Option<Inside>,
    /// Server name -> who serves it.
    pub(crate) by_name: HostMap<Named>,
}

/// Who serves a server name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named {
    /// Index of a chain.
    Chain(u32),
    /// Index of what is handed on.
    Passthrough(u32),
}

/// Connections that are handed on undecrypted.
#[derive(Debug)]
pub(crate) struct Passthrough {
    /// Its first server name, for people.
    pub(crate) name: Arc<str>,
    /// The client must offer one of these; none: any client will do.
    pub(crate) alpn: Vec<Box<[u8]>>,
    /// Where they go.
    pub(crate) route: Arc<TcpRoute>,
}

/// One chain.
#[derive(Debug)]
pub(crate) struct TlsChain {
    /// Unique on the listener, stable between generations.
    pub(crate) name: Arc<str>,
    /// `None`: there is no certificate, or nobody to vouch for clients; handshakes are reset.
    pub(crate) config: Option<Configs>,
    /// What clients' certificates must be.
    pub(crate) clients: Clients,
    /// URIs of the certificate, such as a SPIFFE id.
    pub(crate) own_uris: Arc<[String]>,
    /// What is spoken inside.
    pub(crate) inside: Inside,
}

/// What is spoken inside TLS, or beside it in clear text.
#[derive(Debug, Clone)]
pub(crate) enum Inside {
    /// HTTP.
    Http(Arc<RouteTable>),
    /// Anything.
    Tcp(Arc<TcpRoute>),
}

/// A chain's settings for rustls.
#[derive(Debug, Clone)]
pub(crate) struct Configs {
    /// For clients that offer a protocol of the chain's, or none.
    pub(crate) offering: Arc<rustls::ServerConfig>,
    /// For those that offer others only: none is chosen, as Envoy does it, where rustls would refuse them.
    pub(crate) without_alpn: Arc<rustls::ServerConfig>,
}

/// Whom a chain lets in.
#[derive(Debug, Clone)]
pub(crate) enum Clients {
    /// Everybody: no certificate is asked for.
    Unasked,
    /// Nobody: those who vouch for clients are missing.
    Nobody,
    /// Those whom this lets in. Another policy is another object.
    Verified(Arc<dyn ClientCertVerifier>),
    /// Everybody; those whom this does not let in as if they had shown nothing.
    Asked(Arc<dyn ClientCertVerifier>),
}

impl TlsChains {
    /// Who serves a server name: exact, then longest suffix, then whoever takes any.
    pub(crate) fn choose(&self, name: Option<&str>) -> Option<Named> {
        self.by_name.find(name.unwrap_or("").as_bytes()).copied()
    }

    /// Is the hello to be read before it is known who serves the connection?
    pub(crate) fn peeks(&self) -> bool {
        !self.passthrough.is_empty() || self.plain.is_some()
    }

    /// The chain for a server name.
    pub(crate) fn chain(&self, name: Option<&str>) -> Option<&TlsChain> {
        match self.choose(name)? {
            Named::Chain(index) => self.chains.get(index as usize),
            Named::Passthrough(_) => None,
        }
    }

    /// What hands connections to a server name on.
    pub(crate) fn passes(&self, name: Option<&str>) -> Option<&Passthrough> {
        match self.choose(name)? {
            Named::Passthrough(index) => self.passthrough.get(index as usize),
            Named::Chain(_) => None,
        }
    }

    /// The chain of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&TlsChain> {
        self.chains.iter().find(|chain| &*chain.name == name)
    }
}
