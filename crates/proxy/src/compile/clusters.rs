//! Clusters and endpoints, with slots that stay.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use limen_ir::cluster::{
    Balance as IrBalance, Cluster as IrCluster, ConnectionPolicy, HttpVersion,
    ProxyVersion as IrProxyVersion, RetryLimit as IrRetryLimit, TcpKeepalive,
};
use limen_ir::tls::{ClientTls, Trust, TrustedNames};
use limen_ir::{ClusterEndpoints, ClusterKey, Endpoints, Ir, Millis};
use limen_wire::h1;
use limen_wire::proxy_protocol::ProxyVersion;

use super::by_slot::{Made, different};
use super::ejections::{Ejections, Judged};
use super::endpoints::{self, Handles};
use super::origin_tls;
use super::warmup::Ages;
use crate::applied::Ejected;
use crate::faults::{self, Point};
use crate::limits::Limits;
use crate::limits::cluster::{Allowed, ClusterLimits, RetryLimit};
use crate::limits::outlier::{Notice, Watch, Why};
use crate::limits::rate::RetryRate;
use crate::observe::ClusterId;
use crate::observe::counters::{Registry, ServiceLabels};
use crate::table::clusters::{Balance, Cluster, EndpointSet, KeepAlive, Protocol, Speaks};
use crate::table::routes::ClusterSlot;

/// Clusters by slot; `None`: routes name it, but no such cluster exists.
pub(crate) type ClusterTable = Arc<[Option<Arc<Cluster>>]>;

/// Endpoints by cluster slot.
pub(crate) type EndpointTable = Arc<[Arc<EndpointSet>]>;

/// A slot that was given to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allotted {
    pub(crate) slot: ClusterSlot,
    /// How often the slot had been given to a key before.
    turn: u32,
}

#[cfg(test)]
impl Allotted {
    /// A slot that no key had before.
    pub(crate) fn first(slot: ClusterSlot) -> Allotted {
        Allotted { slot, turn: 1 }
    }
}

/// Who gives clusters their slots.
pub(crate) trait Slots {
    /// The slot of a key, which is given one if it is new. It keeps that for this generation and the next.
    fn allot(&mut self, key: &ClusterKey) -> Allotted;

    /// Has its key that slot still? If so it keeps it for as long as if it were asked for by its key, which costs more.
    fn keep(&mut self, allotted: Allotted) -> bool;
}

/// Slots by key, and what was compiled into them.
pub(crate) struct ClusterMemo {
    registry: Arc<Registry>,
    slots: BTreeMap<ClusterKey, Slot>,
    /// By index.
    tenures: Vec<Tenure>,
    free: Vec<u32>,
    generation: u64,
    handles: Handles,
    /// What was compiled last, of which only what differs is looked at. `None`: that did not come to its end, and what stands
    /// in the slots may be of several generations.
    last: (Option<Arc<Clusters>>, Option<Arc<AllEndpoints>>),
    /// Keys that were given a slot since.
    fresh: Vec<ClusterKey>,
    /// How many slots stand without a cluster.
    vacant: usize,
    /// Those whose endpoints may be left out for errors, or grow warm.
    watched: BTreeSet<ClusterKey>,
    /// What was made last, by index; those of no key are `None` and without endpoints.
    clusters: Made<Option<Arc<Cluster>>>,
    table: Made<Arc<EndpointSet>>,
    nobody: Arc<EndpointSet>,
    /// Where workers tell of errors.
    control: Sender<Notice>,
    bounds: Bounds,
}

type Clusters = BTreeMap<ClusterKey, Arc<IrCluster>>;
type AllEndpoints = BTreeMap<ClusterKey, Arc<ClusterEndpoints>>;

/// What holds of every cluster.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// What heads of answers may be.
    heads: h1::Limits,
    /// Requests that may wait where connections are limited and no number is given.
    pending: Option<u32>,
}

/// Whose a slot is.
#[derive(Debug, Clone, Copy, Default)]
struct Tenure {
    /// How often it was given to a key before.
    turn: u32,
    /// The last generation in which a route named its cluster, or the IR before it was gone from that.
    named: u64,
}

struct Slot {
    index: u32,
    series: ClusterId,
    cluster: Option<(Arc<IrCluster>, Arc<Cluster>)>,
    endpoints: Option<SlotEndpoints>,
    ejections: Ejections,
    ages: Ages,
}

struct SlotEndpoints {
    ir: Arc<ClusterEndpoints>,
    /// The cluster that they were compiled for.
    cluster: Option<Arc<IrCluster>>,
    compiled: Arc<EndpointSet>,
}

