//! Clusters and endpoints, with slots that stay.

use std::collections::BTreeMap;
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
use limen_wire::proxy_protocol::ProxyVersion;

use super::ejections::{Ejections, Judged};
use super::endpoints::{self, Handles};
use super::origin_tls;
use super::warmup::Ages;
use crate::applied::Ejected;
use crate::limits::cluster::{Allowed, ClusterLimits, RetryLimit};
use crate::limits::outlier::{Notice, Watch, Why};
use crate::limits::rate::RetryRate;
use crate::observe::ClusterId;
use crate::observe::counters::{Registry, ServiceLabels};
use crate::table::clusters::{Balance, Cluster, EndpointSet, KeepAlive, Protocol, Speaks};
use crate::table::routes::ClusterSlot;

/// Endpoints by cluster slot.
pub(crate) type EndpointTable = Vec<Arc<EndpointSet>>;

/// Slots by key, and what was compiled into them.
pub(crate) struct ClusterMemo {
    registry: Arc<Registry>,
    slots: BTreeMap<ClusterKey, Slot>,
    free: Vec<u32>,
    count: u32,
    generation: u64,
    handles: Handles,
    nobody: Arc<EndpointSet>,
    /// Where workers tell of errors.
    control: Sender<Notice>,
}

struct Slot {
    index: u32,
    series: ClusterId,
    /// The last generation in which a route or the IR named the cluster.
    named: u64,
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
    fn new((index, series): (u32, ClusterId), named: u64) -> Slot {
        let (ejections, ages) = (Ejections::default(), Ages::default());
        Slot { index, series, named, cluster: None, endpoints: None, ejections, ages }
    }

    fn ir(&self) -> Option<&Arc<IrCluster>> {
        self.cluster.as_ref().map(|(ir, _)| ir)
    }

