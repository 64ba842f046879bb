//! Origins, as one worker sees them: mutable, `!Send`, keyed by cluster slot and reconciled at every swap.
//!
//! A pool outlives the table it was made for as long as the cluster's key and connection settings stay the same; a
//! changed fingerprint retires it: requests in flight finish, nothing is reused.

pub(crate) mod back;
pub(crate) mod balance;
pub(crate) mod connect;
pub(crate) mod counted;
pub(crate) mod fail;
mod former;
mod http2;
pub(crate) mod io;
pub(crate) mod origin;
pub(crate) mod pool;
mod streams;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use limen_wire::head::ResponseHead;

use crate::address::Address;
use crate::limits::cluster::ClusterLimits;
use crate::limits::outlier::Watch;
use crate::observe::counters::WorkloadId;
use crate::observe::{ClusterId, ClusterStat, WorkerCounters};
use crate::table::clusters::{Cluster, EndpointSet, Protocol};
use crate::table::listeners::Tables;
use crate::table::routes::{ClusterSlot, Destination};
use back::Back;
use balance::Balancer;
use connect::{Manner, Opening};
use counted::Raised;
use fail::Fail;
use former::Former;
use http2::Shared;
use origin::OriginConn;
use pool::Seats;
use streams::Dial;

/// Before what idle connections were used last that go: all of them.
const ALL: u64 = u64::MAX;

/// Idle connections kept to one endpoint by one worker.
const IDLE_PER_ENDPOINT: usize = 1024;

/// Milliseconds for which an idle connection is kept that is one client's: the client may be gone.
const CLIENTS_IDLE_MS: u64 = 60_000;

/// Streams that a server is expected to allow before it has said how many (RFC 9113 6.5.2 recommends no less).
const STREAMS_EXPECTED: u32 = 100;

/// The worker's view of every cluster.
#[derive(Default)]
pub(crate) struct Upstreams {
    by_slot: RefCell<Vec<Option<Rc<ClusterState>>>>,
    held: RefCell<Vec<Held>>,
}

/// A cluster with its endpoints and their idle connections.
pub(crate) struct ClusterState {
    cluster: RefCell<Arc<Cluster>>,
    balancer: RefCell<Balancer>,
    /// Every endpoint, the unhealthy too: they keep their connections for when they come back.
    endpoints: RefCell<HashMap<Address, Rc<EndpointState>>>,
    source: RefCell<Arc<EndpointSet>>,
    /// Endpoints that are no more, in a cluster that goes on using its connections to them.
    former: Former,
}

/// An endpoint.
pub(crate) struct EndpointState {
    /// Where it is.
    pub(crate) address: Address,
    /// It says that it speaks the TLS of its mesh.
    pub(crate) in_mesh: bool,
    /// Whom its requests are counted under.
    pub(crate) workload: Cell<WorkloadId>,
    /// Requests of this worker in flight to it.
    pub(crate) active: Cell<u32>,
    #[expect(
        clippy::vec_box,
        reason = "taken and given back once a request: a pointer moves, not the connection"
    )]
    idle: RefCell<Vec<Box<OriginConn>>>,
    /// HTTP/2 connections, in use and idle.
    shared: RefCell<Vec<Rc<Shared>>>,
    /// HTTP/2 connections that are being made, with the requests that wait for each.
    dialing: RefCell<Vec<(Rc<Dial>, u32)>>,
    /// It was removed or its cluster's settings changed: its connections are not kept.
    retired: Cell<bool>,
    /// Counts its errors, if the configuration wants that.
    watch: RefCell<Option<Arc<Watch>>>,
    /// Requests that wait for a connection to it.
    seats: Seats,
    /// In HTTP/2 it takes no tunnels, as far as is known.
    no_tunnels: Cell<bool>,
}

/// Where the objects stand that the state of a slot holds; 0: there is none. Most are the same from generation to
/// generation, and other workers count references to them at the same time: they are not touched where that shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    cluster: usize,
    endpoints: usize,
}

fn address<T>(object: Option<&Arc<T>>) -> usize {
    object.map_or(0, |object| Arc::as_ptr(object).addr())
}

