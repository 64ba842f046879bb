//! What an API server would refuse in the Gateway API's classes, Gateways, ListenerSets and grants. What is merely not
//! served is no fault of theirs: that becomes a condition.

use super::gateway_api::{LOWER_CASE, count, named};
use super::path::SPEC;
use super::syntax::{is_dns_name, is_ip};
use super::{Check, Path, Validate};
use crate::decode::Cursor;
use crate::gateway_api::{
    Gateway, GatewayClass, GatewayStatus, GatewayTls, Listener, ListenerSet, ListenerTlsMode,
    ObjectReference, ReferenceGrant, RoutesFrom,
};
use crate::node::Entry;
use crate::object::Meta;

impl Validate for GatewayClass {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let right = self.controller_name.split_once('/').is_some_and(|(domain, path)| {
            is_dns_name(domain) && !path.is_empty() && self.controller_name.len() <= 253
        });
        if !right {
            let message = format!("expected a domain and a path, found {:?}", self.controller_name);
            check.error(SPEC.field("controllerName"), message, "write limen.dev/gateway-controller");
        }
        if let Some(parameters) = &self.parameters_ref {
            let at = SPEC.field("parametersRef");
            named(check, at, (&parameters.group, &parameters.kind, &parameters.name));
        }
    }
}

impl Validate for Gateway {
    fn read_status(&mut self, status: &Entry, cursor: &mut Cursor<'_>) {
        let mut read = GatewayStatus::default();
        cursor.field("status", status, &mut read);
        self.assigned = read.addresses;
    }

    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        if self.gateway_class_name.is_empty() {
            check.error(
                SPEC.field("gatewayClassName"),
                "expected a class",
                "write the name of a GatewayClass",
            );
        }
        listeners(check, &self.listeners);
        count(check, SPEC.field("addresses"), self.addresses.len(), 0, 16);
        let addresses = SPEC.field("addresses");
        for (index, address) in self.addresses.iter().enumerate() {
            let is_address = matches!(&*address.address_type, "" | "IPAddress");
            if is_address && !address.value.is_empty() && !is_ip(&address.value) {
                let message = format!("expected an IP address, found {:?}", address.value);
                check.error(addresses.item(index).field("value"), message, "write it without port");
            }
        }
        if let Some(tls) = &self.tls {
            gateway_tls(check, tls);
        }
    }
}

fn gateway_tls(check: &mut Check<'_>, tls: &GatewayTls) {
    let at = SPEC.field("tls");
    if let Some(reference) = tls.backend.as_ref().and_then(|backend| backend.client_certificate_ref.as_ref())
    {
        let at = at.field("backend");
        reference_named(check, at.field("clientCertificateRef"), reference);
    }
    let Some(frontend) = &tls.frontend else { return };
    let at = at.field("frontend");
    let (default, ports) = (at.field("default"), at.field("perPort"));
    let mut seen = Vec::new();
    let own = (default, frontend.default.validation.as_ref());
    let per_port = frontend.per_port.iter().enumerate();
    for (index, port) in per_port.clone() {
        if port.port == 0 || seen.contains(&port.port) {
            let message = format!("expected a port of its own, found {}", port.port);
            check.error(ports.item(index).field("port"), message, "write each port once");
        }
        seen.push(port.port);
    }
    let (at, validation) = own;
    validated(check, at, validation);
    for (index, port) in per_port {
        let at = ports.item(index);
        validated(check, at.field("tls"), port.tls.validation.as_ref());
    }
}

fn validated(check: &mut Check<'_>, at: Path<'_>, said: Option<&crate::gateway_api::FrontendValidation>) {
    let Some(said) = said else { return };
    let at = at.field("validation");
    let list = at.field("caCertificateRefs");
    count(check, list, said.ca_certificate_refs.len(), 1, 16);
    for (index, reference) in said.ca_certificate_refs.iter().enumerate() {
        reference_named(check, list.item(index), reference);
    }
}

impl Validate for ListenerSet {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        if self.parent_ref.name.is_empty() {
            check.error(SPEC.field("parentRef"), "expected a Gateway", "write its name");
        }
        listeners(check, &self.listeners);
    }
}

