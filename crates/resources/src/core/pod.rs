//! `Pod`: an endpoint, as far as a gateway is concerned.

use serde::Serialize;

use crate::decode::{Cursor, Decode, spec};
use crate::node::Node;

/// `v1` `Pod`: the parts of `spec` and `status` that make it an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pod {
    /// `spec.nodeName`.
    #[serde(rename = "nodeName", skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// `spec.serviceAccountName`.
    #[serde(rename = "serviceAccountName", skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// The ports of all its containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ContainerPort>,
    /// `status.phase`; empty if it was not written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// `status.podIP` and `status.podIPs`, without repetition, the first one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// The condition `Ready`, if it was written.
    #[serde(rename = "readyCondition", skip_serializing_if = "Option::is_none")]
    pub ready_condition: Option<bool>,
    /// It is being deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terminating: bool,
}

impl Pod {
    /// May it get traffic? Without a written condition that follows from the phase, and without a phase it may.
    pub fn ready(&self) -> bool {
        let running = self.ready_condition.unwrap_or(matches!(self.phase.as_str(), "" | "Running"));
        running && !self.terminating && !matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// The number of the container port with this name.
    pub fn port_named(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|port| port.name == name).map(|port| port.container_port)
    }
}

spec! {
    /// A port of a container.
    pub struct ContainerPort {
        /// Its name.
        "name" => name: String,
        /// Its number.
        "containerPort" => container_port: u16,
        /// `TCP` (also if empty), `UDP` or `SCTP`.
        "protocol" => protocol: String,
    }
    also ["hostPort", "hostIP"]
}

spec! {
    /// The whole Pod as it is written.
    struct Written {
        "metadata" => metadata: WrittenMeta,
        "spec" => spec: WrittenSpec,
        "status" => status: WrittenStatus,
    }
    also ["apiVersion", "kind"]
}

spec! {
    struct WrittenMeta {
        "deletionTimestamp" => deletion_timestamp: Option<String>,
    }
    also ["*"]
}

spec! {
    struct WrittenSpec {
        "nodeName" => node_name: String,
        "serviceAccountName" => service_account_name: String,
        "containers" => containers: Vec<Container>,
        "initContainers" => init_containers: Vec<Container>,
    }
    also ["*"]
}

spec! {
    struct Container {
        "ports" => ports: Vec<ContainerPort>,
    }
    also ["*"]
}

spec! {
    struct WrittenStatus {
        "phase" => phase: String,
        "podIP" => pod_ip: String,
        "podIPs" => pod_ips: Vec<PodIp>,
        "conditions" => conditions: Vec<Condition>,
    }
    also ["*"]
}

spec! {
    struct PodIp {
        "ip" => ip: String,
    }
}

spec! {
    struct Condition {
        "type" => condition: String,
        "status" => status: String,
    }
    also ["*"]
}

impl Decode for Pod {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Pod {
        let Written { metadata, spec, status } = Written::decode(node, cursor);
        let mut ips: Vec<String> = Vec::new();
        for ip in std::iter::once(status.pod_ip).chain(status.pod_ips.into_iter().map(|pod_ip| pod_ip.ip)) {
            if !ip.is_empty() && !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        let ready = status.conditions.iter().find(|condition| condition.condition == "Ready");
        let containers = spec.containers.into_iter().chain(spec.init_containers);
        Pod {
            node_name: spec.node_name,
            service_account_name: spec.service_account_name,
            ports: containers.flat_map(|container| container.ports).collect(),
            phase: status.phase,
            ips,
            ready_condition: ready.map(|condition| condition.status == "True"),
            terminating: metadata.deletion_timestamp.is_some(),
        }
    }
}
