//! Endpoints: Services with their EndpointSlices or Pods, and ServiceEntries with theirs.
//!
//! A stage of its own, since endpoints change more often than anything else: where only they change, the IR stays the
//! same object.

mod accounts;
mod entries;
mod kubernetes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
use limen_ir::endpoint::{Address, ClusterEndpoints, Endpoint, Endpoints, Health};
use limen_resources::core::{EndpointSlice, Node, Pod};
use limen_resources::istio::WorkloadEntry;
use limen_resources::{NameState, Object, Problem, Snapshot};

use crate::clusters::ClusterPlan;
use crate::istio::names;
use crate::locality::{self, Own, Spread, locality, with_topology};
use crate::lookup::Lookup;
use crate::memo::{ByValue, Memo, Same, keep};
use crate::messages::destination as messages;
use crate::report::Report;
use crate::services::{PortFacts, ServiceFacts, ServiceSource};
use crate::settings::{BackendOverride, Settings};
use crate::verified::{self, AccountsOf};
use crate::workload::labels_of;

/// The label of workloads that speak the TLS of their mesh: `istio`.
const TLS_MODE: &str = "security.istio.io/tlsMode";

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
    /// As whom they run.
    accounts: Arc<[String]>,
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
    /// Those that its Pods and slices name, by name.
    nodes: Vec<Arc<Object<Node>>>,
    spread: ByValue<Spread>,
    own: ByValue<Arc<Own>>,
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
            && self.nodes.same(&other.nodes)
            && self.spread.same(&other.spread)
            && self.own.same(&other.own)
    }
}

