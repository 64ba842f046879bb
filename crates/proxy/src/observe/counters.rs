//! Counting without contention: each worker writes numbers of its own, readers sum them.
//!
//! The control side interns label sets and hands out ids, which stand in the workers' tables; an id means the same for
//! the life of the process, so a new table never resets a series. A worker's part of the key (status, flags, gRPC
//! status) is found in a small map of its own. Every number has one writer and is updated by a relaxed load and store.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use limen_wire::h2::Work;

use super::clusters::{ClusterBook, ClusterFacts, ClusterId, ClusterTotals, MAX_CLUSTERS};
use super::flags::Flags;
use super::histogram::{self, SharedHistogram};
use super::interner::{Interner, lock};
use super::limits::{Limit, Marks, Measure, Values};
use super::names::{Counter, Gauge};
use super::record::Record;
use super::render;
use super::series::{Key, Recorded, SeriesIndex, Slot, Totals};
use super::sink::LogStats;
use super::statistics::{Chooser, ClusterStat, ListenerStat, Rows, SharedRows};
use super::tcp::{TcpCounts, TcpIndex, TcpKey, TcpSlot, TcpTotals};

/// Series of requests that one worker keeps at most. Requests beyond count in one series whose
/// `destination_service` is `overflow`.
pub const MAX_SERIES: usize = 20_000;

/// An interned [`ServiceLabels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServiceId(pub(super) u32);

impl ServiceId {
    /// No service is known: all its labels print as `unknown`.
    pub const UNKNOWN: ServiceId = ServiceId(0);
    pub(super) const OVERFLOW: ServiceId = ServiceId(u32::MAX);
}

/// An interned [`WorkloadLabels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WorkloadId(pub(super) u32);

impl WorkloadId {
    /// No workload is known: all its labels print as `unknown`.
    pub const UNKNOWN: WorkloadId = WorkloadId(0);
}

/// An interned listener name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(u32);

/// The service a cluster stands for. What is empty prints as `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServiceLabels {
    /// `destination_service`, such as `reviews.default.svc.cluster.local`.
    pub host: String,
    /// `destination_service_name`, such as `reviews`.
    pub name: String,
    /// `destination_service_namespace`
    pub namespace: String,
}

/// The workload behind an endpoint. What is empty prints as `unknown`, an empty revision as `latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct WorkloadLabels {
    /// `destination_workload`, such as `reviews-v1`.
    pub workload: String,
    /// `destination_workload_namespace`
    pub namespace: String,
    /// `destination_canonical_service`
    pub canonical_service: String,
    /// `destination_canonical_revision`
    pub canonical_revision: String,
    /// `destination_app`
    pub app: String,
    /// `destination_version`
    pub version: String,
    /// `destination_cluster`
    pub cluster: String,
    /// `destination_principal`
    pub principal: String,
}

/// The gateway itself, which is the source of all it reports. What is empty prints as `unknown`, an empty revision as
/// `latest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceLabels {
    /// `source_workload`, such as `istio-ingressgateway`.
    pub workload: String,
    /// `source_workload_namespace`
    pub namespace: String,
    /// `source_canonical_service`
    pub canonical_service: String,
    /// `source_canonical_revision`
    pub canonical_revision: String,
    /// `source_app`
    pub app: String,
    /// `source_version`
    pub version: String,
    /// `source_cluster`
    pub cluster: String,
    /// `source_principal`
    pub principal: String,
    /// The `tag` of `istio_build`: our version.
    pub tag: String,
}

/// All metrics of the process. Shared; made once.
pub struct Registry {
    series_limit: usize,
    services: Mutex<Interner<ServiceLabels>>,
    workloads: Mutex<Interner<WorkloadLabels>>,
    listeners: Mutex<Interner<String>>,
    clusters: Mutex<ClusterBook>,
    chooser: Mutex<Option<Arc<Chooser>>>,
    workers: Mutex<Vec<Arc<Shared>>>,
    /// Numbers of the control side, which has many threads.
    process: Numbers,
    limits: Values,
    histograms: Mutex<Vec<Arc<SharedHistogram>>>,
    logs: Mutex<Vec<Arc<LogStats>>>,
}

