//! The few numbers that workers share: limits that a configuration asks for, as padded atomics, and the settings that
//! bound what a client can cost.

pub(crate) mod cluster;
pub mod descriptors;
pub mod memory;
pub(crate) mod outlier;
pub(crate) mod rate;
pub(crate) mod shares;
pub mod used;

/// Bounds on what one client can cost, and all of them together. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A head, request or status line included; a larger one of a request is 431, of an answer 502. In HTTP/2 the decoded
    /// list, 32 more per field. Trailers may have as much.
    pub max_head_bytes: usize,
    /// Field lines of a head, or of trailers.
    pub max_fields: usize,
    /// A request's body; more is 413. `u64::MAX`: no limit.
    pub max_body_bytes: u64,
    /// From the first byte of a head to its end.
    pub head_timeout_ms: u64,
    /// All of a request, from its first byte to its last; later is 408.
    pub request_timeout_ms: Option<u64>,
    /// A connection without a request.
    pub idle_timeout_ms: u64,
    /// A request on which nothing moves, either way.
    pub stream_idle_timeout_ms: Option<u64>,
    /// A TLS handshake, from accept.
    pub handshake_timeout_ms: u64,
    /// A client that takes no byte of a response that is there for it, for this long, is cut.
    pub stall_timeout_ms: u64,
    /// A client of HTTP/1 that has closed its half of the connection and is sent nothing for this long is taken to have gone.
    pub half_close_timeout_ms: u64,
    /// Concurrent streams on one HTTP/2 connection.
    pub max_streams: u32,
    /// Requests on one connection, which then ends in order. `u32::MAX`: no limit.
    pub max_connection_requests: u32,
    /// Bytes that a client may send ahead on one stream of HTTP/2, and on all of a connection.
    pub stream_window: u32,
    /// See `stream_window`.
    pub connection_window: u32,
    /// Nothing is read of an HTTP/2 connection while more than this waits to be written.
    pub max_unwritten_bytes: usize,
    /// What an HTTP/2 connection may spend on work that is of no use by itself.
    pub h2_credit: u32,
    /// Bytes of a request body kept for a retry.
    pub replay_bytes: usize,
    /// Connections in the whole process; more are closed at accept. `u32::MAX`: no limit.
    pub max_connections: u32,
    /// Connections of one listener. `u32::MAX`: no limit.
    pub max_listener_connections: u32,
    /// Connections of one client address. `u32::MAX`: no limit.
    pub max_client_connections: u32,
    /// Requests that wait for a connection to one cluster whose connections are limited, where it says no number itself.
    /// `u32::MAX`: no limit.
    pub max_pending_requests: u32,
    /// Flows of datagrams in the whole process; for one more, the one that was silent for longest ends.
    pub max_udp_flows: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_head_bytes: 64 * 1024,
            max_fields: 128,
            max_body_bytes: u64::MAX,
            head_timeout_ms: 60_000,
            request_timeout_ms: None,
            idle_timeout_ms: 3_600_000,
            stream_idle_timeout_ms: None,
            handshake_timeout_ms: 15_000,
            stall_timeout_ms: 300_000,
            half_close_timeout_ms: 10_000,
            max_streams: 100,
            max_connection_requests: u32::MAX,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            max_unwritten_bytes: 256 * 1024,
            h2_credit: 4_000,
            replay_bytes: 64 * 1024,
            max_connections: u32::MAX,
            max_listener_connections: u32::MAX,
            max_client_connections: u32::MAX,
            max_pending_requests: 10_000,
            max_udp_flows: 10_000,
        }
    }
}

impl Limits {
    /// What heads may be, of requests and of answers.
    pub(crate) fn heads(&self) -> limen_wire::h1::Limits {
        limen_wire::h1::Limits { max_head_bytes: self.max_head_bytes, max_fields: self.max_fields }
    }
}
