//! All metrics in Prometheus' text format, with Istio's labels in Istio's order.

use std::fmt::Write;
use std::sync::Arc;

use super::counters::{Registry, ServiceId, ServiceLabels, SourceLabels, WorkloadId, WorkloadLabels};
use super::histogram::HistogramTotals;
use super::limits;
use super::names::{self, Counter, Gauge, Metric};
use super::render_statistics;
use super::series::{Key, Protocol, Totals};
use super::statistics::ListenerStat;
use super::tcp::{TcpKey, TcpTotals};

/// Text is handed on once there is this much of it.
pub(super) const PAGE_BYTES: usize = 64 * 1024;

/// Text on its way to a reader, so that many series need not stand in memory at once.
pub(super) struct Page<'e> {
    pub(super) text: String,
    emit: &'e mut dyn FnMut(&str),
}

impl Page<'_> {
    /// Hands the text on if there is so much of it.
    pub(super) fn turn(&mut self, at: usize) {
        if self.text.len() >= at {
            (self.emit)(&self.text);
            self.text.clear();
        }
    }
}

pub(super) fn render(registry: &Registry, source: &SourceLabels, emit: &mut dyn FnMut(&str)) {
    let mut page = Page { text: String::new(), emit };
    render_build(source, &mut page.text);
    render_requests(registry, source, &mut page);
    render_tcp(registry, source, &mut page);
    render_statistics::render(registry, &mut page);
    render_process(registry, &mut page.text);
    for histogram in registry.read_histograms() {
        head(histogram.metric(), &mut page.text);
        histogram.render(&mut page.text);
    }
    page.turn(1);
}

fn render_build(source: &SourceLabels, out: &mut String) {
    head(names::BUILD, out);
    let mut labels = String::new();
    label(&mut labels, "component", "proxy");
    label(&mut labels, "tag", &source.tag);
    line(names::BUILD, &labels, 1, out);
}

/// A counter with a series for each label set, and where its number stands.
type Family<T> = (Metric, fn(&T) -> u64);

/// Metrics that gRPC calls alone have.
const MESSAGES: [Family<Totals>; 2] = [
    (names::REQUEST_MESSAGES, |totals| totals.request_messages),
    (names::RESPONSE_MESSAGES, |totals| totals.response_messages),
];

fn render_requests(registry: &Registry, source: &SourceLabels, page: &mut Page<'_>) {
    // Labels after the numbers: an id that stands in a series was interned before.
    let series = registry.read_series();
    let labeller = Labeller::new(registry, source);
    let grpc: Vec<bool> = series.keys().map(|key| matches!(key.protocol, Protocol::Grpc(_))).collect();
    let series: Vec<(String, Totals)> =
        series.into_iter().map(|(key, totals)| (labeller.labels(key), totals)).collect();
    head(names::REQUESTS, &mut page.text);
    for (labels, totals) in &series {
        line(names::REQUESTS, labels, totals.duration.count(), &mut page.text);
        page.turn(PAGE_BYTES);
    }
    // Durations are kept in microseconds.
    render_family(names::REQUEST_DURATION, 1_000, &series, |totals| &totals.duration, page);
    render_family(names::REQUEST_BYTES, 1, &series, |totals| &totals.request_bytes, page);
    render_family(names::RESPONSE_BYTES, 1, &series, |totals| &totals.response_bytes, page);
    for (metric, messages) in MESSAGES {
        head(metric, &mut page.text);
        for ((labels, totals), _) in series.iter().zip(&grpc).filter(|(_, grpc)| **grpc) {
            line(metric, labels, messages(totals), &mut page.text);
            page.turn(PAGE_BYTES);
        }
    }
    single(names::SERIES, series.len(), &mut page.text);
}

fn render_tcp(registry: &Registry, source: &SourceLabels, page: &mut Page<'_>) {
    let series = registry.read_tcp();
    if series.is_empty() {
        return;
    }
    let labeller = Labeller::new(registry, source);
    let series: Vec<(String, TcpTotals)> =
        series.into_iter().map(|(key, totals)| (labeller.tcp_labels(key), totals)).collect();
    let families: [Family<TcpTotals>; 4] = [
        (names::TCP_OPENED, |totals| totals.opened),
        (names::TCP_CLOSED, |totals| totals.closed),
        (names::TCP_SENT, |totals| totals.sent),
        (names::TCP_RECEIVED, |totals| totals.received),
    ];
    for (metric, number) in families {
        head(metric, &mut page.text);
        for (labels, totals) in &series {
            line(metric, labels, number(totals), &mut page.text);
            page.turn(PAGE_BYTES);
        }
    }
}

fn render_family(
    metric: Metric,
    divisor: u64,
    series: &[(String, Totals)],
    histogram: fn(&Totals) -> &HistogramTotals,
    page: &mut Page<'_>,
) {
    head(metric, &mut page.text);
    for (labels, totals) in series {
        histogram(totals).render(metric, labels, divisor, &mut page.text);
        page.turn(PAGE_BYTES);
    }
}