impl Slot {
    fn new(index: u32, series: ClusterId) -> Slot {
        let (ejections, ages) = (Ejections::default(), Ages::default());
        Slot { index, series, cluster: None, endpoints: None, ejections, ages }
    }

    fn ir(&self) -> Option<&Arc<IrCluster>> {
        self.cluster.as_ref().map(|(ir, _)| ir)
    }

    /// Compiles endpoints anew, unless they and their cluster are the former ones: then `false`.
    fn endpoints(
        &mut self,
        ir: &Arc<ClusterEndpoints>,
        handles: &mut Handles,
        control: &Sender<Notice>,
    ) -> bool {
        let cluster = self.ir().cloned();
        let same_cluster = |known: &SlotEndpoints| match (&known.cluster, &cluster) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if self.endpoints.as_ref().is_some_and(|known| Arc::ptr_eq(&known.ir, ir) && same_cluster(known)) {
            return false;
        }
        let policy = cluster.as_ref().and_then(|cluster| cluster.outlier.as_ref());
        let addresses = handles.addresses(ir).into_iter();
        let warmup = cluster.as_ref().and_then(|cluster| cluster.warmup);
        self.ages.reconcile(warmup, addresses.clone(), Instant::now());
        self.ejections.reconcile(policy, self.index, addresses, control);
        self.compile_endpoints(ir.clone(), cluster, handles);
        true
    }

    /// Has none any more; `false`: it had none.
    fn without_endpoints(&mut self) -> bool {
        (self.ejections, self.ages) = (Ejections::default(), Ages::default());
        self.endpoints.take().is_some()
    }

    fn compile_endpoints(
        &mut self,
        ir: Arc<ClusterEndpoints>,
        cluster: Option<Arc<IrCluster>>,
        handles: &mut Handles,
    ) {
        let warmth = self.ages.at(cluster.as_ref().and_then(|cluster| cluster.warmup), Instant::now());
        let state = (&self.ejections, &warmth);
        let compiled = Arc::new(endpoints::compile(&ir, cluster.as_deref(), state, handles));
        self.endpoints = Some(SlotEndpoints { ir, cluster, compiled });
    }

    /// Somebody is left out or comes back, or has become warmer.
    fn compile_again(&mut self, handles: &mut Handles, registry: &Registry) {
        if let Some(SlotEndpoints { ir, cluster, .. }) = self.endpoints.take() {
            self.compile_endpoints(ir, cluster, handles);
        }
        self.tell(registry);
    }

    /// Tells readers of the metrics who there is.
    fn tell(&self, registry: &Registry) {
        let members = self.endpoints.as_ref().map(|known| known.compiled.members()).unwrap_or_default();
        registry.tell_cluster(self.series, |facts| {
            facts.members = members;
            facts.left_out(self.ejections.ejected().count());
        });
    }
}

impl ClusterMemo {
    pub(crate) fn new(registry: Arc<Registry>, control: Sender<Notice>, limits: &Limits) -> ClusterMemo {
        let most = limits.max_pending_requests;
        ClusterMemo {
            bounds: Bounds { heads: limits.heads(), pending: (most != u32::MAX).then_some(most) },
            handles: Handles::new(registry.clone()),
            registry,
            slots: BTreeMap::new(),
            tenures: Vec::new(),
            free: Vec::new(),
            generation: 1,
            last: Default::default(),
            fresh: Vec::new(),
            vacant: 0,
            watched: BTreeSet::new(),
            clusters: Made::default(),
            table: Made::default(),
            nobody: Arc::default(),
            control,
        }
    }

    /// The slot of a key, allotted if it is new.
    pub(crate) fn slot(&mut self, key: &ClusterKey) -> ClusterSlot {
        self.allot(key).slot
    }

    /// What stands in the slot of a key since the last [`ClusterMemo::compile`].
    pub(crate) fn compiled(&self, key: &ClusterKey) -> Option<(ClusterSlot, &Cluster)> {
        let slot = self.slots.get(key)?;
        Some((ClusterSlot(slot.index), &slot.cluster.as_ref()?.1))
    }

    /// Everything by slot. Call after the routes of this generation have asked for their slots.
    pub(crate) fn compile(&mut self, ir: &Ir, endpoints: &Endpoints) -> (ClusterTable, EndpointTable) {
        let before = self.last.0.take().unwrap_or_else(|| {
            self.last.1 = None;
            let of = |(key, slot): (&ClusterKey, &Slot)| Some((key.clone(), slot.ir()?.clone()));
            Arc::new(self.slots.iter().filter_map(of).collect())
        });
        let mut changed = Vec::new();
        if !Arc::ptr_eq(&before, &ir.clusters) {
            changed = different(&before, &ir.clusters);
            for key in &changed {
                match ir.clusters.get(*key) {
                    Some(cluster) => self.put(key, cluster),
                    None => self.without(key),
                }
            }
        }
        let table = self.endpoints_of(endpoints, &changed);
        self.last.0 = Some(Arc::clone(&ir.clusters));
        self.sweep();
        self.generation += 1;
        (self.clusters(), table)
    }

