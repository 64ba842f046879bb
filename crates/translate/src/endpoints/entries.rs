//! Endpoints of ServiceEntries and WorkloadEntries: addresses, and names that DNS knows the addresses of.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use limen_ir::endpoint::{Address, Endpoint, Health, Locality};
use limen_resources::istio::{Resolution, ServiceEntry, ServiceEntryPort, WorkloadEntry};
use limen_resources::{NameState, Object, Snapshot};

use super::{Collector, Inputs, KnownName, Labels};
use crate::istio::names;
use crate::locality::locality;
use crate::memo::ByValue;
use crate::messages::{At, destination as messages};
use crate::workload::{labels_of, workload};

/// What `entries` have DNS asked for, with what it says. `inputs` holds what their selectors find.
pub(super) fn names(
    inputs: &Inputs,
    entries: &[Arc<Object<ServiceEntry>>],
    snapshot: &Snapshot,
) -> Vec<KnownName> {
    let mut names: Vec<String> = Vec::new();
    for entry in entries.iter().filter(|entry| by_dns(entry.spec.resolution)) {
        let spec = &entry.spec;
        if stands_for_itself(spec) {
            names.push(inputs.service.host.clone());
        }
        let selected = inputs
            .workload_entries
            .iter()
            .filter(|other| selects(entry, &other.key.namespace, &labels_of(other)));
        let addresses = spec.endpoints.iter().chain(selected.map(|other| &other.spec));
        names.extend(addresses.filter_map(|endpoint| name_in(&endpoint.address)));
    }
    names.sort();
    names.dedup();
    names.into_iter().map(|name| known(name, snapshot)).collect()
}

/// The same for a single address.
pub(super) fn name(address: &str, snapshot: &Snapshot) -> Vec<KnownName> {
    name_in(address).into_iter().map(|name| known(name, snapshot)).collect()
}

fn known(name: String, snapshot: &Snapshot) -> KnownName {
    let state = snapshot.name(&name).cloned();
    (ByValue(name.into()), state)
}

fn by_dns(resolution: Resolution) -> bool {
    matches!(resolution, Resolution::Dns | Resolution::DnsRoundRobin)
}

/// Is the host of the entry what is to be resolved?
fn stands_for_itself(entry: &ServiceEntry) -> bool {
    entry.endpoints.is_empty() && entry.workload_selector.is_none()
}

/// The name that an address is, as DNS is asked for it.
fn name_in(address: &str) -> Option<String> {
    let name = address.trim_end_matches('.').to_ascii_lowercase();
    let is_name = !name.is_empty() && !name.starts_with("unix:") && name.parse::<IpAddr>().is_err();
    is_name.then_some(name)
}

/// Why there is nothing to connect to at what is written as a unix socket.
struct NoSocket {
    why: &'static str,
    mend: &'static str,
}

/// The unix socket that is written there. `resolution`: that of the ServiceEntry; a Service has none.
fn socket(address: &str, resolution: Option<Resolution>) -> Result<Address, NoSocket> {
    let refuse = |why, mend| Err(NoSocket { why, mend });
    match resolution {
        Some(Resolution::Static) => {}
        Some(_) => {
            return refuse(
                "only resolution STATIC has unix sockets",
                "write resolution: STATIC in its ServiceEntry",
            );
        }
        None => return refuse("a Service has none", "select it by a ServiceEntry with resolution: STATIC"),
    }
    let mend = "write unix:///path/to/socket or unix://@name";
    Address::unix(address).or_else(|why| refuse(why, mend))
}

fn selects(entry: &Object<ServiceEntry>, namespace: &Arc<str>, labels: &Labels) -> bool {
    let Some(selector) = &entry.spec.workload_selector else { return false };
    *namespace == entry.key.namespace && names::selects(&selector.labels, labels)
}

/// An endpoint as it is written: its address may be a name.
#[derive(Clone, Copy)]
struct Written<'a> {
    entry: &'a WorkloadEntry,
    /// The workload's name, if it has one.
    name: Option<&'a str>,
    labels: &'a Labels,
    at: At<'a>,
}

/// A port of whatever endpoints are made for.
#[derive(Clone, Copy)]
pub(super) struct PortOf<'a> {
    /// What endpoints may have a port of their own for.
    pub(super) name: &'a str,
    /// That of endpoints that have none.
    pub(super) number: u16,
}

