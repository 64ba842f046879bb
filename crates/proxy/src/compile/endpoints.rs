//! The endpoints of a cluster: who may be chosen, in which groups, with which shares.

use std::collections::HashMap;
use std::sync::Arc;

use limen_ir::ClusterEndpoints;
use limen_ir::cluster::Cluster as IrCluster;
use limen_ir::endpoint::{Endpoint as IrEndpoint, Health, WorkloadLabels as IrWorkload};

use super::ejections::Ejections;
use crate::observe::counters::{Registry, WorkloadId, WorkloadLabels};
use crate::table::clusters::{Endpoint, EndpointSet, Group};

/// Healthy endpoints stand in for others up to this percentage of their own number (Envoy's overprovisioning factor).
const OVERPROVISIONING: u64 = 140;

/// The ids of workloads.
pub(crate) struct Workloads {
    registry: Arc<Registry>,
    known: HashMap<IrWorkload, WorkloadId>,
}

impl Workloads {
    pub(crate) fn new(registry: Arc<Registry>) -> Workloads {
        Workloads { registry, known: HashMap::new() }
    }

    fn id(&mut self, workload: &IrWorkload) -> WorkloadId {
        if let Some(id) = self.known.get(workload) {
            return *id;
        }
        let id = self.registry.workload(&labels(workload));
        self.known.insert(workload.clone(), id);
        id
    }
}

/// What the workers see of a cluster's endpoints.
pub(crate) fn compile(
    ir: &ClusterEndpoints,
    cluster: Option<&IrCluster>,
    ejections: &Ejections,
    workloads: &mut Workloads,
) -> EndpointSet {
    let panic_percent =
        cluster.and_then(|cluster| cluster.outlier.as_ref()).map_or(0, |outlier| outlier.min_health_percent);
    let known: Vec<&IrEndpoint> = ir
        .endpoints
        .iter()
        // Where all are used in need, Istio does not tell of those that are not ready.
        .filter(|endpoint| panic_percent == 0 || endpoint.health == Health::Healthy)
        .collect();
    let endpoints = known.iter().map(|endpoint| Endpoint {
        address: endpoint.address,
        workload: workloads.id(&endpoint.workload),
        watch: ejections.watch(endpoint.address).cloned(),
    });
    let healthy =
        |endpoint: &IrEndpoint| endpoint.health == Health::Healthy && !ejections.is_ejected(endpoint.address);
    let groups = groups(&known, &healthy, panic_percent);
    EndpointSet { endpoints: endpoints.collect(), groups }
}

/// With too few healthy ones all are used (Envoy's panic).
fn groups(all: &[&IrEndpoint], healthy: &dyn Fn(&IrEndpoint) -> bool, panic_percent: u32) -> Box<[Group]> {
    let count = all.iter().filter(|endpoint| healthy(endpoint)).count();
    let available = available(count, all.len());
    let panic = available < 100 && (count * 100) < panic_percent as usize * all.len();
    let members = (0..).zip(all).filter(|(_, endpoint)| panic || healthy(endpoint));
    let members: Box<[(u32, u32)]> = members.map(|(index, endpoint)| (index, endpoint.weight)).collect();
    if members.is_empty() { Box::default() } else { Box::new([Group { share: 1, members }]) }
}

/// How much of the whole load the healthy ones can bear, in percent.
fn available(healthy: usize, all: usize) -> u64 {
    (OVERPROVISIONING * healthy as u64).checked_div(all as u64).unwrap_or(0).min(100)
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

#[cfg(test)]
#[path = "endpoints_tests.rs"]
mod tests;
