//! `ServiceEntry`: a service that Kubernetes does not know.

use std::collections::BTreeMap;

use super::workload_entry::WorkloadEntry;
use crate::decode::{spec, words};

spec! {
    /// `networking.istio.io` `ServiceEntry`.
    pub struct ServiceEntry {
        /// Names of the service, at least one.
        "hosts" => hosts: Vec<String>,
        /// Virtual addresses or networks.
        "addresses" => addresses: Vec<String>,
        /// Ports.
        "ports" => ports: Vec<ServiceEntryPort>,
        /// Inside or outside of the mesh.
        "location" => location: ServiceLocation,
        /// Where its endpoints come from.
        "resolution" => resolution: Resolution,
        /// Endpoints.
        "endpoints" => endpoints: Vec<WorkloadEntry>,
        /// Endpoints by label instead.
        "workloadSelector" => workload_selector: Option<WorkloadLabels>,
        /// `.`, `*`, `~` or namespaces.
        "exportTo" => export_to: Vec<String>,
        /// Names of which the server's certificate must carry one.
        "subjectAltNames" => subject_alt_names: Vec<String>,
    }
}

spec! {
    /// A port of the service.
    pub struct ServiceEntryPort {
        /// Unique, 1 to 65535.
        "number" => number: u16,
        /// Unique.
        "name" => name: String,
        /// HTTP, TCP, …; empty: found out.
        "protocol" => protocol: String,
        /// Port of the endpoints; 0: `number`.
        "targetPort" => target_port: u16,
    }
}

spec! {
    /// Selects workloads by label.
    pub struct WorkloadLabels {
        /// All must be there.
        "labels" => labels: BTreeMap<String, String>,
    }
}

words! {
    /// Is the service inside of the mesh?
    pub enum ServiceLocation {
        /// Outside.
        MeshExternal = "MESH_EXTERNAL",
        /// Inside.
        MeshInternal = "MESH_INTERNAL",
    }
}

words! {
    /// Where endpoints come from.
    pub enum Resolution {
        /// The original destination.
        None = "NONE",
        /// From the list.
        Static = "STATIC",
        /// From DNS, all addresses.
        Dns = "DNS",
        /// From DNS, the first address for each connection.
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        /// From DNS by the host of the request.
        DynamicDns = "DYNAMIC_DNS",
    }
}