    fn clusters(&mut self) -> ClusterTable {
        self.clusters.share()
    }

    /// Endpoints by slot; what did not change is shared with the last table.
    pub(crate) fn endpoints(&mut self, endpoints: &Endpoints) -> EndpointTable {
        self.endpoints_of(endpoints, &[])
    }

    /// The same where these clusters are others than before, for which endpoints are compiled.
    fn endpoints_of(&mut self, endpoints: &Endpoints, clusters: &[&ClusterKey]) -> EndpointTable {
        let all = &endpoints.clusters;
        let before = self.last.1.take();
        let mut fresh = std::mem::take(&mut self.fresh);
        if before.is_none() {
            fresh = self.slots.keys().cloned().collect();
        }
        let other = before.as_ref().filter(|before| !Arc::ptr_eq(before, all));
        let changed = other.map(|before| different(before, all)).unwrap_or_default();
        for key in changed.into_iter().chain(clusters.iter().copied()).chain(&fresh) {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            let changed = match all.get(key) {
                Some(new) => slot.endpoints(new, &mut self.handles, &self.control),
                None => slot.without_endpoints(),
            };
            if changed {
                slot.tell(&self.registry);
                let made = slot.endpoints.as_ref().map(|known| &known.compiled);
                self.table.put(slot.index, made.unwrap_or(&self.nobody).clone());
            }
        }
        self.last.1 = Some(Arc::clone(all));
        self.table.share()
    }

    /// Puts a cluster of the IR into the slot of its key.
    fn put(&mut self, key: &ClusterKey, new: &Arc<IrCluster>) {
        faults::strike(Point::Cluster, || key.to_string());
        self.allot(key);
        let Some(slot) = self.slots.get_mut(key) else { return };
        let old = slot.cluster.as_ref();
        self.vacant -= usize::from(old.is_none());
        let Bounds { heads, pending } = self.bounds;
        let limits = limits(new, old.map(|(ir, compiled)| (&**ir, &**compiled)), pending);
        let compiled = Arc::new(cluster(new, (slot.series, limits, heads), &self.registry));
        slot.cluster = Some((new.clone(), compiled));
        match new.outlier.is_some() || new.warmup.is_some() {
            true => drop(self.watched.insert(key.clone())),
            false => drop(self.watched.remove(key)),
        }
        tell(slot, &mut self.clusters, &self.registry);
    }

    /// The IR does not name the cluster of a key any more.
    fn without(&mut self, key: &ClusterKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.cluster.take().is_none() {
            return;
        }
        self.vacant += 1;
        self.watched.remove(key);
        if let Some(tenure) = self.tenures.get_mut(slot.index as usize) {
            tenure.named = tenure.named.max(self.generation.saturating_sub(1));
        }
        tell(slot, &mut self.clusters, &self.registry);
    }

    /// Compiles the endpoints of a slot again, since somebody is left out or comes back, or has become warmer.
    fn again(&mut self, key: &ClusterKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.compile_again(&mut self.handles, &self.registry);
        if let Some(known) = &slot.endpoints {
            self.table.put(slot.index, known.compiled.clone());
        }
    }

    /// Workers had too many errors of an endpoint. A new table, if that leaves it out.
    pub(crate) fn judge(
        &mut self,
        (watch, why): (&Arc<Watch>, Why),
        now: Instant,
    ) -> (Judged, Option<EndpointTable>) {
        let slot = self.slots.values_mut().find(|slot| slot.index == watch.cluster);
        let Some((slot, cluster)) = slot.and_then(|slot| slot.ir().cloned().map(|cluster| (slot, cluster)))
        else {
            return (Judged::Stale, None);
        };
        let Some(policy) = &cluster.outlier else { return (Judged::Stale, None) };
        let judged = slot.ejections.judge(policy, watch, now);
        if judged != Judged::Stale {
            self.registry.tell_cluster(slot.series, |facts| facts.judged(why, judged == Judged::Ejected));
        }
        if judged != Judged::Ejected {
            return (judged, None);
        }
        self.again(&cluster.key);
        (judged, Some(self.table.share()))
    }

