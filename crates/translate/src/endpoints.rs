//! Endpoints: Services with their EndpointSlices or Pods, and ServiceEntries with theirs.
//!
//! A stage of its own, since endpoints change more often than anything else: where only they change, the IR stays the
//! same object.

mod entries;
mod kubernetes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
use limen_ir::endpoint::{ClusterEndpoints, Endpoint, Endpoints, Health};
use limen_resources::core::{EndpointSlice, Pod};
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
use crate::workload::labels_of;

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

/// The endpoints of all clusters. `taken`: the ports that the process itself may listen on. Adds to `names` what DNS is to be asked for.
pub(crate) fn endpoints(
    (snapshot, settings): (&Snapshot, &Settings),
    (clusters, taken): (&BTreeMap<ClusterKey, ClusterPlan>, &BTreeSet<u16>),
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
                say_empty(key, plan, settings, taken, report);
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
            inputs.slices = kubernetes::in_order(service, slices);
            let pods = slices.iter().flat_map(|slice| kubernetes::slice_pods(slice, snapshot));
            inputs.pods = pods.cloned().collect();
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
        ServiceSource::Outside(service) => {
            inputs.names = entries::name(&service.spec.external_name, snapshot)
        }
        ServiceSource::Backend => {}
    }
    inputs
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
        self.workload_entries
            .extend(all.filter(|entry| names::selects(selector, &labels_of(entry))).cloned());
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
            ServiceSource::Outside(service) => self.outside(service),
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

    /// Adds an endpoint, if the subset has it. Of two with one address the first counts, but a healthy one before one
    /// that is not.
    fn add(&mut self, ip: IpAddr, port: u16, labels: &Labels, endpoint: impl FnOnce(SocketAddr) -> Endpoint) {
        if port == 0 || !names::selects(&self.inputs.subset, labels) {
            return;
        }
        let address = SocketAddr::new(ip, port);
        if self.endpoints.get(&address).is_none_or(|known| known.health == Health::Unready) {
            let new = endpoint(address);
            let known = self.endpoints.entry(address).or_insert_with(|| new.clone());
            if new.health == Health::Healthy {
                *known = new;
            }
        }
    }

    fn backend(&mut self, backend: &BackendOverride) {
        let service = &self.inputs.service;
        let same_port = backend.port.is_none_or(|port| port == self.inputs.port.0.number);
        let name = service.flag_name();
        if backend.service != name || backend.namespace != service.namespace || !same_port {
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
fn say_empty(
    key: &ClusterKey,
    plan: &ClusterPlan,
    settings: &Settings,
    taken: &BTreeSet<u16>,
    report: &mut Report,
) {
    let service = &plan.service;
    let what = match &*key.subset {
        "" => format!("service `{}`", key.host),
        subset => format!("subset `{subset}` of service `{}`", key.host),
    };
    let mend = match &service.source {
        ServiceSource::Entries(_) => "list endpoints in its ServiceEntry".to_owned(),
        ServiceSource::Kubernetes(_) | ServiceSource::Outside(_) | ServiceSource::Backend => {
            let name = (service.flag_name(), &*service.namespace);
            let flag = BackendOverride::flag(settings, name, key.port, &plan.labels, taken);
            format!("add Pods or an EndpointSlice, or start with {flag}")
        }
    };
    let (object, field) = &plan.by;
    report.problem(messages::no_endpoints(At::new(object, field), &what, mend));
}
