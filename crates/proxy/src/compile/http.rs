//! How listeners understand HTTP.

use limen_ir::atoms::Millis;
use limen_ir::policy::http as ir;

use crate::filter::client_cert::ForwardClientCert;
use crate::filter::policy::{AddedHeaders, EscapedSlashes, HttpPolicy, PathPolicy, ServerName, Underscores};

pub(crate) fn policy(policy: &ir::HttpPolicy) -> HttpPolicy {
    let ir::HttpPolicy {
        path,
        underscores,
        trusted_hops,
        client_cert,
        keeps_spelling,
        added,
        times,
        h2,
        grpc_web,
    } = policy;
    let ir::HttpTimes { idle, stream_idle, request, request_head, stream, connection } = times;
    let ir::H2Limits { max_streams, stream_window, connection_window } = h2;
    let millis = |time: &Option<Millis>| time.map(Millis::get);
    HttpPolicy {
        path: path_policy(path),
        underscores: match underscores {
            ir::Underscores::Allow => Underscores::Allow,
            ir::Underscores::Reject => Underscores::Reject,
            ir::Underscores::Drop => Underscores::Drop,
        },
        trusted_hops: *trusted_hops,
        client_cert: match client_cert {
            ir::ForwardClientCert::Sanitize => ForwardClientCert::Sanitize,
            ir::ForwardClientCert::ForwardOnly => ForwardClientCert::ForwardOnly,
            ir::ForwardClientCert::AppendForward => ForwardClientCert::AppendForward,
            ir::ForwardClientCert::SanitizeSet => ForwardClientCert::SanitizeSet,
            ir::ForwardClientCert::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
        },
        keeps_spelling: *keeps_spelling,
        added: added_headers(added),
        idle_ms: millis(idle),
        stream_idle_ms: millis(stream_idle),
        request_ms: millis(request),
        request_head_ms: millis(request_head),
        stream_ms: millis(stream),
        connection_ms: millis(connection),
        max_streams: *max_streams,
        stream_window: *stream_window,
        connection_window: *connection_window,
        grpc_web: *grpc_web,
    }
}

fn path_policy(path: &ir::PathPolicy) -> PathPolicy {
    let ir::PathPolicy { escaped_slashes, normalize, merge_slashes } = path;
    PathPolicy {
        escaped_slashes: match escaped_slashes {
            ir::EscapedSlashes::Keep => EscapedSlashes::Keep,
            ir::EscapedSlashes::Reject => EscapedSlashes::Reject,
            ir::EscapedSlashes::Redirect => EscapedSlashes::Redirect,
            ir::EscapedSlashes::Decode => EscapedSlashes::Decode,
        },
        normalize: *normalize,
        merge_slashes: *merge_slashes,
    }
}

fn added_headers(added: &ir::AddedHeaders) -> AddedHeaders {
    let ir::AddedHeaders {
        server,
        request_id,
        attempt_count,
        envoy,
        forwarded_host,
        forwarded_port,
        peer_metadata,
    } = added;
    AddedHeaders {
        server: match server.as_deref() {
            Some(ir::SERVER_NAME) => ServerName::Istio,
            Some(name) => ServerName::Named(name.into()),
            None => ServerName::PassOn,
        },
        request_id: *request_id,
        attempt_count: *attempt_count,
        envoy: *envoy,
        forwarded_host: *forwarded_host,
        forwarded_port: *forwarded_port,
        peer_metadata_in_mesh: *peer_metadata == ir::PeerMetadata::InMesh,
    }
}
