//! Endpoints of Services: EndpointSlices, or the Pods that the selector finds where there are none.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use limen_ir::endpoint::{Address, Endpoint, Health, WorkloadLabels};
use limen_resources::core::{AddressType, EndpointSlice, IntOrString, Pod, Service};
use limen_resources::istio::{Resolution, WorkloadEntry};
use limen_resources::{Object, Snapshot};

use super::entries::PortOf;
use super::{Collector, Labels};
use crate::locality::locality;
use crate::messages::{At, destination as messages};
use crate::services::PortFacts;
use crate::workload::pod_workload;

/// Those of the Service's first family before the others, so that a Pod with addresses of both is reached by that.
pub(super) fn in_order(
    service: &Object<Service>,
    slices: &[Arc<Object<EndpointSlice>>],
) -> Vec<Arc<Object<EndpointSlice>>> {
    let first = if first_is_v6(&service.spec) { AddressType::Ipv6 } else { AddressType::Ipv4 };
    let (of_first, others): (Vec<_>, Vec<_>) =
        slices.iter().cloned().partition(|slice| slice.spec.address_type == first);
    of_first.into_iter().chain(others).collect()
}

fn first_is_v6(service: &Service) -> bool {
    service.ip_families.first().is_some_and(|family| family == "IPv6")
}

pub(super) fn slice_pods<'a>(
    slice: &'a Object<EndpointSlice>,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = &'a Arc<Object<Pod>>> {
    slice.spec.endpoints.iter().filter_map(move |endpoint| pod_of(endpoint, slice, snapshot))
}

fn pod_of<'a>(
    endpoint: &limen_resources::core::Endpoint,
    slice: &Object<EndpointSlice>,
    snapshot: &'a Snapshot,
) -> Option<&'a Arc<Object<Pod>>> {
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod")?;
    let namespace = if target.namespace.is_empty() { &*slice.key.namespace } else { &*target.namespace };
    snapshot.pods().get(namespace, &target.name)
}

impl<'a> Collector<'a> {
    pub(super) fn kubernetes(&mut self, service: &Object<Service>) {
        let inputs = self.inputs;
        let local = self.own_node_only(service);
        let mut seen = BTreeSet::new();
        for slice in &inputs.slices {
            self.slice(service, slice, local, &mut seen);
        }
        if inputs.slices.is_empty() {
            let here = |pod: &&Arc<Object<Pod>>| local.is_none_or(|node| node == pod.spec.node_name);
            for pod in inputs.pods.iter().filter(here) {
                let target = self.target_port(service);
                let port = match &target {
                    IntOrString::Int(number) => *number,
                    IntOrString::String(name) => pod.spec.port_named(name).unwrap_or_default(),
                };
                self.pod(pod, port, Some(&service.spec));
            }
        }
        // No WorkloadEntry stands on a node.
        for entry in inputs.workload_entries.iter().filter(|_| local.is_none()) {
            let number = match self.target_port(service) {
                IntOrString::Int(number) => number,
                IntOrString::String(_) => inputs.port.0.number,
            };
            self.workload_entry(entry, PortOf { name: &inputs.port.0.name, number }, None);
        }
    }

    /// Of the Service's port; its own number where none is written.
    fn target_port(&self, service: &Object<Service>) -> IntOrString {
        let number = self.inputs.port.0.number;
        let port = service
            .spec
            .ports
            .iter()
            .find(|port| port.port == number && port.name == self.inputs.port.0.name);
        match port.and_then(|port| port.target_port.clone()) {
            None | Some(IntOrString::Int(0)) => IntOrString::Int(number),
            Some(target) => target,
        }
    }

