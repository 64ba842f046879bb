//! Accepting, and the one way in which a connection changes workers.

use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::{Connection, connection};
use crate::observe::limits::Limit;
use crate::observe::{Counter, ListenerStat};
use crate::table::listeners::ListenerSlot;
use crate::worker::{Mail, Worker};

/// Wait after the system refused to accept, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(20);

/// Accepts until the listener is closed (the task is aborted then).
pub(crate) async fn accept(worker: Rc<Worker>, slot: ListenerSlot, socket: TcpListener) {
    loop {
        match socket.accept().await {
            Ok((io, remote)) => {
                match (worker.admits(slot).and_then(|()| worker.spares(&io)), worker.least_loaded()) {
                    (Ok(()), Some(other)) => hand_over(&worker, other, slot, io, remote),
                    (Ok(()), None) => start(&worker, slot, io, remote),
                    // Dropping the socket closes it.
                    (Err(limit), _) => refused(&worker, slot, limit),
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                worker.count(Counter::AcceptErrors);
                // Where descriptors have run out, what is kept for later is in the way.
                worker.upstreams.close_idle(worker.clock.now_ms());
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Counts a connection that was one too many.
fn refused(worker: &Worker, slot: ListenerSlot, limit: Limit) {
    worker.count(Counter::ConnectionsRefused);
    worker.refused_for(limit);
    if let Some(listener) = worker.tables().listener(slot) {
        worker.counters.listener_add(listener.id, ListenerStat::CxOverflow, 1);
    }
}

/// Begins to serve a socket on this worker.
pub(crate) fn start(worker: &Rc<Worker>, slot: ListenerSlot, io: TcpStream, remote: std::net::SocketAddr) {
    if let Some(conn) = Connection::open(worker, slot) {
        tokio::task::spawn_local(connection(conn, io, remote));
    }
}

/// Mails a socket to another worker. If that fails the connection is served here.
fn hand_over(
    worker: &Rc<Worker>,
    to: usize,
    slot: ListenerSlot,
    io: TcpStream,
    remote: std::net::SocketAddr,
) {
    match io.into_std() {
        Ok(io) => worker.mail_to(to, Mail::Socket(slot, io, remote)),
        Err(error) => tracing::debug!(%error, "a socket could not be handed over"),
    }
}

/// The client went away before it was accepted: says nothing about the listener.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
