//! Accepting, and the one way in which a connection changes workers.

use std::net::{SocketAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::{Connection, connection};
use crate::observe::limits::Limit;
use crate::observe::{Counter, ListenerStat};
use crate::sockets::BACKLOG;
use crate::table::listeners::ListenerSlot;
use crate::worker::{Mail, Worker};

/// Wait after the system refused to accept, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(20);

/// Accepts until the listener is closed (the task is aborted then).
pub(crate) async fn accept(worker: Rc<Worker>, slot: ListenerSlot, socket: Rc<TcpListener>) {
    loop {
        match socket.accept().await {
            Ok((io, remote)) => take(&worker, slot, io, remote),
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

/// Takes what has been waiting for [`accept`], which must have ended: the kernel would reset it. Then it listens no more.
pub(crate) fn close(worker: &Rc<Worker>, slot: ListenerSlot, socket: Rc<TcpListener>) {
    let Some(Ok(socket)) = Rc::into_inner(socket).map(TcpListener::into_std) else { return };
    for (io, remote) in waiting(&socket) {
        match TcpStream::from_std(io) {
            Ok(io) => take(worker, slot, io, remote),
            Err(error) => tracing::debug!(%error, "a socket cannot be watched"),
        }
    }
}

/// What can be accepted at once. More cannot have been waiting than there is room for; what comes meanwhile is not
/// waited for.
fn waiting(socket: &StdTcpListener) -> impl Iterator<Item = (StdTcpStream, SocketAddr)> {
    let accepted = (0..BACKLOG).map_while(|_| match socket.accept() {
        Ok((io, remote)) => Some(io.set_nonblocking(true).ok().map(|()| (io, remote))),
        Err(error) if is_of_one_connection(&error) => Some(None),
        Err(_) => None,
    });
    accepted.flatten()
}

/// Serves a connection here or where there are fewer, or closes it if it is one too many.
fn take(worker: &Rc<Worker>, slot: ListenerSlot, io: TcpStream, remote: SocketAddr) {
    match (worker.admits(slot).and_then(|()| worker.spares(&io)), worker.least_loaded()) {
        (Ok(()), Some(other)) => hand_over(worker, other, slot, io, remote),
        (Ok(()), None) => start(worker, slot, io, remote),
        // Dropping the socket closes it.
        (Err(limit), _) => refused(worker, slot, limit),
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
pub(crate) fn start(worker: &Rc<Worker>, slot: ListenerSlot, io: TcpStream, remote: SocketAddr) {
    if let Some(conn) = Connection::open(worker, slot) {
        tokio::task::spawn_local(connection(conn, io, remote));
    }
}

/// Mails a socket to another worker. If that fails the connection is served here.
fn hand_over(worker: &Rc<Worker>, to: usize, slot: ListenerSlot, io: TcpStream, remote: SocketAddr) {
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

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