impl Collector<'_> {
    pub(super) fn service_entry(&mut self, entry: &Arc<Object<ServiceEntry>>, port: &ServiceEntryPort) {
        let number = if port.target_port > 0 { port.target_port } else { port.number };
        let port = PortOf { name: &port.name, number };
        let resolution = entry.spec.resolution;
        match resolution {
            Resolution::None => {
                self.problems.push(messages::no_original_destination(At::new(entry, "spec.resolution")));
                self.explained = true;
                return;
            }
            Resolution::DynamicDns => {
                self.problems.push(messages::dynamic_dns(At::new(entry, "spec.resolution")));
                self.explained = true;
                return;
            }
            Resolution::Static | Resolution::Dns | Resolution::DnsRoundRobin => {}
        }
        let inputs = self.inputs;
        if by_dns(resolution) && stands_for_itself(&entry.spec) {
            let host = &inputs.service.host;
            let at = entry.spec.hosts.iter().position(|written| written.eq_ignore_ascii_case(host));
            let field = format!("spec.hosts[{}]", at.unwrap_or_default());
            let itself = WorkloadEntry { address: host.clone(), ..WorkloadEntry::default() };
            self.itself(&itself, port, resolution, At::new(entry, &field));
        }
        for (index, endpoint) in entry.spec.endpoints.iter().enumerate() {
            let field = format!("spec.endpoints[{index}].address");
            let at = At::new(entry, &field);
            let written = Written { entry: endpoint, name: None, labels: &endpoint.labels, at };
            self.written(written, port, Some(resolution));
        }
        for pod in inputs.pods.iter().filter(|pod| selects(entry, &pod.key.namespace, &pod.meta.labels)) {
            self.pod(pod, number, None);
        }
        for other in &inputs.workload_entries {
            if selects(entry, &other.key.namespace, &labels_of(other)) {
                self.workload_entry(other, port, Some(resolution));
            }
        }
    }

    /// The address that an object names.
    pub(super) fn named(&mut self, at: At<'_>) {
        let address = self.inputs.service.spoken_to().to_owned();
        let itself = WorkloadEntry { address, ..WorkloadEntry::default() };
        let port = PortOf { name: "", number: self.inputs.port.0.number };
        self.itself(&itself, port, Resolution::Dns, at);
    }

    /// An endpoint that nobody wrote as one: the name of a service is its address.
    pub(super) fn itself(
        &mut self,
        itself: &WorkloadEntry,
        port: PortOf<'_>,
        resolution: Resolution,
        at: At<'_>,
    ) {
        let written = Written { entry: itself, name: None, labels: &itself.labels, at };
        self.written(written, port, Some(resolution));
    }

    /// `resolution`: that of the
    /// ServiceEntry; a Service has none, and knows addresses only.
    pub(super) fn workload_entry(
        &mut self,
        object: &Object<WorkloadEntry>,
        port: PortOf<'_>,
        resolution: Option<Resolution>,
    ) {
        let at = At::new(object, "spec.address");
        let name = Some(&*object.key.name);
        let labels = labels_of(object);
        let written = Written { entry: &object.spec, name, labels: &labels, at };
        self.written(written, port, resolution);
    }

    fn written(&mut self, written: Written<'_>, port: PortOf<'_>, resolution: Option<Resolution>) {
        let Written { entry, at, .. } = written;
        let own = entry.ports.get(port.name).and_then(|port| u16::try_from(*port).ok());
        let number = own.unwrap_or(port.number);
        if let Ok(ip) = entry.address.parse() {
            self.address(written, Address::Inet(SocketAddr::new(ip, number)));
            return;
        }
        if entry.is_socket() {
            match socket(&entry.address, resolution) {
                Ok(socket) => self.address(written, socket),
                Err(NoSocket { why, mend }) => {
                    self.problems.push(messages::no_socket(at, &entry.address, why, mend));
                }
            }
            return;
        }
        let Some(name) = name_in(&entry.address).filter(|_| resolution.is_some_and(by_dns)) else {
            // Without any address it is behind its network's gateway; that was said when it was read.
            if !entry.address.is_empty() {
                self.problems.push(messages::address(at, &entry.address));
            }
            return;
        };
        let once = resolution == Some(Resolution::DnsRoundRobin);
        for ip in self.resolved(&name, once, at) {
            self.address(written, Address::Inet(SocketAddr::new(ip, number)));
        }
    }

    /// The addresses of a name: all of them, or `once` for all connections to come the first. What DNS does not say
    /// at the moment counts as before.
    fn resolved(&mut self, name: &str, once: bool, at: At<'_>) -> Vec<IpAddr> {
        let known = self.inputs.names.iter().find(|(known, _)| &*known.0 == name);
        self.explained = true;
        let Some(state) = known.and_then(|(_, state)| state.as_ref()) else { return Vec::new() };
        let NameState { addresses, known, error } = &**state;
        let used = if once { known.get(..1).unwrap_or_default() } else { addresses };
        match error {
            Some(error) => self.problems.push(messages::unresolved(at, name, error, used.is_empty())),
            None if addresses.is_empty() => {
                self.problems.push(messages::no_address(at, name, used.is_empty()))
            }
            None => {}
        }
        used.to_vec()
    }

    fn address(&mut self, written: Written<'_>, address: Address) {
        let Written { entry, name, labels, .. } = written;
        let (namespace, cluster) = (&self.inputs.service.namespace, &self.settings.cluster_id);
        let written = Locality::parse(&entry.locality);
        let locality = if written.is_unknown() { locality(labels, None, "") } else { written };
        self.add(address, labels, "", |address| Endpoint {
            address,
            weight: entry.weight.max(1),
            health: Health::Healthy,
            workload: Arc::new(workload(name, namespace, labels, cluster)),
            locality,
            priority: 0,
            locality_weight: 0,
            in_mesh: false,
        });
    }
}
