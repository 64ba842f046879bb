//! Rules for `ServiceEntry` and `WorkloadEntry`.

use std::collections::BTreeSet;

use super::path::SPEC;
use super::syntax::{
    check_export_to, check_port, host_mend, is_dns_label, is_host_name, is_ip, is_network, is_protocol,
    is_unix_address, is_wildcard_host,
};
use super::{Check, Path, Validate};
use crate::istio::{Resolution, ServiceEntry, ServiceEntryPort, WorkloadEntry};
use crate::object::Meta;

impl Validate for ServiceEntry {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        hosts(check, self);
        addresses(check, self);
        ports(check, &self.ports);
        check_export_to(check, &self.export_to, true);
        if self.workload_selector.is_some() && !self.endpoints.is_empty() {
            check.error(
                SPEC.field("endpoints"),
                "endpoints and workloadSelector cannot stand together",
                "keep one",
            );
        }
        let selected = self.workload_selector.iter().flat_map(|selector| &selector.labels);
        for (name, _) in selected.filter(|(name, value)| name.contains('*') || value.contains('*')) {
            let at = SPEC.field("workloadSelector");
            let at = at.field("labels");
            check.error(at.field(name), "labels have no wildcards here", "write the label in full");
        }
        endpoints(check, self);
        ports_of_sockets(check, self);
        resolution(check, self);
        hosts_of_ports(check, self);
    }
}

fn hosts(check: &mut Check<'_>, entry: &ServiceEntry) {
    let list = SPEC.field("hosts");
    match entry.hosts.len() {
        0 => check.error(list, "expected at least one host", "name the service, such as api.example.com"),
        257.. => check.error(list, "expected at most 256 hosts", "write several ServiceEntries"),
        _ => {}
    }
    for (index, host) in entry.hosts.iter().enumerate() {
        let at = list.item(index);
        if host == "*" {
            check.error(
                at,
                "the host of a ServiceEntry cannot be `*`",
                "name the service, or write *.example.com",
            );
        } else if !is_wildcard_host(host) {
            check.error(at, format!("expected a host, found {host:?}"), host_mend(host));
        }
    }
}

fn addresses(check: &mut Check<'_>, entry: &ServiceEntry) {
    let list = SPEC.field("addresses");
    if entry.addresses.len() > 256 {
        check.error(list, "expected at most 256 addresses", "write several ServiceEntries");
    }
    for (index, address) in entry.addresses.iter().enumerate() {
        let at = list.item(index);
        if is_network(address) {
            if !matches!(entry.resolution, Resolution::None | Resolution::Static) {
                check.error(
                    at,
                    "networks are possible with resolution NONE or STATIC only",
                    "write single addresses",
                );
            }
        } else if !is_ip(address) {
            check.error(
                at,
                format!("expected an address or a network, found {address:?}"),
                "write 192.0.2.1 or 192.0.2.0/24",
            );
        }
    }
}

fn ports(check: &mut Check<'_>, ports: &[ServiceEntryPort]) {
    let list = SPEC.field("ports");
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let at = list.item(index);
        check_port(check, at.field("number"), u32::from(port.number));
        if !numbers.insert(port.number) {
            check.error(at.field("number"), format!("port {} stands there twice", port.number), "remove one");
        }
        if !is_dns_label(&port.name) {
            let message = format!("expected the name of a port, found {:?}", port.name);
            check.error(
                at.field("name"),
                message,
                "use lower-case letters, digits and `-`, such as http-api",
            );
        } else if !names.insert(&port.name) {
            check.error(
                at.field("name"),
                format!("the name {:?} stands there twice", port.name),
                "change one",
            );
        }
        if !port.protocol.is_empty() && !is_protocol(&port.protocol) {
            let message = format!("expected a protocol, found {:?}", port.protocol);
            check.error(at.field("protocol"), message, "write HTTP, HTTPS, HTTP2, GRPC, TLS or TCP");
        }
    }
}

fn endpoints(check: &mut Check<'_>, entry: &ServiceEntry) {
    let list = SPEC.field("endpoints");
    if entry.endpoints.len() > 4096 {
        check.error(list, "expected at most 4096 endpoints", "write WorkloadEntries and a workloadSelector");
    }
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        let at = list.item(index);
        workload(check, at, endpoint);
        for name in endpoint.ports.keys().filter(|name| !entry.ports.iter().any(|port| port.name == **name)) {
            let message = format!("the ServiceEntry has no port {name:?}");
            check.error(at.field("ports").field(name), message, "use the name of one of spec.ports");
        }
        let address = endpoint.address.as_str();
        if entry.resolution == Resolution::Static
            && !address.is_empty()
            && !is_ip(address)
            && !endpoint.is_socket()
        {
            let message =
                format!("with resolution STATIC an endpoint is an IP address, and {address:?} is none");
            check.error(at.field("address"), message, "write its address, or resolution: DNS");
        }
    }
}

