//! `EndpointSlice`: some of the endpoints of a Service.

use crate::decode::{spec, words};

spec! {
    /// `discovery.k8s.io` `EndpointSlice`. The label `kubernetes.io/service-name` says which Service it belongs to.
    pub struct EndpointSlice {
        /// What the addresses are.
        "addressType" => address_type: AddressType,
        /// The endpoints.
        "endpoints" => endpoints: Vec<Endpoint>,
        /// The ports of each of them.
        "ports" => ports: Vec<EndpointPort>,
    }
    also ["apiVersion", "kind", "metadata"]
}

impl EndpointSlice {
    /// The label that names the Service.
    pub const SERVICE_NAME: &'static str = "kubernetes.io/service-name";
}

words! {
    /// What the addresses are.
    pub enum AddressType {
        /// IPv4 addresses.
        Ipv4 = "IPv4",
        /// IPv6 addresses.
        Ipv6 = "IPv6",
        /// Names.
        Fqdn = "FQDN",
    }
}

spec! {
    /// One endpoint.
    pub struct Endpoint {
        /// Its addresses; they mean the same endpoint, the first is used.
        "addresses" => addresses: Vec<String>,
        /// Its state.
        "conditions" => conditions: EndpointConditions,
        /// The Pod.
        "targetRef" => target_ref: Option<ObjectReference>,
        /// The node that it is on.
        "nodeName" => node_name: String,
        /// The zone that it is in.
        "zone" => zone: String,
        /// Its host name.
        "hostname" => hostname: String,
    }
    also ["hints", "deprecatedTopology"]
}

spec! {
    /// The state of an endpoint. Absent is not false: see each.
    pub struct EndpointConditions {
        /// Absent counts as true.
        "ready" => ready: Option<bool>,
        /// Absent counts as `ready`.
        "serving" => serving: Option<bool>,
        /// Absent counts as false.
        "terminating" => terminating: Option<bool>,
    }
}

spec! {
    /// Names an object.
    pub struct ObjectReference {
        /// Its kind.
        "kind" => kind: String,
        /// Its namespace.
        "namespace" => namespace: String,
        /// Its name.
        "name" => name: String,
    }
    also ["apiVersion", "fieldPath", "resourceVersion", "uid"]
}

spec! {
    /// A port of the endpoints of a slice.
    pub struct EndpointPort {
        /// As the Service names it.
        "name" => name: String,
        /// `TCP` (also if empty), `UDP` or `SCTP`.
        "protocol" => protocol: String,
        /// Absent: every port.
        "port" => port: Option<u16>,
        /// What is spoken on it.
        "appProtocol" => app_protocol: String,
    }
}