/// One cell for each process metric.
struct Numbers {
    counters: [AtomicU64; Counter::COUNT],
    gauges: [AtomicI64; Gauge::COUNT],
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers {
            counters: [const { AtomicU64::new(0) }; Counter::COUNT],
            gauges: [const { AtomicI64::new(0) }; Gauge::COUNT],
        }
    }
}

/// What one worker writes and readers read.
#[derive(Default)]
struct Shared {
    numbers: Numbers,
    marks: Marks,
    series: Mutex<Vec<(Key, Arc<Slot>)>>,
    tcp: Mutex<Vec<(TcpKey, Arc<TcpSlot>)>>,
    listeners: SharedRows<{ ListenerStat::COUNT }>,
    clusters: SharedRows<{ ClusterStat::COUNT }>,
    /// A worker writes here now.
    taken: AtomicBool,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::with_series_limit(MAX_SERIES)
    }
}

impl Registry {
    /// A registry whose workers keep at most that many series each.
    pub fn with_series_limit(series_limit: usize) -> Registry {
        Registry {
            series_limit,
            services: Mutex::new(Interner::starting_with(vec![ServiceLabels::default()])),
            workloads: Mutex::new(Interner::starting_with(vec![WorkloadLabels::default()])),
            listeners: Mutex::new(Interner::starting_with(Vec::new())),
            clusters: Mutex::new(ClusterBook::new(MAX_CLUSTERS)),
            chooser: Mutex::default(),
            workers: Mutex::default(),
            process: Numbers::default(),
            limits: Values::default(),
            histograms: Mutex::default(),
            logs: Mutex::default(),
        }
    }

    /// Series of requests that one worker keeps at most.
    pub fn series_limit(&self) -> usize {
        self.series_limit
    }

    /// The id of a service. The same labels always have the same id.
    pub fn service(&self, labels: &ServiceLabels) -> ServiceId {
        ServiceId(lock(&self.services).id(labels.clone()))
    }

    /// The id of a workload. The same labels always have the same id.
    pub fn workload(&self, labels: &WorkloadLabels) -> WorkloadId {
        WorkloadId(lock(&self.workloads).id(labels.clone()))
    }

    /// The id of a listener, by the name that its metrics carry, such as `0.0.0.0_8080`.
    pub fn listener(&self, name: &str) -> ListenerId {
        ListenerId(lock(&self.listeners).id(name.to_owned()))
    }

    /// The id of a cluster, by its name. The same name always has the same id.
    pub fn cluster(&self, name: &str) -> ClusterId {
        lock(&self.clusters).id(name)
    }

    /// Says what the control side knows of a cluster.
    pub(crate) fn tell_cluster(&self, id: ClusterId, tell: impl FnOnce(&mut ClusterFacts)) {
        lock(&self.clusters).tell(id, tell);
    }

    /// Exposes only those of Envoy's statistics that are chosen; `None`: all.
    pub fn choose(&self, chooser: Option<Arc<Chooser>>) {
        *lock(&self.chooser) = chooser;
    }

    /// What chooses them, if anything does.
    pub(super) fn chooser(&self) -> Option<Arc<Chooser>> {
        lock(&self.chooser).clone()
    }

    /// Counters for one worker thread. If a worker has ended, its series are carried on.
    pub fn worker(&self) -> WorkerCounters {
        let mut workers = lock(&self.workers);
        let left = workers.iter().find(|shared| !shared.taken.swap(true, Ordering::AcqRel)).cloned();
        let shared = left.unwrap_or_else(|| {
            let shared = Arc::new(Shared { taken: AtomicBool::new(true), ..Shared::default() });
            workers.push(Arc::clone(&shared));
            shared
        });
        let mut series = SeriesIndex::default();
        for (key, slot) in lock(&shared.series).iter() {
            series.adopt(*key, Arc::clone(slot));
        }
        let tcp = lock(&shared.tcp).iter().cloned().collect();
        let listeners = Rows::adopt(&shared.listeners);
        let clusters = Rows::adopt(&shared.clusters);
        WorkerCounters {
            clusters,
            shared,
            series: RefCell::new(series),
            tcp: RefCell::new(tcp),
            listeners,
            series_limit: self.series_limit,
        }
    }

