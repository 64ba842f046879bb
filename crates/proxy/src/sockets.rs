//! Listening sockets: one for each worker on the same address.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::applied::{AppliedProblem, BoundListener, PORT_NOT_BOUND};
use crate::table::listeners::{Listener, ListenerSlot, Serves, Tables};

/// Connections that the kernel completes before they are accepted.
pub(crate) const BACKLOG: i32 = 4096;
/// Where a privileged port is moved to.
const UNPRIVILEGED: u16 = 8000;

/// What is bound.
#[derive(Default)]
pub(crate) struct Sockets {
    bound: BTreeMap<ListenerSlot, Bound>,
    strict_ports: bool,
    workers: usize,
    /// Nothing is bound any more.
    ended: bool,
}

struct Bound {
    place: Place,
    note: Option<String>,
}

/// Sockets to hand out: for each worker, those to open; for all, those to close.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) open: Vec<Vec<(ListenerSlot, Opened)>>,
    pub(crate) close: Vec<ListenerSlot>,
    pub(crate) listeners: Vec<BoundListener>,
    pub(crate) problems: Vec<AppliedProblem>,
}

/// A listener's socket, for one worker.
pub(crate) enum Opened {
    /// It accepts connections.
    Stream(TcpListener),
    /// It takes datagrams.
    Datagram(UdpSocket),
}

/// An address that a socket of one kind has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    udp: bool,
    address: SocketAddr,
}

impl Sockets {
    pub(crate) fn new(workers: usize, strict_ports: bool) -> Sockets {
        Sockets { bound: BTreeMap::new(), strict_ports, workers, ended: false }
    }

    /// From now on no listener is opened.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Brings the sockets in line with tables. A listener that could not be bound is tried again each time.
    pub(crate) fn reconcile(&mut self, tables: &Tables) -> Changes {
        let mut changes =
            Changes { open: (0..self.workers).map(|_| Vec::new()).collect(), ..Changes::default() };
        // Workers close theirs some time after they are told, so what is bound no more counts, too.
        let mut ours: Vec<Place> = self.bound.values().map(|bound| bound.place).collect();
        let gone: Vec<_> =
            self.bound.keys().filter(|slot| tables.listener(**slot).is_none()).copied().collect();
        for slot in gone {
            self.bound.remove(&slot);
            changes.close.push(slot);
        }
        for (index, listener) in tables.listeners.iter().enumerate() {
            let Some(listener) = listener else { continue };
            let slot = ListenerSlot(index as u32);
            let (mut bound, mut note) = (None, None);
            if !self.ended && !self.bound.contains_key(&slot) {
                match self.open(listener, &ours) {
                    Ok((sockets, opened)) => {
                        ours.push(opened.place);
                        for (worker, socket) in changes.open.iter_mut().zip(sockets) {
                            worker.push((slot, socket));
                        }
                        self.bound.insert(slot, opened);
                    }
                    Err(error) => changes.problems.push(problem(listener, &error, self.strict_ports)),
                }
            }
            if let Some(known) = self.bound.get(&slot) {
                (bound, note) = (Some(known.place.address), known.note.clone());
            }
            changes.listeners.push(BoundListener {
                name: listener.name.to_string(),
                declared: listener.declared,
                tls: matches!(listener.serves, Serves::Tls(_)),
                tcp: listener.serves.hands_on(),
                udp: matches!(listener.serves, Serves::Udp(_)),
                wanted: listener.wanted,
                bound,
                note,
            });
        }
        changes
    }

    fn open(&self, listener: &Listener, ours: &[Place]) -> io::Result<(Vec<Opened>, Bound)> {
        let wanted = listener.wanted;
        let udp = matches!(listener.serves, Serves::Udp(_));
        match self.open_at(Place { udp, address: wanted }, ours) {
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    && wanted.port() < 1024
                    && !self.strict_ports =>
            {
                let moved = SocketAddr::new(wanted.ip(), wanted.port() + UNPRIVILEGED);
                let (sockets, place) = self.open_at(Place { udp, address: moved }, ours)?;
                let note = format!(
                    "port {} needs rights that this process lacks: moved to {}",
                    wanted.port(),
                    moved.port()
                );
                Ok((sockets, Bound { place, note: Some(note) }))
            }
            opened => opened.map(|(sockets, place)| (sockets, Bound { place, note: None })),
        }
    }

    /// A socket for each worker. A port chosen by the kernel is the same for all.
    ///
    /// The first is bound without SO_REUSEPORT and dropped again: with that option alone another process of the same
    /// user could share the port unnoticed, and the two would each get a part of the connections. Where a listener of
    /// ours has the port already, on an address that holds this one or is held by it, that has been seen.
    fn open_at(&self, wanted: Place, ours: &[Place]) -> io::Result<(Vec<Opened>, Place)> {
        let address = if ours.iter().any(|own| overlap(*own, wanted)) {
            wanted.address
        } else {
            let probe = socket(wanted)?;
            probe.bind(&wanted.address.into())?;
            probe.local_addr()?.as_socket().unwrap_or(wanted.address)
        };
        let sockets = (0..self.workers).map(|_| {
            let socket = socket(wanted)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            socket.set_nonblocking(true)?;
            if wanted.udp {
                return Ok(Opened::Datagram(socket.into()));
            }
            socket.listen(BACKLOG)?;
            Ok(Opened::Stream(socket.into()))
        });
        Ok((sockets.collect::<io::Result<_>>()?, Place { address, ..wanted }))
    }
}

/// Could a connection to one of them be one to the other?
fn overlap(a: Place, b: Place) -> bool {
    let (own, other) = (a.address, b.address);
    let same_ip = own.ip() == other.ip() || own.ip().is_unspecified() || other.ip().is_unspecified();
    a.udp == b.udp && own.port() == other.port() && same_ip
}

fn socket(place: Place) -> io::Result<Socket> {
    let domain = Domain::for_address(place.address);
    let socket = if place.udp {
        Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?
    } else {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        // Connections of an earlier process that linger in TIME_WAIT do not keep the port. Datagrams know no such thing,
        // and with that option others could share the port.
        socket.set_reuse_address(true)?;
        socket
    };
    if place.address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn problem(listener: &Listener, error: &io::Error, strict: bool) -> AppliedProblem {
    let wanted = listener.wanted;
    let (message, mend) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            format!("{wanted} is in use by another process"),
            format!(
                "stop the other process, or serve the port elsewhere with --map-port {}:<port>",
                listener.declared
            ),
        ),
        io::ErrorKind::PermissionDenied => (
            format!("no right to bind {wanted}"),
            format!(
                "serve it elsewhere with --map-port {}:<port>{} give the binary CAP_NET_BIND_SERVICE{}",
                listener.declared,
                if strict { "," } else { " or" },
                if strict { ", or leave out --strict-ports" } else { "" }
            ),
        ),
        io::ErrorKind::AddrNotAvailable => (
            format!("this machine has no address {}", wanted.ip()),
            "bind an address of this machine, or 0.0.0.0 for all".to_owned(),
        ),
        _ => (format!("{wanted} cannot be bound: {error}"), "choose another address or port".to_owned()),
    };
    AppliedProblem {
        code: PORT_NOT_BOUND,
        kind: listener.origin.kind.to_string(),
        namespace: listener.origin.namespace.to_string(),
        name: listener.origin.name.to_string(),
        field: listener.origin.field.to_string(),
        message,
        mend,
    }
}
