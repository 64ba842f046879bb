//! How HTTP is understood, from the mesh configuration and what holds for the proxy.

use limen_ir::atoms::Millis;
use limen_ir::policy::http::{
    AddedHeaders, EscapedSlashes, ForwardClientCert, H2Limits, HttpPolicy, HttpTimes, PathPolicy,
    PeerMetadata, Underscores,
};
use limen_resources::GoDuration;
use limen_resources::istio::{
    ConnectionProfile, ConnectionSettings, EscapedSlashes as WrittenSlashes,
    ForwardClientCert as WrittenCert, GatewayTopology, HeaderChoice, HeaderSwitch, MeshConfig,
    MetadataExchangeMode, Normalization, ProxyHeaders, ProxyOptions, UnderscoreHeaders,
};

/// The profile's time for a whole request, and for one in which nothing moves.
const EDGE_STREAM_MS: u64 = 300_000;
/// The profile's time for a head.
const EDGE_HEAD_MS: u64 = 60_000;
/// The profile's time for a connection without a request.
const EDGE_IDLE_MS: u64 = 3_600_000;
/// The profile's streams of a connection.
const EDGE_STREAMS: u32 = 100;
/// The profile's windows of a stream and of a connection.
const EDGE_WINDOWS: (u32, u32) = (64 << 10, 1 << 20);

/// The policy that a gateway's listeners share.
pub(crate) fn read(mesh: &MeshConfig, options: &ProxyOptions) -> HttpPolicy {
    let topology = options.gateway_topology.clone().unwrap_or_default();
    let GatewayTopology { num_trusted_proxies, forward_client_cert_details, proxy_protocol: _ } = topology;
    let settings = options.connection_settings.clone().unwrap_or_default();
    let edge = settings.profile == ConnectionProfile::Edge;
    let by_profile = |value: u64| edge.then(|| Millis::new(value)).flatten();
    // 0 turns a limit off, the profile's too.
    let time = |written: Option<GoDuration>, profile: u64| match written {
        Some(written) => Millis::new(written.millis()),
        None => by_profile(profile),
    };
    let headers = options.proxy_headers.clone().unwrap_or_default();
    let number = |written: Option<i32>, profile: u32| {
        written.and_then(|number| u32::try_from(number).ok()).or(edge.then_some(profile))
    };
    // A limit that is not written for either is none.
    let limit = |written: Option<GoDuration>| written.and_then(|time| Millis::new(time.millis()));
    HttpPolicy {
        path: path(mesh, &settings, edge),
        underscores: match settings.underscores {
            UnderscoreHeaders::Unspecified if edge => Underscores::Reject,
            UnderscoreHeaders::Unspecified | UnderscoreHeaders::Allow => Underscores::Allow,
            UnderscoreHeaders::RejectRequest => Underscores::Reject,
            UnderscoreHeaders::DropHeader => Underscores::Drop,
        },
        trusted_hops: num_trusted_proxies,
        client_cert: match forward_client_cert_details {
            WrittenCert::Undefined | WrittenCert::SanitizeSet => ForwardClientCert::SanitizeSet,
            WrittenCert::Sanitize => ForwardClientCert::Sanitize,
            WrittenCert::ForwardOnly => ForwardClientCert::ForwardOnly,
            WrittenCert::AppendForward => ForwardClientCert::AppendForward,
            WrittenCert::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
        },
        keeps_spelling: headers.preserve_http1_header_case == Some(true),
        added: added(&headers),
        times: HttpTimes {
            idle: time(settings.http_idle_timeout, EDGE_IDLE_MS),
            stream_idle: time(settings.http_stream_idle_timeout, EDGE_STREAM_MS),
            request: time(settings.http_request_timeout, EDGE_STREAM_MS),
            request_head: time(settings.http_request_headers_timeout, EDGE_HEAD_MS),
            stream: limit(settings.http_max_stream_duration),
            connection: limit(settings.http_max_connection_duration),
        },
        // Said by servers, not by the mesh.
        grpc_web: false,
        h2: H2Limits {
            max_streams: number(settings.http_max_concurrent_streams, EDGE_STREAMS),
            stream_window: number(settings.http2_initial_stream_window_size, EDGE_WINDOWS.0),
            connection_window: number(settings.http2_initial_connection_window_size, EDGE_WINDOWS.1),
        },
    }
}

/// The mesh's levels, overruled by what is written for the proxy.
fn path(mesh: &MeshConfig, settings: &ConnectionSettings, edge: bool) -> PathPolicy {
    let level = mesh.path_normalization.as_ref().map(|path| path.normalization).unwrap_or_default();
    let by_mesh = match level {
        Normalization::DecodeAndMergeSlashes => EscapedSlashes::Decode,
        _ => EscapedSlashes::Keep,
    };
    PathPolicy {
        normalize: level != Normalization::None,
        merge_slashes: settings.merge_slashes.unwrap_or(
            edge || matches!(level, Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes),
        ),
        escaped_slashes: match settings.escaped_slashes {
            WrittenSlashes::Unspecified if edge => EscapedSlashes::Redirect,
            WrittenSlashes::Unspecified => by_mesh,
            WrittenSlashes::KeepUnchanged => EscapedSlashes::Keep,
            WrittenSlashes::RejectRequest => EscapedSlashes::Reject,
            WrittenSlashes::UnescapeAndRedirect => EscapedSlashes::Redirect,
            WrittenSlashes::UnescapeAndForward => EscapedSlashes::Decode,
        },
    }
}

fn added(headers: &ProxyHeaders) -> AddedHeaders {
    let AddedHeaders { server: default_name, .. } = AddedHeaders::default();
    let on = |switch: &Option<HeaderSwitch>| switch.as_ref().and_then(|switch| switch.disabled) != Some(true);
    let chosen =
        |choice: &Option<HeaderChoice>| choice.as_ref().is_some_and(|choice| choice.enabled == Some(true));
    let server = match &headers.server {
        Some(server) if server.disabled == Some(true) => None,
        Some(server) if !server.value.is_empty() => Some(server.value.clone()),
        _ => default_name,
    };
    let exchange = headers.metadata_exchange_headers.as_ref().map(|exchange| exchange.mode);
    AddedHeaders {
        server,
        request_id: on(&headers.request_id),
        attempt_count: on(&headers.attempt_count),
        envoy: on(&headers.envoy_debug_headers),
        forwarded_host: chosen(&headers.x_forwarded_host),
        forwarded_port: chosen(&headers.x_forwarded_port),
        peer_metadata: match exchange.unwrap_or_default() {
            MetadataExchangeMode::Undefined => PeerMetadata::Everybody,
            MetadataExchangeMode::InMesh => PeerMetadata::InMesh,
        },
    }
}