    /// Lets endpoints come back whose time is over, and gives new ones more weight. A new table, if there were some.
    pub(crate) fn look(&mut self, now: Instant) -> Option<EndpointTable> {
        let mut changed = Vec::new();
        for key in &self.watched {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            let Some(cluster) = slot.ir().cloned() else { continue };
            let back = cluster.outlier.as_ref().is_some_and(|policy| slot.ejections.look(policy, now));
            let warmer = slot.ages.next_look().is_some_and(|next| next <= now);
            if back || warmer {
                changed.push(cluster);
            }
        }
        changed.iter().for_each(|cluster| self.again(&cluster.key));
        (!changed.is_empty()).then(|| self.table.share())
    }

    /// When [`ClusterMemo::look`] wants to be called.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        let of =
            |slot: &Slot| [slot.ejections.next_look(), slot.ages.next_look()].into_iter().flatten().min();
        self.watched.iter().filter_map(|key| of(self.slots.get(key)?)).min()
    }

    /// Endpoints that are left out.
    pub(crate) fn ejected(&self) -> Vec<Ejected> {
        let of = |(key, slot): (&'_ ClusterKey, &'_ Slot)| {
            let of = |address| Ejected { cluster: key.to_string(), address };
            slot.ejections.ejected().map(of).collect::<Vec<_>>()
        };
        self.watched.iter().filter_map(|key| self.slots.get_key_value(key)).flat_map(of).collect()
    }

    /// A cluster's slot is freed one generation after the last that named it: requests that were routed before the swap
    /// still find it. A worker that holds an older route compares names before it uses a slot.
    fn sweep(&mut self) {
        // There are thousands with one, and few without.
        if self.vacant == 0 {
            return;
        }
        let ClusterMemo { slots, tenures, free, generation, registry, table, nobody, vacant, .. } = self;
        slots.retain(|_, slot| {
            let index = slot.index as usize;
            let named = tenures.get(index).map_or(0, |tenure| tenure.named);
            let keep = slot.cluster.is_some() || named + 1 >= *generation;
            if !keep {
                *vacant -= 1;
                free.push(slot.index);
                table.put(slot.index, nobody.clone());
                registry.tell_cluster(slot.series, |facts| {
                    (facts.configured, facts.limits) = (false, None);
                });
            }
            keep
        });
    }
}

impl Slots for ClusterMemo {
    fn allot(&mut self, key: &ClusterKey) -> Allotted {
        let generation = self.generation;
        let index = match self.slots.get(key) {
            Some(slot) => slot.index,
            None => {
                let index = self.free.pop().unwrap_or_else(|| {
                    self.tenures.push(Tenure::default());
                    self.clusters.push(None);
                    self.table.push(self.nobody.clone());
                    (self.tenures.len() - 1) as u32
                });
                if let Some(tenure) = self.tenures.get_mut(index as usize) {
                    tenure.turn += 1;
                }
                let series = self.registry.cluster(&key.to_string());
                self.slots.insert(key.clone(), Slot::new(index, series));
                self.fresh.push(key.clone());
                self.vacant += 1;
                index
            }
        };
        let tenure = self.tenures.get_mut(index as usize).map(|tenure| {
            tenure.named = generation;
            tenure.turn
        });
        Allotted { slot: ClusterSlot(index), turn: tenure.unwrap_or_default() }
    }

    fn keep(&mut self, allotted: Allotted) -> bool {
        let Allotted { slot, turn } = allotted;
        let generation = self.generation;
        let own = self.tenures.get_mut(slot.0 as usize).filter(|tenure| tenure.turn == turn);
        own.map(|tenure| tenure.named = generation).is_some()
    }
}

/// Tells workers and readers of the metrics what stands in a slot now.
fn tell(slot: &Slot, clusters: &mut Made<Option<Arc<Cluster>>>, registry: &Registry) {
    let cluster = slot.cluster.as_ref();
    clusters.put(slot.index, cluster.map(|(_, compiled)| compiled.clone()));
    registry.tell_cluster(slot.series, |facts| {
        facts.configured = cluster.is_some();
        facts.watched = cluster.is_some_and(|(ir, _)| ir.outlier.is_some());
        facts.limits = cluster.and_then(|(_, compiled)| compiled.limits.clone());
    });
}