fn render_process(registry: &Registry, out: &mut String) {
    let listeners = registry.read_listeners();
    for (metric, stat) in
        [(names::LISTENER_ACTIVE, ListenerStat::CxActive), (names::LISTENER_TOTAL, ListenerStat::CxTotal)]
    {
        head(metric, out);
        for (name, totals) in &listeners {
            let mut labels = String::new();
            label(&mut labels, "listener", name);
            line(metric, &labels, totals.get(stat as usize).copied().unwrap_or_default(), out);
        }
    }
    head(names::WORKER_ACTIVE, out);
    for (worker, active) in registry.read_workers().into_iter().enumerate() {
        let mut labels = String::new();
        label(&mut labels, "worker", &worker.to_string());
        line(names::WORKER_ACTIVE, &labels, active, out);
    }
    let (written, lost, errors) = registry.read_logs();
    single(names::LOG_WRITTEN, written, out);
    single(names::LOG_LOST, lost, out);
    single(names::LOG_ERRORS, errors, out);
    for counter in Counter::ALL {
        single(counter.metric(), registry.counter(*counter), out);
    }
    for gauge in Gauge::ALL {
        single(gauge.metric(), registry.gauge(*gauge), out);
    }
    limits::render(registry, out);
}

// Writing to a String cannot fail, so results of `write!` are dropped below.

pub(super) fn head(metric: Metric, out: &mut String) {
    let Metric { name, help, .. } = metric;
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", metric.kind.as_str());
}

fn line(metric: Metric, labels: &str, value: u64, out: &mut String) {
    let _ = writeln!(out, "{}{{{labels}}} {value}", metric.name);
}

fn single(metric: Metric, value: impl std::fmt::Display, out: &mut String) {
    head(metric, out);
    let _ = writeln!(out, "{} {value}", metric.name);
}

/// Appends `name="value"`, escaped; an empty value stays empty.
fn raw_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    for char in value.chars() {
        match char {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            _ => labels.push(char),
        }
    }
    labels.push('"');
}

pub(super) fn label(labels: &mut String, name: &str, value: &str) {
    raw_label(labels, name, if value.is_empty() { "unknown" } else { value });
}

fn revision_label(labels: &mut String, name: &str, value: &str) {
    raw_label(labels, name, if value.is_empty() { "latest" } else { value });
}

fn source_labels(source: &SourceLabels) -> String {
    let mut labels = String::new();
    label(&mut labels, "reporter", "source");
    label(&mut labels, "source_workload", &source.workload);
    label(&mut labels, "source_canonical_service", &source.canonical_service);
    revision_label(&mut labels, "source_canonical_revision", &source.canonical_revision);
    label(&mut labels, "source_workload_namespace", &source.namespace);
    label(&mut labels, "source_principal", &source.principal);
    label(&mut labels, "source_app", &source.app);
    label(&mut labels, "source_version", &source.version);
    label(&mut labels, "source_cluster", &source.cluster);
    labels
}

struct Labeller {
    source: String,
    services: Vec<Arc<ServiceLabels>>,
    workloads: Vec<Arc<WorkloadLabels>>,
}

impl Labeller {
    fn new(registry: &Registry, source: &SourceLabels) -> Labeller {
        Labeller {
            source: source_labels(source),
            services: registry.service_labels(),
            workloads: registry.workload_labels(),
        }
    }

    fn tcp_labels(&self, key: TcpKey) -> String {
        let mut labels = self.destination(key.service, key.workload);
        label(&mut labels, "request_protocol", "tcp");
        label(&mut labels, "response_flags", &key.flags.to_string());
        label(&mut labels, "connection_security_policy", "unknown");
        labels
    }

    /// The labels of the source and of where it went.
    fn destination(&self, service: ServiceId, workload: WorkloadId) -> String {
        let mut labels = self.source.clone();
        let (unknown_service, unknown_workload) = (ServiceLabels::default(), WorkloadLabels::default());
        let overflow = ServiceLabels { host: "overflow".to_owned(), ..ServiceLabels::default() };
        let service = match self.services.get(service.0 as usize) {
            Some(known) => known,
            None if service == ServiceId::OVERFLOW => &overflow,
            None => &unknown_service,
        };
        let workload = self.workloads.get(workload.0 as usize).map_or(&unknown_workload, |workload| workload);
        label(&mut labels, "destination_workload", &workload.workload);
        label(&mut labels, "destination_workload_namespace", &workload.namespace);
        label(&mut labels, "destination_principal", &workload.principal);
        label(&mut labels, "destination_app", &workload.app);
        label(&mut labels, "destination_version", &workload.version);
        label(&mut labels, "destination_service", &service.host);
        label(&mut labels, "destination_canonical_service", &workload.canonical_service);
        revision_label(&mut labels, "destination_canonical_revision", &workload.canonical_revision);
        label(&mut labels, "destination_service_name", &service.name);
        label(&mut labels, "destination_service_namespace", &service.namespace);
        label(&mut labels, "destination_cluster", &workload.cluster);
        labels
    }

    fn labels(&self, key: Key) -> String {
        let mut labels = self.destination(key.service, key.workload);
        let (protocol, status) = match key.protocol {
            Protocol::Http => ("http", String::new()),
            Protocol::Grpc(status) => ("grpc", status.map(|status| status.to_string()).unwrap_or_default()),
        };
        label(&mut labels, "request_protocol", protocol);
        label(&mut labels, "response_code", &key.code.to_string());
        // Istio leaves it empty, not unknown, where there is no status.
        raw_label(&mut labels, "grpc_response_status", &status);
        label(&mut labels, "response_flags", &key.flags.to_string());
        label(&mut labels, "connection_security_policy", "unknown");
        labels
    }
}
