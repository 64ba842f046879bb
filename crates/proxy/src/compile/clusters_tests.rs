use std::collections::BTreeSet;
use std::net::SocketAddr;

use limen_ir::cluster::{Protocol as IrProtocol, ServiceLabels as IrLabels};
use limen_ir::endpoint::{Address, Endpoint, Health, Locality, WorkloadLabels};
use limen_ir::origin::Origin;

use super::*;

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

fn key(host: &str) -> ClusterKey {
    ClusterKey::new(80, "", host)
}

fn ir_cluster(host: &str) -> IrCluster {
    let origin =
        Origin { kind: "Service", namespace: "default".into(), name: host.into(), field: Arc::default() };
    IrCluster {
        key: key(host),
        service: IrLabels { host: host.to_owned(), name: host.to_owned(), namespace: String::new() },
        external: false,
        protocol: IrProtocol::Undetected,
        balance: IrBalance::RoundRobin,
        connection: ConnectionPolicy::istio_default(),
        tls: None,
        warmup: None,
        outlier: None,
        keeps_connections: false,
        origin,
        policy_origin: None,
    }
}

fn ir_endpoints(port: u16) -> ClusterEndpoints {
    let endpoint = Endpoint {
        address: Address::Inet(SocketAddr::from(([10, 0, 0, 1], port))),
        weight: 1,
        health: Health::Healthy,
        workload: Arc::new(WorkloadLabels::unknown()),
        locality: Locality::default(),
        priority: 0,
        locality_weight: 0,
        in_mesh: false,
    };
    ClusterEndpoints { endpoints: vec![endpoint] }
}

fn memo() -> ClusterMemo {
    let (control, _) = std::sync::mpsc::channel();
    ClusterMemo::new(Arc::default(), control, &crate::limits::Limits::default())
}

/// What there is now: clusters and endpoints by the place of the host.
#[derive(Default)]
struct World {
    clusters: [Option<Arc<IrCluster>>; 4],
    endpoints: [Option<Arc<ClusterEndpoints>>; 4],
}

impl World {
    fn ir(&self) -> (Ir, Endpoints) {
        let clusters = self.clusters.iter().flatten().map(|one| (one.key.clone(), Arc::clone(one)));
        let endpoints = HOSTS.iter().zip(&self.endpoints);
        let endpoints = endpoints.filter_map(|(host, one)| Some((key(host), Arc::clone(one.as_ref()?))));
        let ir = Ir { clusters: Arc::new(clusters.collect()), ..Ir::default() };
        (ir, Endpoints { clusters: Arc::new(endpoints.collect()) })
    }
}

/// Of each host the name of what stands in its slot, and where its endpoints are.
fn seen(
    memo: &mut ClusterMemo,
    (clusters, table): &(ClusterTable, EndpointTable),
) -> Vec<(Option<String>, Vec<String>)> {
    let of = |host: &&str| {
        let at = memo.slots.get(&key(host)).map_or(usize::MAX, |slot| slot.index as usize);
        let cluster = clusters.get(at).cloned().flatten().map(|cluster| cluster.name.to_string());
        let set = table.get(at).map(|set| set.endpoints.iter());
        (cluster, set.into_iter().flatten().map(|one| format!("{:?}", one.address)).collect())
    };
    HOSTS.iter().map(of).collect()
}

/// After whatever sequence of changes the slots hold what a memo without a past puts into them.
#[test]
fn what_is_compiled_does_not_depend_on_what_was_before() {
    let (mut memo_of_all, mut world) = (memo(), World::default());
    let mut dice = 7_u64;
    let mut seen_sizes = BTreeSet::new();
    for round in 0..400_u16 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (at, what) = ((dice >> 33) as usize % 4, (dice >> 40) % 5);
        match what {
            0 => world.clusters[at] = None,
            1 => world.endpoints[at] = None,
            2 => world.endpoints[at] = Some(Arc::new(ir_endpoints(round + 1))),
            _ => world.clusters[at] = Some(Arc::new(ir_cluster(HOSTS[at]))),
        }
        let (ir, endpoints) = world.ir();
        let made = if what == 2 && round % 2 == 0 && round > 0 {
            (memo_of_all.clusters(), memo_of_all.endpoints(&endpoints))
        } else {
            memo_of_all.compile(&ir, &endpoints)
        };
        let mut fresh = memo();
        let anew = fresh.compile(&ir, &endpoints);
        let (left, right) = (seen(&mut memo_of_all, &made), seen(&mut fresh, &anew));
        for (at, (left, right)) in left.iter().zip(&right).enumerate() {
            // A slot of a cluster that is gone from the IR stays for a generation, without a cluster.
            if world.clusters[at].is_some() {
                assert_eq!(left, right, "round {round}, {}", HOSTS[at]);
            } else {
                assert_eq!(left.0, None, "round {round}, {}", HOSTS[at]);
            }
        }
        seen_sizes.insert(ir.clusters.len());
    }
    assert_eq!(seen_sizes.len(), 5, "from none to all");
    assert!(memo_of_all.tenures.len() <= 6, "slots are used again: {}", memo_of_all.tenures.len());
}