fn cluster(
    ir: &IrCluster,
    (series, limits, heads): (ClusterId, Option<Arc<ClusterLimits>>, h1::Limits),
    registry: &Registry,
) -> Cluster {
    let IrCluster {
        key,
        service,
        external,
        protocol: _,
        balance,
        connection,
        tls,
        warmup: _,
        outlier: _,
        keeps_connections,
        origin: _,
        policy_origin: _,
    } = ir;
    let ConnectionPolicy {
        connect_timeout,
        idle_timeout,
        max_requests,
        max_lifetime,
        keepalive,
        proxy_protocol,
        http,
        max_streams,
        keep_alive,
        // See `limits`.
        max_connections: _,
        max_active_requests: _,
        max_pending: _,
        max_retries: _,
    } = connection;
    let mut hasher = DefaultHasher::new();
    (key, connection).hash(&mut hasher);
    // A certificate that is rotated cuts no connection: the next ones are made with it.
    tls.as_ref().map(|tls| (&tls.sni, trusts(tls), tls.identity.is_some(), tls.mesh)).hash(&mut hasher);
    Cluster {
        heads,
        name: key.to_string().into(),
        series,
        service: registry.service(&ServiceLabels {
            host: service.host.clone(),
            name: service.name.clone(),
            namespace: service.namespace.clone(),
        }),
        external: *external,
        balance: match balance {
            IrBalance::RoundRobin => Balance::RoundRobin,
            IrBalance::LeastRequest => Balance::LeastRequest,
            IrBalance::Random => Balance::Random,
            IrBalance::RingHash { .. } | IrBalance::Maglev { .. } => Balance::Hash,
        },
        connect_timeout_ms: connect_timeout.get(),
        idle_timeout_ms: idle_timeout.map(Millis::get),
        max_requests: *max_requests,
        max_lifetime_ms: max_lifetime.map(Millis::get),
        keepalive: keepalive.as_ref().map(probes),
        proxy_protocol: proxy_protocol.map(|version| match version {
            IrProxyVersion::V1 => ProxyVersion::V1,
            IrProxyVersion::V2 => ProxyVersion::V2,
        }),
        protocol: match http {
            HttpVersion::Http1 => Speaks::Only(Protocol::Http1),
            HttpVersion::Http2 => Speaks::Only(Protocol::Http2),
            HttpVersion::AsClient => Speaks::AsClient,
        },
        max_streams: *max_streams,
        keep_alive: keep_alive
            .as_ref()
            .map(|wanted| KeepAlive { interval_ms: wanted.interval.get(), timeout_ms: wanted.timeout.get() }),
        tls: tls.as_ref().map(origin_tls::compile),
        limits,
        keeps_connections: *keeps_connections,
        fingerprint: hasher.finish(),
    }
}

/// Whom a cluster trusts, but for the certificates themselves.
fn trusts(tls: &ClientTls) -> Option<(&TrustedNames, bool)> {
    match tls.trust.as_ref()? {
        Trust::Everybody => None,
        Trust::Authorities { authorities: _, revoked, names } => Some((names, revoked.is_some())),
    }
}

fn probes(ir: &TcpKeepalive) -> socket2::TcpKeepalive {
    let TcpKeepalive { probes, time, interval } = ir;
    let mut made = socket2::TcpKeepalive::new();
    if let Some(time) = time {
        made = made.with_time(time.duration());
    }
    if let Some(interval) = interval {
        made = made.with_interval(interval.duration());
    }
    probes.map_or(made.clone(), |probes| made.with_retries(probes))
}

/// The counters of a cluster's limits: the ones in use as long as the numbers are the same.
fn limits(
    new: &IrCluster,
    old: Option<(&IrCluster, &Cluster)>,
    pending: Option<u32>,
) -> Option<Arc<ClusterLimits>> {
    match old {
        Some((old, compiled)) if allowed(old, pending) == allowed(new, pending) => compiled.limits.clone(),
        _ => ClusterLimits::new(allowed(new, pending)),
    }
}

/// `pending`: how many requests may wait where connections are limited and no number is given. Where they are not, nobody
/// waits for longer than it takes to connect.
fn allowed(ir: &IrCluster, pending: Option<u32>) -> Allowed {
    let connection = &ir.connection;
    Allowed {
        connections: connection.max_connections,
        pending: connection.max_pending.or(pending.filter(|_| connection.max_connections.is_some())),
        requests: connection.max_active_requests,
        retries: connection.max_retries.as_ref().map(|limit| match limit {
            IrRetryLimit::Count(most) => RetryLimit::Count(*most),
            IrRetryLimit::Budget { share, at_least } => {
                RetryLimit::Budget { share: *share, at_least: *at_least }
            }
            IrRetryLimit::Rate { share, over, at_least, per } => RetryLimit::Rate(RetryRate {
                share: *share,
                over_ms: over.get(),
                at_least: *at_least,
                per_ms: per.get(),
            }),
        }),
    }
}

#[cfg(test)]
#[path = "clusters_tests.rs"]
mod tests;