/// The endpoints of all clusters, and as whom they run where that is to be asked for. `taken`: the ports that the
/// process itself may listen on. Adds to `names` what DNS is to be asked for.
pub(crate) fn endpoints(
    (snapshot, settings): (&Snapshot, &Settings),
    (clusters, taken): (&BTreeMap<ClusterKey, ClusterPlan>, &BTreeSet<u16>),
    memo: &mut EndpointMemo,
    names: &mut BTreeSet<String>,
    report: &mut Report,
) -> (Arc<Endpoints>, AccountsOf) {
    let slices = slices_by_service(snapshot);
    let own = Arc::new(own(snapshot, settings));
    let last = memo.last.take().unwrap_or_default();
    let mut all = Vec::with_capacity(clusters.len());
    let mut accounts = AccountsOf::new();
    for (key, plan) in clusters {
        if plan.blocked {
            continue;
        }
        let inputs = inputs((plan, &own), snapshot, &slices);
        names.extend(inputs.names.iter().map(|(name, _)| name.0.to_string()));
        let found = memo.clusters.get(key.clone(), inputs, |inputs| {
            let mut collector = Collector {
                inputs,
                settings,
                endpoints: BTreeMap::new(),
                labels: BTreeMap::new(),
                problems: Vec::new(),
                explained: false,
            };
            collector.collect();
            let Collector { mut endpoints, labels, problems, explained, .. } = collector;
            locality::spread(&mut endpoints, &labels, &inputs.spread.0, &inputs.own.0);
            let endpoints = ClusterEndpoints { endpoints: endpoints.into_values().collect() };
            let endpoints = keep(last.clusters.get(key), endpoints);
            let accounts = accounts::accounts(inputs, settings);
            Found { endpoints, problems: problems.into(), explained, accounts }
        });
        if !found.accounts.is_empty() && verified::asks_nobody(&plan.cluster) {
            accounts.insert(key.clone(), found.accounts);
        }
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
    (all, accounts)
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

/// The gateway itself, as its labels, the settings and its node say it.
fn own(snapshot: &Snapshot, settings: &Settings) -> Own {
    let labels = settings.gateways.first().map(|gateway| gateway.labels.clone()).unwrap_or_default();
    let host = settings.node.as_deref().unwrap_or_default();
    let node = snapshot.nodes().get("", host).map(|node| &**node);
    Own::new(&labels, settings.locality.as_deref(), (host, node))
}

fn inputs((plan, own): (&ClusterPlan, &Arc<Own>), snapshot: &Snapshot, slices: &Slices<'_>) -> Inputs {
    let mut inputs = Inputs {
        service: Arc::clone(&plan.service),
        port: ByValue(plan.port.clone()),
        subset: Arc::clone(&plan.labels),
        slices: Vec::new(),
        pods: Vec::new(),
        workload_entries: Vec::new(),
        names: Vec::new(),
        nodes: Vec::new(),
        spread: ByValue(plan.spread.clone()),
        own: ByValue(Arc::clone(own)),
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
        ServiceSource::Address(_) => inputs.names = entries::name(&plan.service.host, snapshot),
        ServiceSource::Backend => {}
    }
    inputs.find_nodes(snapshot);
    inputs
}

impl Inputs {
    fn find_nodes(&mut self, snapshot: &Snapshot) {
        if snapshot.nodes().is_empty() {
            return;
        }
        let of_slices = self.slices.iter().flat_map(|slice| &slice.spec.endpoints);
        let of_slices = of_slices.map(|endpoint| &*endpoint.node_name);
        let names: BTreeSet<&str> =
            self.pods.iter().map(|pod| &*pod.spec.node_name).chain(of_slices).collect();
        self.nodes = names.into_iter().filter_map(|name| snapshot.nodes().get("", name)).cloned().collect();
    }

    fn node(&self, name: &str) -> Option<&Object<Node>> {
        let at = self.nodes.binary_search_by(|node| (*node.key.name).cmp(name)).ok()?;
        self.nodes.get(at).map(|node| &**node)
    }

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
    endpoints: BTreeMap<Address, Endpoint>,
    /// Of each endpoint, with what its node says, where these decide who is near.
    labels: BTreeMap<Address, Labels>,
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
            ServiceSource::Address(by) => self.named(by),
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
    /// `node`: the name of the one that it is on, or nothing.
    fn add(
        &mut self,
        address: Address,
        labels: &Labels,
        node: &str,
        endpoint: impl FnOnce(Address) -> Endpoint,
    ) {
        let nowhere = matches!(&address, Address::Inet(address) if address.port() == 0);
        if nowhere || !names::selects(&self.inputs.subset, labels) {
            return;
        }
        if self.endpoints.get(&address).is_none_or(|known| known.health == Health::Unready) {
            let in_mesh = labels.get(TLS_MODE).is_some_and(|mode| &**mode == "istio");
            let new = Endpoint { in_mesh, ..endpoint(address.clone()) };
            if matches!(&self.inputs.spread.0, Spread::Failover { labels, .. } if !labels.is_empty()) {
                self.labels.insert(address.clone(), with_topology(labels, &new.locality, node));
            }
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
        self.add(backend.address.clone(), &backend.labels, "", |address| Endpoint {
            address,
            weight: 1,
            health: Health::Healthy,
            workload: Arc::new(workload),
            locality: locality(&backend.labels, None, ""),
            priority: 0,
            locality_weight: 0,
            in_mesh: false,
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
    if key.by_server_name {
        // Nobody has asked for this one in particular.
        return;
    }
    let service = &plan.service;
    let what = match &*key.subset {
        "" => format!("service `{}`", key.host),
        subset => format!("subset `{subset}` of service `{}`", key.host),
    };
    let mend = match &service.source {
        ServiceSource::Entries(_) => "list endpoints in its ServiceEntry".to_owned(),
        ServiceSource::Address(_) => "write the name of a service, or one that DNS knows".to_owned(),
        ServiceSource::Kubernetes(_) | ServiceSource::Outside(_) | ServiceSource::Backend => {
            let name = (service.flag_name(), &*service.namespace);
            let flag = BackendOverride::flag(settings, name, key.port, &plan.labels, taken);
            format!("add Pods or an EndpointSlice, or start with {flag}")
        }
    };
    report.problem(messages::no_endpoints(plan.by.at(), &what, mend));
}
