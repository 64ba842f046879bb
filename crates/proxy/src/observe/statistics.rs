//! What is counted of each cluster and each listener, under Envoy's names: the dashboards and alerts that exist know these.
//!
//! A worker has a row of numbers for each cluster that it has sent something to, and writes it alone. Rows go by
//! [`ClusterId`](super::clusters::ClusterId), so a new table does not reset them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::histogram;
use super::interner::lock;
use super::names::{Kind, Metric, metrics};

metrics! {
    /// What a worker counts of a cluster.
    ClusterStat;
    CxTotal Counter "upstream_cx_total" "connections" "Connections begun, made or not.",
    CxHttp1Total Counter "upstream_cx_http1_total" "connections" "Connections made for HTTP/1.1.",
    CxHttp2Total Counter "upstream_cx_http2_total" "connections" "Connections made for HTTP/2.",
    CxActive Gauge "upstream_cx_active" "connections" "Connections that are open or being made.",
    CxConnectFail Counter "upstream_cx_connect_fail" "connections" "Connections that could not be made.",
    CxConnectTimeout Counter "upstream_cx_connect_timeout" "connections" "Connections not made within their time.",
    CxIdleTimeout Counter "upstream_cx_idle_timeout" "connections" "Connections closed because none used them.",
    CxMaxDuration Counter "upstream_cx_max_duration_reached" "connections" "Connections closed for their age.",
    CxMaxRequests Counter "upstream_cx_max_requests" "connections"
        "Connections closed after as many requests as are allowed.",
    CxNoneHealthy Counter "upstream_cx_none_healthy" "requests" "Times that there was no endpoint to connect to.",
    CxOverflow Counter "upstream_cx_overflow" "connections" "Times that there might be no more connections.",
    CxDestroy Counter "upstream_cx_destroy" "connections" "Connections that have ended.",
    CxDestroyLocal Counter "upstream_cx_destroy_local" "connections" "Connections that the gateway has ended.",
    CxDestroyRemote Counter "upstream_cx_destroy_remote" "connections" "Connections that the origin has ended.",
    CxDestroyWithActive Counter "upstream_cx_destroy_with_active_rq" "connections"
        "Connections that have ended before the requests on them.",
    RqTotal Counter "upstream_rq_total" "requests" "Requests sent, each attempt of its own.",
    RqActive Gauge "upstream_rq_active" "requests" "Requests sent whose answers have not ended.",
    RqPendingTotal Counter "upstream_rq_pending_total" "requests" "Requests for which there was no connection yet.",
    RqPendingActive Gauge "upstream_rq_pending_active" "requests" "Requests that wait for a connection.",
    RqPendingOverflow Counter "upstream_rq_pending_overflow" "requests"
        "Requests refused because as many wait or are under way as are allowed.",
    RqPendingFailure Counter "upstream_rq_pending_failure_eject" "requests"
        "Requests that failed because their connection could not be made.",
    RqCancelled Counter "upstream_rq_cancelled" "requests" "Requests given up while they waited for a connection.",
    RqTimeout Counter "upstream_rq_timeout" "requests" "Requests that took longer than their route allows.",
    RqPerTryTimeout Counter "upstream_rq_per_try_timeout" "requests"
        "Attempts that took longer than the retry policy allows.",
    RqRxReset Counter "upstream_rq_rx_reset" "requests" "Requests that the origin has reset.",
    RqRetry Counter "upstream_rq_retry" "requests" "Attempts made again.",
    RqRetrySuccess Counter "upstream_rq_retry_success" "requests" "Requests that were answered after a retry.",
    RqRetryOverflow Counter "upstream_rq_retry_overflow" "requests"
        "Attempts not made again because too many retries were under way.",
    RqRetryLimit Counter "upstream_rq_retry_limit_exceeded" "requests"
        "Requests not tried again because there had been enough attempts.",
    Rq1xx Counter "upstream_rq_1xx" "requests" "Requests by the class of the answer that the client got.",
    Rq2xx Counter "upstream_rq_2xx" "requests" "Requests by the class of the answer that the client got.",
    Rq3xx Counter "upstream_rq_3xx" "requests" "Requests by the class of the answer that the client got.",
    Rq4xx Counter "upstream_rq_4xx" "requests" "Requests by the class of the answer that the client got.",
    Rq5xx Counter "upstream_rq_5xx" "requests" "Requests by the class of the answer that the client got.",
}

