//! Endpoints: Services with their EndpointSlices or Pods, and ServiceEntries with theirs.
//!
//! A stage of its own, since endpoints change more often than anything else: where only they change, the IR stays the
//! same object.

mod entries;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
use limen_ir::endpoint::{ClusterEndpoints, Endpoint, Endpoints, Health, WorkloadLabels};
use limen_resources::core::{EndpointSlice, IntOrString, Pod, Service};
use limen_resources::istio::WorkloadEntry;
use limen_resources::{NameState, Object, Problem, Snapshot};

use crate::clusters::ClusterPlan;
use crate::istio::names;
use crate::lookup::Lookup;
use crate::memo::{ByValue, Memo, Same, keep};
use crate::messages::{At, destination as messages};
use crate::report::Report;
use crate::services::{PortFacts, ServiceFacts, ServiceSource};
use crate::settings::{BackendOverride, Settings};
use crate::workload::{labels_of, pod_workload};

type Labels = BTreeMap<String, String>;

/// What was made before, for sharing.
#[derive(Debug, Default)]
pub(crate) struct EndpointMemo {
    clusters: Memo<ClusterKey, Inputs, Found>,
    last: Option<Arc<Endpoints>>,
}

/// The endpoints of one cluster, and what is wrong with them.
#[derive(Debug, Clone)]
struct Found {
    endpoints: Arc<ClusterEndpoints>,
    problems: Arc<[Problem]>,
    /// If there are none: is that said already, or only because DNS has not answered yet?
    explained: bool,
}

/// A name, and what DNS says of it; `None`: not asked yet.
type KnownName = (ByValue<Arc<str>>, Option<Arc<NameState>>);

/// All that the endpoints of a cluster depend on, besides the settings.
#[derive(Debug, Clone)]
struct Inputs {
    service: Arc<ServiceFacts>,
    port: ByValue<PortFacts>,
    subset: Arc<Labels>,
    slices: Vec<Arc<Object<EndpointSlice>>>,
    /// Those that slices name, or that a selector finds.
    pods: Vec<Arc<Object<Pod>>>,
    workload_entries: Vec<Arc<Object<WorkloadEntry>>>,
    /// What DNS says of the names that its ServiceEntries have for addresses.
    names: Vec<KnownName>,
}

impl Same for Inputs {
    fn same(&self, other: &Inputs) -> bool {
        self.service.same(&other.service)
            && self.port.same(&other.port)
            && self.subset.same(&other.subset)
            && self.slices.same(&other.slices)
            && self.pods.same(&other.pods)
            && self.workload_entries.same(&other.workload_entries)
            && self.names.same(&other.names)
    }
}

/// The endpoints of all clusters. Adds to `names` what DNS is to be asked for.
pub(crate) fn endpoints(
    (snapshot, settings): (&Snapshot, &Settings),
    clusters: &BTreeMap<ClusterKey, ClusterPlan>,
    memo: &mut EndpointMemo,
    names: &mut BTreeSet<String>,
    report: &mut Report,
) -> Arc<Endpoints> {
    let slices = slices_by_service(snapshot);
    let last = memo.last.take().unwrap_or_default();
    let mut all = Vec::with_capacity(clusters.len());
    for (key, plan) in clusters {
        if plan.blocked {
            continue;
        }
        let inputs = inputs(plan, snapshot, &slices);
        names.extend(inputs.names.iter().map(|(name, _)| name.0.to_string()));
        let found = memo.clusters.get(key.clone(), inputs, |inputs| {
            let mut collector = Collector {
                inputs,
                settings,
                endpoints: BTreeMap::new(),
                problems: Vec::new(),
                explained: false,
            };
            collector.collect();
            let Collector { endpoints, problems, explained, .. } = collector;
            let endpoints = ClusterEndpoints { endpoints: endpoints.into_values().collect() };
            let endpoints = keep(last.clusters.get(key), endpoints);
            Found { endpoints, problems: problems.into(), explained }
        });
        report.problems(&*found.problems);
        if found.endpoints.endpoints.is_empty() {
            if !found.explained {
                say_empty(key, plan, report);
            }
        } else {
            all.push((key.clone(), found.endpoints));
        }
    }
    memo.clusters.turn();
    let all = keep(Some(&last), Endpoints { clusters: all.into_iter().collect() });
    memo.last = Some(Arc::clone(&all));
    all
}