    /// Adds to a counter from the control side. Any thread may.
    pub fn add(&self, counter: Counter, amount: u64) {
        self.process.counters[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }

    /// Sets the control side's part of a gauge. Any thread may.
    pub fn set(&self, gauge: Gauge, value: i64) {
        self.process.gauges[gauge as usize].store(value, Ordering::Relaxed);
    }

    /// What a counter stands at, over all workers and the control side.
    pub fn counter(&self, counter: Counter) -> u64 {
        let read = |numbers: &Numbers| numbers.counters[counter as usize].load(Ordering::Relaxed);
        read(&self.process) + lock(&self.workers).iter().map(|shared| read(&shared.numbers)).sum::<u64>()
    }

    /// What a gauge stands at, over all workers and the control side.
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        let read = |numbers: &Numbers| numbers.gauges[gauge as usize].load(Ordering::Relaxed);
        read(&self.process) + lock(&self.workers).iter().map(|shared| read(&shared.numbers)).sum::<i64>()
    }

    /// Says what the setting of a limit is; [`limits::NONE`](super::limits::NONE): there is no limit.
    pub fn set_limit(&self, limit: Limit, value: u64) {
        self.limits.set(limit, value);
    }

    /// What was said last.
    pub fn limit(&self, limit: Limit) -> u64 {
        self.limits.get(limit)
    }

    /// How much of a limit is used.
    pub fn limit_used(&self, limit: Limit) -> u64 {
        match limit.row().measure {
            Measure::Connections => self.read_workers().into_iter().sum(),
            Measure::Series => self.count_series(),
            Measure::Gauge(gauge) => u64::try_from(self.gauge(gauge)).unwrap_or_default(),
            Measure::Highest => {
                let workers = lock(&self.workers);
                workers.iter().map(|shared| shared.marks.highest_of(limit)).max().unwrap_or_default()
            }
        }
    }

    /// How often a limit has refused or ended something.
    pub fn limit_refused(&self, limit: Limit) -> u64 {
        lock(&self.workers).iter().map(|shared| shared.marks.refused_of(limit)).sum()
    }

    /// Clients' HTTP/2 connections that were ended because of such work.
    pub fn sent_away(&self, work: Work) -> u64 {
        lock(&self.workers).iter().map(|shared| shared.marks.sent_away_of(work)).sum()
    }

    /// A histogram for the control side, such as `limen_change_latency_seconds`. `help` is one sentence, `bounds` the
    /// buckets' upper bounds in the unit that the name tells. A name asked for again gives the same histogram.
    pub fn histogram(&self, name: &'static str, help: &'static str, bounds: &[f64]) -> Arc<SharedHistogram> {
        let mut histograms = lock(&self.histograms);
        if let Some(known) = histograms.iter().find(|known| known.metric().name == name) {
            return Arc::clone(known);
        }
        let new = Arc::new(SharedHistogram::new(name, help, bounds));
        histograms.push(Arc::clone(&new));
        new
    }

    /// Exposes what becomes of an access log's lines. Logs add up.
    pub fn watch_log(&self, stats: Arc<LogStats>) {
        lock(&self.logs).push(stats);
    }

    /// Appends all metrics in Prometheus' text format (version 0.0.4).
    pub fn render(&self, source: &SourceLabels, out: &mut String) {
        render::render(self, source, &mut |text| out.push_str(text));
    }

    /// As [`Registry::render`], handing the text on in parts of about 64 KiB that end with a line. A label set takes
    /// some 50 kB, as it does in Istio, so with thousands of them the whole is better not held at once.
    pub fn render_parts(&self, source: &SourceLabels, emit: &mut dyn FnMut(&str)) {
        render::render(self, source, emit);
    }

    pub(super) fn read_series(&self) -> BTreeMap<Key, Totals> {
        let workers = lock(&self.workers).clone();
        let mut all = BTreeMap::<Key, Totals>::new();
        for worker in workers {
            let series = lock(&worker.series).clone();
            for (key, slot) in series {
                slot.read(all.entry(key).or_default());
            }
        }
        all
    }

