//! Endpoints: Services with their EndpointSlices or Pods, and ServiceEntries with theirs.
//!
//! A stage of its own, since endpoints change more often than anything else: where only they change, the IR stays the
//! same object.

mod accounts;
mod again;
mod entries;
mod kubernetes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
use limen_ir::endpoint::{Address, ClusterEndpoints, Endpoint, Endpoints, Health};
use limen_resources::core::{EndpointSlice, Node, Pod, Service};
use limen_resources::istio::WorkloadEntry;
use limen_resources::{Change, NameState, Object, Problem, Snapshot, Table};

use crate::clusters::ClusterPlan;
use crate::istio::names;
use crate::locality::{self, Own, Spread, locality, with_topology};
use crate::memo::{ByValue, Same, keep};
use crate::messages::{At, destination as messages};
use crate::report::Report;
use crate::services::{PortFacts, ServiceFacts, ServiceSource};
use crate::settings::{BackendOverride, Settings};
use crate::verified::{self, AccountsOf};
use crate::workload::labels_of;
use again::Places;

/// The label of workloads that speak the TLS of their mesh: `istio`.
const TLS_MODE: &str = "security.istio.io/tlsMode";

type Labels = BTreeMap<String, String>;

/// What was made before, for sharing.
#[derive(Debug, Default)]
pub(crate) struct EndpointMemo {
    ground: Option<Ground>,
    /// The clusters of the run before.
    plans: Arc<[Arc<ClusterPlan>]>,
    /// In the order of their keys, without those that get no endpoints.
    known: Vec<Known>,
    places: Places,
    last: Option<Arc<Endpoints>>,
}

/// What all endpoints are made from, besides clusters and settings.
#[derive(Debug)]
struct Ground {
    slices: Table<EndpointSlice>,
    pods: Table<Pod>,
    workload_entries: Table<WorkloadEntry>,
    nodes: Table<Node>,
    names: Arc<BTreeMap<Arc<str>, Arc<NameState>>>,
    own: Arc<Own>,
    by_service: Slices,
}

/// What was made for one cluster, and of what.
#[derive(Debug)]
struct Known {
    plan: Arc<ClusterPlan>,
    inputs: Inputs,
    found: Found,
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
    own: Arc<Own>,
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
    (clusters, taken): (&Arc<[Arc<ClusterPlan>]>, &BTreeSet<u16>),
    memo: &mut EndpointMemo,
    names: &mut BTreeSet<String>,
    report: &mut Report,
) -> (Arc<Endpoints>, AccountsOf) {
    let (ground, holds) = Ground::next(snapshot, settings, memo.ground.take());
    let last = memo.last.take().unwrap_or_default();
    let all = if holds.rest && Arc::ptr_eq(&memo.plans, clusters) {
        memo.again(&holds.changed, (snapshot, settings), &ground, last)
    } else {
        memo.anew(&holds, (snapshot, settings), (clusters, &ground), last)
    };
    memo.ground = Some(ground);
    memo.last = Some(Arc::clone(&all));
    let mut accounts = AccountsOf::new();
    for known in memo.places.speaking(&memo.known) {
        let (plan, found) = (&known.plan, &known.found);
        let key = &plan.cluster.key;
        names.extend(known.inputs.names.iter().map(|(name, _)| name.0.to_string()));
        if !found.accounts.is_empty() && verified::asks_nobody(&plan.cluster) {
            accounts.insert(key.clone(), Arc::clone(&found.accounts));
        }
        report.problems(&*found.problems);
        if found.endpoints.endpoints.is_empty() && !found.explained {
            say_empty(key, plan, settings, taken, report);
        }
    }
    (all, accounts)
}

