//! One finished request, as the access log and the metrics see it.

use std::net::SocketAddr;

use limen_wire::head::{Fields, Version};

use super::flags::Flags;
use super::peer::Peer;
use super::spans::TraceIds;
use crate::address::Address;

/// What is known of a request (or TCP connection) when it has ended. Borrows everything; made on the stack.
///
/// Start from [`Record::new`] and fill in what is known:
/// `Record { method: head.method(), ..Record::new(start_ms, local, remote) }`.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When the request began, in milliseconds since the Unix epoch.
    pub start_ms: u64,
    /// The method; empty for TCP.
    pub method: &'a [u8],
    /// Path with query as sent to the upstream (after a rewrite, if there was one).
    pub path: &'a [u8],
    /// Path with query as received, if a rewrite changed it (`x-envoy-original-path`).
    pub original_path: Option<&'a [u8]>,
    /// The authority as received.
    pub authority: &'a [u8],
    /// The version the client spoke; `None` for TCP.
    pub protocol: Option<Version>,
    /// It is a flow of datagrams.
    pub udp: bool,
    /// The fields of the request after the filters have run, so that `%REQ(X)%` prints what the upstream saw.
    pub request_fields: Option<&'a Fields>,
    /// The request's `content-length`, which heads keep apart from their fields.
    pub request_content_length: Option<u64>,

    /// The status sent to the client; 0 if none was.
    pub code: u16,
    /// Response flags.
    pub flags: Flags,
    /// Why the status is what it is, such as `via_upstream`; empty if unknown.
    pub details: &'a str,
    /// Why the connection was ended (L4); empty if it was not.
    pub connection_termination_details: &'a str,
    /// Why the upstream's transport (TLS) failed; empty if it did not.
    pub upstream_transport_failure: &'a str,
    /// The fields of the response.
    pub response_fields: Option<&'a Fields>,
    /// The response's `content-length`, which heads keep apart from their fields.
    pub response_content_length: Option<u64>,
    /// The body of an answer that the gateway made itself; empty if it made none, or if no log asks for it.
    pub local_reply_body: &'a [u8],
    /// The request is a gRPC call (its content type begins with `application/grpc`).
    pub grpc: bool,
    /// `grpc-status` of a gRPC call's response or trailers.
    pub grpc_status: Option<u32>,

    /// Messages of a gRPC call from the client.
    pub request_messages: u64,
    /// Messages of a gRPC call to the client.
    pub response_messages: u64,
    /// What came after the response's body, if a log asks for it.
    pub response_trailers: Option<&'a Fields>,

    /// Body bytes received from the client.
    pub bytes_received: u64,
    /// Body bytes sent to the client.
    pub bytes_sent: u64,
    /// Head, body and trailer bytes received from the client.
    pub request_total_bytes: u64,
    /// Head, body and trailer bytes sent to the client.
    pub response_total_bytes: u64,

    /// From the request's first byte to the last byte sent, in microseconds.
    pub duration_us: u64,
    /// From the request's first byte to its last, in microseconds (`%REQUEST_DURATION%`).
    pub request_duration_us: Option<u64>,
    /// From the request's first byte to the first byte of the upstream's response, in microseconds
    /// (`%RESPONSE_DURATION%`).
    pub response_duration_us: Option<u64>,
    /// Milliseconds the upstream took to answer (`x-envoy-upstream-service-time`).
    pub upstream_service_time_ms: Option<u64>,

    /// The endpoint that was dialled last.
    pub upstream_host: Option<Address>,
    /// Our own end of the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// The cluster's name; empty if none was chosen.
    pub cluster: &'a str,
    /// How often the request was sent upstream; 0 if it never was.
    pub attempts: u32,

    /// Our own end of the client's connection.
    pub downstream_local: SocketAddr,
    /// The trusted client address, taken from `x-forwarded-for` where that is trusted.
    pub downstream_remote: SocketAddr,
    /// The peer of the client's connection.
    pub downstream_direct_remote: SocketAddr,
    /// The server name the client asked for in TLS.
    pub sni: Option<&'a str>,
    /// TLS version of the client's connection, such as `TLSv1.3`.
    pub tls_version: Option<&'a str>,
    /// TLS cipher of the client's connection, such as `TLS_AES_128_GCM_SHA256`.
    pub tls_cipher: Option<&'a str>,
    /// What the client's certificate says, if it has shown one.
    pub peer: Option<&'a Peer>,
    /// The route's name; empty if it has none.
    pub route_name: &'a str,
    /// Namespace and name of the VirtualService that the route comes from.
    pub route_origin: Option<(&'a str, &'a str)>,
    /// The trace and this gateway's span in it.
    pub trace: Option<TraceIds>,
}

impl Record<'_> {
    /// What `%PROTOCOL%` says: nothing of TCP.
    pub fn protocol_name(&self) -> Option<&'static str> {
        match self.protocol {
            Some(version) => Some(version.as_str()),
            None if self.udp => Some("UDP"),
            None => None,
        }
    }

    /// A record of which nothing is known but when it began and who spoke with whom.
    pub fn new(start_ms: u64, downstream_local: SocketAddr, downstream_remote: SocketAddr) -> Self {
        Record {
            start_ms,
            method: b"",
            path: b"",
            original_path: None,
            authority: b"",
            protocol: None,
            udp: false,
            request_fields: None,
            request_content_length: None,
            code: 0,
            flags: Flags::NONE,
            details: "",
            connection_termination_details: "",
            upstream_transport_failure: "",
            response_fields: None,
            response_content_length: None,
            local_reply_body: b"",
            grpc: false,
            grpc_status: None,
            request_messages: 0,
            response_messages: 0,
            response_trailers: None,
            bytes_received: 0,
            bytes_sent: 0,
            request_total_bytes: 0,
            response_total_bytes: 0,
            duration_us: 0,
            request_duration_us: None,
            response_duration_us: None,
            upstream_service_time_ms: None,
            upstream_host: None,
            upstream_local: None,
            cluster: "",
            attempts: 0,
            downstream_local,
            downstream_remote,
            downstream_direct_remote: downstream_remote,
            sni: None,
            tls_version: None,
            tls_cipher: None,
            peer: None,
            route_name: "",
            route_origin: None,
            trace: None,
        }
    }
}
