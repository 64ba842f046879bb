//! Clusters and endpoints, with slots that stay.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use limen_ir::cluster::{Balance as IrBalance, Cluster as IrCluster};
use limen_ir::endpoint::{Health, WorkloadLabels as IrWorkload};
use limen_ir::{ClusterEndpoints, ClusterKey, Endpoints, Ir};

use crate::limits::{ClusterLimits, Gauge};
use crate::observe::counters::{Registry, ServiceLabels, WorkloadId, WorkloadLabels};
use crate::table::clusters::{Balance, Cluster, Endpoint};
use crate::table::routes::ClusterSlot;

/// Endpoints by cluster slot.
pub(crate) type EndpointTable = Vec<Arc<[Endpoint]>>;

/// Slots by key, and what was compiled into them.
pub(crate) struct ClusterMemo {
    registry: Arc<Registry>,
    slots: BTreeMap<ClusterKey, Slot>,
    free: Vec<u32>,
    count: u32,
    generation: u64,
    workloads: HashMap<IrWorkload, WorkloadId>,
    nobody: Arc<[Endpoint]>,
}

struct Slot {
    index: u32,
    /// The last generation in which a route or the IR named the cluster.
    named: u64,
    cluster: Option<(Arc<IrCluster>, Arc<Cluster>)>,
    endpoints: Option<(Arc<ClusterEndpoints>, Arc<[Endpoint]>)>,
}

impl ClusterMemo {
    pub(crate) fn new(registry: Arc<Registry>) -> ClusterMemo {
        ClusterMemo {
            registry,
            slots: BTreeMap::new(),
            free: Vec::new(),
            count: 0,
            generation: 1,
            workloads: HashMap::new(),
            nobody: Arc::from([]),
        }
    }

    /// The slot of a key, allotted if it is new.
    pub(crate) fn slot(&mut self, key: &ClusterKey) -> ClusterSlot {
        let generation = self.generation;
        if let Some(slot) = self.slots.get_mut(key) {
            slot.named = generation;
            return ClusterSlot(slot.index);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        self.slots.insert(key.clone(), Slot { index, named: generation, cluster: None, endpoints: None });
        ClusterSlot(index)
    }

    /// Everything by slot. Call after the routes of this generation have asked for their slots.
    pub(crate) fn compile(
        &mut self,
        ir: &Ir,
        endpoints: &Endpoints,
    ) -> (Vec<Option<Arc<Cluster>>>, EndpointTable) {
        for key in ir.clusters.keys() {
            self.slot(key);
        }
        let registry = self.registry.clone();
        for (key, slot) in &mut self.slots {
            match (ir.clusters.get(key), &slot.cluster) {
                (Some(new), Some((old, _))) if Arc::ptr_eq(new, old) => {}
                (Some(new), old) => {
                    let limits = limits(new, old.as_ref().map(|(ir, compiled)| (&**ir, &**compiled)));
                    slot.cluster = Some((new.clone(), Arc::new(cluster(new, limits, &registry))));
                }
                (None, _) => slot.cluster = None,
            }
        }
        let mut clusters = vec![None; self.count as usize];
        for slot in self.slots.values() {
            clusters[slot.index as usize] = slot.cluster.as_ref().map(|(_, compiled)| compiled.clone());
        }
        let endpoints = self.endpoints(endpoints);
        self.sweep();
        self.generation += 1;
        (clusters, endpoints)
    }

    /// Endpoints by slot; what did not change is shared with the last table.
    pub(crate) fn endpoints(&mut self, endpoints: &Endpoints) -> EndpointTable {
        let mut table = vec![self.nobody.clone(); self.count as usize];
        for (key, slot) in &mut self.slots {
            let compiled = match (endpoints.clusters.get(key), &slot.endpoints) {
                (Some(new), Some((old, compiled))) if Arc::ptr_eq(new, old) => compiled.clone(),
                (Some(new), _) => {
                    let compiled = compile_endpoints(new, &mut self.workloads, &self.registry);
                    slot.endpoints = Some((new.clone(), compiled.clone()));
                    compiled
                }
                (None, _) => {
                    slot.endpoints = None;
                    continue;
                }
            };
            table[slot.index as usize] = compiled;
        }
        table
    }

    /// A cluster's slot is freed one generation after the last that named it: requests that were routed before the swap
    /// still find it. A worker that holds an older route compares names before it uses a slot.
    fn sweep(&mut self) {
        let ClusterMemo { slots, free, generation, .. } = self;
        slots.retain(|_, slot| {
            let keep = slot.named + 1 >= *generation;
            if !keep {
                free.push(slot.index);
            }
            keep
        });
    }
}

fn cluster(ir: &IrCluster, limits: Option<Arc<ClusterLimits>>, registry: &Registry) -> Cluster {
    let IrCluster { key, service, protocol: _, balance, connection, origin: _, policy_origin: _ } = ir;
    let mut hasher = DefaultHasher::new();
    (key, connection).hash(&mut hasher);
    Cluster {
        name: key.to_string().into(),
        service: registry.service(&ServiceLabels {
            host: service.host.clone(),
            name: service.name.clone(),
            namespace: service.namespace.clone(),
        }),
        balance: match balance {
            IrBalance::RoundRobin => Balance::RoundRobin,
            IrBalance::LeastRequest => Balance::LeastRequest,
            IrBalance::Random => Balance::Random,
        },
        connect_timeout_ms: connection.connect_timeout.get(),
        idle_timeout_ms: connection.idle_timeout.map(limen_ir::Millis::get),
        max_requests: connection.max_requests,
        limits,
        fingerprint: hasher.finish(),
    }
}

/// The counters of a cluster's limits: the ones in use as long as the numbers are the same.
fn limits(new: &IrCluster, old: Option<(&IrCluster, &Cluster)>) -> Option<Arc<ClusterLimits>> {
    let wanted = |ir: &IrCluster| (ir.connection.max_connections, ir.connection.max_active_requests);
    if let Some((old, compiled)) = old
        && wanted(old) == wanted(new)
    {
        return compiled.limits.clone();
    }
    match wanted(new) {
        (None, None) => None,
        (connections, requests) => Some(Arc::new(ClusterLimits {
            connections: connections.map(Gauge::new),
            requests: requests.map(Gauge::new),
        })),
    }
}

fn compile_endpoints(
    ir: &ClusterEndpoints,
    workloads: &mut HashMap<IrWorkload, WorkloadId>,
    registry: &Registry,
) -> Arc<[Endpoint]> {
    ir.endpoints
        .iter()
        .map(|endpoint| Endpoint {
            address: endpoint.address,
            weight: endpoint.weight,
            healthy: endpoint.health == Health::Healthy,
            workload: match workloads.get(&*endpoint.workload) {
                Some(id) => *id,
                None => {
                    let id = registry.workload(&labels(&endpoint.workload));
                    workloads.insert((*endpoint.workload).clone(), id);
                    id
                }
            },
        })
        .collect()
}

fn labels(ir: &IrWorkload) -> WorkloadLabels {
    let IrWorkload { workload, namespace, canonical_service, canonical_revision, app, version, cluster } = ir;
    WorkloadLabels {
        workload: workload.clone(),
        namespace: namespace.clone(),
        canonical_service: canonical_service.clone(),
        canonical_revision: canonical_revision.clone(),
        app: app.clone(),
        version: version.clone(),
        cluster: cluster.clone(),
        principal: String::new(),
    }
}
