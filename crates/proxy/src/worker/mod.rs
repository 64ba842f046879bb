//! What belongs to a worker: its world, without the loop that runs in it. Inside there is no lock; tables, mail and
//! sockets come in, counters and log lines go out.

mod kept;
pub(crate) mod memory;
pub(crate) mod parking;
pub(crate) mod shadow;

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr, TcpStream as StdTcpStream};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use limen_wire::h1;
use limen_wire::head::RequestHead;
use tokio::sync::mpsc::UnboundedSender;

use kept::Kept;
use memory::Exchange;
use parking::Parking;
use shadow::Shadows;

use crate::Config;
use crate::clock::Clock;
use crate::filter::peer_metadata::Introduction;
use crate::limits::memory::Shed;
use crate::limits::shares::Shares;
use crate::observe::counters::ListenerId;
use crate::observe::limits::Limit;
use crate::observe::spans::SpanSender;
use crate::observe::{Counter, Gauge, LogBuffer, Record, TimeCache, WorkerCounters};
use crate::sockets::Opened;
use crate::stock::Stock;
use crate::stream::Buffers;
use crate::table::clusters::EndpointSet;
use crate::table::cors::Origins;
use crate::table::listeners::{ListenerSlot, Tables};
use crate::table::matcher::MatchScratch;
use crate::table::routes::{ClusterSlot, Rule, VirtualHost};
use crate::table::substitution::Substitution;
use crate::tasks::Vital;
use crate::upstream::Upstreams;

/// Exchanges kept for the next request.
const KEPT_EXCHANGES: usize = 256;
/// A worker hands a socket over only if it has at least this many connections more than the mean.
const SLACK: u32 = 4;

/// What comes in.
pub(crate) enum Mail {
    /// A new generation.
    Install {
        tables: Arc<Tables>,
        /// Sockets of listeners that are new.
        open: Vec<(ListenerSlot, Opened)>,
        /// Listeners that are gone.
        close: Vec<ListenerSlot>,
    },
    /// Sockets of listeners of the generation in force that could not be bound before.
    Listen { stamp: u64, open: Vec<(ListenerSlot, Opened)> },
    /// New endpoints for the clusters of the generation in force.
    Endpoints { stamp: u64, endpoints: Arc<[Arc<EndpointSet>]> },
    /// Another worker has a request that waits for a place among a cluster's connections.
    MakeRoom(ClusterSlot),
    /// A connection that another worker accepted.
    Socket(ListenerSlot, StdTcpStream, SocketAddr),
    /// What is refused for want of memory from now on. What is kept for later is to be given back.
    Shed(Shed),
    /// Whether file descriptors are too few for more connections. Connections kept for later are to be closed if so.
    DescriptorsShort(bool),
    /// Connections are to end as they come to rest.
    Drain,
    /// Everything ends now.
    Stop,
}

/// Connections, or flows of datagrams, that a worker holds, on a cache line of its own; written by that worker only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Load(AtomicU32);

