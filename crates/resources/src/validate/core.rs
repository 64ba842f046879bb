//! Rules for Kubernetes' kinds, and for the policies of which only the selection is read.

use super::path::SPEC;
use super::syntax::{check_port, is_ip};
use super::{Check, DRY_RUN, Path, Validate};
use crate::code::codes;
use crate::core::{
    AddressType, ConfigMap, Deployment, EndpointSlice, HorizontalPodAutoscaler, IntOrString, Namespace, Node,
    PemPart, Pod, PodDisruptionBudget, Secret, Service, ServiceStatus, parse_pem_pair,
};
use crate::decode::{Cursor, Unknown};
use crate::istio::Policy;
use crate::node::Entry;
use crate::object::Meta;

impl Validate for Namespace {
    const UNKNOWN: Unknown = Unknown::Warn;
    const WHOLE: bool = true;

    fn validate(&self, _: &Meta, _: &mut Check<'_>) {}
}

impl Validate for HorizontalPodAutoscaler {
    const UNKNOWN: Unknown = Unknown::Warn;

    fn validate(&self, _: &Meta, _: &mut Check<'_>) {}
}

impl Validate for PodDisruptionBudget {
    const UNKNOWN: Unknown = Unknown::Warn;
    const WHOLE: bool = true;

    fn validate(&self, _: &Meta, _: &mut Check<'_>) {}
}

impl Validate for Deployment {
    const UNKNOWN: Unknown = Unknown::Warn;
    const WHOLE: bool = true;

    fn validate(&self, _: &Meta, _: &mut Check<'_>) {}
}

impl Validate for Node {
    const UNKNOWN: Unknown = Unknown::Warn;
    const WHOLE: bool = true;

    fn validate(&self, _: &Meta, _: &mut Check<'_>) {}
}

impl Validate for ConfigMap {
    const UNKNOWN: Unknown = Unknown::Warn;
    const WHOLE: bool = true;

    fn validate(&self, _: &Meta, _: &mut Check<'_>) {}
}

impl Validate for Policy {
    const FAILS_CLOSED: bool = true;

    fn validate(&self, meta: &Meta, check: &mut Check<'_>) {
        let tried_out = meta.annotations.contains_key(DRY_RUN);
        if tried_out && !matches!(self.action.as_str(), "" | "ALLOW" | "DENY") {
            let message = format!("{DRY_RUN} is for the actions ALLOW and DENY");
            check.error("metadata.annotations", message, "remove it");
        }
    }
}

impl Validate for Service {
    const UNKNOWN: Unknown = Unknown::Warn;

    fn read_status(&mut self, status: &Entry, cursor: &mut Cursor<'_>) {
        let mut read = ServiceStatus::default();
        cursor.field("status", status, &mut read);
        self.ingress = read.load_balancer.ingress;
    }

    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        const TYPES: [&str; 5] = ["", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
        if !TYPES.contains(&self.service_type.as_str()) {
            let message = format!("expected a type of service, found {:?}", self.service_type);
            check.error("spec.type", message, "write ClusterIP, NodePort, LoadBalancer or ExternalName");
        }
        if self.service_type == "ExternalName" && self.external_name.is_empty() {
            check.error("spec.externalName", "expected a name", "type ExternalName needs it");
        }
        let list = SPEC.field("ports");
        for (index, port) in self.ports.iter().enumerate() {
            let at = list.item(index);
            check_port(check, at.field("port"), u32::from(port.port));
            if port.target_port == Some(IntOrString::Int(0)) {
                check_port(check, at.field("targetPort"), 0);
            }
            if self.ports.len() > 1 && port.name.is_empty() {
                check.error(
                    at.field("name"),
                    "expected a name",
                    "a Service with several ports must name each",
                );
            }
            let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
            if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
                let message = format!("expected TCP, UDP or SCTP, found {protocol:?}");
                check.error(
                    at.field("protocol"),
                    message,
                    "what is spoken over it goes into appProtocol or the name",
                );
            }
            let same = |other: &&crate::core::ServicePort| !other.name.is_empty() && other.name == port.name;
            if self.ports.iter().take(index).any(|other| same(&other)) {
                check.error(
                    at.field("name"),
                    format!("the name {:?} stands there twice", port.name),
                    "change one",
                );
            }
        }
    }
}

impl Validate for EndpointSlice {
    const UNKNOWN: Unknown = Unknown::Warn;
    const WHOLE: bool = true;

    fn validate(&self, meta: &Meta, check: &mut Check<'_>) {
        let root = Path::root("endpoints");
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let at = root.item(index);
            let addresses = at.field("addresses");
            if endpoint.addresses.is_empty() {
                check.error(addresses, "expected at least one address", "write the address of the endpoint");
            }
            for (number, address) in endpoint.addresses.iter().enumerate() {
                if self.address_type != AddressType::Fqdn && !is_ip(address) {
                    let message = format!("expected an IP address, found {address:?}");
                    check.error(addresses.item(number), message, "write an address, or addressType: FQDN");
                }
            }
        }
        let ports = Path::root("ports");
        for (index, port) in self.ports.iter().enumerate() {
            if port.port == Some(0) {
                check_port(check, ports.item(index).field("port"), 0);
            }
        }
        if !meta.labels.contains_key(EndpointSlice::SERVICE_NAME) {
            let message =
                format!("has no label {}, so it belongs to no Service", EndpointSlice::SERVICE_NAME);
            check.warn("metadata.labels", message, "write the label with the name of the Service");
        }
    }
}

impl Validate for Pod {
    const UNKNOWN: Unknown = Unknown::Warn;
    const WHOLE: bool = true;

    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        for ip in self.ips.iter().filter(|ip| !is_ip(ip)) {
            check.error(
                "status.podIP",
                format!("expected an IP address, found {ip:?}"),
                "write the address that the Pod has",
            );
        }
    }
}

impl Validate for Secret {
    const UNKNOWN: Unknown = Unknown::Warn;
    const WHOLE: bool = true;

    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let Some(pair) = self.server_pair() else {
            if self.secret_type == "kubernetes.io/tls" {
                let message = "type kubernetes.io/tls needs tls.crt and tls.key";
                check.report(codes::INVALID_CREDENTIAL, "data", message, "write both, in base64");
            }
            return;
        };
        if let Err((part, error)) = parse_pem_pair(pair.certificate.expose(), pair.private_key.expose()) {
            let (key, mend) = match part {
                PemPart::Certificate => {
                    (pair.certificate_key, "it must hold the PEM of the chain, leaf first")
                }
                PemPart::PrivateKey => {
                    (pair.private_key_key, "it must hold the PEM of an unencrypted private key")
                }
            };
            let field = if check.wrote(&format!("stringData.{key}")) { "stringData" } else { "data" };
            check.report(codes::INVALID_CREDENTIAL, format!("{field}.{key}"), error.to_string(), mend);
        }
    }
}
