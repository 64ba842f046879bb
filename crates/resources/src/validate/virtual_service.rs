//! Rules for `VirtualService`, apart from those for its HTTP routes.

use std::collections::{BTreeMap, BTreeSet};

use super::path::SPEC;
use super::syntax::{
    check_export_to, check_host, check_port, host_mend, is_dns_label, is_dns_name, is_ip, is_network,
    is_wildcard_host,
};
use super::{Check, Path, Validate, http_route, repeated};
use crate::istio::{Destination, TcpRoute, TlsRoute, VirtualService, WeightedDestination};
use crate::object::Meta;

/// What the parts of a VirtualService need to know of the whole.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    /// It is bound to the mesh.
    pub(super) mesh: bool,
    /// It has no hosts: another one delegates to it.
    pub(super) delegate: bool,
}

impl Validate for VirtualService {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let mesh = self.gateways.is_empty() || self.gateways.iter().any(|gateway| gateway == "mesh");
        let whole = Whole { mesh: mesh && !self.hosts.is_empty(), delegate: self.hosts.is_empty() };
        if whole.delegate {
            delegate(check, self);
        }
        hosts(check, self, whole);
        for (index, gateway) in self.gateways.iter().enumerate() {
            gateway_name(check, SPEC.field("gateways").item(index), gateway);
        }
        check_export_to(check, &self.export_to, false);
        if self.http.is_empty() && self.tls.is_empty() && self.tcp.is_empty() {
            check.error(SPEC, "expected at least one route", "write http, tls or tcp");
        }
        for (index, route) in self.http.iter().enumerate() {
            http_route::check(check, SPEC.field("http").item(index), route, whole);
        }
        repeated::check(check, &self.http);
        let covered = Covered::of(&self.hosts);
        for (index, route) in self.tls.iter().enumerate() {
            tls_route(check, SPEC.field("tls").item(index), route, &covered);
        }
        for (index, route) in self.tcp.iter().enumerate() {
            tcp_route(check, SPEC.field("tcp").item(index), route);
        }
    }
}

/// A VirtualService without hosts holds HTTP routes for another one.
fn delegate(check: &mut Check<'_>, service: &VirtualService) {
    let mend = "write hosts, or keep only http routes for another VirtualService to delegate to";
    for (present, name) in [
        (!service.gateways.is_empty(), "gateways"),
        (!service.tls.is_empty(), "tls"),
        (!service.tcp.is_empty(), "tcp"),
    ] {
        if present {
            check.error(SPEC.field(name), format!("a VirtualService without hosts cannot have {name}"), mend);
        }
    }
}

fn hosts(check: &mut Check<'_>, service: &VirtualService, whole: Whole) {
    let mut right = true;
    for (index, host) in service.hosts.iter().enumerate() {
        let list = SPEC.field("hosts");
        let at = list.item(index);
        if whole.mesh && host == "*" {
            let mend = "write gateways: [name], without mesh, or name the hosts";
            check.error(at, "`*` is not possible for the gateway `mesh`, which is the default", mend);
        } else if !is_wildcard_host(host) && !is_ip(host) {
            check.error(at, format!("expected a host, found {host:?}"), host_mend(host));
            right = false;
        }
    }
    if right {
        overlaps(check, &service.hosts);
    }
}

/// No host may stand there twice, nor within a wildcard that stands there.
fn overlaps(check: &mut Check<'_>, hosts: &[String]) {
    let mut seen = BTreeSet::new();
    // By what follows the star: the places of the first two. There may be thousands.
    let mut wildcards: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, host) in hosts.iter().enumerate() {
        let Some(suffix) = host.strip_prefix('*') else { continue };
        let places = wildcards.entry(suffix).or_default();
        if places.len() < 2 {
            places.push(index);
        }
    }
    for (index, host) in hosts.iter().enumerate() {
        let host = host.to_ascii_lowercase();
        let name = host.strip_prefix('*').unwrap_or(&host);
        let others = ends(name).filter_map(|end| {
            let (suffix, places) = wildcards.get_key_value(end)?;
            Some((*places.iter().find(|place| **place != index)?, *suffix))
        });
        let covering = if wildcards.is_empty() { None } else { others.min() };
        if let Some((other, suffix)) = covering {
            let list = SPEC.field("hosts");
            let mend = "remove one, or write a VirtualService of its own for it";
            if !(host.starts_with('*') && name == suffix && other > index) {
                check.error(
                    list.item(index),
                    format!("{host} is within *{suffix}, which stands there too"),
                    mend,
                );
            }
        } else if !seen.insert(host.clone()) {
            check.error(SPEC.field("hosts").item(index), format!("{host} stands there twice"), "remove one");
        }
    }
}

/// All that a name ends with, from itself to nothing.
fn ends(name: &str) -> impl Iterator<Item = &str> {
    (0..=name.len()).filter_map(|from| name.get(from..))
}

/// The names that hosts cover. There may be thousands of both.
struct Covered<'h> {
    /// Those without a wildcard, in lower case.
    exact: BTreeSet<String>,
    /// What follows the star of the others.
    suffixes: BTreeSet<&'h str>,
}