impl Load {
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tables that a worker holds. The last holder sends them back to the control side, which frees them.
pub(crate) struct Held {
    tables: Option<Arc<Tables>>,
    back: std::sync::mpsc::Sender<Arc<Tables>>,
}

impl Deref for Held {
    type Target = Tables;
    fn deref(&self) -> &Tables {
        // Only `drop` takes it out.
        self.tables.as_deref().unwrap_or_else(|| unreachable!())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(tables) = self.tables.take() {
            // With the control side gone, they are freed here.
            let _ = self.back.send(tables);
        }
    }
}

/// Connections of each listener and of each client, where those are limited.
#[derive(Clone)]
pub(crate) struct ConnectionShares {
    pub(crate) listeners: Option<Arc<Shares<ListenerId>>>,
    pub(crate) clients: Option<Arc<Shares<IpAddr>>>,
}

/// What a worker is given at its start.
pub(crate) struct Start {
    pub(crate) index: usize,
    pub(crate) config: Arc<Config>,
    pub(crate) peers: Vec<UnboundedSender<Mail>>,
    pub(crate) loads: Arc<[Load]>,
    pub(crate) flows: Arc<[Load]>,
    pub(crate) shares: ConnectionShares,
    pub(crate) counters: WorkerCounters,
    pub(crate) log: LogBuffer,
    pub(crate) spans: SpanSender,
    pub(crate) back: std::sync::mpsc::Sender<Arc<Tables>>,
    pub(crate) vital: Vital,
}

/// A worker's world.
pub(crate) struct Worker {
    index: usize,
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Rc<Clock>,
    pub(crate) upstreams: Upstreams,
    pub(crate) buffers: Buffers,
    pub(crate) parking: Parking,
    pub(crate) shadows: Shadows,
    pub(crate) kept: Kept,
    tables: RefCell<Rc<Held>>,
    back: std::sync::mpsc::Sender<Arc<Tables>>,
    /// Taken and given back once a request: a pointer moves, not the exchange.
    exchanges: Stock<Box<Exchange>>,
    scratch: RefCell<MatchScratch>,
    pub(crate) counters: Rc<WorkerCounters>,
    /// By outlet: the process's own target first.
    logs: RefCell<Vec<LogBuffer>>,
    pub(crate) spans: SpanSender,
    date: RefCell<TimeCache>,
    random: Cell<u64>,
    draining: Cell<bool>,
    /// Counts what can end connections: new tables, the beginning of a drain.
    changes: Cell<u32>,
    shed: Cell<Shed>,
    descriptors_short: Cell<bool>,
    has_idle: tokio::sync::Notify,
    peers: Vec<UnboundedSender<Mail>>,
    loads: Arc<[Load]>,
    /// Flows of datagrams by worker.
    flows: Arc<[Load]>,
    pub(crate) shares: ConnectionShares,
    endpoints_moved: tokio::sync::Notify,
    h1_limits: h1::Limits,
    /// Where tasks are told of that it cannot do without.
    pub(crate) vital: Vital,
    /// What others of the mesh are told of us.
    pub(crate) introduction: Introduction,
}

impl Worker {
    /// The world of a worker that serves nothing yet.
    pub(crate) fn new(start: Start) -> Worker {
        let Start { index, config, peers, loads, flows, shares, counters, log, spans, back, vital } = start;
        let h1_limits = config.limits.heads();
        Worker {
            index,
            introduction: Introduction::new(&config),
            config,
            clock: Clock::new(),
            upstreams: Upstreams::default(),
            buffers: Buffers::default(),
            parking: Parking::default(),
            shadows: Shadows::default(),
            kept: Kept::default(),
            tables: RefCell::new(Rc::new(Held { tables: Some(Arc::default()), back: back.clone() })),
            back,
            exchanges: Stock::new(KEPT_EXCHANGES),
            scratch: RefCell::default(),
            counters: Rc::new(counters),
            logs: RefCell::new(vec![log]),
            spans,
            date: RefCell::default(),
            random: Cell::new(RandomState::new().build_hasher().finish() | 1),
            draining: Cell::new(false),
            // Those who have not looked yet have seen none.
            changes: Cell::new(1),
            shed: Cell::default(),
            descriptors_short: Cell::default(),
            has_idle: tokio::sync::Notify::new(),
            peers,
            loads,
            flows,
            shares,
            endpoints_moved: tokio::sync::Notify::new(),
            h1_limits,
            vital,
        }
    }

    /// Puts a new generation in force.
    pub(crate) fn install(&self, tables: Arc<Tables>) {
        self.upstreams.reconcile(&tables);
        self.open_logs(&tables);
        let held = Rc::new(Held { tables: Some(tables), back: self.back.clone() });
        self.tables.replace(held);
        self.changed();
    }

    /// A buffer for each outlet of the tables. What a former one holds is handed over.
    fn open_logs(&self, tables: &Tables) {
        let mut buffers = self.logs.borrow_mut();
        let mut former = buffers.split_off(1);
        for writer in &tables.logs.outlets {
            let known = former.iter().position(|buffer| writer.made(buffer));
            buffers.push(known.map_or_else(|| writer.buffer(), |at| former.swap_remove(at)));
        }
    }

    /// Connections are to end as they come to rest.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.changed();
    }

    /// Connections look whether they are to end.
    fn changed(&self) {
        self.changes.set(self.changes.get().wrapping_add(1));
        self.parking.wake_all();
    }

    /// A number that is another one after each change that can end connections.
    pub(crate) fn changes(&self) -> u32 {
        self.changes.get()
    }

    /// Memory is short, or it is no longer. What is kept for requests to come goes back.
    pub(crate) fn shed(&self, shed: Shed) {
        self.shed.set(shed);
        self.buffers.clear();
        self.exchanges.clear();
    }