impl Upstreams {
    /// Brings clusters and endpoints in line with new tables.
    pub(crate) fn reconcile(&self, tables: &Tables) {
        let (mut by_slot, mut held) = (self.by_slot.borrow_mut(), self.held.borrow_mut());
        let slots = tables.clusters.len().max(by_slot.len());
        by_slot.resize_with(slots, || None);
        held.resize(slots, Held::default());
        for (slot, (state, held)) in by_slot.iter_mut().zip(&mut *held).enumerate() {
            let Some(cluster) = tables.clusters.get(slot).and_then(Option::as_ref) else {
                if let Some(old) = state.take() {
                    old.retire();
                }
                *held = Held::default();
                continue;
            };
            let endpoints = tables.endpoints.get(slot);
            let now = Held { cluster: address(Some(cluster)), endpoints: address(endpoints) };
            if *held == now {
                continue;
            }
            let endpoints = endpoints.cloned().unwrap_or_default();
            match state {
                Some(same) if same.serves(cluster) => same.update(cluster, &endpoints),
                _ => {
                    if let Some(old) = state.replace(ClusterState::new(cluster, &endpoints)) {
                        old.retire();
                    }
                }
            }
            *held = now;
        }
    }

    /// New endpoints for clusters that stay as they are.
    pub(crate) fn endpoints(&self, endpoints: &[Arc<EndpointSet>]) {
        let mut held = self.held.borrow_mut();
        for ((state, held), endpoints) in self.by_slot.borrow().iter().zip(&mut *held).zip(endpoints) {
            let now = address(Some(endpoints));
            if held.endpoints == now {
                continue;
            }
            if let Some(state) = state {
                let cluster = state.cluster.borrow().clone();
                state.update(&cluster, endpoints);
                held.endpoints = now;
            }
        }
    }

    /// The cluster that a destination means. A slot that was freed and given to another cluster since the request was
    /// routed does not count.
    pub(crate) fn cluster(&self, destination: &Destination) -> Option<Rc<ClusterState>> {
        self.named(destination.cluster, &destination.cluster_name)
    }

    /// The cluster of that slot, if it has that name.
    pub(crate) fn named(&self, ClusterSlot(slot): ClusterSlot, name: &str) -> Option<Rc<ClusterState>> {
        let state = self.by_slot.borrow().get(slot as usize)?.clone()?;
        let same = &*state.cluster.borrow().name == name;
        same.then_some(state)
    }

    /// Closes a connection to a cluster that is not used, if somebody waits for its place.
    pub(crate) fn make_room(&self, ClusterSlot(slot): ClusterSlot) {
        let state = self.by_slot.borrow().get(slot as usize).cloned().flatten();
        if let Some(state) = state
            && state.cluster.borrow().limits.as_ref().is_some_and(|limits| limits.wanted())
        {
            state.make_room();
        }
    }

    /// Closes idle connections that are too old or that the origin has closed. Returns how many are left.
    pub(crate) fn sweep(&self, now_ms: u64) -> usize {
        let states: Vec<_> = self.by_slot.borrow().iter().flatten().cloned().collect();
        states.iter().map(|state| state.sweep(now_ms)).sum()
    }

    /// Closes every connection that is idle: file descriptors are short.
    pub(crate) fn close_idle(&self, now_ms: u64) {
        let states: Vec<_> = self.by_slot.borrow().iter().flatten().cloned().collect();
        for state in states {
            state.sweep_before(Some(ALL), now_ms);
        }
    }
}

impl ClusterState {
    fn new(cluster: &Arc<Cluster>, endpoints: &Arc<EndpointSet>) -> Rc<ClusterState> {
        let state = Rc::new(ClusterState {
            cluster: RefCell::new(cluster.clone()),
            balancer: RefCell::new(Balancer::new(cluster.balance)),
            endpoints: RefCell::default(),
            source: RefCell::default(),
            former: Former::default(),
        });
        state.update(cluster, endpoints);
        state
    }

    fn serves(&self, cluster: &Cluster) -> bool {
        let own = self.cluster.borrow();
        own.fingerprint == cluster.fingerprint && own.name == cluster.name
    }

