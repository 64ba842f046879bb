//! How close each limit is: its value, how much of it is used, and how often it has refused.
//!
//! The list is closed: a new limit is a row here, and then the compiler asks for its value, and tests for its flag and its
//! line in docs/limits.md.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use limen_wire::h2::Work;

use super::counters::Registry;
use super::histogram;
use super::names::{Gauge, Kind, Metric, metric};

/// `limen_limit`
pub const LIMIT: Metric =
    metric("limen_limit", Kind::Gauge, "", "What the setting of each limit says; +Inf: no limit.");
/// `limen_limit_used`
pub const USED: Metric = metric(
    "limen_limit_used",
    Kind::Gauge,
    "",
    "How much of each limit is in use; of what each connection or request may have, the most of the last minutes.",
);
/// `limen_limit_refused_total`
pub const REFUSED: Metric = metric(
    "limen_limit_refused_total",
    Kind::Counter,
    "",
    "How often each limit has refused or ended something.",
);
/// `limen_connections_sent_away_total`
pub const SENT_AWAY: Metric = metric(
    "limen_connections_sent_away_total",
    Kind::Counter,
    "connections",
    "Clients' HTTP/2 connections that were ended because they only made work, by the work that used up their credit.",
);

/// What a limit is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things, or bytes.
    Count,
    /// Milliseconds, exposed as seconds.
    Millis,
}

/// How it is known what is used of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Clients' connections that are open.
    Connections,
    /// Label sets of requests.
    Series,
    /// A gauge that there is anyway.
    Gauge(Gauge),
    /// The most that one connection, request or other holder was seen to have.
    Highest,
}

/// A limit's row.
#[derive(Debug, Clone, Copy)]
pub struct LimitRow {
    /// The label `limit` of its metrics.
    pub name: &'static str,
    /// The flag that sets it.
    pub flag: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// How it is known what is used.
    pub measure: Measure,
}

macro_rules! limits {
    ($($name:ident $text:literal $flag:literal $unit:ident ($measure:expr) $help:literal),+ $(,)?) => {
        /// Everything that is bounded and can be set.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Limit {
            $(#[doc = $help] $name),+
        }

        impl Limit {
            /// All of them, in the order of the documents.
            pub const ALL: &'static [Limit] = &[$(Limit::$name),+];
            /// How many there are.
            pub const COUNT: usize = Limit::ALL.len();

            /// Its row.
            pub fn row(self) -> LimitRow {
                match self {
                    $(Limit::$name => LimitRow {
                        name: $text, flag: $flag, unit: Unit::$unit, measure: $measure,
                    }),+
                }
            }
        }
    };
}

limits! {
    Connections "connections" "max-connections" Count (Measure::Connections)
        "Clients' connections of the process.",
    ListenerConnections "listener_connections" "max-listener-connections" Count (Measure::Highest)
        "Clients' connections of one listener.",
    ClientConnections "client_connections" "max-client-connections" Count (Measure::Highest)
        "Connections of one client address.",
    ConnectionRequests "connection_requests" "max-connection-requests" Count (Measure::Highest)
        "Requests of one connection in its life.",
    Streams "streams" "max-streams" Count (Measure::Highest)
        "Streams of one HTTP/2 connection at a time.",
    HeaderBytes "header_bytes" "max-header-bytes" Count (Measure::Highest)
        "Bytes of a request's head, or of what comes after its body.",
    Headers "headers" "max-headers" Count (Measure::Highest)
        "Field lines of a request's head, or of what comes after its body.",
    ResponseHeaderBytes "response_header_bytes" "max-header-bytes" Count (Measure::Highest)
        "Bytes of an answer's head, or of what comes after its body.",
    ResponseHeaders "response_headers" "max-headers" Count (Measure::Highest)
        "Field lines of an answer's head, or of what comes after its body.",
    BodyBytes "body_bytes" "max-body-bytes" Count (Measure::Highest)
        "Bytes of a request's body.",
    HeaderTime "header_time" "header-timeout" Millis (Measure::Highest)
        "Time for a request's head.",
    HandshakeTime "handshake_time" "handshake-timeout" Millis (Measure::Highest)
        "Time for a TLS handshake.",
    RequestTime "request_time" "request-timeout" Millis (Measure::Highest)
        "Time for all of a request to arrive.",
    IdleTime "idle_time" "idle-timeout" Millis (Measure::Highest)
        "Time between two requests of a connection.",
    StreamIdleTime "stream_idle_time" "stream-idle-timeout" Millis (Measure::Highest)
        "Time in which nothing moves on a request.",
    StallTime "stall_time" "stall-timeout" Millis (Measure::Highest)
        "Time in which a client takes nothing of what is there for it.",
    HalfCloseTime "half_close_time" "half-close-timeout" Millis (Measure::Highest)
        "Time in which a client that has closed its half of the connection is sent nothing.",
    ReplayBytes "replay_bytes" "replay-buffer" Count (Measure::Highest)
        "Bytes of a request's body kept for another attempt.",
    StreamWindow "stream_window" "stream-window" Count (Measure::Highest)
        "Bytes that a client may send ahead on one stream.",
    ConnectionWindow "connection_window" "connection-window" Count (Measure::Highest)
        "Bytes that a client may send ahead on all streams of a connection.",
    UnwrittenBytes "unwritten_bytes" "write-buffer" Count (Measure::Highest)
        "Bytes that wait to be written on an HTTP/2 connection.",
    Credit "http2_credit" "http2-credit" Count (Measure::Highest)
        "What an HTTP/2 connection spends on work that is of no use.",
    PendingRequests "pending_requests" "max-pending-requests" Count (Measure::Highest)
        "Requests that wait for a connection to one cluster.",
    Memory "memory" "max-memory" Count (Measure::Gauge(Gauge::MemoryUsed))
        "Bytes of memory.",
    FileDescriptors "file_descriptors" "max-file-descriptors" Count (Measure::Gauge(Gauge::DescriptorsUsed))
        "File descriptors that are open.",
    UdpFlows "udp_flows" "max-udp-flows" Count (Measure::Gauge(Gauge::UdpFlowsActive))
        "Flows of datagrams.",
    Series "series" "max-series" Count (Measure::Series)
        "Label sets of the metrics of requests.",
}

