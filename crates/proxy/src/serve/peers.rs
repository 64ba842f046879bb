//! What a client of the mesh is told of this gateway before the bytes of who is behind it.

use std::net::IpAddr;

use crate::Config;
use crate::observe::SourceLabels;
use crate::stream::peered::MAGIC;

/// The protocol of proxies that tell each other of themselves first.
pub(super) const PROTOCOL: &[u8] = b"istio-peer-exchange";

/// The mark, the length and a `google.protobuf.Any` that holds a `Struct` with two members: who we are, and the id of
/// this node.
pub(super) fn greeting(config: &Config, own: IpAddr) -> Vec<u8> {
    let SourceLabels { workload, namespace, cluster, canonical_service, canonical_revision, app, .. } =
        &config.own;
    let labels = [
        ("app", text(app)),
        ("service.istio.io/canonical-name", text(canonical_service)),
        ("service.istio.io/canonical-revision", text(canonical_revision)),
    ];
    let node = [
        ("CLUSTER_ID", text(cluster)),
        ("LABELS", nested(&labels)),
        ("NAMESPACE", text(namespace)),
        ("WORKLOAD_NAME", text(workload)),
    ];
    let name = if config.hostname.is_empty() { workload } else { &config.hostname };
    let id = format!("router~{own}~{name}.{namespace}~{namespace}.svc.cluster.local");
    let told = [("x-envoy-peer-metadata", nested(&node)), ("x-envoy-peer-metadata-id", text(&id))];
    let mut any = Vec::new();
    field(&mut any, 1, b"type.googleapis.com/google.protobuf.Struct");
    field(&mut any, 2, &members(&told));
    // It is a few hundred bytes long.
    let length = u32::try_from(any.len()).unwrap_or(u32::MAX);
    [&MAGIC[..], &length.to_be_bytes(), &any].concat()
}

/// A `Value` that is text.
fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, 3, value.as_bytes());
    out
}

/// A `Value` that is a `Struct`.
fn nested(values: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, 5, &members(values));
    out
}

/// A `Struct`: a map from names to values.
fn members(values: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in values {
        let mut entry = Vec::new();
        field(&mut entry, 1, name.as_bytes());
        field(&mut entry, 2, value);
        field(&mut out, 1, &entry);
    }
    out
}

/// A field of protobuf that has a length.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length > 0x7f {
        // Seven bits at a time, the lowest first.
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}