impl EndpointMemo {
    /// Goes through all clusters. `last`: what there was before.
    fn anew(
        &mut self,
        holds: &Holds,
        (snapshot, settings): (&Snapshot, &Settings),
        (clusters, ground): (&Arc<[Arc<ClusterPlan>]>, &Ground),
        last: Arc<Endpoints>,
    ) -> Arc<Endpoints> {
        let mut before = std::mem::take(&mut self.known).into_iter().peekable();
        let (mut all, mut new) = (Vec::with_capacity(clusters.len()), false);
        for plan in clusters.iter().filter(|plan| !plan.blocked) {
            let key = &plan.cluster.key;
            let mut former = before.next_if(|known| known.plan.same(plan));
            if former.is_none() {
                while before.next_if(|known| known.plan.cluster.key < *key).is_some() {
                    new = true;
                }
                former = before.next_if(|known| known.plan.cluster.key == *key);
            }
            let known = match former {
                Some(known) if known.holds(plan, holds) => known,
                Some(known) => {
                    let before = Arc::clone(&known.found.endpoints);
                    let mut known = Known { plan: Arc::clone(plan), ..known };
                    known.renew((snapshot, settings), (ground, &last));
                    new |= !known.found.endpoints.same(&before);
                    known
                }
                None => {
                    new = true;
                    let inputs = inputs((plan, &ground.own), snapshot, &ground.by_service);
                    let found = find(&inputs, settings, last.clusters.get(key));
                    Known { plan: Arc::clone(plan), inputs, found }
                }
            };
            all.push(known);
        }
        new |= before.next().is_some();
        self.known = all;
        self.plans = Arc::clone(clusters);
        self.places = Places::of(&self.known);
        if !new {
            return last;
        }
        let some = self.known.iter().filter(|known| !known.found.endpoints.endpoints.is_empty());
        let clusters = some.map(|known| (known.plan.cluster.key.clone(), Arc::clone(&known.found.endpoints)));
        keep(Some(&last), Endpoints { clusters: Arc::new(clusters.collect()) })
    }
}

/// What of the ground is as it was.
struct Holds {
    /// The namespaces and names of the Services whose EndpointSlices are others.
    changed: Changed,
    /// All else.
    rest: bool,
}

impl Ground {
    /// What it is now, and what of that is as it was before.
    fn next(snapshot: &Snapshot, settings: &Settings, mut before: Option<Ground>) -> (Ground, Holds) {
        let slices = snapshot.endpoint_slices();
        let (former, mut by_service) = match &mut before {
            Some(before) => (before.slices.clone(), std::mem::take(&mut before.by_service)),
            None => Default::default(),
        };
        let changed = by_service.take(&slices.changed(&former));
        let ground = Ground {
            slices: slices.clone(),
            pods: snapshot.pods().clone(),
            workload_entries: snapshot.workload_entries().clone(),
            nodes: snapshot.nodes().clone(),
            names: Arc::clone(snapshot.names()),
            own: keep(before.as_ref().map(|before| &before.own), own(snapshot, settings)),
            by_service,
        };
        let holds = match before {
            None => Holds { changed: BTreeSet::new(), rest: false },
            Some(before) => Holds {
                changed,
                rest: before.pods.same(&ground.pods)
                    && before.workload_entries.same(&ground.workload_entries)
                    && before.nodes.same(&ground.nodes)
                    && before.names.same(&ground.names)
                    && before.own.same(&ground.own),
            },
        };
        (ground, holds)
    }
}

/// Services, by namespace and name.
type Changed = BTreeSet<(Arc<str>, Arc<str>)>;

impl Known {
    /// Makes it of what there is now, unless that is what it was made of.
    fn renew(&mut self, (snapshot, settings): (&Snapshot, &Settings), (ground, last): (&Ground, &Endpoints)) {
        let inputs = inputs((&self.plan, &ground.own), snapshot, &ground.by_service);
        if !self.inputs.same(&inputs) {
            self.found = find(&inputs, settings, last.clusters.get(&self.plan.cluster.key));
        }
        self.inputs = inputs;
    }

    /// Is there anything to say besides where the endpoints are?
    fn speaks(&self) -> bool {
        let Found { endpoints, problems, explained: _, accounts } = &self.found;
        let names = !self.inputs.names.is_empty();
        names || endpoints.endpoints.is_empty() || !problems.is_empty() || !accounts.is_empty()
    }

    /// Would it be made again just so?
    fn holds(&self, plan: &Arc<ClusterPlan>, holds: &Holds) -> bool {
        if !holds.rest || !self.plan.same(plan) {
            return false;
        }
        let ServiceSource::Kubernetes(service) = &plan.service.source else { return true };
        let name = || (Arc::clone(&service.key.namespace), Arc::clone(&service.key.name));
        holds.changed.is_empty() || !holds.changed.contains(&name())
    }
}

fn find(inputs: &Inputs, settings: &Settings, last: Option<&Arc<ClusterEndpoints>>) -> Found {
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
    locality::spread(&mut endpoints, &labels, &inputs.spread.0, &inputs.own);
    let endpoints = keep(last, ClusterEndpoints { endpoints: endpoints.into_values().collect() });
    Found { endpoints, problems: problems.into(), explained, accounts: accounts::accounts(inputs, settings) }
}