/// A limit that is none.
pub const NONE: u64 = u64::MAX;

/// One worker's part of what is known of the limits.
pub(super) struct Marks {
    /// The most that was seen in this span of time, and in the one before.
    highest: [AtomicU64; Limit::COUNT],
    former: [AtomicU64; Limit::COUNT],
    refused: [AtomicU64; Limit::COUNT],
    sent_away: [AtomicU64; Work::ALL.len()],
}

impl Default for Marks {
    fn default() -> Marks {
        Marks {
            highest: [const { AtomicU64::new(0) }; Limit::COUNT],
            former: [const { AtomicU64::new(0) }; Limit::COUNT],
            refused: [const { AtomicU64::new(0) }; Limit::COUNT],
            sent_away: [const { AtomicU64::new(0) }; Work::ALL.len()],
        }
    }
}

impl Marks {
    /// Somebody has so much. There is one writer.
    pub(super) fn seen(&self, limit: Limit, much: u64) {
        let highest = &self.highest[limit as usize];
        if highest.load(Ordering::Relaxed) < much {
            highest.store(much, Ordering::Relaxed);
        }
    }

    /// A span of time is over.
    pub(super) fn turn(&self) {
        for (former, highest) in self.former.iter().zip(&self.highest) {
            former.store(highest.load(Ordering::Relaxed), Ordering::Relaxed);
            highest.store(0, Ordering::Relaxed);
        }
    }

    /// It refused so many times.
    pub(super) fn refused(&self, limit: Limit, times: u64) {
        histogram::add(&self.refused[limit as usize], times);
    }

    /// A connection was ended because of such work.
    pub(super) fn sent_away(&self, work: Work) {
        if let Some(at) = Work::ALL.iter().position(|other| *other == work) {
            histogram::add(&self.sent_away[at], 1);
        }
    }

    pub(super) fn highest_of(&self, limit: Limit) -> u64 {
        let read = |of: &[AtomicU64; Limit::COUNT]| of[limit as usize].load(Ordering::Relaxed);
        read(&self.highest).max(read(&self.former))
    }

    pub(super) fn refused_of(&self, limit: Limit) -> u64 {
        self.refused[limit as usize].load(Ordering::Relaxed)
    }

    pub(super) fn sent_away_of(&self, work: Work) -> u64 {
        let at = Work::ALL.iter().position(|other| *other == work);
        at.and_then(|at| self.sent_away.get(at)).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}

/// What the settings say, by limit. [`NONE`]: no limit.
pub(super) struct Values([AtomicU64; Limit::COUNT]);

impl Default for Values {
    fn default() -> Values {
        Values([const { AtomicU64::new(NONE) }; Limit::COUNT])
    }
}

impl Values {
    pub(super) fn set(&self, limit: Limit, value: u64) {
        self.0[limit as usize].store(value, Ordering::Relaxed);
    }

    pub(super) fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize].load(Ordering::Relaxed)
    }
}

/// Appends what is known of the limits.
pub(super) fn render(registry: &Registry, out: &mut String) {
    let mut family = |metric: Metric, value: &dyn Fn(Limit) -> Option<u64>| {
        super::render::head(metric, out);
        for limit in Limit::ALL {
            let LimitRow { name, unit, .. } = limit.row();
            let _ = write!(out, "{}{{limit=\"{name}\"}} ", metric.name);
            // Writing to a String cannot fail.
            let _ = match (value(*limit), unit) {
                (None, _) => writeln!(out, "+Inf"),
                (Some(millis), Unit::Millis) if metric.kind == Kind::Gauge => {
                    writeln!(out, "{}", millis as f64 / 1000.0)
                }
                (Some(value), _) => writeln!(out, "{value}"),
            };
        }
    };
    family(LIMIT, &|limit| Some(registry.limit(limit)).filter(|value| *value != NONE));
    family(USED, &|limit| Some(registry.limit_used(limit)));
    family(REFUSED, &|limit| Some(registry.limit_refused(limit)));
    super::render::head(SENT_AWAY, out);
    for work in Work::ALL {
        let _ = writeln!(out, "{}{{work=\"{}\"}} {}", SENT_AWAY.name, work.name(), registry.sent_away(work));
    }
}
