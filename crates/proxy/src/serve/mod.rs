//! From socket to exchange: accept, TLS, the choice of codec.

pub(crate) mod accept;
pub(crate) mod hello;
pub(crate) mod http1;
pub(crate) mod http2;
mod last_said;
mod linger;
pub(crate) mod patience;
pub(crate) mod permission;
mod places;
pub(crate) mod proxied;
pub(crate) mod streams;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod udp;
mod unread;

use std::cell::Cell;
use std::future::poll_fn;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use limen_wire::h1::{self, Preface};
use limen_wire::proxy_protocol::Header;
use permission::Permission;
use tcp::Cut;
use tokio::net::TcpStream;

use crate::exchange::front::ConnInfo;
use crate::exchange::secured::Secured;
use crate::limits::shares::{self, Share, Shares};
use crate::observe::limits::Limit;
use crate::observe::{Counter, ListenerId, ListenerStat};
use crate::stream::Stream;
use crate::stream::inbound::Inbound;
use crate::stream::outbound::Outbound;
use crate::stream::prefixed::Prefixed;
use crate::table::listeners::{ListenerSlot, Serves};
use crate::worker::{ConnectionShares, Worker};

/// One of a listener's connections and one of a client's, where those are limited.
type Shared = (Option<Share<ListenerId>>, Option<Share<IpAddr>>);

/// A client's connection for as long as it lives, in the worker's books.
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: ListenerSlot,
    /// What its handshake established.
    secured: Option<Rc<Secured>>,
    /// What its client was let in to do.
    permission: Permission,
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
    /// Requests that have begun on it.
    pub(crate) requests: u32,
    /// What it takes of its listener's and its client's connections, where those are limited.
    shares: Option<Box<Shared>>,
    /// Of the changes that can end it, the last that it has looked at.
    looked: Cell<u32>,
    /// When it ends whatever passes on it, by the worker's clock; `u64::MAX` while all that let it in is there.
    pub(crate) leave_ms: Cell<u64>,
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
            permission: Permission::Undecided,
            counted: served.id,
            http: false,
            place: worker.parking.enter(),
            balancer: None,
            idle_ms: served.http.idle_ms.unwrap_or(limits.idle_timeout_ms),
            head_ms: served.http.request_head_ms.unwrap_or(limits.head_timeout_ms),
            keeps_spelling: served.http.keeps_spelling,
            requests: 0,
            shares: None,
            looked: Cell::new(0),
            leave_ms: Cell::new(u64::MAX),
            until_ms,
        })
    }

    /// Counts it for its listener and its client, where those are limited. False: one of them has as many as it may.
    fn share(&mut self, client: IpAddr) -> bool {
        let worker = self.worker.clone();
        let ConnectionShares { listeners, clients } = &worker.shares;
        if listeners.is_none() && clients.is_none() {
            return true;
        }
        let listener = taken(&worker, Limit::ListenerConnections, listeners.as_ref(), self.counted);
        let client = taken(&worker, Limit::ClientConnections, clients.as_ref(), shares::client(client));
        let (Ok(listener), Ok(client)) = (listener, client) else {
            worker.count(Counter::ConnectionsRefused);
            return false;
        };
        self.shares = Some(Box::new((listener, client)));
        true
    }

    /// A request begins on it. True: it is the last.
    pub(crate) fn begin_request(&mut self) -> bool {
        self.requests = self.requests.saturating_add(1);
        let worker = &self.worker;
        worker.counters.limit_seen(Limit::ConnectionRequests, self.requests.into());
        let last = self.requests >= worker.config.limits.max_connection_requests;
        if self.requests == worker.config.limits.max_connection_requests {
            worker.refused_for(Limit::ConnectionRequests);
        }
        last
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

    /// Is what let it in no longer there, or has it lived for as long as it may?
    pub(crate) fn ending(&self) -> bool {
        self.until_ms != u64::MAX && self.worker.clock.now_ms() >= self.until_ms || self.leaving()
    }

    /// Has what let it in gone, would its client be refused now, or is the process draining? From the first time that it is
    /// so, what passes has [`Config::grace_ms`](crate::Config::grace_ms).
    fn leaving(&self) -> bool {
        let tables = self.worker.tables();
        let clock = &self.worker.clock;
        let secured = self.secured.as_deref();
        let stands = |tls: &Secured| tls.stands(&tables, || clock.epoch_ms(clock.now_us()));
        let leaving = self.worker.draining()
            || !tables
                .listener(self.listener)
                .is_some_and(|listener| self.permission.stands(&listener.serves, secured))
            || !secured.is_none_or(stands);
        match (leaving, self.leave_ms.get()) {
            // It may have come back, and with it all that the connection needs.
            (false, _) => self.leave_ms.set(u64::MAX),
            (true, u64::MAX) => {
                self.leave_ms.set(clock.now_ms().saturating_add(self.worker.config.grace_ms()));
            }
            (true, _) => {}
        }
        leaving
    }

    /// Looks whether it is to end, if anything has changed since the last time that could end it, and sees to it that this
    /// task is woken when something does. Whether something had changed.
    pub(crate) fn look(&self, cx: &std::task::Context<'_>) -> bool {
        let changes = self.worker.changes();
        if self.looked.replace(changes) == changes {
            return false;
        }
        self.watch(cx);
        self.leaving();
        true
    }

    /// Whether it was to end when it looked last.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leave_ms.get() != u64::MAX
    }

    /// Wakes this task when the tables are swapped or draining begins.
    pub(crate) fn watch(&self, cx: &std::task::Context<'_>) {
        self.worker.parking.park(self.place, cx.waker());
    }
}

