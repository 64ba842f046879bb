//! ServiceEntries as services.

use std::sync::Arc;

use limen_ir::cluster::Protocol;
use limen_resources::Object;
use limen_resources::istio::{ServiceEntry, ServiceLocation};

use crate::index::origin;
use crate::services::{PortFacts, ServiceFacts, ServiceSource};

/// The service that all entries of one host and namespace make, oldest first. Of ports with one number the first counts.
pub(crate) fn facts(host: String, namespace: String, entries: &[Arc<Object<ServiceEntry>>]) -> ServiceFacts {
    let mut ports: Vec<PortFacts> = Vec::new();
    for port in entries.iter().flat_map(|entry| &entry.spec.ports) {
        if ports.iter().all(|known| known.number != port.number) {
            let protocol = protocol(&port.protocol.to_ascii_lowercase());
            ports.push(PortFacts { number: port.number, name: port.name.clone(), protocol });
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
        external: entries.first().is_some_and(|entry| entry.spec.location == ServiceLocation::MeshExternal),
        outside: None,
    }
}

/// What a protocol's name, in lower case, means. `None`: UDP.
pub(crate) fn protocol(name: &str) -> Option<Protocol> {
    Some(match name {
        "http" => Protocol::Http,
        "http2" => Protocol::Http2,
        "grpc" => Protocol::Grpc,
        "grpc-web" => Protocol::GrpcWeb,
        "https" => Protocol::Https,
        "tls" => Protocol::Tls,
        "tcp" | "mongo" | "mysql" | "redis" => Protocol::Tcp,
        "udp" => return None,
        _ => Protocol::Undetected,
    })
}
