//! The few numbers that workers share: limits that a configuration asks for, as padded atomics, and the settings that
//! bound what a client can cost.

pub(crate) mod outlier;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bounds on what one client can cost. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A request head, request line included; more is 431.
    pub max_head_bytes: usize,
    /// Field lines of a request; more is 431.
    pub max_fields: usize,
    /// From the first byte of a head to its end.
    pub head_timeout_ms: u64,
    /// A connection without a request.
    pub idle_timeout_ms: u64,
    /// A TLS handshake, from accept.
    pub handshake_timeout_ms: u64,
    /// Concurrent streams on one HTTP/2 connection.
    pub max_streams: u32,
    /// Bytes of a request body kept for a retry.
    pub replay_bytes: usize,
    /// A client that takes no byte of a response, or sends none of a body that it owes, for this long is cut.
    pub stall_timeout_ms: u64,
    /// Connections in the whole process; more are closed at accept.
    pub max_connections: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_head_bytes: 60 * 1024,
            max_fields: 100,
            head_timeout_ms: 60_000,
            idle_timeout_ms: 3_600_000,
            handshake_timeout_ms: 15_000,
            max_streams: 100,
            replay_bytes: 64 * 1024,
            stall_timeout_ms: 300_000,
            max_connections: u32::MAX,
        }
    }
}

/// One counter against one limit, on a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Gauge {
    used: AtomicU32,
    most: u32,
}

impl Gauge {
    pub(crate) fn new(most: u32) -> Gauge {
        Gauge { used: AtomicU32::new(0), most }
    }

    /// Takes one, unless the limit is reached.
    pub(crate) fn take(&self) -> bool {
        let taken = self.used.fetch_add(1, Ordering::Relaxed);
        if taken >= self.most {
            self.used.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Gives one back.
    pub(crate) fn give(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The limits of one cluster, held by the whole process.
#[derive(Debug)]
pub(crate) struct ClusterLimits {
    /// Connections.
    pub(crate) connections: Option<Gauge>,
    /// Requests in flight.
    pub(crate) requests: Option<Gauge>,
}

/// One unit taken from a gauge, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Option<Arc<ClusterLimits>>,
    which: Which,
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Connection,
    Request,
}

impl Permit {
    /// A connection to the cluster; `None`: the limit is reached.
    pub(crate) fn connection(limits: Option<&Arc<ClusterLimits>>) -> Option<Permit> {
        Permit::take(limits, Which::Connection)
    }

    /// A request in flight to the cluster; `None`: the limit is reached.
    pub(crate) fn request(limits: Option<&Arc<ClusterLimits>>) -> Option<Permit> {
        Permit::take(limits, Which::Request)
    }

    fn take(limits: Option<&Arc<ClusterLimits>>, which: Which) -> Option<Permit> {
        let gauge = limits.and_then(|limits| which.of(limits));
        match gauge {
            None => Some(Permit { limits: None, which }),
            Some(gauge) if gauge.take() => Some(Permit { limits: limits.cloned(), which }),
            Some(_) => None,
        }
    }
}

impl Which {
    fn of(self, limits: &ClusterLimits) -> Option<&Gauge> {
        match self {
            Which::Connection => limits.connections.as_ref(),
            Which::Request => limits.requests.as_ref(),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gauge) = self.limits.as_deref().and_then(|limits| self.which.of(limits)) {
            gauge.give();
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