/// A socket does not say which of several ports it is.
fn ports_of_sockets(check: &mut Check<'_>, entry: &ServiceEntry) {
    let sockets = entry.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.is_socket());
    if entry.ports.len() == 1 || entry.resolution != Resolution::Static {
        return;
    }
    let list = SPEC.field("endpoints");
    for (index, _) in sockets {
        let message = "an endpoint at a unix socket serves a ServiceEntry with one port only";
        check.error(list.item(index).field("address"), message, "write a ServiceEntry for each port");
    }
}

/// Without a name in the traffic, several hosts cannot be told apart; with DYNAMIC_DNS there must be one.
fn hosts_of_ports(check: &mut Check<'_>, entry: &ServiceEntry) {
    let list = SPEC.field("ports");
    for (index, port) in entry.ports.iter().enumerate() {
        let protocol = port.protocol.to_ascii_uppercase();
        let at = list.item(index);
        let at = at.field("protocol");
        let opaque = matches!(protocol.as_str(), "TCP" | "MONGO" | "MYSQL" | "REDIS");
        if opaque && entry.hosts.len() > 1 && entry.resolution != Resolution::None {
            let message = format!("{protocol} does not say which of several hosts is meant");
            check.error(at, message, "write a ServiceEntry for each host, or protocol: TLS");
        }
        let named = matches!(protocol.as_str(), "HTTP" | "HTTP2" | "GRPC" | "TLS");
        if entry.resolution == Resolution::DynamicDns && !named {
            let message = format!("resolution DYNAMIC_DNS cannot take the host from {protocol:?}");
            check.error(at, message, "write HTTP, HTTP2, GRPC or TLS");
        }
    }
}

/// What each way of resolution asks for.
fn resolution(check: &mut Check<'_>, entry: &ServiceEntry) {
    let (at, list) = (SPEC.field("resolution"), SPEC.field("endpoints"));
    match entry.resolution {
        Resolution::None if !entry.endpoints.is_empty() => {
            check.error(
                list,
                "resolution NONE, which is the default, has no endpoints",
                "write resolution: STATIC",
            );
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            if entry.resolution == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
                check.error(
                    list,
                    "resolution DNS_ROUND_ROBIN has at most one endpoint",
                    "write resolution: DNS",
                );
            }
            for (index, _) in entry.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.is_socket())
            {
                let message = "a socket is no name that can be looked up";
                check.error(list.item(index).field("address"), message, "write resolution: STATIC");
            }
            let unresolvable = entry.hosts.iter().any(|host| !is_host_name(host));
            if entry.endpoints.is_empty() && entry.workload_selector.is_none() && unresolvable {
                check.error(at, "a wildcard host cannot be looked up", "write endpoints, or hosts in full");
            }
        }
        Resolution::DynamicDns => {
            if !entry.endpoints.is_empty() || !entry.addresses.is_empty() {
                check.error(at, "resolution DYNAMIC_DNS has no endpoints and no addresses", "remove them");
            }
            if entry.hosts.iter().any(|host| !host.starts_with("*.")) {
                check.error(at, "resolution DYNAMIC_DNS is for wildcard hosts", "write resolution: DNS");
            }
        }
        _ => {}
    }
}

impl Validate for WorkloadEntry {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        workload(check, SPEC, self);
    }
}

fn workload(check: &mut Check<'_>, at: Path<'_>, entry: &WorkloadEntry) {
    let address = entry.address.as_str();
    let field = at.field("address");
    if address.is_empty() {
        if entry.network.is_empty() {
            check.error(field, "expected an address", "write an IP address or a name");
        } else {
            check.warn(
                field,
                "an endpoint without an address is reached through its network's gateway only",
                "write its address if there is no such gateway",
            );
        }
    } else if address.starts_with("unix:") {
        if !is_unix_address(address) {
            let message = format!("expected the absolute path of a socket, found {address:?}");
            check.error(field, message, "write unix:///path/to/socket or unix://@name");
        }
        if !entry.ports.is_empty() {
            check.error(at.field("ports"), "a socket has no ports", "remove them");
        }
    } else if !is_ip(address) && !is_host_name(address) {
        check.error(
            field,
            format!("expected an IP address or a name, found {address:?}"),
            host_mend(address),
        );
    }
    for (name, number) in &entry.ports {
        let ports = at.field("ports");
        check_port(check, ports.field(name), *number);
    }
}