    /// Label sets that the worker keeps that has most of one kind; each may have as many as the limit says.
    fn count_series(&self) -> u64 {
        let of = |worker: &Arc<Shared>| lock(&worker.series).len().max(lock(&worker.tcp).len());
        lock(&self.workers).iter().map(of).max().unwrap_or(0) as u64
    }

    pub(super) fn read_tcp(&self) -> BTreeMap<TcpKey, TcpTotals> {
        let mut all = BTreeMap::<TcpKey, TcpTotals>::new();
        for worker in lock(&self.workers).clone() {
            for (key, slot) in lock(&worker.tcp).iter() {
                slot.read(all.entry(*key).or_default());
            }
        }
        all
    }

    /// Every listener that was ever named, with the sums of what was counted of it.
    pub(super) fn read_listeners(&self) -> Vec<(Arc<String>, [u64; ListenerStat::COUNT])> {
        let names = lock(&self.listeners).list.clone();
        let mut all: Vec<_> = names.into_iter().map(|name| (name, [0; ListenerStat::COUNT])).collect();
        for worker in lock(&self.workers).clone() {
            for (id, row) in lock(&worker.listeners).iter() {
                if let Some((_, totals)) = all.get_mut(*id as usize) {
                    row.read(totals);
                }
            }
        }
        all
    }

    /// Clients' connections that are open, by worker.
    pub(super) fn read_workers(&self) -> Vec<u64> {
        let of = |worker: &Arc<Shared>| {
            let mut totals = [0; ListenerStat::COUNT];
            lock(&worker.listeners).iter().for_each(|(_, row)| row.read(&mut totals));
            totals.get(ListenerStat::CxActive as usize).copied().unwrap_or_default()
        };
        lock(&self.workers).iter().map(of).collect()
    }

    /// Every cluster, with the sums of what was counted of it.
    pub(super) fn read_clusters(&self) -> Vec<ClusterTotals> {
        let mut all = lock(&self.clusters).all();
        for worker in lock(&self.workers).clone() {
            for (id, row) in lock(&worker.clusters).iter() {
                if let Some(cluster) = all.get_mut(*id as usize) {
                    row.read(cluster.numbers.get_or_insert([0; ClusterStat::COUNT]));
                }
            }
        }
        all
    }

    pub(super) fn read_logs(&self) -> (u64, u64, u64) {
        lock(&self.logs).iter().fold((0, 0, 0), |(written, lost, errors), log| {
            (written + log.written(), lost + log.lost(), errors + log.errors())
        })
    }

    pub(super) fn read_histograms(&self) -> Vec<Arc<SharedHistogram>> {
        lock(&self.histograms).clone()
    }

    pub(super) fn service_labels(&self) -> Vec<Arc<ServiceLabels>> {
        lock(&self.services).list.clone()
    }

    pub(super) fn workload_labels(&self) -> Vec<Arc<WorkloadLabels>> {
        lock(&self.workloads).list.clone()
    }
}

/// The counters of one worker. May be sent to its thread, not shared between threads; within the thread every method
/// takes `&self`, so that an `Rc` will do.
pub struct WorkerCounters {
    shared: Arc<Shared>,
    series: RefCell<SeriesIndex>,
    tcp: RefCell<TcpIndex>,
    listeners: Rows<{ ListenerStat::COUNT }>,
    clusters: Rows<{ ClusterStat::COUNT }>,
    series_limit: usize,
}

impl WorkerCounters {
    /// Counts a finished request.
    pub fn record(&self, service: ServiceId, workload: WorkloadId, record: &Record<'_>) {
        let mut series = self.series.borrow_mut();
        let mut key = Key::of(service, workload, record);
        if series.is_beyond(key, self.series_limit) {
            self.add(Counter::SeriesOverflow, 1);
            self.limit_refused(Limit::Series, 1);
            key = Key::OVERFLOW;
        }
        if let Recorded::New(key, slot) = series.record(key, record) {
            lock(&self.shared.series).push((key, slot));
        }
    }

