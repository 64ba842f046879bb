//! What one client may cost, and all of them together.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use super::{AtMost, LIMITS, Size, parse};

/// What HTTP/2 begins with (RFC 9113 6.9.2), and the most that it can say.
const LEAST_WINDOW: i64 = 65_535;
const MOST_WINDOW: i64 = (1 << 31) - 1;
/// A quarter of it must hold a frame.
const LEAST_WRITE_BUFFER: i64 = 65_536;
/// An honest client's beginning costs some.
const LEAST_CREDIT: i64 = 100;
/// Each request may hold that much.
const MOST_REPLAY: i64 = 16 << 20;

/// What one client may cost. The defaults are those of [`limen_proxy::Limits`].
#[derive(Debug, Clone, Args)]
pub struct Limits {
    /// Time from the first byte of a request head to its last; later is 408
    #[arg(long, env = "LIMEN_HEADER_TIMEOUT", default_value = "60s", value_name = "TIME", value_parser = parse::timeout, help_heading = LIMITS)]
    pub header_timeout: Duration,

    /// Time that a connection may be without a request, or an upgraded one (such as a WebSocket) without a byte
    #[arg(long, env = "LIMEN_IDLE_TIMEOUT", default_value = "1h", value_name = "TIME", value_parser = parse::timeout, help_heading = LIMITS)]
    pub idle_timeout: Duration,

    /// Time from the accept of a connection to the end of its TLS handshake
    #[arg(long, env = "LIMEN_HANDSHAKE_TIMEOUT", default_value = "15s", value_name = "TIME", value_parser = parse::timeout, help_heading = LIMITS)]
    pub handshake_timeout: Duration,

    /// Time for all of a request to arrive, body included; later is 408; `connectionSettings` of a mesh go before it [default:
    /// no limit]
    #[arg(long, env = "LIMEN_REQUEST_TIMEOUT", value_name = "TIME", value_parser = parse::timeout, help_heading = LIMITS)]
    pub request_timeout: Option<Duration>,

    /// Time in which nothing moves on a request, either way, before it is ended: 408, or 504 once it has arrived;
    /// `connectionSettings` of a mesh go before it [default: no limit]
    #[arg(long, env = "LIMEN_STREAM_IDLE_TIMEOUT", value_name = "TIME", value_parser = parse::timeout, help_heading = LIMITS)]
    pub stream_idle_timeout: Option<Duration>,

    /// Time after which a client is cut that takes no byte of a response that waits for it
    #[arg(long, env = "LIMEN_STALL_TIMEOUT", default_value = "5m", value_name = "TIME", value_parser = parse::timeout, help_heading = LIMITS)]
    pub stall_timeout: Duration,

    /// Time in which a client that has closed its half of the connection (HTTP/1) is sent nothing of the answer to what it
    /// asked, before it is taken to have gone
    #[arg(long, env = "LIMEN_HALF_CLOSE_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = parse::timeout, help_heading = LIMITS)]
    pub half_close_timeout: Duration,

    /// Client connections of the whole process; more are closed at accept; `off` for no limit [default: somewhat less than
    /// half of the file descriptors, since each may need one to an origin, too]
    #[arg(long, env = "LIMEN_MAX_CONNECTIONS", value_name = "N", value_parser = parse::at_most, help_heading = LIMITS)]
    pub max_connections: Option<AtMost>,

