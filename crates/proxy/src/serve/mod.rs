//! From socket to exchange: accept, TLS, the choice of codec.

pub(crate) mod accept;
pub(crate) mod hello;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod patience;
mod places;
pub(crate) mod proxied;
pub(crate) mod streams;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod udp;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, ready};

use limen_wire::h1::{self, Preface};
use limen_wire::proxy_protocol::Header;
use tokio::net::TcpStream;

use crate::exchange::front::ConnInfo;
use crate::exchange::secured::Secured;
use crate::observe::{Counter, ListenerId, ListenerStat};
use crate::stream::Stream;
use crate::stream::inbound::Inbound;
use crate::stream::outbound::Outbound;
use crate::stream::prefixed::Prefixed;
use crate::table::listeners::{ListenerSlot, Serves};
use crate::worker::Worker;

/// A client's connection for as long as it lives, in the worker's books.
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: ListenerSlot,
    /// What its handshake established.
    secured: Option<Rc<Secured>>,
    counted: ListenerId,
    /// It is counted as one that HTTP is spoken on.
    http: bool,
    place: usize,
    /// The balancer in front, if one said where the client is.
    pub(crate) balancer: Option<SocketAddr>,
    /// How long it may be without a request.
    pub(crate) idle_ms: u64,
    /// How long the head of a request may take.
    pub(crate) head_ms: u64,
    /// Names of fields keep their spelling (HTTP/1).
    pub(crate) keeps_spelling: bool,
    /// When no more requests are taken on it, by the worker's clock; `u64::MAX`: it may live for ever.
    pub(crate) until_ms: u64,
}

impl Connection {
    /// `None`: the listener has just been closed.
    pub(crate) fn open(worker: &Rc<Worker>, listener: ListenerSlot) -> Option<Connection> {
        let tables = worker.tables();
        let served = tables.listener(listener)?;
        worker.opened(served.id);
        let limits = &worker.config.limits;
        let until_ms =
            served.http.connection_ms.map_or(u64::MAX, |age| worker.clock.now_ms().saturating_add(age));
        Some(Connection {
            worker: worker.clone(),
            listener,
            secured: None,
            counted: served.id,
            http: false,
            place: worker.parking.enter(),
            balancer: None,
            idle_ms: served.http.idle_ms.unwrap_or(limits.idle_timeout_ms),
            head_ms: served.http.request_head_ms.unwrap_or(limits.head_timeout_ms),
            keeps_spelling: served.http.keeps_spelling,
            until_ms,
        })
    }

    /// What is known of it in clear text.
    fn clear(&self, local: SocketAddr, remote: SocketAddr) -> ConnInfo {
        let info = ConnInfo::clear((self.listener, self.counted), local, remote);
        ConnInfo { direct: self.balancer.unwrap_or(remote), ..info }
    }

    /// Counts for its listener.
    fn count(&self, stat: ListenerStat) {
        self.worker.counters.listener_add(self.counted, stat, 1);
    }

    /// HTTP is spoken on it from now on.
    fn speaks_http(&mut self) {
        if !std::mem::replace(&mut self.http, true) {
            self.count(ListenerStat::HttpTotal);
            self.count(ListenerStat::HttpActive);
        }
    }

    /// Has the connection's listener gone, would its client be refused now, is the process draining, or has it lived for
    /// as long as it may?
    pub(crate) fn ending(&self) -> bool {
        let tables = self.worker.tables();
        let clock = &self.worker.clock;
        if self.until_ms != u64::MAX && clock.now_ms() >= self.until_ms {
            return true;
        }
        self.worker.draining()
            || tables.listener(self.listener).is_none()
            || !self.secured.as_ref().is_none_or(|tls| tls.stands(&tables, || clock.epoch_ms(clock.now_us())))
    }

