use super::*;

fn set(healthy: &[bool]) -> Vec<IrEndpoint> {
    let endpoint = |(n, healthy): (u8, &bool)| IrEndpoint {
        address: IrAddress::Inet(([10, 0, 0, n], 80).into()),
        weight: 1,
        health: if *healthy { Health::Healthy } else { Health::Unready },
        workload: Arc::new(IrWorkload::unknown()),
        locality: Locality::default(),
        priority: 0,
        locality_weight: 0,
        in_mesh: false,
    };
    (1..).zip(healthy).map(endpoint).collect()
}

fn groups_of(endpoints: &[IrEndpoint], panic_percent: u32) -> Vec<(u32, Vec<u32>)> {
    let mut handles = Handles::new(Arc::default());
    let endpoints = endpoints.iter();
    let all = endpoints.map(|ir| Known { address: handles.address(&ir.address), weight: ir.weight, ir });
    let all: Vec<_> = all.collect();
    let groups = groups(&all, &|known| known.ir.health == Health::Healthy, panic_percent, None);
    let members = |group: &Group| group.members.iter().map(|(index, _)| *index).collect();
    groups.iter().map(|group| (group.share, members(group))).collect()
}

fn chosen(healthy: &[bool], panic_percent: u32) -> Vec<u32> {
    groups_of(&set(healthy), panic_percent).into_iter().flat_map(|(_, members)| members).collect()
}

/// By priority: share in percent.
fn shares(priorities: &[&[bool]]) -> Vec<(u32, Vec<u32>)> {
    let mut all = Vec::new();
    for (priority, healthy) in (0..).zip(priorities) {
        all.extend(set(healthy).into_iter().map(|endpoint| IrEndpoint { priority, ..endpoint }));
    }
    let groups = groups_of(&all, 0).into_iter();
    groups.map(|(share, members)| (share / PRECISION as u32, members)).collect()
}

#[test]
fn the_healthy_are_chosen_and_nobody_where_there_is_none() {
    assert_eq!(chosen(&[true, false, true], 0), [0, 2]);
    assert!(chosen(&[false, false], 0).is_empty());
    assert!(chosen(&[], 100).is_empty());
}

#[test]
fn with_too_few_healthy_ones_all_are_chosen() {
    assert_eq!(chosen(&[true, false, false], 50), [0, 1, 2]);
    assert_eq!(chosen(&[true, true, false], 50), [0, 1]);
    assert_eq!(chosen(&[false, false], 1), [0, 1]);
    // Three of four bear the whole load, whatever the threshold says (Envoy).
    assert_eq!(chosen(&[true, true, true, false], 90), [0, 1, 2]);
}

#[test]
fn the_next_priority_bears_what_the_first_cannot() {
    assert_eq!(shares(&[&[true, true], &[true]]), [(100, vec![0, 1])]);
    assert_eq!(shares(&[&[false, false], &[true]]), [(100, vec![2])]);
    // Half of the first bear 70 %.
    assert_eq!(shares(&[&[true, false], &[true]]), [(70, vec![0]), (30, vec![2])]);
    // Three quarters are enough.
    assert_eq!(shares(&[&[true, true, true, false], &[true]]), [(100, vec![0, 1, 2])]);
    // Together they bear 35 + 35 of 100: what there is is shared.
    let quarter = &[true, false, false, false];
    assert_eq!(shares(&[quarter, quarter]), [(50, vec![0]), (50, vec![4])]);
    assert_eq!(shares(&[&[false], &[false]]), []);
}

#[test]
fn localities_with_weights_have_their_shares() {
    let at = |zone: &str, locality_weight, healthy: &[bool]| {
        let locality = Locality { zone: zone.to_owned(), ..Locality::default() };
        let endpoints = set(healthy).into_iter();
        let placed = endpoints.map(move |endpoint| IrEndpoint {
            locality: locality.clone(),
            locality_weight,
            ..endpoint
        });
        placed.collect::<Vec<_>>()
    };
    let both = |a: &[bool], b: &[bool]| {
        let groups = groups_of(&[at("a", 80, a), at("b", 20, b)].concat(), 0);
        groups.iter().map(|(share, _)| share / PRECISION as u32).collect::<Vec<_>>()
    };
    assert_eq!(both(&[true], &[true, true]), [80, 20]);
    // A quarter of a can bear 35 % of its 80.
    assert_eq!(both(&[true, false, false, false], &[true]), [58, 41]);
    assert_eq!(both(&[false], &[true]), [100]);
}