    /// Client connections of one listener; more are closed at accept [default: no limit]
    #[arg(
        long,
        env = "LIMEN_MAX_LISTENER_CONNECTIONS",
        value_name = "N",
        value_parser = parse::at_most,
        help_heading = LIMITS
    )]
    pub max_listener_connections: Option<AtMost>,

    /// Connections of one client address, or /64 network of IPv6, as a PROXY header says it where there is one; more are
    /// closed before anything is read of them; mind that a whole office may come from one address [default: no limit]
    #[arg(
        long,
        env = "LIMEN_MAX_CLIENT_CONNECTIONS",
        value_name = "N",
        value_parser = parse::at_most,
        help_heading = LIMITS
    )]
    pub max_client_connections: Option<AtMost>,

    /// Requests of one client connection, which then ends in order [default: no limit]
    #[arg(
        long,
        env = "LIMEN_MAX_CONNECTION_REQUESTS",
        value_name = "N",
        value_parser = parse::at_most,
        help_heading = LIMITS
    )]
    pub max_connection_requests: Option<AtMost>,

    /// Requests that wait for a connection to one cluster with `maxConnections`, if it has no `http1MaxPendingRequests`; more
    /// are 503; `off` for no limit
    #[arg(
        long,
        env = "LIMEN_MAX_PENDING_REQUESTS",
        default_value = "10000",
        value_name = "N",
        value_parser = parse::at_most,
        help_heading = LIMITS
    )]
    pub max_pending_requests: AtMost,

    /// File descriptors that the process may have open: the system is asked for as many, and connections are closed at
    /// accept while all but a twentieth are in use; `off` not to look at them [default: as many as the system allows, up to
    /// 1048576]
    #[arg(
        long,
        env = "LIMEN_MAX_FILE_DESCRIPTORS",
        value_name = "N",
        value_parser = parse::at_most,
        help_heading = LIMITS
    )]
    pub max_file_descriptors: Option<AtMost>,

    /// Flows of datagrams (UDP) of the whole process; for one more, the one that was silent for longest ends
    #[arg(long, env = "LIMEN_MAX_UDP_FLOWS", default_value = "10000", value_name = "N", help_heading = LIMITS)]
    pub max_udp_flows: NonZeroU32,

    /// Memory that the process may use: above 95 % of it new requests are answered 503, above 98 % connections are closed at
    /// accept, until it is 2 % less; `off` for no limit [default: the limit of its control group less a twentieth, at least
    /// 16MiB; off where there is none]
    #[arg(long, env = "LIMEN_MAX_MEMORY", value_name = "SIZE", value_parser = parse::size, help_heading = LIMITS)]
    pub max_memory: Option<Size>,

    /// Concurrent streams of one HTTP/2 connection; more are refused
    #[arg(long, env = "LIMEN_MAX_STREAMS", default_value = "100", value_name = "N", help_heading = LIMITS)]
    pub max_streams: NonZeroU32,

    /// Bytes that a client may send ahead on one HTTP/2 stream
    #[arg(
        long,
        env = "LIMEN_STREAM_WINDOW",
        default_value = "262144",
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(LEAST_WINDOW..=MOST_WINDOW),
        help_heading = LIMITS
    )]
    pub stream_window: u32,

    /// Bytes that a client may send ahead on all streams of an HTTP/2 connection
    #[arg(
        long,
        env = "LIMEN_CONNECTION_WINDOW",
        default_value = "1048576",
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(LEAST_WINDOW..=MOST_WINDOW),
        help_heading = LIMITS
    )]
    pub connection_window: u32,

    /// Bytes that wait to be written on an HTTP/2 connection before nothing more is read of it
    #[arg(
        long,
        env = "LIMEN_WRITE_BUFFER",
        default_value = "262144",
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(LEAST_WRITE_BUFFER..=MOST_WINDOW),
        help_heading = LIMITS
    )]
    pub write_buffer: u32,

    /// What an HTTP/2 connection may spend on work that is of no use by itself, such as PING, SETTINGS and requests that are
    /// given up, before it is sent away; useful frames and time earn it back
    #[arg(
        long,
        env = "LIMEN_HTTP2_CREDIT",
        default_value = "4000",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(LEAST_CREDIT..=MOST_WINDOW),
        help_heading = LIMITS
    )]
    pub http2_credit: u32,

    /// Size of a request's body; more is 413 [default: no limit]
    #[arg(long, env = "LIMEN_MAX_BODY_BYTES", value_name = "SIZE", value_parser = parse::size, help_heading = LIMITS)]
    pub max_body_bytes: Option<Size>,

    /// Bytes of a request's body that are kept so that it can be sent again; a larger one is never retried
    #[arg(
        long,
        env = "LIMEN_REPLAY_BUFFER",
        default_value = "65536",
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(0..=MOST_REPLAY),
        help_heading = LIMITS
    )]
    pub replay_buffer: u32,

    /// Label sets of the metrics of requests that one worker keeps; requests beyond are counted without labels
    #[arg(long, env = "LIMEN_MAX_SERIES", default_value = "20000", value_name = "N", help_heading = LIMITS)]
    pub max_series: NonZeroU32,

    /// Size of a head, of a request with its request line (more is 431) or of an answer (502), and of what comes after a
    /// body
    #[arg(
        long,
        env = "LIMEN_MAX_HEADER_BYTES",
        default_value = "65536",
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(LEAST_HEADER_BYTES..=MOST_HEADER_BYTES),
        help_heading = LIMITS
    )]
    pub max_header_bytes: u32,

    /// Header lines of a head, of a request (more is 431) or of an answer (502), and of what comes after a body; 256 at the most
    #[arg(
        long,
        env = "LIMEN_MAX_HEADERS",
        default_value = "128",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=MOST_HEADERS),
        help_heading = LIMITS
    )]
    pub max_headers: u32,
}

/// Less than this and no browser's request passes.
const LEAST_HEADER_BYTES: i64 = 512;
/// 1 MiB: each connection may hold that much before anything is known of its request.
const MOST_HEADER_BYTES: i64 = 1 << 20;
/// What the parser has room for.
const MOST_HEADERS: i64 = 256;