/// EndpointSlices by namespace and name of the Service, and then in their own order.
#[derive(Debug, Default)]
struct Slices(Vec<Arc<Object<EndpointSlice>>>);

impl Slices {
    /// Takes over what changed. Returns the namespaces and names of the Services that have others now.
    fn take(&mut self, changes: &[Change<'_, EndpointSlice>]) -> Changed {
        let mut changed = Changed::new();
        for slice in changes.iter().flat_map(|change| [change.before, change.after]).filter_map(of_service) {
            let name = service_of(slice).unwrap_or_default();
            changed.insert((Arc::clone(&slice.key.namespace), name.into()));
        }
        // Many at once, as in the beginning.
        if changes.len() > self.0.len() / 8 {
            let old = changes.iter().filter_map(|change| change.before);
            let gone: BTreeSet<_> = old.map(Arc::as_ptr).collect();
            self.0.retain(|slice| !gone.contains(&Arc::as_ptr(slice)));
            self.0.extend(changes.iter().filter_map(|change| of_service(change.after)).cloned());
            self.0.sort_by(|a, b| place(a).cmp(&place(b)));
            return changed;
        }
        for Change { before, after } in changes {
            if let Some(old) = of_service(*before)
                && let Ok(at) = self.0.binary_search_by(|known| place(known).cmp(&place(old)))
            {
                self.0.remove(at);
            }
            if let Some(new) = of_service(*after) {
                let at = self.0.partition_point(|known| place(known) < place(new));
                self.0.insert(at, Arc::clone(new));
            }
        }
        changed
    }

    fn of(&self, service: &Object<Service>) -> &[Arc<Object<EndpointSlice>>] {
        let wanted = (&service.key.namespace, Some(&*service.key.name));
        let place =
            |slice: &Arc<Object<EndpointSlice>>| (&slice.key.namespace, service_of(slice)).cmp(&wanted);
        let from = self.0.partition_point(|slice| place(slice).is_lt());
        let rest = self.0.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|slice| place(slice).is_eq()).count();
        rest.get(..count).unwrap_or_default()
    }
}

/// One that is of a Service.
fn of_service(slice: Option<&Arc<Object<EndpointSlice>>>) -> Option<&Arc<Object<EndpointSlice>>> {
    slice.filter(|slice| service_of(slice).is_some())
}

/// What they are ordered by.
fn place(slice: &Object<EndpointSlice>) -> (&str, Option<&str>, &str) {
    (&slice.key.namespace, service_of(slice), &slice.key.name)
}

fn service_of(slice: &Object<EndpointSlice>) -> Option<&str> {
    slice.meta.labels.get(EndpointSlice::SERVICE_NAME).map(String::as_str)
}

/// The gateway itself, as its labels, the settings and its node say it.
fn own(snapshot: &Snapshot, settings: &Settings) -> Own {
    let labels = settings.gateways.first().map(|gateway| gateway.labels.clone()).unwrap_or_default();
    let host = settings.node.as_deref().unwrap_or_default();
    let node = snapshot.nodes().get("", host).map(|node| &**node);
    Own::new(&labels, settings.locality.as_deref(), (host, node))
}

fn inputs((plan, own): (&ClusterPlan, &Arc<Own>), snapshot: &Snapshot, slices: &Slices) -> Inputs {
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
        own: Arc::clone(own),
    };
    match &plan.service.source {
        ServiceSource::Kubernetes(service) => {
            let (namespace, selector) = (&*service.key.namespace, &service.spec.selector);
            let slices = slices.of(service);
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
        ServiceSource::Address(_) | ServiceSource::XBackend(_) => {
            inputs.names = entries::name(plan.service.spoken_to(), snapshot)
        }
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
            ServiceSource::Address(by) => self.named(by.at()),
            ServiceSource::XBackend(object) => self.named(At::new(object, "spec.externalHostname.hostname")),
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
        ServiceSource::XBackend(_) => "write a hostname that DNS knows".to_owned(),
        ServiceSource::Kubernetes(_) | ServiceSource::Outside(_) | ServiceSource::Backend => {
            let name = (service.flag_name(), &*service.namespace);
            let flag = BackendOverride::flag(settings, name, key.port, &plan.labels, taken);
            format!("add Pods or an EndpointSlice, or start with {flag}")
        }
    };
    report.problem(messages::no_endpoints(plan.by.at(), &what, mend));
}