/// There are as many as there may be.
struct Full;

/// One more of what this key has, where that is limited.
fn taken<K: Hash + Eq + Copy>(
    worker: &Worker,
    limit: Limit,
    shares: Option<&Arc<Shares<K>>>,
    key: K,
) -> Result<Option<Share<K>>, Full> {
    let Some(shares) = shares else { return Ok(None) };
    let Some((share, count)) = shares.take(key) else {
        worker.refused_for(limit);
        return Err(Full);
    };
    worker.counters.limit_seen(limit, count.into());
    Ok(Some(share))
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
    if !conn.share(remote.ip()) {
        return;
    }
    let route = match conn.worker.tables().listener(conn.listener).map(|listener| &listener.serves) {
        Some(Serves::Http(_)) => {
            conn.permission = Permission::Http;
            None
        }
        Some(Serves::Tcp(route)) => {
            conn.permission = Permission::Bytes;
            Some(route.clone())
        }
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
pub(crate) async fn sniff<S: Cut>(conn: Connection, mut io: S, info: ConnInfo) {
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
            conn.watch(cx);
            input.give_buffer(|| worker.buffers.take_read());
            match input.poll_read(&mut io, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    if let Some(buffer) = input.take_buffer() {
                        worker.buffers.give_read(buffer);
                    }
                    if timer.poll_fired(cx) {
                        worker.refused_for(if begun { Limit::HeaderTime } else { Limit::IdleTime });
                        return Poll::Ready(None);
                    }
                    // Where nothing was said it ends as one of HTTP/1 does: at a moment of its own, and without a reset.
                    // Where something was, it is refused as one of HTTP/1 is while memory is short.
                    return match (begun, conn.ending()) {
                        (false, true) => Poll::Ready(Some(Preface::No)),
                        (true, true) => Poll::Ready(None),
                        (true, false) if worker.sheds_requests() => Poll::Ready(Some(Preface::No)),
                        (_, false) => Poll::Pending,
                    };
                }
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
fn spawn_http1<S: Cut>(mut conn: Connection, io: S, info: ConnInfo, input: Inbound) {
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