    /// Wakes this task when the tables are swapped or draining begins.
    pub(crate) fn watch(&self, cx: &std::task::Context<'_>) {
        self.worker.parking.park(self.place, cx.waker());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.parking.leave(self.place);
        self.worker.closed(self.counted);
        if self.http {
            self.worker.counters.listener_add(self.counted, ListenerStat::HttpActive, -1);
        }
        if std::thread::panicking() {
            self.worker.count(Counter::Panics);
        }
    }
}

/// Serves an accepted socket to its end.
pub(crate) async fn connection(mut conn: Connection, mut io: TcpStream, mut remote: SocketAddr) {
    // Heads are written whole, so waiting for more only costs time; a socket that refuses the option still works.
    let _ = io.set_nodelay(true);
    let Ok(mut local) = io.local_addr() else { return };
    if conn.worker.tables().listener(conn.listener).is_some_and(|listener| listener.proxy_protocol) {
        let Some(header) = Box::pin(proxied::header(&conn, &mut io)).await else { return };
        if let Header::Addresses { from, to } = header {
            conn.balancer = Some(remote);
            (remote, local) = (from, to);
        }
    }
    let route = match conn.worker.tables().listener(conn.listener).map(|listener| &listener.serves) {
        Some(Serves::Http(_)) => None,
        Some(Serves::Tcp(route)) => Some(route.clone()),
        Some(Serves::Tls(chains)) if !chains.peeks() => {
            return tls::serve(conn, io, Vec::new(), local, remote).await;
        }
        Some(Serves::Tls(_)) => return hello::serve(conn, io, local, remote).await,
        Some(Serves::Udp(_)) | None => return,
    };
    let info = conn.clear(local, remote);
    match route {
        Some(route) => tcp::spawn(conn, io, info, route, Vec::new()),
        None => sniff(conn, io, info).await,
    }
}

/// Tells HTTP/2 with prior knowledge from HTTP/1 by its first bytes.
pub(crate) async fn sniff<S: Stream>(conn: Connection, mut io: S, info: ConnInfo) {
    let worker = conn.worker.clone();
    let timer = worker.clock.timer();
    timer.arm_in(conn.idle_ms);
    let mut input = Inbound::empty();
    let mut begun = false;
    let preface = poll_fn(|cx| {
        loop {
            match h1::is_h2_preface(input.unread()) {
                Preface::NeedMore => {}
                known => return Poll::Ready(Some(known)),
            }
            if timer.poll_fired(cx) || conn.ending() {
                return Poll::Ready(None);
            }
            conn.watch(cx);
            input.give_buffer(|| worker.buffers.take_read());
            let read = input.poll_read(&mut io, cx);
            if read.is_pending()
                && let Some(buffer) = input.take_buffer()
            {
                worker.buffers.give_read(buffer);
            }
            match ready!(read) {
                Ok(0) | Err(_) => return Poll::Ready(None),
                Ok(_) => {}
            }
            // However slowly the rest comes, the first byte starts the time for all of it.
            if !std::mem::replace(&mut begun, true) {
                timer.arm_in(conn.head_ms);
            }
        }
    })
    .await;
    drop(timer);
    match preface {
        Some(Preface::Yes) => {
            let seen = input.unread().to_vec();
            spawn_http2(conn, Prefixed::new(seen, io), info);
        }
        Some(_) => spawn_http1(conn, io, info, input),
        None => {}
    }
}

/// The task of an HTTP/1 connection. The one that found out what is spoken ends, and its memory with it.
fn spawn_http1<S: Stream>(mut conn: Connection, io: S, info: ConnInfo, input: Inbound) {
    conn.speaks_http();
    let timer = conn.worker.clock.timer();
    let places = conn.worker.kept.of::<http1::ExchangePlaces<S>>();
    let held = http1::Http1 { conn, io, info, input, output: Outbound::default(), timer, places };
    tokio::task::spawn_local(http1::serve(Box::new(held)));
}

/// The task of an HTTP/2 connection.
fn spawn_http2<S: Stream>(mut conn: Connection, io: S, info: ConnInfo) {
    conn.speaks_http();
    tokio::task::spawn_local(http2::serve(conn, io, Rc::new(info)));
}

#[cfg(test)]
mod tests;
