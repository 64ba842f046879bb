//! The names of all metrics, once: what is exposed, documented and tested is this table.

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// As `# TYPE` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A metric's row.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name exposed.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What is counted in.
    pub unit: &'static str,
    /// One sentence for `# HELP`.
    pub help: &'static str,
}

pub(super) const fn metric(name: &'static str, kind: Kind, unit: &'static str, help: &'static str) -> Metric {
    Metric { name, kind, unit, help }
}

/// `istio_requests_total`
pub const REQUESTS: Metric =
    metric("istio_requests_total", Kind::Counter, "requests", "Requests that have ended.");
/// `istio_request_duration_milliseconds`
pub const REQUEST_DURATION: Metric = metric(
    "istio_request_duration_milliseconds",
    Kind::Histogram,
    "milliseconds",
    "Time from a request's first byte to the last byte sent.",
);
/// `istio_request_bytes`
pub const REQUEST_BYTES: Metric =
    metric("istio_request_bytes", Kind::Histogram, "bytes", "Size of requests: head, body and trailers.");
/// `istio_response_bytes`
pub const RESPONSE_BYTES: Metric =
    metric("istio_response_bytes", Kind::Histogram, "bytes", "Size of responses: head, body and trailers.");
/// `istio_tcp_connections_opened_total`
pub const TCP_OPENED: Metric =
    metric("istio_tcp_connections_opened_total", Kind::Counter, "connections", "TCP connections opened.");
/// `istio_tcp_connections_closed_total`
pub const TCP_CLOSED: Metric =
    metric("istio_tcp_connections_closed_total", Kind::Counter, "connections", "TCP connections closed.");
/// `istio_tcp_sent_bytes_total`
pub const TCP_SENT: Metric =
    metric("istio_tcp_sent_bytes_total", Kind::Counter, "bytes", "Bytes sent to clients on TCP connections.");
/// `istio_tcp_received_bytes_total`
pub const TCP_RECEIVED: Metric = metric(
    "istio_tcp_received_bytes_total",
    Kind::Counter,
    "bytes",
    "Bytes received from clients on TCP connections.",
);
/// `istio_request_messages_total`
pub const REQUEST_MESSAGES: Metric = metric(
    "istio_request_messages_total",
    Kind::Counter,
    "messages",
    "Messages of gRPC calls from clients, counted when the call has ended.",
);
/// `istio_response_messages_total`
pub const RESPONSE_MESSAGES: Metric = metric(
    "istio_response_messages_total",
    Kind::Counter,
    "messages",
    "Messages of gRPC calls to clients, counted when the call has ended.",
);
/// `istio_build`
pub const BUILD: Metric = metric("istio_build", Kind::Gauge, "", "What is running; always 1.");
/// `limen_downstream_connections_active`
pub const LISTENER_ACTIVE: Metric = metric(
    "limen_downstream_connections_active",
    Kind::Gauge,
    "connections",
    "Clients' connections that are open, by listener.",
);
/// `limen_worker_connections_active`
pub const WORKER_ACTIVE: Metric = metric(
    "limen_worker_connections_active",
    Kind::Gauge,
    "connections",
    "Clients' connections that are open, by the worker that serves them.",
);
/// `limen_downstream_connections_total`
pub const LISTENER_TOTAL: Metric = metric(
    "limen_downstream_connections_total",
    Kind::Counter,
    "connections",
    "Clients' connections accepted, by listener.",
);
/// `limen_access_log_lines_written_total`
pub const LOG_WRITTEN: Metric =
    metric("limen_access_log_lines_written_total", Kind::Counter, "lines", "Access log lines written.");
/// `limen_access_log_lines_lost_total`
pub const LOG_LOST: Metric = metric(
    "limen_access_log_lines_lost_total",
    Kind::Counter,
    "lines",
    "Access log lines lost because the target was too slow or failed.",
);
/// `limen_access_log_errors_total`
pub const LOG_ERRORS: Metric =
    metric("limen_access_log_errors_total", Kind::Counter, "errors", "Failed writes of the access log.");
/// `limen_request_series`
pub const SERIES: Metric =
    metric("limen_request_series", Kind::Gauge, "series", "Label sets of the istio_request metrics.");

