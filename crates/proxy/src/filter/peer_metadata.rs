//! What others of the mesh, and their telemetry, are told of this gateway: before the bytes of a connection, or with
//! every request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use limen_wire::head::{Known, RequestHead};

use crate::Config;
use crate::observe::SourceLabels;
use crate::stream::peered::MAGIC;

/// Who we are, as a `Struct` of protobuf.
pub(crate) const METADATA: &[u8] = b"x-envoy-peer-metadata";
/// The id of our node.
pub(crate) const METADATA_ID: &[u8] = b"x-envoy-peer-metadata-id";

/// How the gateway introduces itself. Made once: it does not change while the process runs.
pub(crate) struct Introduction {
    /// The `Struct` in base64.
    metadata: String,
    id: String,
    /// The mark, the length and a `google.protobuf.Any` that holds a `Struct` with both.
    pub(crate) greeting: Vec<u8>,
}

impl Introduction {
    pub(crate) fn new(config: &Config) -> Introduction {
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
        let id = format!("router~{}~{name}.{namespace}~{namespace}.svc.cluster.local", config.address);
        let told = [("x-envoy-peer-metadata", nested(&node)), ("x-envoy-peer-metadata-id", text(&id))];
        let mut any = Vec::new();
        field(&mut any, 1, b"type.googleapis.com/google.protobuf.Struct");
        field(&mut any, 2, &members(&told));
        // It is a few hundred bytes long.
        let length = u32::try_from(any.len()).unwrap_or(u32::MAX);
        let greeting = [&MAGIC[..], &length.to_be_bytes(), &any].concat();
        Introduction { metadata: STANDARD.encode(members(&node)), id, greeting }
    }

    /// Introduces the gateway to who gets the request. What a client said in these fields is no longer there.
    pub(crate) fn add(&self, head: &mut RequestHead) {
        head.fields.add_known(Known::XEnvoy, METADATA, self.metadata.as_bytes());
        head.fields.add_known(Known::XEnvoy, METADATA_ID, self.id.as_bytes());
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_described_as_sidecars_read_it() {
        let own = SourceLabels {
            workload: "edge".to_owned(),
            namespace: "infra".to_owned(),
            app: "a".repeat(200),
            ..SourceLabels::default()
        };
        let hostname = "edge-0".to_owned();
        let made = Introduction::new(&Config { own, hostname, ..Config::default() });
        let mut head = RequestHead::default();
        made.add(&mut head);
        assert_eq!(
            head.fields.get(METADATA_ID),
            Some(&b"router~127.0.0.1~edge-0.infra~infra.svc.cluster.local"[..])
        );
        let told = STANDARD.decode(head.fields.get(METADATA).unwrap()).unwrap();
        // The first entry of the map: its length, its name, and a value that is text.
        let cluster = b"\x0a\x10\x0a\x0aCLUSTER_ID\x12\x02\x1a\x00";
        assert_eq!(told.get(..cluster.len()), Some(&cluster[..]));
        // Lengths above 127 take two bytes.
        let app = [b"\x12\xcb\x01\x1a\xc8\x01", "a".repeat(200).as_bytes()].concat();
        assert!(told.windows(app.len()).any(|part| part == app));
        assert!(told.ends_with(b"\x0a\x17\x0a\x0dWORKLOAD_NAME\x12\x06\x1a\x04edge"), "{told:?}");
    }
}
