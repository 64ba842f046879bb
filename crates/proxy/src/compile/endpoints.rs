//! The endpoints of a cluster: who may be chosen, in which groups, with which shares.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use limen_ir::ClusterEndpoints;
use limen_ir::cluster::{Balance, Cluster as IrCluster, MAX_RING_SIZE};
use limen_ir::endpoint::{
    Address as IrAddress, Endpoint as IrEndpoint, Health, Locality, WorkloadLabels as IrWorkload,
};

use super::ejections::Ejections;
use super::warmup::Warmth;
use crate::address::{Address, Paths};
use crate::observe::counters::{Registry, WorkloadId, WorkloadLabels};
use crate::table::clusters::{Endpoint, EndpointSet, Group};
use crate::table::hashing::HashTable;

/// Healthy endpoints stand in for others up to this percentage of their own number (Envoy's overprovisioning factor).
const OVERPROVISIONING: u64 = 140;

/// What workers hold of endpoints by a handle: the ids of workloads, the paths of sockets.
pub(crate) struct Handles {
    registry: Arc<Registry>,
    workloads: HashMap<IrWorkload, WorkloadId>,
    paths: Paths,
}

impl Handles {
    pub(crate) fn new(registry: Arc<Registry>) -> Handles {
        Handles { registry, workloads: HashMap::new(), paths: Paths::default() }
    }

    fn workload(&mut self, workload: &IrWorkload) -> WorkloadId {
        if let Some(id) = self.workloads.get(workload) {
            return *id;
        }
        let id = self.registry.workload(&labels(workload));
        self.workloads.insert(workload.clone(), id);
        id
    }

    fn address(&mut self, ir: &IrAddress) -> Address {
        match ir {
            IrAddress::Inet(address) => Address::Inet(*address),
            IrAddress::Unix(path) => Address::Unix(self.paths.keep(path)),
        }
    }

    /// The addresses of endpoints, in their order.
    pub(crate) fn addresses(&mut self, ir: &ClusterEndpoints) -> Vec<Address> {
        ir.endpoints.iter().map(|endpoint| self.address(&endpoint.address)).collect()
    }
}

/// An endpoint as workers know it, with its weight of now.
struct Known<'a> {
    address: Address,
    weight: u32,
    ir: &'a IrEndpoint,
}

/// What the workers see of a cluster's endpoints.
pub(crate) fn compile(
    ir: &ClusterEndpoints,
    cluster: Option<&IrCluster>,
    (ejections, warmth): (&Ejections, &Warmth<'_>),
    handles: &mut Handles,
) -> EndpointSet {
    let panic_percent =
        cluster.and_then(|cluster| cluster.outlier.as_ref()).map_or(0, |outlier| outlier.min_health_percent);
    let known: Vec<Known<'_>> = ir
        .endpoints
        .iter()
        // Where all are used in need, Istio does not tell of those that are not ready.
        .filter(|endpoint| panic_percent == 0 || endpoint.health == Health::Healthy)
        .map(|ir| {
            let address = handles.address(&ir.address);
            Known { address, weight: warmth.weight(address, ir.weight), ir }
        })
        .collect();
    let healthy =
        |known: &Known<'_>| known.ir.health == Health::Healthy && !ejections.is_ejected(known.address);
    let endpoints = known.iter().map(|known| Endpoint {
        address: known.address,
        workload: handles.workload(&known.ir.workload),
        watch: ejections.watch(known.address).cloned(),
        priority: known.ir.priority,
        weight: if healthy(known) { known.weight } else { 0 },
        in_mesh: known.ir.in_mesh,
    });
    let groups = groups(&known, &healthy, panic_percent, cluster.map(|cluster| cluster.balance));
    EndpointSet { endpoints: endpoints.collect(), groups }
}

/// Shares are counted in this part of a percent.
const PRECISION: u64 = 10_000;

/// Endpoints of one priority.
#[derive(Default)]
struct Level<'a> {
    /// With their index.
    all: Vec<(u32, &'a Known<'a>)>,
    healthy: usize,
}