/// By namespace and name of the Service.
type Slices<'a> = Lookup<(&'a str, &'a str), Vec<&'a Arc<Object<EndpointSlice>>>>;

fn slices_by_service(snapshot: &Snapshot) -> Slices<'_> {
    let mut slices = Slices::default();
    for slice in snapshot.endpoint_slices().iter() {
        if let Some(service) = slice.meta.labels.get(EndpointSlice::SERVICE_NAME) {
            slices.get_or_insert_with((&slice.key.namespace, service), Vec::new).push(slice);
        }
    }
    slices
}

fn inputs(plan: &ClusterPlan, snapshot: &Snapshot, slices: &Slices<'_>) -> Inputs {
    let mut inputs = Inputs {
        service: Arc::clone(&plan.service),
        port: ByValue(plan.port.clone()),
        subset: Arc::clone(&plan.labels),
        slices: Vec::new(),
        pods: Vec::new(),
        workload_entries: Vec::new(),
        names: Vec::new(),
    };
    match &plan.service.source {
        ServiceSource::Kubernetes(service) => {
            let (namespace, selector) = (&*service.key.namespace, &service.spec.selector);
            let slices = slices.get(&(namespace, &*service.key.name)).map(Vec::as_slice).unwrap_or_default();
            inputs.slices = slices.iter().copied().cloned().collect();
            inputs.pods = slices.iter().flat_map(|slice| slice_pods(slice, snapshot)).cloned().collect();
            inputs.select(snapshot, namespace, selector, slices.is_empty());
        }
        ServiceSource::Entries(entries) => {
            for entry in entries {
                let selector = entry.spec.workload_selector.as_ref().map(|selector| &selector.labels);
                if let Some(selector) = selector {
                    inputs.select(snapshot, &entry.key.namespace, selector, true);
                }
            }
            inputs.names = entries::names(&inputs, entries, snapshot);
        }
        ServiceSource::Backend => {}
    }
    inputs
}

fn slice_pods<'a>(
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

impl Inputs {
    /// An empty selector of a Service finds nothing.
    fn select(&mut self, snapshot: &Snapshot, namespace: &str, selector: &Labels, pods: bool) {
        if selector.is_empty() {
            return;
        }
        if pods {
            let all = snapshot.pods().in_namespace(namespace);
            self.pods.extend(all.filter(|pod| names::selects(selector, &pod.meta.labels)).cloned());
        }
        let all = snapshot.workload_entries().in_namespace(namespace);
        self.workload_entries.extend(all.filter(|entry| names::selects(selector, labels_of(entry))).cloned());
    }
}

struct Collector<'a> {
    inputs: &'a Inputs,
    settings: &'a Settings,
    endpoints: BTreeMap<SocketAddr, Endpoint>,
    problems: Vec<Problem>,
    /// Whoever finds no endpoint need not say so.
    explained: bool,
}

