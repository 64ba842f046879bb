//! The few numbers that workers share: limits that a configuration asks for, as padded atomics, and the settings that
//! bound what a client can cost.

pub(crate) mod cluster;
pub mod memory;
pub(crate) mod outlier;
pub(crate) mod rate;

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
    /// A client that takes no byte of a response that is there for it, for this long, is cut.
    pub stall_timeout_ms: u64,
    /// Connections in the whole process; more are closed at accept.
    pub max_connections: u32,
    /// Flows of datagrams in the whole process; for one more, the one that was silent for longest ends.
    pub max_udp_flows: u32,
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
            max_udp_flows: 10_000,
        }
    }
}
