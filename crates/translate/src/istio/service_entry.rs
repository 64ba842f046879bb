//! ServiceEntries as services.

use std::sync::Arc;

use limen_resources::Object;
use limen_resources::istio::ServiceEntry;

use crate::index::origin;
use crate::services::{PortFacts, ServiceFacts, ServiceSource, Speaks};

/// The service that all entries of one host and namespace make, oldest first. Of ports with one number the first counts.
pub(crate) fn facts(host: String, namespace: String, entries: &[Arc<Object<ServiceEntry>>]) -> ServiceFacts {
    let mut ports: Vec<PortFacts> = Vec::new();
    for port in entries.iter().flat_map(|entry| &entry.spec.ports) {
        if ports.iter().all(|known| known.number != port.number) {
            let speaks = speaks(&port.protocol.to_ascii_lowercase());
            ports.push(PortFacts { number: port.number, name: port.name.clone(), speaks });
        }
    }
    let origin = entries.first().map(|entry| origin(&entry.key, String::new()));
    ServiceFacts {
        name: host.clone(),
        host,
        namespace: namespace.clone(),
        ports,
        source: ServiceSource::Entries(entries.to_vec()),
        origin: origin.unwrap_or_else(|| unreachable!("a group has an entry")),
    }
}

/// What a protocol's name, in lower case, means here. gRPC-Web may come over HTTP/1.1.
pub(crate) fn speaks(protocol: &str) -> Speaks {
    match protocol {
        "http2" | "grpc" | "h2c" | "kubernetes.io/h2c" => Speaks::Http2,
        "udp" => Speaks::Udp,
        _ => Speaks::Any,
    }
}