impl Collector<'_> {
    fn collect(&mut self) {
        let inputs = self.inputs;
        match &inputs.service.source {
            ServiceSource::Kubernetes(service) => self.kubernetes(service),
            ServiceSource::Entries(entries) => {
                for entry in entries {
                    let ports = entry.spec.ports.iter();
                    for port in ports.filter(|port| port.number == inputs.port.0.number) {
                        self.service_entry(entry, port);
                    }
                }
            }
            ServiceSource::Backend => {}
        }
        if self.endpoints.is_empty() {
            for backend in &self.settings.backends {
                self.backend(backend);
            }
        }
    }

    /// Adds an endpoint, if the subset has it.
    fn add(&mut self, ip: IpAddr, port: u16, labels: &Labels, endpoint: impl FnOnce(SocketAddr) -> Endpoint) {
        if port != 0 && names::selects(&self.inputs.subset, labels) {
            let address = SocketAddr::new(ip, port);
            self.endpoints.entry(address).or_insert_with(|| endpoint(address));
        }
    }

    fn kubernetes(&mut self, service: &Object<Service>) {
        let inputs = self.inputs;
        for slice in &inputs.slices {
            self.slice(service, slice);
        }
        if inputs.slices.is_empty() {
            for pod in &inputs.pods {
                let target = self.target_port(service);
                let port = match &target {
                    IntOrString::Int(number) => *number,
                    IntOrString::String(name) => pod.spec.port_named(name).unwrap_or_default(),
                };
                self.pod(pod, port, service.spec.publish_not_ready_addresses);
            }
        }
        for entry in &inputs.workload_entries {
            let number = match self.target_port(service) {
                IntOrString::Int(number) => number,
                IntOrString::String(_) => inputs.port.0.number,
            };
            self.workload_entry(entry, number, None);
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

    fn slice(&mut self, service: &Object<Service>, slice: &Arc<Object<EndpointSlice>>) {
        let name = &self.inputs.port.0.name;
        let tcp = |protocol: &str| protocol.is_empty() || protocol == "TCP";
        let ports = slice.spec.ports.iter().filter(|port| tcp(&port.protocol));
        let Some(port) = ports.into_iter().find(|port| port.name == *name) else { return };
        let port = port.port.unwrap_or_else(|| match self.target_port(service) {
            IntOrString::Int(number) => number,
            IntOrString::String(_) => 0,
        });
        for (number, endpoint) in slice.spec.endpoints.iter().enumerate() {
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
            let pod = endpoint.target_ref.as_ref().and_then(|target| {
                let is = |pod: &&Arc<Object<Pod>>| *pod.key.name == *target.name && target.kind == "Pod";
                self.inputs.pods.iter().find(is)
            });
            let none = Labels::new();
            let labels = pod.map_or(&none, |pod| &pod.meta.labels);
            let cluster = &self.settings.cluster_id;
            let workload = || match pod {
                Some(pod) => pod_workload(pod, cluster),
                None => WorkloadLabels::unknown(),
            };
            self.add(ip, port, labels, |address| Endpoint {
                address,
                weight: 1,
                health,
                workload: Arc::new(workload()),
            });
        }
    }

    fn pod(&mut self, pod: &Object<Pod>, port: u16, ready_anyway: bool) {
        if pod.spec.terminating || matches!(&*pod.spec.phase, "Succeeded" | "Failed") {
            return;
        }
        let Some(written) = pod.spec.ips.first() else { return };
        let Ok(ip) = written.parse() else {
            self.problems.push(messages::address(At::new(pod, "status.podIP"), written));
            return;
        };
        let health = if pod.spec.ready() || ready_anyway { Health::Healthy } else { Health::Unready };
        let cluster = &self.settings.cluster_id;
        self.add(ip, port, &pod.meta.labels, |address| {
            let workload = Arc::new(pod_workload(pod, cluster));
            Endpoint { address, weight: 1, health, workload }
        });
    }

    fn backend(&mut self, backend: &BackendOverride) {
        let service = &self.inputs.service;
        let same_port = backend.port.is_none_or(|port| port == self.inputs.port.0.number);
        if backend.service != service.name || backend.namespace != service.namespace || !same_port {
            return;
        }
        let (namespace, cluster) = (&backend.namespace, &self.settings.cluster_id);
        let workload = crate::workload::workload(Some(&backend.service), namespace, &backend.labels, cluster);
        self.add(backend.address.ip(), backend.address.port(), &backend.labels, |address| Endpoint {
            address,
            weight: 1,
            health: Health::Healthy,
            workload: Arc::new(workload),
        });
    }
}

/// A cluster without endpoints, with the way out.
fn say_empty(key: &ClusterKey, plan: &ClusterPlan, report: &mut Report) {
    let service = &plan.service;
    let what = match &*key.subset {
        "" => format!("service `{}`", key.host),
        subset => format!("subset `{subset}` of service `{}`", key.host),
    };
    let mend = match &service.source {
        ServiceSource::Entries(_) => "list endpoints in its ServiceEntry".to_owned(),
        ServiceSource::Kubernetes(_) | ServiceSource::Backend => {
            let flag = BackendOverride::flag(&service.name, &service.namespace, key.port, &plan.labels);
            format!("add Pods or an EndpointSlice, or start with {flag}")
        }
    };
    let (object, field) = &plan.by;
    report.problem(messages::no_endpoints(At::new(object, field), &what, mend));
}