metrics! {
    /// What a worker counts of a listener: of its connections, and of the requests in them.
    ListenerStat;
    CxTotal Counter "listener.downstream_cx_total" "connections" "Clients' connections accepted.",
    CxActive Gauge "listener.downstream_cx_active" "connections" "Clients' connections that are open.",
    CxDestroy Counter "listener.downstream_cx_destroy" "connections" "Clients' connections that have ended.",
    CxOverflow Counter "listener.downstream_global_cx_overflow" "connections"
        "Clients' connections closed at accept because the process has as many as it may.",
    NoChain Counter "listener.no_filter_chain_match" "connections"
        "Clients' connections closed because nothing serves the name that they ask for.",
    TlsHandshakes Counter "listener.ssl.handshake" "handshakes" "TLS handshakes with clients that succeeded.",
    TlsErrors Counter "listener.ssl.connection_error" "handshakes" "TLS handshakes with clients that failed.",
    HttpTotal Counter "http.downstream_cx_total" "connections" "Clients' connections that HTTP is spoken on.",
    HttpActive Gauge "http.downstream_cx_active" "connections" "Those of them that are open.",
    RqTotal Counter "http.downstream_rq_total" "requests" "Requests begun.",
    RqActive Gauge "http.downstream_rq_active" "requests" "Requests under way.",
    RqRxReset Counter "http.downstream_rq_rx_reset" "requests" "Requests that the client has reset.",
    Rq1xx Counter "http.downstream_rq_1xx" "requests" "Requests by the class of the answer.",
    Rq2xx Counter "http.downstream_rq_2xx" "requests" "Requests by the class of the answer.",
    Rq3xx Counter "http.downstream_rq_3xx" "requests" "Requests by the class of the answer.",
    Rq4xx Counter "http.downstream_rq_4xx" "requests" "Requests by the class of the answer.",
    Rq5xx Counter "http.downstream_rq_5xx" "requests" "Requests by the class of the answer.",
}

impl ListenerStat {
    /// That of answers with this status; `None`: there was none.
    pub fn of_status(status: u16) -> Option<ListenerStat> {
        use ListenerStat::{Rq1xx, Rq2xx, Rq3xx, Rq4xx, Rq5xx};
        of_status([Rq1xx, Rq2xx, Rq3xx, Rq4xx, Rq5xx], status)
    }
}

fn of_status<T: Copy>(classes: [T; 5], status: u16) -> Option<T> {
    classes.get(usize::from(status / 100).checked_sub(1)?).copied()
}

impl ClusterStat {
    /// That of answers with this status; `None`: there was none.
    pub fn of_status(status: u16) -> Option<ClusterStat> {
        use ClusterStat::{Rq1xx, Rq2xx, Rq3xx, Rq4xx, Rq5xx};
        of_status([Rq1xx, Rq2xx, Rq3xx, Rq4xx, Rq5xx], status)
    }
}

/// Says by its name in Envoy whether a statistic is exposed.
pub type Chooser = dyn Fn(&str) -> bool + Send + Sync;

/// The name exposed for one of Envoy's statistics, without the prefix of its family, and the class of status codes that
/// is a label of it.
pub(super) fn exposed(statistic: Metric) -> (String, Option<&'static str>) {
    match statistic.name.rsplit_once('_') {
        Some((name, class)) if name.ends_with("_rq") && class.ends_with("xx") => {
            (name.replace('.', "_"), Some(class))
        }
        _ => (statistic.name.replace('.', "_"), None),
    }
}

/// The numbers of one thing, in the order of the enum. One worker writes, anyone reads.
#[derive(Debug)]
pub(super) struct Row<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Row<N> {
    fn default() -> Row<N> {
        Row(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Row<N> {
    fn add(&self, column: usize, amount: i64) {
        if let Some(cell) = self.0.get(column) {
            // A gauge is taken down by the worker that took it up; sums over workers wrap back as well.
            histogram::add(cell, amount.cast_unsigned());
        }
    }

    /// Adds what is counted here to `totals`.
    pub(super) fn read(&self, totals: &mut [u64; N]) {
        for (total, cell) in totals.iter_mut().zip(&self.0) {
            *total = total.wrapping_add(cell.load(Ordering::Relaxed));
        }
    }

    /// Nothing is under way any more; `columns` are the metrics of the row.
    pub(super) fn end(&self, columns: impl Iterator<Item = Metric>) {
        for (cell, _) in self.0.iter().zip(columns).filter(|(_, metric)| metric.kind == Kind::Gauge) {
            cell.store(0, Ordering::Relaxed);
        }
    }
}

/// What readers see of the rows of one worker: each with the number of what it is about.
pub(super) type SharedRows<const N: usize> = Mutex<Vec<(u32, Arc<Row<N>>)>>;

/// The rows of one worker, by the number of what they are about.
#[derive(Default)]
pub(super) struct Rows<const N: usize>(RefCell<Vec<Option<Arc<Row<N>>>>>);

impl<const N: usize> Rows<N> {
    /// Takes over what another worker has left.
    pub(super) fn adopt(shared: &SharedRows<N>) -> Rows<N> {
        let rows = Rows::default();
        lock(shared).iter().for_each(|(id, row)| rows.put(*id, Arc::clone(row)));
        rows
    }

    fn put(&self, id: u32, row: Arc<Row<N>>) {
        let mut rows = self.0.borrow_mut();
        let index = id as usize;
        if rows.len() <= index {
            rows.resize_with(index + 1, || None);
        }
        rows[index] = Some(row);
    }

    /// Adds to numbers of one row. The first number of a row shows the row to readers.
    pub(super) fn add<const K: usize>(&self, shared: &SharedRows<N>, id: u32, amounts: [(usize, i64); K]) {
        let add = |row: &Row<N>| amounts.iter().for_each(|(column, amount)| row.add(*column, *amount));
        if let Some(Some(row)) = self.0.borrow().get(id as usize) {
            return add(row);
        }
        let row = Arc::new(Row::default());
        add(&row);
        lock(shared).push((id, Arc::clone(&row)));
        self.put(id, row);
    }
}