    fn update(&self, cluster: &Arc<Cluster>, set: &Arc<EndpointSet>) {
        let balance = self.cluster.replace(cluster.clone()).balance;
        if Arc::ptr_eq(&self.source.borrow(), set) && balance == cluster.balance {
            return;
        }
        *self.source.borrow_mut() = set.clone();
        let mut old = std::mem::take(&mut *self.endpoints.borrow_mut());
        let mut known = self.endpoints.borrow_mut();
        let mut states = Vec::with_capacity(set.endpoints.len());
        for endpoint in &set.endpoints {
            let known_before =
                old.remove(&endpoint.address).or_else(|| self.former.come_back(endpoint.address));
            // One that speaks otherwise now is another one: no connection goes on being used.
            let same = known_before.filter(|known| {
                let same = known.in_mesh == endpoint.in_mesh;
                if !same {
                    known.retire();
                }
                same
            });
            let state = same.unwrap_or_else(|| EndpointState::new(endpoint.address, endpoint.in_mesh));
            state.workload.set(endpoint.workload);
            state.watch.replace(endpoint.watch.clone());
            known.insert(endpoint.address, state.clone());
            states.push(state);
        }
        // None is left where the name has no address any more: then nobody is to be reached.
        if cluster.keeps_connections && !set.endpoints.is_empty() {
            self.former.keep(old.into_values());
        } else {
            old.values().for_each(|gone| gone.retire());
            self.former.retire();
        }
        self.balancer.borrow_mut().update(cluster.balance, set, &states);
    }

    fn retire(&self) {
        self.endpoints.borrow().values().for_each(|endpoint| endpoint.retire());
        self.former.retire();
    }

    /// An endpoint to make a connection to, if possible none of those `tried`.
    pub(crate) fn pick_anew(
        &self,
        random: &mut dyn FnMut() -> u32,
        tried: &[Address],
        hash: Option<u64>,
    ) -> Option<Rc<EndpointState>> {
        self.balancer.borrow_mut().pick(random, tried, hash)
    }

    /// An endpoint for a request, if possible none of those it has `tried`: one that is no more, too, if there is a
    /// connection to it that goes on being used. `hash`: the request's, if it has one.
    pub(crate) fn pick(
        &self,
        random: &mut dyn FnMut() -> u32,
        tried: &[Address],
        hash: Option<u64>,
    ) -> Option<Rc<EndpointState>> {
        let picked = self.pick_anew(random, tried, hash)?;
        if self.former.is_empty() || picked.has_connection() {
            return Some(picked);
        }
        Some(self.former.with_connection(tried).unwrap_or(picked))
    }

    /// An endpoint of the first priority that has one and none of those `tried`, at random by weight.
    pub(crate) fn pick_elsewhere(&self, random: u32, tried: &[Address]) -> Option<Rc<EndpointState>> {
        let set = self.source.borrow().clone();
        let address = set.elsewhere(random, tried)?;
        self.endpoints.borrow().get(&address).cloned()
    }

    /// The endpoint at an address, if there is one.
    pub(crate) fn at(&self, address: Address) -> Option<Rc<EndpointState>> {
        self.endpoints.borrow().get(&address).cloned()
    }

    /// The address of an endpoint that may be chosen and is shown as `text`.
    pub(crate) fn chosen_at(&self, text: &str) -> Option<Address> {
        let inet = text.parse().ok().map(Address::Inet);
        let is_meant = |address: &Address| match address {
            Address::Inet(_) => Some(*address) == inet,
            Address::Unix(path) => *path == text,
        };
        let source = self.source.borrow();
        let mut chosen = source.endpoints.iter().filter(|endpoint| endpoint.weight > 0);
        chosen.find(|endpoint| is_meant(&endpoint.address)).map(|endpoint| endpoint.address)
    }

    /// Closes one connection that is not used.
    pub(crate) fn make_room(&self) {
        let closed = self.endpoints.borrow().values().any(|endpoint| endpoint.close_unused());
        if !closed {
            self.former.close_unused();
        }
    }

    fn sweep(&self, now_ms: u64) -> usize {
        let oldest = self.cluster.borrow().idle_timeout_ms.map(|idle| now_ms.saturating_sub(idle));
        self.sweep_before(oldest, now_ms)
    }

