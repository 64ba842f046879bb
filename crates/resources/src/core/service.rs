//! `Service`: a name for a set of endpoints.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decode::{Cursor, Decode, spec};
use crate::node::{Node, Value};

spec! {
    /// The `spec` of a `v1` `Service`.
    pub struct Service {
        /// Its ports.
        "ports" => ports: Vec<ServicePort>,
        /// Labels of the Pods behind it; empty: endpoints are written by someone else.
        "selector" => selector: BTreeMap<String, String>,
        /// `ClusterIP` (also if empty), `NodePort`, `LoadBalancer` or `ExternalName`.
        "type" => service_type: String,
        /// Its address, or `None` if it is headless.
        "clusterIP" => cluster_ip: String,
        /// All its addresses.
        "clusterIPs" => cluster_ips: Vec<String>,
        /// The name that it stands for.
        "externalName" => external_name: String,
        /// Endpoints count as ready as soon as they exist.
        "publishNotReadyAddresses" => publish_not_ready_addresses: bool,
        /// `Cluster` (also if empty) or `Local`.
        "internalTrafficPolicy" => internal_traffic_policy: String,
        /// Preference for near endpoints.
        "trafficDistribution" => traffic_distribution: String,
        /// `IPv4` and `IPv6` in the order of preference.
        "ipFamilies" => ip_families: Vec<String>,
        /// Further addresses.
        "externalIPs" => external_ips: Vec<String>,
    }
    also [
        "allocateLoadBalancerNodePorts", "externalTrafficPolicy", "healthCheckNodePort", "ipFamilyPolicy",
        "loadBalancerClass", "loadBalancerIP", "loadBalancerSourceRanges", "sessionAffinity", "sessionAffinityConfig",
        "topologyKeys", "ipFamily",
    ]
    beside {
        /// `status.loadBalancer.ingress`: where its balancer is found.
        "ingress" => ingress: Vec<LoadBalancerIngress>,
    }
}

spec! {
    /// A place of a balancer.
    pub struct LoadBalancerIngress {
        /// Its address, if it has one.
        "ip" => ip: String,
        /// Its name, if it has one.
        "hostname" => hostname: String,
    }
    also ["*"]
}

spec! {
    /// The `status` of a Service.
    pub(crate) struct ServiceStatus {
        "loadBalancer" => load_balancer: LoadBalancer,
    }
    also ["*"]
}

spec! {
    pub(crate) struct LoadBalancer {
        "ingress" => ingress: Vec<LoadBalancerIngress>,
    }
    also ["*"]
}

impl Service {
    /// Has it no address of its own?
    pub fn headless(&self) -> bool {
        self.cluster_ip == "None"
    }
}

spec! {
    /// A port of a Service.
    pub struct ServicePort {
        /// May be empty if it is the only one.
        "name" => name: String,
        /// `TCP` (also if empty), `UDP` or `SCTP`.
        "protocol" => protocol: String,
        /// What is spoken on it.
        "appProtocol" => app_protocol: String,
        /// Its number.
        "port" => port: u16,
        /// The port of the endpoints; absent: the same.
        "targetPort" => target_port: Option<IntOrString>,
        /// The port on the nodes; 0: none.
        "nodePort" => node_port: u16,
    }
}

/// A port by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// By number.
    Int(u16),
    /// By name.
    String(String),
}

impl Default for IntOrString {
    fn default() -> IntOrString {
        IntOrString::Int(0)
    }
}

impl Decode for IntOrString {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> IntOrString {
        match &node.value {
            Value::Text { text, .. } if text.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
                IntOrString::String(text.to_string())
            }
            _ => IntOrString::Int(u16::decode(node, cursor)),
        }
    }
}