fn listeners(check: &mut Check<'_>, all: &[Listener]) {
    let list = SPEC.field("listeners");
    count(check, list, all.len(), 1, 64);
    for (index, own) in all.iter().enumerate() {
        let at = list.item(index);
        listener(check, at, own);
        let mut before = all.get(..index).unwrap_or_default().iter();
        if before.clone().any(|other| other.name == own.name) {
            let message = format!("two listeners are named {:?}", own.name);
            check.error(at.field("name"), message, "give each a name of its own");
        }
        let key = |listener: &Listener| (listener.port, listener.protocol.clone(), listener.hostname.clone());
        if before.any(|other| key(other) == key(own)) {
            let message = "another listener has the same port, protocol and hostname";
            check.error(at, message, "give each a hostname or a port of its own");
        }
    }
}

fn listener(check: &mut Check<'_>, at: Path<'_>, listener: &Listener) {
    let Listener { name, hostname, port, protocol, tls, allowed_routes } = listener;
    if !is_dns_name(name) {
        check.error(at.field("name"), format!("expected a name, found {name:?}"), LOWER_CASE);
    }
    super::api_routes::hostname(check, at.field("hostname"), hostname);
    if *port == 0 {
        check.error(at.field("port"), "expected a port", "write a number from 1 to 65535");
    }
    if protocol.is_empty() {
        check.error(at.field("protocol"), "expected a protocol", "write HTTP, HTTPS, TLS, TCP or UDP");
    }
    let clear = matches!(&**protocol, "HTTP" | "TCP" | "UDP");
    if clear && tls.is_some() {
        check.error(at.field("tls"), format!("{protocol} has no TLS"), "remove it, or write HTTPS or TLS");
    }
    if matches!(&**protocol, "TCP" | "UDP") && !hostname.is_empty() {
        check.error(at.field("hostname"), format!("{protocol} knows no host names"), "remove it");
    }
    if protocol == "TLS" && tls.is_none() {
        check.error(at.field("tls"), "TLS needs a mode", "write mode: Passthrough, or mode: Terminate");
    }
    if let Some(tls) = tls {
        if protocol == "HTTPS" && tls.mode == ListenerTlsMode::Passthrough {
            check.error(
                at.field("tls"),
                "HTTPS is decrypted here",
                "write mode: Terminate, or protocol: TLS",
            );
        }
        let at = at.field("tls");
        let list = at.field("certificateRefs");
        if tls.mode == ListenerTlsMode::Terminate && tls.certificate_refs.is_empty() && tls.options.is_empty()
        {
            check.error(list, "expected a certificate", "name a Secret of type kubernetes.io/tls");
        }
        count(check, list, tls.certificate_refs.len(), 0, 64);
        for (index, reference) in tls.certificate_refs.iter().enumerate() {
            reference_named(check, list.item(index), reference);
        }
    }
    let at = at.field("allowedRoutes");
    count(check, at.field("kinds"), allowed_routes.kinds.len(), 0, 8);
    let namespaces = &allowed_routes.namespaces;
    if namespaces.from == RoutesFrom::Selector && namespaces.selector.is_none() {
        check.error(at.field("namespaces"), "expected a selector", "write it, or from: All");
    }
}

fn reference_named(check: &mut Check<'_>, at: Path<'_>, reference: &ObjectReference) {
    let kind = if reference.kind.is_empty() { "Secret" } else { &reference.kind };
    named(check, at, (&reference.group, kind, &reference.name));
}

impl Validate for ReferenceGrant {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let (from, to) = (SPEC.field("from"), SPEC.field("to"));
        count(check, from, self.from.len(), 1, 16);
        count(check, to, self.to.len(), 1, 16);
        for (index, one) in self.from.iter().enumerate() {
            let at = from.item(index);
            named(check, at, (&one.group, &one.kind, "any"));
            if one.namespace.is_empty() {
                check.error(at.field("namespace"), "expected a namespace", "write that of what refers here");
            }
        }
        for (index, one) in self.to.iter().enumerate() {
            named(check, to.item(index), (&one.group, &one.kind, "any"));
        }
    }
}