/// Declares one enum of metrics with its rows.
macro_rules! metrics {
    ($(#[$doc:meta])* $enum:ident; $($name:ident $kind:ident $text:literal $unit:literal $help:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $enum {
            $(#[doc = $help] $name),+
        }

        impl $enum {
            /// All of them, in the order in which they are declared.
            pub const ALL: &'static [$enum] = &[$($enum::$name),+];
            /// How many there are.
            pub const COUNT: usize = $enum::ALL.len();

            /// Its row.
            pub fn metric(self) -> $crate::observe::names::Metric {
                use $crate::observe::names::{Kind, metric};
                match self {
                    $($enum::$name => metric($text, Kind::$kind, $unit, $help)),+
                }
            }
        }
    };
}
pub(super) use metrics;

metrics! {
    /// Counters that a worker or the control side adds to.
    Counter;
    TlsHandshakeErrors Counter "limen_tls_handshake_errors_total" "handshakes" "TLS handshakes with clients that failed.",
    UpstreamConnections Counter "limen_upstream_connections_total" "connections" "Connections to upstreams that were made.",
    UpstreamConnectErrors Counter "limen_upstream_connect_errors_total" "connections"
        "Connections to upstreams that could not be made, TLS included.",
    Retries Counter "limen_retries_total" "requests" "Attempts made again.",
    Mirrors Counter "limen_mirrors_total" "requests" "Copies of requests sent to mirrors.",
    MirrorsDropped Counter "limen_mirrors_dropped_total" "requests"
        "Copies of requests not sent, because a body was too long or too many were under way.",
    ExternalAuthAllowed Counter "limen_external_auth_allowed_total" "requests"
        "Requests that a service that was asked let in.",
    ExternalAuthDenied Counter "limen_external_auth_denied_total" "requests"
        "Requests that a service that was asked refused.",
    ExternalAuthFailed Counter "limen_external_auth_failed_total" "requests"
        "Requests refused because a service that was asked gave no answer that is understood.",
    SpansSent Counter "limen_spans_sent_total" "spans" "Spans that a collector took.",
    SpansLost Counter "limen_spans_lost_total" "spans"
        "Spans that no collector took, because it was slow or gone.",
    Upgrades Counter "limen_upgrades_total" "connections" "Connections that changed to another protocol by a 101.",
    Panics Counter "limen_panics_total" "panics" "Connections and tasks that ended in a panic: a mistake of the gateway.",
    ConnectionsRefused Counter "limen_downstream_connections_refused_total" "connections"
        "Clients' connections closed at accept because a limit was reached.",
    ClientFaults Counter "limen_faults_client_total" "requests"
        "Requests that failed through the client: malformed, too large, too slow, misdirected or given up.",
    ConfigFaults Counter "limen_faults_config_total" "requests"
        "Requests that the configuration has no answer for: no route, or a cluster that does not exist.",
    OriginFaults Counter "limen_faults_origin_total" "requests" "Requests that failed through the origin.",
    RequestsShed Counter "limen_requests_shed_total" "requests"
        "Requests answered 503 because the process had too little memory left.",
    SeriesOverflow Counter "limen_request_series_overflow_total" "requests"
        "Requests counted without their labels because there were too many label sets.",
    ProxyHeaderErrors Counter "limen_proxy_header_errors_total" "connections"
        "Clients' connections closed because they did not begin with a PROXY header as they must.",
    AcceptErrors Counter "limen_accept_errors_total" "errors"
        "Connections that the system refused to hand over, such as for want of file descriptors.",
    Overflows Counter "limen_upstream_overflows_total" "requests" "Requests refused because a limit of their cluster was reached.",
    RetryOverflows Counter "limen_retry_overflows_total" "requests"
        "Attempts not made again because too many of the cluster's retries were under way.",
    Ejections Counter "limen_outlier_ejections_total" "endpoints" "Endpoints left out for their errors in a row.",
    UdpFlows Counter "limen_udp_flows_total" "flows" "Flows of datagrams that were begun.",
    UdpFlowsEvicted Counter "limen_udp_flows_evicted_total" "flows"
        "Flows of datagrams that were ended to make room for others.",
    UdpReceived Counter "limen_udp_datagrams_received_total" "datagrams" "Datagrams that came from clients.",
    UdpSent Counter "limen_udp_datagrams_sent_total" "datagrams" "Datagrams sent to clients.",
    UdpBytesReceived Counter "limen_udp_bytes_received_total" "bytes" "Bytes of datagrams that came from clients.",
    UdpBytesSent Counter "limen_udp_bytes_sent_total" "bytes" "Bytes of datagrams sent to clients.",
    UdpNoBackend Counter "limen_udp_dropped_no_backend_total" "datagrams"
        "Datagrams dropped because their route leads to no endpoint that datagrams can be sent to.",
    UdpNoRoom Counter "limen_udp_dropped_no_room_total" "datagrams"
        "Datagrams dropped because no flow could be begun for them: a limit was reached.",
    UdpErrors Counter "limen_udp_dropped_error_total" "datagrams"
        "Datagrams dropped because the system did not take them: its buffers were full, they were too large, or there was no way.",
    UdpRefused Counter "limen_udp_flows_refused_total" "flows"
        "Flows of datagrams ended because their endpoint refused or could not be reached (ICMP).",
    EjectionsOverflow Counter "limen_outlier_ejections_overflow_total" "endpoints"
        "Endpoints not left out, although they should be, because too many were already.",
}

metrics! {
    /// Gauges that a worker or the control side moves. The value exposed is the sum of all.
    Gauge;
    UpstreamConnectionsActive Gauge "limen_upstream_connections_active" "connections"
        "Connections to upstreams that are open.",
    RequestsActive Gauge "limen_requests_active" "requests" "Requests under way.",
    UpgradesActive Gauge "limen_upgrades_active" "connections"
        "Connections that carry another protocol since a 101, such as WebSockets.",
    Workers Gauge "limen_workers" "threads" "Workers that serve.",
    ConfigGeneration Gauge "limen_config_generation" "generation" "The configuration in force, counted from 1.",
    Problems Gauge "limen_config_problems" "problems" "Problems found in the resources read last.",
    Ready Gauge "limen_ready" "" "1 if the gateway is ready to serve.",
    RequestsPending Gauge "limen_upstream_requests_pending" "requests"
        "Requests that wait for a connection because their cluster may have no more.",
    MemoryUsed Gauge "limen_memory_used_bytes" "bytes"
        "Memory in use, as it is compared with the limit; 0 where there is none.",
    MemoryLimit Gauge "limen_memory_limit_bytes" "bytes"
        "Memory that the process may use; above 95 % requests are shed, above 98 % connections too. 0: no limit.",
    Shedding Gauge "limen_memory_shedding" ""
        "What is refused for want of memory: 0 nothing, 1 requests, 2 connections too.",
    DescriptorsUsed Gauge "process_open_fds" "descriptors" "File descriptors that are open; 0 where they are not limited.",
    DescriptorLimit Gauge "process_max_fds" "descriptors"
        "File descriptors that the process may have open; near to that connections are refused. 0: no limit.",
    DescriptorsShort Gauge "limen_file_descriptors_short" ""
        "1 while connections are refused for want of file descriptors.",
    UdpFlowsActive Gauge "limen_udp_flows_active" "flows" "Flows of datagrams that are under way.",
    EjectionsActive Gauge "limen_outlier_ejections_active" "endpoints" "Endpoints that are left out for their errors.",
}

#[cfg(test)]
mod tests {
    use super::super::limits;
    use super::*;

    #[test]
    fn names_are_unique_and_follow_prometheus() {
        let fixed = [
            REQUESTS,
            REQUEST_DURATION,
            REQUEST_BYTES,
            RESPONSE_BYTES,
            REQUEST_MESSAGES,
            RESPONSE_MESSAGES,
            TCP_OPENED,
            TCP_CLOSED,
            TCP_SENT,
            TCP_RECEIVED,
            BUILD,
            LISTENER_ACTIVE,
            LISTENER_TOTAL,
            WORKER_ACTIVE,
            LOG_WRITTEN,
            LOG_LOST,
            LOG_ERRORS,
            SERIES,
            limits::LIMIT,
            limits::USED,
            limits::REFUSED,
            limits::SENT_AWAY,
        ];
        let counters = Counter::ALL.iter().map(|counter| counter.metric());
        let gauges = Gauge::ALL.iter().map(|gauge| gauge.metric());
        let all: Vec<Metric> = fixed.into_iter().chain(counters).chain(gauges).collect();
        for (index, metric) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", metric.name);
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.name);
        }
    }
}
