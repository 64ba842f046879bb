//! Listening sockets: one for each worker on the same address.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::applied::{AppliedProblem, BoundListener, PORT_NOT_BOUND};
use crate::table::listeners::{Listener, ListenerSlot, Serves, Tables};

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;
/// Where a privileged port is moved to.
const UNPRIVILEGED: u16 = 8000;

/// What is bound.
#[derive(Default)]
pub(crate) struct Sockets {
    bound: BTreeMap<ListenerSlot, Bound>,
    strict_ports: bool,
    workers: usize,
}

struct Bound {
    address: SocketAddr,
    note: Option<String>,
}

/// Sockets to hand out: for each worker, those to open; for all, those to close.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) open: Vec<Vec<(ListenerSlot, TcpListener)>>,
    pub(crate) close: Vec<ListenerSlot>,
    pub(crate) listeners: Vec<BoundListener>,
    pub(crate) problems: Vec<AppliedProblem>,
}

impl Sockets {
    pub(crate) fn new(workers: usize, strict_ports: bool) -> Sockets {
        Sockets { bound: BTreeMap::new(), strict_ports, workers }
    }

    /// Brings the sockets in line with tables. A listener that could not be bound is tried again each time.
    pub(crate) fn reconcile(&mut self, tables: &Tables) -> Changes {
        let mut changes =
            Changes { open: (0..self.workers).map(|_| Vec::new()).collect(), ..Changes::default() };
        // Workers close theirs some time after they are told, so what is bound no more counts, too.
        let mut ours: Vec<SocketAddr> = self.bound.values().map(|bound| bound.address).collect();
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
            if !self.bound.contains_key(&slot) {
                match self.open(listener, &ours) {
                    Ok((sockets, opened)) => {
                        ours.push(opened.address);
                        for (worker, socket) in changes.open.iter_mut().zip(sockets) {
                            worker.push((slot, socket));
                        }
                        self.bound.insert(slot, opened);
                    }
                    Err(error) => changes.problems.push(problem(listener, &error, self.strict_ports)),
                }
            }
            if let Some(known) = self.bound.get(&slot) {
                (bound, note) = (Some(known.address), known.note.clone());
            }
            changes.listeners.push(BoundListener {
                name: listener.name.to_string(),
                declared: listener.declared,
                tls: matches!(listener.serves, Serves::Tls(_)),
                tcp: matches!(listener.serves, Serves::Tcp(_)),
                wanted: listener.wanted,
                bound,
                note,
            });
        }
        changes
    }

    fn open(&self, listener: &Listener, ours: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, Bound)> {
        let wanted = listener.wanted;
        match self.open_at(wanted, ours) {
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    && wanted.port() < 1024
                    && !self.strict_ports =>
            {
                let moved = SocketAddr::new(wanted.ip(), wanted.port() + UNPRIVILEGED);
                let (sockets, address) = self.open_at(moved, ours)?;
                let note = format!(
                    "port {} needs rights that this process lacks: moved to {}",
                    wanted.port(),
                    moved.port()
                );
                Ok((sockets, Bound { address, note: Some(note) }))
            }
            opened => opened.map(|(sockets, address)| (sockets, Bound { address, note: None })),
        }
    }

    /// A socket for each worker. A port chosen by the kernel is the same for all.
    ///
    /// The first is bound without SO_REUSEPORT and dropped again: with that option alone another process of the same
    /// user could share the port unnoticed, and the two would each get a part of the connections. Where a listener of
    /// ours has the port already, on an address that holds this one or is held by it, that has been seen.
    fn open_at(&self, wanted: SocketAddr, ours: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
        let address = if ours.iter().any(|own| overlap(*own, wanted)) {
            wanted
        } else {
            let probe = socket(wanted.ip())?;
            probe.bind(&wanted.into())?;
            probe.local_addr()?.as_socket().unwrap_or(wanted)
        };
        let sockets = (0..self.workers).map(|_| {
            let socket = socket(wanted.ip())?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        });
        Ok((sockets.collect::<io::Result<_>>()?, address))
    }
}

/// Could a connection to one of them be one to the other?
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn socket(ip: std::net::IpAddr) -> io::Result<Socket> {
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process that linger in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    if ip.is_ipv6() {
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