    fn sweep_before(&self, oldest: Option<u64>, now_ms: u64) -> usize {
        let endpoints = self.endpoints.borrow();
        let kept: usize = endpoints.values().map(|endpoint| endpoint.sweep(oldest, now_ms)).sum();
        kept + self.former.sweep(oldest, now_ms)
    }
}

impl EndpointState {
    fn new(address: Address, in_mesh: bool) -> Rc<EndpointState> {
        Rc::new(EndpointState {
            address,
            in_mesh,
            workload: Cell::new(WorkloadId::default()),
            active: Cell::new(0),
            idle: RefCell::default(),
            shared: RefCell::default(),
            dialing: RefCell::default(),
            retired: Cell::new(false),
            no_tunnels: Cell::new(false),
            watch: RefCell::default(),
            seats: Seats::default(),
        })
    }

    /// It is no more, or is reached in another way now.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// It has answered a request.
    pub(crate) fn answered(&self, head: &ResponseHead) {
        if let Some(watch) = &*self.watch.borrow() {
            watch.answered(outlier_status(head));
        }
    }

    /// An attempt at it failed. What is not its fault does not count against it.
    pub(crate) fn failed(&self, fail: &Fail) {
        if let Some(watch) = &*self.watch.borrow()
            && fail.is_the_endpoints()
        {
            watch.failed();
        }
    }

    /// Closes idle connections that were last used before `oldest` or that the origin has closed. Returns how many are
    /// left.
    fn sweep(&self, oldest: Option<u64>, now_ms: u64) -> usize {
        let oldest = oldest.unwrap_or(0);
        let oldest_of = |opening: &Opening| match opening.is_ones() {
            false => oldest,
            true => oldest.max(now_ms.saturating_sub(CLIENTS_IDLE_MS)),
        };
        let mut idle = self.idle.borrow_mut();
        if oldest == ALL {
            // They have not been idle for too long.
            idle.clear();
        }
        let over = |conn: &OriginConn| match conn.idle_since < oldest_of(&conn.opening) {
            true => Some(ClusterStat::CxIdleTimeout),
            false => (conn.expires_ms <= now_ms).then_some(ClusterStat::CxMaxDuration),
        };
        idle.retain_mut(|conn| {
            let over = over(conn);
            over.inspect(|why| conn.count(*why)).is_none() && conn.is_quiet()
        });
        let mut shared = self.shared.borrow_mut();
        // One that is idle and without room has an origin that allows no streams any more.
        let useless = |conn: &Shared| conn.is_idle() && !conn.has_room();
        shared.retain(|conn| {
            !conn.is_spent() && !conn.idle_before(oldest_of(conn.opening())) && !useless(conn)
        });
        idle.len() + shared.len() + self.dialing.borrow().len()
    }

    /// Is there a connection that a request could use at once? Those that the origin has closed go.
    fn has_connection(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        while idle.last_mut().is_some_and(|conn| !conn.is_quiet()) {
            idle.pop();
        }
        !idle.is_empty() || self.shared.borrow().iter().any(|conn| !conn.is_spent() && conn.has_room())
    }

    /// Closes one connection that is not used, if there is one.
    fn close_unused(&self) -> bool {
        if self.idle.borrow_mut().pop().is_some() {
            return true;
        }
        let mut shared = self.shared.borrow_mut();
        let unused = shared.iter().position(|conn| conn.is_idle());
        unused.map(|at| shared.swap_remove(at)).is_some()
    }

    /// A shared connection takes no more streams.
    fn let_go(&self, conn: &Rc<Shared>) {
        self.shared.borrow_mut().retain(|other| !Rc::ptr_eq(other, conn));
    }

    fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        // Streams that are under way keep theirs until they have ended.
        self.shared.borrow_mut().clear();
        self.dialing.borrow_mut().clear();
    }

    /// What there is for a request without making a connection.
    pub(crate) fn take(&self, manner: &Manner, now_ms: u64) -> Option<Back> {
        match manner.protocol {
            Protocol::Http1 => self.take_idle(manner, now_ms).map(Back::Http1),
            Protocol::Http2 => {
                let mut shared = self.shared.borrow_mut();
                shared.retain(|conn| !conn.is_spent());
                let usable = shared.iter().find(|conn| *conn.opening() == manner.opening && conn.has_room());
                usable.map(|conn| Back::Http2(conn.open()))
            }
        }
    }

    /// The shared connection that is being made and that one more request may wait for.
    pub(crate) fn dialing(&self, cluster: &Cluster, manner: &Manner) -> Option<Rc<Dial>> {
        let most = cluster.max_streams.unwrap_or(u32::MAX).min(STREAMS_EXPECTED);
        let mut dialing = self.dialing.borrow_mut();
        let (dial, waiting) =
            dialing.iter_mut().find(|(dial, waiting)| *waiting < most && dial.manner == *manner)?;
        *waiting += 1;
        Some(dial.clone())
    }

    /// A shared connection begins to be made, for one request so far.
    pub(crate) fn begin_dial(&self, dial: &Rc<Dial>) {
        self.dialing.borrow_mut().push((dial.clone(), 1));
    }

    /// It has been made, or not.
    pub(crate) fn dialed(&self, dial: &Rc<Dial>, made: Option<&Rc<Shared>>) {
        self.dialing.borrow_mut().retain(|(known, _)| !Rc::ptr_eq(known, dial));
        if let Some(made) = made.filter(|_| !self.retired.get()) {
            self.shared.borrow_mut().push(made.clone());
        }
    }

    /// The connection that was used last and is still open. Newest first keeps few connections warm.
    fn take_idle(&self, manner: &Manner, now_ms: u64) -> Option<Box<OriginConn>> {
        loop {
            let mut idle = self.idle.borrow_mut();
            let at = idle.iter().rposition(|conn| conn.opening == manner.opening)?;
            let mut conn = idle.remove(at);
            if conn.expires_ms <= now_ms {
                conn.count(ClusterStat::CxMaxDuration);
            } else if conn.is_quiet() {
                return Some(conn);
            }
        }
    }

    /// Keeps a connection for the next request, or gives it to one that waits.
    pub(crate) fn put_idle(&self, conn: Box<OriginConn>, limits: Option<&Arc<ClusterLimits>>) {
        let Some(conn) = self.seats.offer(conn, limits) else { return };
        let mut idle = self.idle.borrow_mut();
        if self.retired.get() {
            return;
        }
        if idle.len() >= IDLE_PER_ENDPOINT && conn.opening.is_ones() {
            // What is one client's must not keep those of others out.
            idle.remove(0);
        }
        if idle.len() < IDLE_PER_ENDPOINT {
            idle.push(conn);
        }
    }
}

/// The status that an answer counts as: a gRPC answer without a body says it in its own words.
fn outlier_status(head: &ResponseHead) -> u16 {
    let grpc = head.fields.get(b"grpc-status").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    match grpc {
        None | Some(0_u32) => head.status,
        Some(1) => 499,
        Some(3 | 9 | 11) => 400,
        Some(4) => 504,
        Some(5) => 404,
        Some(6 | 10) => 409,
        Some(7) => 403,
        Some(8) => 429,
        Some(12) => 501,
        Some(14) => 503,
        Some(16) => 401,
        Some(_) => 500,
    }
}

/// Counts a request as in flight to an endpoint for as long as it exists.
pub(crate) struct InFlight {
    endpoint: Rc<EndpointState>,
    /// There is a connection that it goes over.
    sent: Option<Raised>,
}

impl InFlight {
    pub(crate) fn new(endpoint: &Rc<EndpointState>) -> InFlight {
        endpoint.active.set(endpoint.active.get() + 1);
        InFlight { endpoint: endpoint.clone(), sent: None }
    }

    /// It goes over a connection from now on.
    pub(crate) fn sent(&mut self, counters: &Rc<WorkerCounters>, cluster: ClusterId) {
        counters.cluster_request(cluster);
        self.sent = Some(Raised::already(counters, cluster, ClusterStat::RqActive));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.active.set(self.endpoint.active.get().saturating_sub(1));
    }
}
