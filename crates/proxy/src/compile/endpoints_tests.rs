use super::*;

fn set(healthy: &[bool]) -> Vec<IrEndpoint> {
    let endpoint = |(n, healthy): (u8, &bool)| IrEndpoint {
        address: ([10, 0, 0, n], 80).into(),
        weight: 1,
        health: if *healthy { Health::Healthy } else { Health::Unready },
        workload: Arc::new(IrWorkload::unknown()),
    };
    (1..).zip(healthy).map(endpoint).collect()
}

fn chosen(healthy: &[bool], panic_percent: u32) -> Vec<u32> {
    let endpoints = set(healthy);
    let all: Vec<&IrEndpoint> = endpoints.iter().collect();
    let groups = groups(&all, &|endpoint| endpoint.health == Health::Healthy, panic_percent);
    groups.iter().flat_map(|group| group.members.iter().map(|(index, _)| *index)).collect()
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