    /// Gives up some of what is kept for requests to come and was not needed since the last turn.
    pub(crate) fn tidy(&self) {
        self.buffers.turn();
        self.exchanges.turn();
    }

    /// How many exchanges wait for requests.
    #[cfg(test)]
    pub(crate) fn exchanges_in_stock(&self) -> usize {
        self.exchanges.len()
    }

    /// File descriptors are short, or they are no longer.
    pub(crate) fn descriptors_short(&self, short: bool) {
        self.descriptors_short.set(short);
        if short {
            self.upstreams.close_idle(self.clock.now_ms());
        }
    }

    /// Whether requests are refused for want of memory.
    pub(crate) fn sheds_requests(&self) -> bool {
        self.shed.get() != Shed::Nothing
    }

    /// The tables in force. Holding them for the length of a request is what keeps it on one generation.
    pub(crate) fn tables(&self) -> Rc<Held> {
        self.tables.borrow().clone()
    }

    /// The first rule of a host that matches.
    pub(crate) fn find<'t>(
        &self,
        host: &'t VirtualHost,
        head: &RequestHead,
        https: bool,
    ) -> Option<&'t Rule> {
        host.find(head, https, &mut self.scratch.borrow_mut()).map(|rule| &**rule)
    }

    /// Whether scripts of this origin are let in.
    pub(crate) fn allows(&self, origins: &Origins, origin: &[u8]) -> bool {
        origins.allow(origin, &mut self.scratch.borrow_mut())
    }

    /// Appends `text` with what is found in it replaced.
    pub(crate) fn substitute(&self, substitution: &Substitution, text: &[u8], to: &mut Vec<u8>) {
        substitution.write(text, &mut self.scratch.borrow_mut().caches, to);
    }

    /// An exchange with nothing in it.
    pub(crate) fn take_exchange(&self) -> Box<Exchange> {
        self.exchanges.take().unwrap_or_else(|| Box::new(Exchange::new(&self.clock)))
    }

    /// Takes an exchange back.
    pub(crate) fn give_exchange(&self, mut exchange: Box<Exchange>) {
        exchange.clear();
        self.exchanges.give(exchange);
    }

    /// Writes an access log line to every log of what a listener serves.
    pub(crate) fn log(&self, listener: ListenerSlot, record: &Record<'_>) {
        let tables = self.tables.borrow();
        let mut buffers = self.logs.borrow_mut();
        for log in tables.logs(listener) {
            let wanted = log.filter.as_ref().is_none_or(|filter| filter.is_true(record));
            if let Some(buffer) = buffers.get_mut(log.outlet.0).filter(|_| wanted) {
                buffer.log(&log.format, record);
            }
        }
    }

    /// Whether an access log wants the bodies of answers that are made here.
    pub(crate) fn logs_bodies(&self) -> bool {
        self.tables.borrow().logs.wants_bodies
    }

    /// Whether an access log wants what comes after bodies.
    pub(crate) fn logs_trailers(&self) -> bool {
        self.tables.borrow().logs.wants_trailers
    }

    /// Counts.
    pub(crate) fn count(&self, counter: Counter) {
        self.counters.add(counter, 1);
    }

    /// A client's connection to a listener was opened.
    pub(crate) fn opened(&self, listener: ListenerId) {
        self.counters.connection_opened(listener);
        self.own_load().fetch_add(1, Ordering::Relaxed);
    }

    /// A client's connection to a listener was closed.
    pub(crate) fn closed(&self, listener: ListenerId) {
        self.counters.connection_closed(listener);
        self.own_load().fetch_sub(1, Ordering::Relaxed);
    }

    fn own_load(&self) -> &AtomicU32 {
        &self.loads[self.index].0
    }

    /// Whether the process may take one more connection, if it is to this listener; else for what it may not.
    pub(crate) fn admits(&self, slot: ListenerSlot) -> Result<(), Limit> {
        if let Some(short) = self.short_of() {
            return Err(short);
        }
        let tables = self.tables.borrow();
        let of_listener = tables.listener(slot).and_then(|listener| listener.max_connections);
        let most = self.config.limits.max_connections.min(of_listener.unwrap_or(u32::MAX));
        if most == u32::MAX || self.loads.iter().map(Load::get).sum::<u32>() < most {
            Ok(())
        } else {
            Err(Limit::Connections)
        }
    }

    /// Whether a connection just accepted leaves enough file descriptors for what else needs some: the readings that
    /// [`Worker::descriptors_short`] follows are too far apart for a burst.
    pub(crate) fn spares(&self, accepted: &tokio::net::TcpStream) -> Result<(), Limit> {
        let limit = self.config.descriptors.as_ref();
        let number = u64::try_from(accepted.as_raw_fd()).unwrap_or(0);
        let spares = limit.is_none_or(|limit| limit.leaves_reserve(number));
        if spares { Ok(()) } else { Err(Limit::FileDescriptors) }
    }

    /// A flow of datagrams was begun (1) or has ended (-1).
    pub(crate) fn flow(&self, change: i32) {
        self.flows[self.index].0.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        self.counters.gauge_add(Gauge::UdpFlowsActive, change.into());
    }

    /// Whether the process may have one more flow of datagrams.
    pub(crate) fn admits_flow(&self) -> bool {
        self.flows.iter().map(Load::get).sum::<u32>() < self.config.limits.max_udp_flows
    }

    /// What there is so little of that nothing is begun.
    pub(crate) fn short_of(&self) -> Option<Limit> {
        match (self.shed.get(), self.descriptors_short.get()) {
            (Shed::Connections, _) => Some(Limit::Memory),
            (_, true) => Some(Limit::FileDescriptors),
            (Shed::Nothing | Shed::Requests, false) => None,
        }
    }

    /// A limit has refused or ended something.
    pub(crate) fn refused_for(&self, limit: Limit) {
        self.counters.limit_refused(limit, 1);
    }

    /// Endpoints or routes may not be what they were.
    pub(crate) fn endpoints_move(&self) {
        self.endpoints_moved.notify_waiters();
    }

    /// Resolves at the next [`Worker::endpoints_move`] after the call.
    pub(crate) fn endpoints_moved(&self) -> tokio::sync::futures::Notified<'_> {
        self.endpoints_moved.notified()
    }

    /// The worker that should have the connection just accepted, if this one has more than its share.
    pub(crate) fn least_loaded(&self) -> Option<usize> {
        if self.loads.len() < 2 {
            return None;
        }
        let own = self.loads[self.index].get();
        let sum: u32 = self.loads.iter().map(Load::get).sum();
        let mean = sum / self.loads.len() as u32;
        if own <= mean + (mean / 4).max(SLACK) {
            return None;
        }
        let least = (0..self.loads.len()).min_by_key(|index| self.loads[*index].get())?;
        (least != self.index).then_some(least)
    }

    /// Asks the other workers to close a connection to a cluster, if they have one that they do not use.
    pub(crate) fn ask_for_room(&self, cluster: ClusterSlot) {
        for other in (0..self.peers.len()).filter(|other| *other != self.index) {
            self.mail_to(other, Mail::MakeRoom(cluster));
        }
    }

    /// Sends mail to another worker; one that has ended gets none.
    pub(crate) fn mail_to(&self, worker: usize, mail: Mail) {
        if let Some(peer) = self.peers.get(worker) {
            let _ = peer.send(mail);
        }
    }

    /// Whether connections are to end as they come to rest.
    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Limits of a request head.
    pub(crate) fn h1_limits(&self) -> &h1::Limits {
        &self.h1_limits
    }

    /// Calls `f` with the text for `date`.
    pub(crate) fn with_date(&self, f: impl FnOnce(&[u8])) {
        let now_ms = self.clock.epoch_ms(self.clock.recent_us());
        f(self.date.borrow_mut().http_date(now_ms));
    }

    /// Evenly distributed; xorshift64*, seeded by the system. Not for secrets.
    pub(crate) fn random_u64(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Evenly distributed.
    pub(crate) fn random_u32(&self) -> u32 {
        (self.random_u64() >> 32) as u32
    }

    /// Evenly distributed.
    pub(crate) fn random_u128(&self) -> u128 {
        u128::from(self.random_u64()) << 64 | u128::from(self.random_u64())
    }

    /// There is an idle upstream connection to watch.
    pub(crate) fn has_idle(&self) {
        self.has_idle.notify_one();
    }

    /// Hands the log lines written so far to the writer.
    pub(crate) fn flush_log(&self) {
        self.logs.borrow_mut().iter_mut().for_each(LogBuffer::flush);
    }

    /// Resolves when there is an idle upstream connection to watch.
    pub(crate) async fn idle_appears(&self) {
        self.has_idle.notified().await;
    }
}
