//! What the outside learns of a request: its access log line and the metrics.
//!
//! [`record::Record`] holds all that is known when a request has ended; [`access_log`] turns it into one line,
//! [`sink`] carries lines to a file without ever blocking a worker, [`counters`] adds it to the worker's own series and
//! renders the sums of all workers for Prometheus.

pub mod access_log;
mod attributes;
pub(crate) mod cluster_name;
pub mod clusters;
mod composed;
pub mod counters;
mod direct;
mod escape;
mod expression;
/// Numbers and addresses as text, quickly.
pub(crate) mod text {
    pub(crate) use super::escape::{write_address, write_decimal, write_ip};
}
pub mod flags;
pub mod format;
mod histogram;
mod interner;
pub mod limits;
pub(crate) mod messages;
pub mod names;
mod operator;
pub mod peer;
pub mod record;
mod render;
mod render_statistics;
mod series;
pub mod sink;
pub(crate) mod spans;
pub mod statistics;
mod tcp;
pub mod time;

pub use access_log::{AccessLog, AccessLogConfig, JsonField, JsonTemplate};
pub use clusters::ClusterId;
pub use counters::{ListenerId, Registry, ServiceId, ServiceLabels, SourceLabels, WorkerCounters};
pub use counters::{WorkloadId, WorkloadLabels};
pub use expression::{Expression, Room};
pub use flags::Flags;
pub use format::FormatError;
pub use histogram::SharedHistogram;
pub use names::{Counter, Gauge};
pub use record::Record;
pub use sink::{LogBuffer, LogStats, LogTarget, LogWriter};
pub use spans::TraceIds;
pub(crate) use spans::{Collector, SpanProtocol};
pub use statistics::{Chooser, ClusterStat, ListenerStat};
pub use tcp::TcpCounts;
pub use time::TimeCache;