    /// Compiles endpoints anew, unless they and their cluster are the former ones.
    fn endpoints(&mut self, ir: &Arc<ClusterEndpoints>, handles: &mut Handles, control: &Sender<Notice>) {
        let cluster = self.ir().cloned();
        let same_cluster = |known: &SlotEndpoints| match (&known.cluster, &cluster) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if self.endpoints.as_ref().is_some_and(|known| Arc::ptr_eq(&known.ir, ir) && same_cluster(known)) {
            return;
        }
        let policy = cluster.as_ref().and_then(|cluster| cluster.outlier.as_ref());
        let addresses = handles.addresses(ir).into_iter();
        let warmup = cluster.as_ref().and_then(|cluster| cluster.warmup);
        self.ages.reconcile(warmup, addresses.clone(), Instant::now());
        self.ejections.reconcile(policy, self.index, addresses, control);
        self.compile_endpoints(ir.clone(), cluster, handles);
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
    pub(crate) fn new(registry: Arc<Registry>, control: Sender<Notice>) -> ClusterMemo {
        ClusterMemo {
            handles: Handles::new(registry.clone()),
            registry,
            slots: BTreeMap::new(),
            free: Vec::new(),
            count: 0,
            generation: 1,
            nobody: Arc::default(),
            control,
        }
    }

    /// The slot of a key, allotted if it is new.
    pub(crate) fn slot(&mut self, key: &ClusterKey) -> ClusterSlot {
        let generation = self.generation;
        if let Some(slot) = self.slots.get_mut(key) {
            slot.named = generation;
            return ClusterSlot(slot.index);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        let series = self.registry.cluster(&key.to_string());
        self.slots.insert(key.clone(), Slot::new((index, series), generation));
        ClusterSlot(index)
    }

    /// What stands in the slot of a key since the last [`ClusterMemo::compile`].
    pub(crate) fn compiled(&self, key: &ClusterKey) -> Option<(ClusterSlot, &Cluster)> {
        let slot = self.slots.get(key)?;
        Some((ClusterSlot(slot.index), &slot.cluster.as_ref()?.1))
    }

    /// Everything by slot. Call after the routes of this generation have asked for their slots.
    pub(crate) fn compile(
        &mut self,
        ir: &Ir,
        endpoints: &Endpoints,
    ) -> (Vec<Option<Arc<Cluster>>>, EndpointTable) {
        for key in ir.clusters.keys() {
            self.slot(key);
        }
        let registry = &self.registry;
        for (key, slot) in &mut self.slots {
            match (ir.clusters.get(key), &slot.cluster) {
                (Some(new), Some((old, _))) if Arc::ptr_eq(new, old) => {}
                (Some(new), old) => {
                    let limits = limits(new, old.as_ref().map(|(ir, compiled)| (&**ir, &**compiled)));
                    let compiled = Arc::new(cluster(new, (slot.series, limits), registry));
                    slot.cluster = Some((new.clone(), compiled));
                }
                (None, _) => slot.cluster = None,
            }
            registry.tell_cluster(slot.series, |facts| {
                let cluster = slot.cluster.as_ref();
                facts.configured = cluster.is_some();
                facts.watched = cluster.is_some_and(|(ir, _)| ir.outlier.is_some());
                facts.limits = cluster.and_then(|(_, compiled)| compiled.limits.clone());
            });
        }
        let mut clusters = vec![None; self.count as usize];
        for slot in self.slots.values() {
            clusters[slot.index as usize] = slot.cluster.as_ref().map(|(_, compiled)| compiled.clone());
        }
        let endpoints = self.endpoints(endpoints);
        self.sweep();
        self.generation += 1;
        (clusters, endpoints)
    }

    /// Endpoints by slot; what did not change is shared with the last table.
    pub(crate) fn endpoints(&mut self, endpoints: &Endpoints) -> EndpointTable {
        for (key, slot) in &mut self.slots {
            match endpoints.clusters.get(key) {
                Some(new) => slot.endpoints(new, &mut self.handles, &self.control),
                None => {
                    slot.endpoints = None;
                    slot.ejections = Ejections::default();
                    slot.ages = Ages::default();
                }
            }
            slot.tell(&self.registry);
        }
        self.table()
    }

    fn table(&self) -> EndpointTable {
        let mut table = vec![self.nobody.clone(); self.count as usize];
        for slot in self.slots.values() {
            if let Some(known) = &slot.endpoints {
                table[slot.index as usize] = known.compiled.clone();
            }
        }
        table
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
        slot.compile_again(&mut self.handles, &self.registry);
        (judged, Some(self.table()))
    }

    /// Lets endpoints come back whose time is over, and gives new ones more weight. A new table, if there were some.
    pub(crate) fn look(&mut self, now: Instant) -> Option<EndpointTable> {
        let mut changed = false;
        for slot in self.slots.values_mut() {
            let Some(cluster) = slot.ir().cloned() else { continue };
            let back = cluster.outlier.as_ref().is_some_and(|policy| slot.ejections.look(policy, now));
            let warmer = slot.ages.next_look().is_some_and(|next| next <= now);
            if back || warmer {
                slot.compile_again(&mut self.handles, &self.registry);
                changed = true;
            }
        }
        changed.then(|| self.table())
    }

    /// When [`ClusterMemo::look`] wants to be called.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        let of =
            |slot: &Slot| [slot.ejections.next_look(), slot.ages.next_look()].into_iter().flatten().min();
        self.slots.values().filter_map(of).min()
    }

    /// Endpoints that are left out.
    pub(crate) fn ejected(&self) -> Vec<Ejected> {
        let of = |(key, slot): (&ClusterKey, &Slot)| {
            let cluster = key.to_string();
            let of = move |address| Ejected { cluster: cluster.clone(), address };
            slot.ejections.ejected().map(of).collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// A cluster's slot is freed one generation after the last that named it: requests that were routed before the swap
    /// still find it. A worker that holds an older route compares names before it uses a slot.
    fn sweep(&mut self) {
        let ClusterMemo { slots, free, generation, registry, .. } = self;
        slots.retain(|_, slot| {
            let keep = slot.named + 1 >= *generation;
            if !keep {
                free.push(slot.index);
                registry.tell_cluster(slot.series, |facts| {
                    (facts.configured, facts.limits) = (false, None);
                });
            }
            keep
        });
    }
}

fn cluster(
    ir: &IrCluster,
    (series, limits): (ClusterId, Option<Arc<ClusterLimits>>),
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
fn limits(new: &IrCluster, old: Option<(&IrCluster, &Cluster)>) -> Option<Arc<ClusterLimits>> {
    match old {
        Some((old, compiled)) if allowed(old) == allowed(new) => compiled.limits.clone(),
        _ => ClusterLimits::new(allowed(new)),
    }
}

fn allowed(ir: &IrCluster) -> Allowed {
    let connection = &ir.connection;
    Allowed {
        connections: connection.max_connections,
        pending: connection.max_pending,
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