#[test]
fn a_slot_is_kept_for_a_generation_after_the_last_that_named_it_and_then_given_to_others() {
    let mut memo = memo();
    let (empty, none) = (Ir::default(), Endpoints::default());
    let first = memo.allot(&key("a"));
    memo.compile(&empty, &none);
    assert!(memo.keep(first), "named in the generation before");
    memo.compile(&empty, &none);
    memo.compile(&empty, &none);
    memo.compile(&empty, &none);
    let second = memo.allot(&key("b"));
    assert_eq!(second.slot, first.slot);
    assert!(!memo.keep(first), "it is another's");
    assert!(memo.keep(second));
}

#[test]
fn the_slot_of_a_cluster_that_no_route_names_stays_while_the_ir_has_it() {
    let mut memo = memo();
    let mut world =
        World { clusters: HOSTS.map(|host| Some(Arc::new(ir_cluster(host)))), ..World::default() };
    let slot = |memo: &mut ClusterMemo| memo.slots.get(&key("b")).map(|slot| slot.index);
    for _ in 0..5 {
        let (ir, endpoints) = world.ir();
        memo.compile(&ir, &endpoints);
        assert_eq!(slot(&mut memo), Some(1));
    }
    world.clusters[1] = None;
    let (ir, endpoints) = world.ir();
    memo.compile(&ir, &endpoints);
    assert_eq!(slot(&mut memo), Some(1), "requests of before the swap still find it");
    memo.compile(&ir, &endpoints);
    assert_eq!(slot(&mut memo), None);
}

/// What a panic left half done is neither taken for what was there before nor for what was to be.
#[test]
fn a_panic_leaves_nothing_uncompiled() {
    let (mut memo_of_all, mut world) = (memo(), World::default());
    let (good, bad) = (Arc::new(ir_cluster("a")), Arc::new(ir_cluster("b-that-cannot-be-compiled")));
    world.clusters[0] = Some(good.clone());
    world.endpoints[0] = Some(Arc::new(ir_endpoints(1)));
    let (ir, endpoints) = world.ir();
    memo_of_all.compile(&ir, &endpoints);
    // The first is another in the change that fails, and again what it was in the next.
    let mut limited = ir_cluster("a");
    limited.connection.max_requests = Some(7);
    (world.clusters[0], world.clusters[1]) = (Some(Arc::new(limited)), Some(bad.clone()));
    let (failing, endpoints) = world.ir();
    let armed = crate::faults::arm(Point::Cluster, "b-that-cannot-be-compiled");
    let compile = std::panic::AssertUnwindSafe(|| memo_of_all.compile(&failing, &endpoints));
    assert!(std::panic::catch_unwind(compile).is_err());
    drop(armed);
    for first in [good, failing.clusters[&key("a")].clone()] {
        let most = first.connection.max_requests;
        world.clusters[0] = Some(first);
        let (mut ir, endpoints) = world.ir();
        if most.is_some() {
            ir.clusters = failing.clusters.clone();
        }
        let (clusters, table) = memo_of_all.compile(&ir, &endpoints);
        for (key, source) in &*ir.clusters {
            let slot = memo_of_all.slots[key].index as usize;
            let compiled = clusters[slot].as_ref().expect("it is compiled");
            assert_eq!(compiled.max_requests, source.connection.max_requests, "{key}");
        }
        let slot = memo_of_all.slots[&key("a")].index as usize;
        assert_eq!(table[slot].endpoints.len(), 1);
    }
}
