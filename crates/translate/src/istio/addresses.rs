//! Where clients find a gateway, as a status says it: the addresses of the Services that select its Pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_resources::core::{EndpointSlice, Service};
use limen_resources::{GatewayAddress, Object, Snapshot};

use super::names;
use crate::index::Index;
use crate::messages::{At, gateway as messages};
use crate::report::Report;
use crate::settings::{GatewayInstance, Settings};

/// Names the nodes whose addresses lead to a Service of type NodePort: a JSON object of labels, empty for all.
const NODE_SELECTOR: &str = "traffic.istio.io/nodeSelector";

/// Of the Services in the gateway's namespace that select it, by name: the addresses outside of the cluster, and if there
/// are none at all, those inside.
pub(crate) fn addresses(
    index: &Index<'_>,
    instance: &GatewayInstance,
    report: &mut Report,
) -> Vec<GatewayAddress> {
    let (mut outside, mut within) = (Vec::new(), Vec::new());
    for service in selecting(index, instance) {
        outside.extend(from_outside(index, service, report));
        within.extend(inside(service));
    }
    let mut found = if outside.is_empty() { within } else { outside };
    if found.is_empty() {
        match instance.bind.is_unspecified() {
            true => found = of_own_nodes(index, instance),
            false => found.push(GatewayAddress::ip(instance.bind.to_string())),
        }
    }
    let mut seen = Vec::new();
    found.retain(|address| {
        let new = !seen.contains(address);
        seen.push(address.clone());
        new
    });
    found
}

/// The first address outside of each node that a gateway runs on which no Service has an address for: it is reached there
/// where it listens in the nodes' own network. The nodes are those that the endpoints of a headless Service name, or else its own.
fn of_own_nodes(index: &Index<'_>, instance: &GatewayInstance) -> Vec<GatewayAddress> {
    let slices = slices(index.snapshot, index.settings, instance);
    let endpoints = slices.flat_map(|slice| &slice.spec.endpoints);
    let ready = endpoints.filter(|endpoint| endpoint.conditions.ready.unwrap_or(true));
    let mut nodes: BTreeSet<&str> =
        ready.map(|endpoint| &*endpoint.node_name).filter(|node| !node.is_empty()).collect();
    if nodes.is_empty() {
        nodes.extend(index.settings.node.as_deref());
    }
    let nodes = nodes.into_iter().filter_map(|node| index.snapshot.nodes().get("", node));
    nodes.filter_map(|node| node.spec.external_ips.first().cloned().map(GatewayAddress::ip)).collect()
}

/// The EndpointSlices of the Services that select a gateway, which tell where it runs.
pub(crate) fn slices<'s>(
    snapshot: &'s Snapshot,
    settings: &'s Settings,
    instance: &'s GatewayInstance,
) -> impl Iterator<Item = &'s Arc<Object<EndpointSlice>>> {
    let all = snapshot.endpoint_slices().in_namespace(&settings.workload_namespace);
    all.filter(move |slice| tells_of(slice, snapshot, settings, instance))
}

/// Is it one of those?
pub(crate) fn tells_of(
    slice: &Object<EndpointSlice>,
    snapshot: &Snapshot,
    settings: &Settings,
    instance: &GatewayInstance,
) -> bool {
    let namespace = &settings.workload_namespace;
    let name =
        slice.meta.labels.get(EndpointSlice::SERVICE_NAME).filter(|_| *slice.key.namespace == **namespace);
    let service = name.and_then(|name| snapshot.services().get(namespace, name));
    service.is_some_and(|service| selects(service, instance))
}

fn selects(service: &Object<Service>, instance: &GatewayInstance) -> bool {
    let selector = &service.spec.selector;
    !selector.is_empty() && names::selects(selector, &instance.labels)
}

/// Has a Service that selects the gateway a balancer that has no address yet, and no other one outside of the cluster?
pub(crate) fn awaited(index: &Index<'_>, instance: &GatewayInstance, report: &mut Report) -> bool {
    selecting(index, instance).any(|service| {
        service.spec.service_type == "LoadBalancer" && from_outside(index, service, report).is_empty()
    })
}

/// Those of a Service that was made for a Gateway: of its balancer, or else inside of the cluster.
pub(crate) fn of_made(
    index: &Index<'_>,
    service: &Object<Service>,
    report: &mut Report,
) -> Vec<GatewayAddress> {
    let outside = from_outside(index, service, report);
    match outside.is_empty() && service.spec.service_type != "LoadBalancer" {
        true => inside(service).collect(),
        false => outside,
    }
}

fn inside(service: &Object<Service>) -> impl Iterator<Item = GatewayAddress> {
    let spec = &service.spec;
    let all =
        if spec.cluster_ips.is_empty() { std::slice::from_ref(&spec.cluster_ip) } else { &spec.cluster_ips };
    all.iter().filter(|ip| !matches!(&***ip, "" | "None")).cloned().map(GatewayAddress::ip)
}

/// The Services in the gateway's namespace that select it, by name.
fn selecting<'s>(
    index: &Index<'s>,
    instance: &'s GatewayInstance,
) -> impl Iterator<Item = &'s Arc<Object<Service>>> {
    let services = index.snapshot.services().in_namespace(&index.settings.workload_namespace);
    services.filter(|service| selects(service, instance))
}

/// Those of one Service outside of the cluster; of an ExternalName Service, that name.
pub(crate) fn of_service(
    index: &Index<'_>,
    service: &Object<Service>,
    report: &mut Report,
) -> Vec<GatewayAddress> {
    match &*service.spec.service_type {
        "ExternalName" => vec![GatewayAddress::hostname(service.spec.external_name.clone())],
        _ => from_outside(index, service, report),
    }
}

fn from_outside(index: &Index<'_>, service: &Object<Service>, report: &mut Report) -> Vec<GatewayAddress> {
    let Service { service_type, external_ips, ingress, .. } = &service.spec;
    let balancers = ingress.iter().filter(|_| service_type == "LoadBalancer");
    let balancers = balancers.filter_map(|at| match (&*at.ip, &*at.hostname) {
        ("", "") => None,
        ("", name) => Some(GatewayAddress::hostname(name.to_owned())),
        (ip, _) => Some(GatewayAddress::ip(ip.to_owned())),
    });
    let external = external_ips.iter().cloned().map(GatewayAddress::ip);
    let nodes = match (&**service_type, service.meta.annotations.get(NODE_SELECTOR)) {
        ("NodePort", Some(written)) => of_nodes(index, service, written, report),
        _ => Vec::new(),
    };
    balancers.chain(external).chain(nodes).collect()
}

/// The first address outside of each node that has the labels.
fn of_nodes(
    index: &Index<'_>,
    service: &Object<Service>,
    written: &str,
    report: &mut Report,
) -> Vec<GatewayAddress> {
    let Ok(wanted) = serde_json::from_str::<BTreeMap<String, String>>(written) else {
        let field = format!("metadata.annotations.{NODE_SELECTOR}");
        report.problem(messages::no_labels(At::new(service, &field)));
        return Vec::new();
    };
    let nodes = index.snapshot.nodes().iter().filter(|node| names::selects(&wanted, &node.meta.labels));
    nodes.filter_map(|node| node.spec.external_ips.first().cloned().map(GatewayAddress::ip)).collect()
}