    /// The series of connections to a service that ended (or may end) with these flags.
    pub fn tcp(&self, service: ServiceId, workload: WorkloadId, flags: Flags) -> TcpCounts {
        let mut index = self.tcp.borrow_mut();
        let mut key = TcpKey { service, workload, flags };
        if index.len() >= self.series_limit && !index.contains_key(&key) {
            self.add(Counter::SeriesOverflow, 1);
            self.limit_refused(Limit::Series, 1);
            key = TcpKey::OVERFLOW;
        }
        let slot = index.entry(key).or_insert_with(|| {
            let slot = Arc::new(TcpSlot::default());
            lock(&self.shared.tcp).push((key, Arc::clone(&slot)));
            slot
        });
        TcpCounts(Arc::clone(slot))
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, amount: u64) {
        histogram::add(&self.shared.numbers.counters[counter as usize], amount);
    }

    /// One holder has so much of what is limited.
    pub fn limit_seen(&self, limit: Limit, much: u64) {
        self.shared.marks.seen(limit, much);
    }

    /// A limit has refused or ended something.
    pub fn limit_refused(&self, limit: Limit, times: u64) {
        self.shared.marks.refused(limit, times);
    }

    /// A client's HTTP/2 connection was ended because of such work.
    pub fn sent_away(&self, work: Work) {
        self.shared.marks.refused(Limit::Credit, 1);
        self.shared.marks.sent_away(work);
    }

    /// A span of time is over: what was the most before the one that begins is forgotten when that is over, too.
    pub fn limits_turn(&self) {
        self.shared.marks.turn();
    }

    /// Moves a gauge by that much.
    pub fn gauge_add(&self, gauge: Gauge, amount: i64) {
        let cell = &self.shared.numbers.gauges[gauge as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Adds to a number of a cluster.
    pub fn cluster_add(&self, cluster: ClusterId, stat: ClusterStat, amount: i64) {
        self.clusters.add(&self.shared.clusters, cluster.0, [(stat as usize, amount)]);
    }

    /// Counts a request that is sent to a cluster; `RqActive` is taken down at its end.
    pub fn cluster_request(&self, cluster: ClusterId) {
        let begun = [(ClusterStat::RqTotal as usize, 1), (ClusterStat::RqActive as usize, 1)];
        self.clusters.add(&self.shared.clusters, cluster.0, begun);
    }

    /// Adds to a number of a listener.
    pub fn listener_add(&self, listener: ListenerId, stat: ListenerStat, amount: i64) {
        self.listeners.add(&self.shared.listeners, listener.0, [(stat as usize, amount)]);
    }

    /// Counts a client's request that has begun.
    pub fn request_begun(&self, listener: ListenerId) {
        let begun = [(ListenerStat::RqTotal as usize, 1), (ListenerStat::RqActive as usize, 1)];
        self.listeners.add(&self.shared.listeners, listener.0, begun);
    }

    /// Counts its end, by the class of its answer.
    pub fn request_ended(&self, listener: ListenerId, status: u16) {
        let ended = (ListenerStat::RqActive as usize, -1);
        match ListenerStat::of_status(status) {
            Some(class) => {
                self.listeners.add(&self.shared.listeners, listener.0, [ended, (class as usize, 1)])
            }
            None => self.listeners.add(&self.shared.listeners, listener.0, [ended]),
        }
    }

    /// Counts a client's connection that was accepted.
    pub fn connection_opened(&self, listener: ListenerId) {
        self.listener_add(listener, ListenerStat::CxTotal, 1);
        self.listener_add(listener, ListenerStat::CxActive, 1);
    }

    /// Counts a client's connection that was closed; [`WorkerCounters::connection_opened`] counted it before, on this
    /// worker.
    pub fn connection_closed(&self, listener: ListenerId) {
        self.listener_add(listener, ListenerStat::CxActive, -1);
        self.listener_add(listener, ListenerStat::CxDestroy, 1);
    }
}

impl Drop for WorkerCounters {
    /// Nothing of a worker that has ended is open any more; what it counted stays.
    fn drop(&mut self) {
        self.shared.numbers.gauges.iter().for_each(|gauge| gauge.store(0, Ordering::Relaxed));
        for (_, row) in lock(&self.shared.listeners).iter() {
            row.end(ListenerStat::ALL.iter().map(|stat| stat.metric()));
        }
        for (_, row) in lock(&self.shared.clusters).iter() {
            row.end(ClusterStat::ALL.iter().map(|stat| stat.metric()));
        }
        self.shared.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
#[path = "counters_tests.rs"]
mod tests;
