use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn places(weights: &[u32]) -> Vec<Place> {
    let address = |n: usize| Address::Inet(SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 80)));
    weights.iter().enumerate().map(|(n, weight)| (address(n), *weight)).collect()
}

/// Where each of many hashes goes.
fn owners(table: &HashTable, places: &[Place]) -> Vec<Address> {
    let keys = (0..2_000_u64).map(|key| hash::of(&key.to_le_bytes(), 0));
    keys.map(|key| places[table.find(key).next().unwrap() as usize].0).collect()
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Ring,
    Maglev,
}

fn table(kind: Kind, all: &[Place], healthy: impl Fn(usize) -> bool) -> HashTable {
    let eligible = all.iter().enumerate().filter(|(index, _)| healthy(*index));
    let eligible: Vec<(u32, Place)> = eligible.map(|(index, place)| (index as u32, *place)).collect();
    match kind {
        Kind::Ring => HashTable::ring(&eligible, all, 1024, 1 << 23),
        Kind::Maglev => HashTable::maglev(&eligible, 65_537),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn one_that_falls_ill_moves_its_own_requests_and_few_others(count in 2..20_usize, ill in 0..20_usize) {
        let all = places(&vec![1; count]);
        let ill = ill % count;
        for (kind, most) in [(Kind::Ring, 0), (Kind::Maglev, 100)] {
            let before = owners(&table(kind, &all, |_| true), &all);
            let after = owners(&table(kind, &all, |index| index != ill), &all);
            let moved = before.iter().zip(&after).filter(|(was, is)| was != is && **was != all[ill].0).count();
            prop_assert!(moved <= most, "{kind:?}: {moved} of 2000 moved without need");
            prop_assert!(after.iter().all(|owner| *owner != all[ill].0));
        }
    }

    #[test]
    fn one_more_takes_about_its_share(count in 1..20_usize) {
        let (few, more) = (places(&vec![1; count]), places(&vec![1; count + 1]));
        for kind in [Kind::Ring, Kind::Maglev] {
            let before = owners(&table(kind, &few, |_| true), &few);
            let after = owners(&table(kind, &more, |_| true), &more);
            let moved = before.iter().zip(&after).filter(|(was, is)| was != is).count();
            let share = 2000 / (count + 1);
            prop_assert!(moved <= share * 3 / 2 + 150, "{kind:?}: {moved} moved, the share is {share}");
        }
    }
}

#[test]
fn shares_follow_the_weights_and_tables_are_the_same_each_time() {
    let all = places(&[1, 2, 5]);
    for kind in [Kind::Ring, Kind::Maglev] {
        let made = table(kind, &all, |_| true);
        assert_eq!(made, table(kind, &all, |_| true));
        let mut shares = BTreeMap::new();
        for owner in owners(&made, &all) {
            *shares.entry(owner).or_insert(0) += 1;
        }
        for (place, share) in all.iter().zip([250, 500, 1250_i32]) {
            assert!((shares[&place.0] - share).abs() < 150, "{kind:?}: {shares:?}");
        }
    }
}

#[test]
fn rings_are_as_large_as_asked_for_and_no_larger_than_allowed() {
    let points = |weights: &[u32], minimum, most| {
        let all = places(weights);
        let eligible: Vec<_> = (0..).zip(all.iter().copied()).collect();
        let HashTable::Ring(points) = HashTable::ring(&eligible, &all, minimum, most) else { unreachable!() };
        points.len()
    };
    assert_eq!(points(&[1, 1, 1, 1], 1024, 1 << 23), 1024);
    assert_eq!(points(&[1, 1, 1], 1024, 1 << 23), 1026);
    assert_eq!(points(&[1, 3], 16, 1 << 23), 16);
    assert_eq!(points(&[1, 1], 1024, 100), 100);
    assert!(HashTable::maglev(&[], 7).find(1).next().is_none());
}
