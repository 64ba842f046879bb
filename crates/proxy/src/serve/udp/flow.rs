//! One flow: its endpoint, the socket towards it, and what the log and the metrics will say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use super::socket::Client;
use crate::address::Address;
use crate::limits::cluster::Place;
use crate::observe::{ClusterStat, Counter, Flags, Record};
use crate::table::listeners::{ListenerSlot, Serves};
use crate::table::udp::UdpRoute;
use crate::upstream::{EndpointState, InFlight};
use crate::worker::Worker;

/// A flow. Dropping it ends it.
pub(super) struct Flow {
    pub(super) books: Books,
    pub(super) upstream: Upstream,
    /// The task that waits for answers.
    pub(super) task: AbortHandle,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The way to an endpoint.
pub(super) struct Upstream {
    /// Connected, so that the kernel lets nobody but the endpoint answer and tells of its refusals.
    pub(super) socket: Rc<UdpSocket>,
    endpoint: Rc<EndpointState>,
    cluster_name: Arc<str>,
    _in_flight: InFlight,
    _place: Place,
    _counted: Counted,
}

/// A flow in the worker's books for as long as it lives.
struct Counted(Rc<Worker>);

impl Counted {
    fn begin(worker: &Rc<Worker>) -> Counted {
        worker.flow(1);
        worker.count(Counter::UdpFlows);
        Counted(worker.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.flow(-1);
    }
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropped {
    pub(super) counter: Counter,
    pub(super) flags: Flags,
    /// Its flow has ended with it; another one may do better.
    pub(super) ends: bool,
}

impl Dropped {
    fn nowhere(flags: Flags) -> Dropped {
        Dropped { counter: Counter::UdpNoBackend, flags, ends: true }
    }

    fn no_room(flags: Flags) -> Dropped {
        Dropped { counter: Counter::UdpNoRoom, flags, ends: true }
    }

    /// What a socket towards an endpoint has said.
    pub(super) fn by(error: &io::Error) -> Dropped {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        match error.kind() {
            ConnectionRefused | HostUnreachable | NetworkUnreachable => {
                Dropped { counter: Counter::UdpErrors, flags: Flags::UF, ends: true }
            }
            // Too large, or too many at once.
            _ => Dropped { counter: Counter::UdpErrors, flags: Flags::NONE, ends: false },
        }
    }
}

impl Flow {
    /// Sends a client's datagram to the endpoint.
    pub(super) fn send(&mut self, data: &[u8]) -> Result<(), Dropped> {
        if self.upstream.endpoint.is_retired() {
            return Err(Dropped::nowhere(Flags::NONE));
        }
        self.books.received += data.len() as u64;
        // Past the reactor, which does not know yet that a new socket can be written to.
        let sent = SockRef::from(&*self.upstream.socket).send(data);
        sent.map(drop).map_err(|error| Dropped::by(&error))
    }

    /// Does the route still lead where it goes?
    pub(super) fn stands(&self, route: Option<&UdpRoute>) -> bool {
        !self.upstream.endpoint.is_retired()
            && route.is_some_and(|route| route.leads_to(&self.upstream.cluster_name))
    }
}

impl Upstream {
    /// Chooses an endpoint and makes the socket towards it.
    pub(super) fn open(worker: &Rc<Worker>, books: &mut Books) -> Result<Upstream, Dropped> {
        let tables = worker.tables();
        let route = tables.listener(books.slot).and_then(|listener| match &listener.serves {
            Serves::Udp(route) => Some(route),
            _ => None,
        });
        let destination = route.and_then(|route| route.pick(worker.random_u32()));
        let destination = destination.ok_or(Dropped::nowhere(Flags::NR))?;
        books.cluster = destination.cluster_name.clone();
        let (slot, name) = (destination.cluster, &destination.cluster_name);
        let known = tables.cluster(slot).zip(worker.upstreams.named(slot, name));
        let (cluster, state) = known.ok_or(Dropped::nowhere(Flags::NC))?;
        let endpoint = state.pick_anew(&mut || worker.random_u32(), &[], None).ok_or_else(|| {
            worker.counters.cluster_add(cluster.series, ClusterStat::CxNoneHealthy, 1);
            Dropped::nowhere(Flags::UH)
        })?;
        books.upstream_host = Some(endpoint.address);
        // Where TLS is asked for, nothing is sent without it, and there is none for datagrams.
        let (Address::Inet(address), None) = (endpoint.address, &cluster.tls) else {
            return Err(Dropped::nowhere(Flags::UF));
        };
        let place = Place::take(cluster.limits.as_ref()).ok_or_else(|| {
            worker.counters.cluster_add(cluster.series, ClusterStat::CxOverflow, 1);
            Dropped::no_room(Flags::UO)
        })?;
        let socket = connected(address).map_err(|error| {
            tracing::debug!(%error, %address, "no socket towards an endpoint");
            Dropped::no_room(Flags::UF)
        })?;
        books.upstream_local = socket.local_addr().ok();
        Ok(Upstream {
            socket: Rc::new(socket),
            _in_flight: InFlight::new(&endpoint),
            _place: place,
            _counted: Counted::begin(worker),
            endpoint,
            cluster_name: name.clone(),
        })
    }
}

fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// What the log will say of a flow, or of a datagram that got none. Dropping it writes the line.
pub(super) struct Books {
    worker: Rc<Worker>,
    slot: ListenerSlot,
    client: Client,
    start_us: u64,
    pub(super) flags: Flags,
    cluster: Arc<str>,
    upstream_host: Option<Address>,
    upstream_local: Option<SocketAddr>,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Books {
    pub(super) fn begin(worker: &Rc<Worker>, slot: ListenerSlot, client: Client) -> Books {
        Books {
            worker: worker.clone(),
            slot,
            client,
            start_us: worker.clock.now_us(),
            flags: Flags::NONE,
            cluster: "".into(),
            upstream_host: None,
            upstream_local: None,
            received: 0,
            sent: 0,
        }
    }

    fn write(&self) {
        let clock = &self.worker.clock;
        let record = Record {
            udp: true,
            flags: self.flags,
            bytes_received: self.received,
            bytes_sent: self.sent,
            duration_us: clock.now_us().saturating_sub(self.start_us),
            upstream_host: self.upstream_host,
            upstream_local: self.upstream_local,
            cluster: &self.cluster,
            ..Record::new(clock.epoch_ms(self.start_us), self.client.local, self.client.remote)
        };
        self.worker.log(self.slot, &record);
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.write();
    }
}