    /// Where only endpoints of the gateway's node count (`internalTrafficPolicy: Local`): that node.
    fn own_node_only(&mut self, service: &Object<Service>) -> Option<&'a str> {
        if service.spec.internal_traffic_policy != "Local" {
            return None;
        }
        let node = self.settings.node.as_deref();
        if node.is_none() {
            let at = At::new(service, "spec.internalTrafficPolicy");
            self.problems.push(messages::unknown_node(at));
        }
        node
    }

    /// `local`: the node whose endpoints count alone. `seen`: the Pods that have an endpoint already; one with addresses
    /// of two families is one endpoint.
    fn slice<'s>(
        &mut self,
        service: &Object<Service>,
        slice: &'s Arc<Object<EndpointSlice>>,
        local: Option<&str>,
        seen: &mut BTreeSet<(&'s str, u16)>,
    ) {
        let name = &self.inputs.port.0.name;
        let fits = match self.inputs.port.0.protocol {
            Some(_) => |protocol: &str| matches!(protocol, "" | "TCP"),
            None => |protocol: &str| protocol == "UDP",
        };
        let ports = slice.spec.ports.iter().filter(|port| fits(&port.protocol));
        let Some(port) = ports.into_iter().find(|port| port.name == *name) else { return };
        let port = port.port.unwrap_or_else(|| match self.target_port(service) {
            IntOrString::Int(number) => number,
            IntOrString::String(_) => 0,
        });
        let first = self.inputs.slices.first().map_or(AddressType::Ipv4, |slice| slice.spec.address_type);
        for (number, endpoint) in slice.spec.endpoints.iter().enumerate() {
            if local.is_some_and(|node| node != endpoint.node_name) {
                continue;
            }
            let conditions = &endpoint.conditions;
            let health = match (conditions.ready.unwrap_or(true), conditions.terminating.unwrap_or(false)) {
                (true, _) => Health::Healthy,
                (false, true) => continue,
                (false, false) => Health::Unready,
            };
            let Some(written) = endpoint.addresses.first() else { continue };
            let Ok(ip) = written.parse() else {
                let field = format!("endpoints[{number}].addresses[0]");
                self.problems.push(messages::address(At::new(slice, &field), written));
                continue;
            };
            let target = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod");
            if target
                .is_some_and(|target| !seen.insert((&target.name, port)) && slice.spec.address_type != first)
            {
                continue;
            }
            let pod =
                target.and_then(|target| self.inputs.pods.iter().find(|pod| *pod.key.name == *target.name));
            let none = Labels::new();
            let labels = pod.map_or(&none, |pod| &pod.meta.labels);
            let cluster = &self.settings.cluster_id;
            let workload = || match pod {
                Some(pod) => pod_workload(pod, cluster),
                None => WorkloadLabels::unknown(),
            };
            let node = self.inputs.node(&endpoint.node_name);
            let locality = locality(labels, node, &endpoint.zone);
            self.add(Address::Inet(SocketAddr::new(ip, port)), labels, &endpoint.node_name, |address| {
                Endpoint {
                    address,
                    weight: 1,
                    health,
                    workload: Arc::new(workload()),
                    locality,
                    priority: 0,
                    locality_weight: 0,
                    in_mesh: false,
                }
            });
        }
    }

    /// `service`: that which selects it, if it is one of Kubernetes'.
    pub(super) fn pod(&mut self, pod: &Object<Pod>, port: u16, service: Option<&Service>) {
        if pod.spec.terminating || matches!(&*pod.spec.phase, "Succeeded" | "Failed") {
            return;
        }
        let v6 = service.is_some_and(first_is_v6);
        let of_family = pod.spec.ips.iter().find(|ip| ip.contains(':') == v6);
        let Some(written) = of_family.filter(|_| service.is_some()).or(pod.spec.ips.first()) else { return };
        let Ok(ip) = written.parse() else {
            self.problems.push(messages::address(At::new(pod, "status.podIP"), written));
            return;
        };
        let ready_anyway = service.is_some_and(|service| service.publish_not_ready_addresses);
        let health = if pod.spec.ready() || ready_anyway { Health::Healthy } else { Health::Unready };
        let cluster = &self.settings.cluster_id;
        let locality = locality(&pod.meta.labels, self.inputs.node(&pod.spec.node_name), "");
        self.add(
            Address::Inet(SocketAddr::new(ip, port)),
            &pod.meta.labels,
            &pod.spec.node_name,
            |address| {
                let workload = Arc::new(pod_workload(pod, cluster));
                Endpoint {
                    address,
                    weight: 1,
                    health,
                    workload,
                    locality,
                    priority: 0,
                    locality_weight: 0,
                    in_mesh: false,
                }
            },
        );
    }

    /// An ExternalName Service whose name is no service's: DNS knows its addresses.
    pub(super) fn outside(&mut self, service: &Object<Service>) {
        let address = service.spec.external_name.clone();
        let itself = WorkloadEntry { address, ..WorkloadEntry::default() };
        let at = At::new(service, "spec.externalName");
        let PortFacts { name, number, .. } = &self.inputs.port.0;
        self.itself(&itself, PortOf { name, number: *number }, Resolution::Dns, at);
    }
}