/// Each priority bears what its healthy endpoints can, the next ones the rest; with too few healthy ones all are used
/// (Envoy's priorities and panic). Within a priority localities with weights have shares of their own.
fn groups(
    all: &[Known<'_>],
    healthy: &dyn Fn(&Known<'_>) -> bool,
    panic_percent: u32,
    balance: Option<Balance>,
) -> Box<[Group]> {
    let mut levels: BTreeMap<u32, Level<'_>> = BTreeMap::new();
    for (index, endpoint) in (0..).zip(all) {
        let level = levels.entry(endpoint.ir.priority).or_default();
        level.all.push((index, endpoint));
        level.healthy += usize::from(healthy(endpoint));
    }
    let levels: Vec<Level<'_>> = levels.into_values().collect();
    let bearable: Vec<u64> = levels.iter().map(|level| bearable(level.healthy, level.all.len())).collect();
    let whole = bearable.iter().sum::<u64>().min(100);
    let in_panic =
        |level: &Level<'_>| whole < 100 && level.healthy * 100 < panic_percent as usize * level.all.len();
    let mut groups = Vec::new();
    if levels.iter().all(in_panic) {
        // Nobody knows who is well: all share by their number.
        for level in &levels {
            group(&level.all, level.all.len() as u64, &mut groups);
        }
    } else if whole > 0 {
        let mut left = 100;
        for (level, bearable) in levels.iter().zip(bearable) {
            let share = (bearable * 100).div_ceil(whole).min(left);
            left -= share;
            match (share, in_panic(level)) {
                (0, _) => {}
                (share, true) => group(&level.all, share * PRECISION, &mut groups),
                (share, false) => localities(level, healthy, share * PRECISION, &mut groups),
            }
        }
    }
    let made = groups.into_iter().map(|(share, members)| {
        let hash = balance.and_then(|balance| hash_table(all, &members, balance)).map(Arc::new);
        Group { share, members, hash }
    });
    made.collect()
}

/// Share, and members by index with weight.
type Draft = (u32, Box<[(u32, u32)]>);

fn group(members: &[(u32, &Known<'_>)], share: u64, groups: &mut Vec<Draft>) {
    if !members.is_empty() {
        let members = members.iter().map(|(index, endpoint)| (*index, endpoint.weight)).collect();
        groups.push((u32::try_from(share).unwrap_or(u32::MAX).max(1), members));
    }
}

/// The healthy endpoints of a priority: together, or by locality where these have weights. A locality that cannot bear
/// its part leaves the rest to the others.
fn localities(level: &Level<'_>, healthy: &dyn Fn(&Known<'_>) -> bool, share: u64, groups: &mut Vec<Draft>) {
    let well = |members: &[(u32, &Known<'_>)]| members.iter().filter(|(_, one)| healthy(one)).count();
    let mut by_locality: BTreeMap<Option<&Locality>, Vec<(u32, &Known<'_>)>> = BTreeMap::new();
    for (index, endpoint) in &level.all {
        let locality = (endpoint.ir.locality_weight > 0).then_some(&endpoint.ir.locality);
        by_locality.entry(locality).or_default().push((*index, endpoint));
    }
    let effective = |members: &[(u32, &Known<'_>)]| {
        let weight =
            members.iter().map(|(_, one)| u64::from(one.ir.locality_weight.max(1))).max().unwrap_or(0);
        weight * bearable(well(members), members.len())
    };
    let sum: u64 = by_locality.values().map(|members| effective(members)).sum();
    for members in by_locality.values() {
        let part = (share * effective(members)).checked_div(sum).unwrap_or(0);
        let members: Vec<_> = members.iter().filter(|(_, one)| healthy(one)).copied().collect();
        group(&members, part, groups);
    }
}

/// How much of the whole load the healthy ones can bear, in percent.
fn bearable(healthy: usize, all: usize) -> u64 {
    (OVERPROVISIONING * healthy as u64).checked_div(all as u64).unwrap_or(0).min(100)
}

/// By the index of a member.
fn hash_table(all: &[Known<'_>], members: &[(u32, u32)], balance: Balance) -> Option<HashTable> {
    let placed = || {
        let placed = (0..).zip(members).filter_map(|(at, (index, weight))| {
            let endpoint = all.get(*index as usize)?;
            Some((at, (endpoint.address, *weight)))
        });
        placed.collect::<Vec<_>>()
    };
    match balance {
        Balance::RingHash { minimum_size } => {
            let all: Vec<_> = all.iter().map(|endpoint| (endpoint.address, endpoint.weight)).collect();
            Some(HashTable::ring(&placed(), &all, minimum_size, MAX_RING_SIZE))
        }
        Balance::Maglev { table_size } => Some(HashTable::maglev(&placed(), table_size)),
        Balance::RoundRobin | Balance::LeastRequest | Balance::Random => None,
    }
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