impl<'h> Covered<'h> {
    fn of(hosts: &'h [String]) -> Covered<'h> {
        let exact = hosts.iter().filter(|host| !host.starts_with('*')).map(|host| host.to_ascii_lowercase());
        let suffixes = hosts.iter().filter_map(|host| host.strip_prefix('*'));
        Covered { exact: exact.collect(), suffixes: suffixes.collect() }
    }

    fn has(&self, name: &str) -> bool {
        self.exact.contains(&name.to_ascii_lowercase())
            || ends(name.strip_prefix('*').unwrap_or(name)).any(|end| self.suffixes.contains(end))
    }
}

/// `name`, `namespace/name` or `mesh`. The old `name.namespace.svc…` passes with a warning.
pub(super) fn gateway_name(check: &mut Check<'_>, at: Path<'_>, name: &str) {
    let (namespace, gateway) = name.split_once('/').unwrap_or((".", name));
    if namespace != "." && !is_dns_label(namespace) {
        check.error(
            at,
            format!("expected a namespace before the `/`, found {namespace:?}"),
            "write namespace/name",
        );
    } else if gateway.contains('.') && is_dns_name(gateway) {
        check.warn(at, format!("{gateway:?} is an old way to name a Gateway"), "write namespace/name");
    } else if !is_dns_label(gateway) {
        check.error(
            at,
            format!("expected the name of a Gateway, found {gateway:?}"),
            "write name or namespace/name",
        );
    }
}

/// A destination of any kind of route.
pub(super) fn destination(check: &mut Check<'_>, at: Path<'_>, destination: &Destination) {
    check_host(check, at.field("host"), &destination.host);
    if !destination.subset.is_empty() && !is_dns_label(&destination.subset) {
        let message = format!("expected the name of a subset, found {:?}", destination.subset);
        check.error(at.field("subset"), message, "use lower-case letters, digits and `-`");
    }
    if let Some(port) = destination.port.as_ref().filter(|port| port.name.is_empty()) {
        check_port(check, at.field("port").field("number"), port.number);
    }
}

/// Weights of several destinations must not all be 0.
pub(super) fn weights(check: &mut Check<'_>, at: Path<'_>, weights: impl ExactSizeIterator<Item = u32>) {
    let several = weights.len() > 1;
    if several && weights.map(u64::from).sum::<u64>() == 0 {
        check.error(at, "expected weights whose sum is over 0", "write a weight for each destination");
    }
}

fn weighted(check: &mut Check<'_>, at: Path<'_>, route: &[WeightedDestination]) {
    if route.is_empty() {
        check.error(
            at,
            "expected at least one destination",
            "write `- destination:` with a host below `route:`",
        );
    }
    for (index, weighted) in route.iter().enumerate() {
        destination(check, at.item(index).field("destination"), &weighted.destination);
    }
    weights(check, at, route.iter().map(|weighted| weighted.weight));
}

fn tls_route(check: &mut Check<'_>, at: Path<'_>, route: &TlsRoute, hosts: &Covered<'_>) {
    if route.matches.is_empty() {
        check.error(at.field("match"), "expected at least one match", "write `- sniHosts:` below `match:`");
    }
    for (index, matches) in route.matches.iter().enumerate() {
        let list = at.field("match");
        let at = list.item(index);
        if matches.sni_hosts.is_empty() {
            check.error(
                at.field("sniHosts"),
                "expected at least one host",
                "write the names that clients ask for",
            );
        }
        for (number, sni) in matches.sni_hosts.iter().enumerate() {
            sni_host(check, at.field("sniHosts").item(number), sni, hosts);
        }
        networks(check, at.field("destinationSubnets"), &matches.destination_subnets);
        optional_port(check, at.field("port"), matches.port);
        for (number, gateway) in matches.gateways.iter().enumerate() {
            gateway_name(check, at.field("gateways").item(number), gateway);
        }
    }
    weighted(check, at.field("route"), &route.route);
}

/// An SNI name must lie within the hosts of the VirtualService.
fn sni_host(check: &mut Check<'_>, at: Path<'_>, sni: &str, hosts: &Covered<'_>) {
    if is_ip(sni) {
        check.warn(at, format!("{sni} is an address, and clients send no addresses in SNI"), "write a name");
    } else if !is_wildcard_host(sni) {
        check.error(at, format!("expected a host, found {sni:?}"), host_mend(sni));
    } else if !hosts.has(sni) {
        let message = format!("{sni:?} is not within the hosts of this VirtualService");
        check.error(at, message, "write it under spec.hosts too");
    }
}

fn tcp_route(check: &mut Check<'_>, at: Path<'_>, route: &TcpRoute) {
    for (index, matches) in route.matches.iter().enumerate() {
        let list = at.field("match");
        let at = list.item(index);
        networks(check, at.field("destinationSubnets"), &matches.destination_subnets);
        optional_port(check, at.field("port"), matches.port);
        for (number, gateway) in matches.gateways.iter().enumerate() {
            gateway_name(check, at.field("gateways").item(number), gateway);
        }
    }
    weighted(check, at.field("route"), &route.route);
}

fn networks(check: &mut Check<'_>, at: Path<'_>, networks: &[String]) {
    for (index, network) in
        networks.iter().enumerate().filter(|(_, network)| !is_ip(network) && !is_network(network))
    {
        check.error(
            at.item(index),
            format!("expected a network, found {network:?}"),
            "write 10.0.0.0/8, for example",
        );
    }
}

/// A port of a match, where 0 means any.
pub(super) fn optional_port(check: &mut Check<'_>, at: Path<'_>, port: u32) {
    if port != 0 {
        check_port(check, at, port);
    }
}
