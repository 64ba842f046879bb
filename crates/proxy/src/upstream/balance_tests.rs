use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::*;

/// A repeatable stand-in for the worker's dice.
fn dice() -> impl FnMut() -> u32 {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u32
    }
}

fn address(n: u8) -> Address {
    Address::Inet(SocketAddr::from(([10, 0, 0, n], 80)))
}

fn balancer(balance: Balance, weights: &[u32]) -> Balancer {
    grouped(balance, &[(1, weights)])
}

/// By group: its share, and the weights of its endpoints, which are numbered from 1 over all groups.
fn grouped(balance: Balance, groups: &[(u32, &[u32])]) -> Balancer {
    let mut states = Vec::new();
    let groups = groups.iter().filter(|(_, weights)| !weights.is_empty());
    let groups = groups.map(|(share, weights)| {
        let members = weights.iter().map(|weight| {
            states.push(EndpointState::new(address(states.len() as u8 + 1), false));
            (states.len() as u32 - 1, *weight)
        });
        Group { share: *share, members: members.collect(), hash: None }
    });
    let set = EndpointSet { groups: groups.collect(), ..EndpointSet::default() };
    let mut balancer = Balancer::new(balance);
    balancer.update(balance, &set, &states);
    balancer
}

#[test]
fn groups_have_their_shares() {
    let shares = shares(&mut grouped(Balance::RoundRobin, &[(3, &[1, 1]), (1, &[1])]), 40_000);
    assert!((9_500..10_500).contains(&shares[&address(3)]), "{shares:?}");
    let (one, two) = (shares[&address(1)], shares[&address(2)]);
    assert!(one.abs_diff(two) <= 1, "{shares:?}");
}

fn shares(balancer: &mut Balancer, picks: usize) -> BTreeMap<Address, usize> {
    let mut dice = dice();
    let mut shares = BTreeMap::new();
    for _ in 0..picks {
        if let Some(endpoint) = balancer.pick(&mut dice, &[], None) {
            *shares.entry(endpoint.address).or_default() += 1;
        }
    }
    shares
}

#[test]
fn nobody_is_nobody() {
    assert!(balancer(Balance::LeastRequest, &[]).pick(&mut dice(), &[], None).is_none());
}

#[test]
fn round_robin_is_exact() {
    let shares = shares(&mut balancer(Balance::RoundRobin, &[1, 1, 1]), 300);
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [100, 100, 100]);
}

#[test]
fn weighted_round_robin_is_exact_and_smooth() {
    let mut balancer = balancer(Balance::RoundRobin, &[5, 1, 1]);
    let mut dice = dice();
    let order: Vec<_> =
        (0..7).filter_map(|_| balancer.pick(&mut dice, &[], None)).map(|endpoint| endpoint.address).collect();
    let of = |n| order.iter().filter(|picked| **picked == address(n)).count();
    assert_eq!((of(1), of(2), of(3)), (5, 1, 1));
    assert!(order.windows(5).all(|run| run.iter().any(|picked| *picked != address(1))), "{order:?}");
}

#[test]
fn random_follows_the_weights() {
    let shares = shares(&mut balancer(Balance::Random, &[3, 1]), 40_000);
    let first = shares[&address(1)];
    assert!((29_000..31_000).contains(&first), "{first}");
}

#[test]
fn least_request_prefers_the_idle() {
    let mut balancer = balancer(Balance::LeastRequest, &[1, 1]);
    let busy = balancer.lanes[0].eligible[0].endpoint.clone();
    busy.active.set(10);
    let shares = shares(&mut balancer, 100);
    assert_eq!(shares.into_iter().collect::<Vec<_>>(), [(address(2), 100)]);
}

#[test]
fn least_request_follows_the_weights_while_idle_and_under_load() {
    let shares = shares(&mut balancer(Balance::LeastRequest, &[3, 1]), 40_000);
    assert!((25_000..35_000).contains(&shares[&address(1)]), "{shares:?}");
    let mut balancer = balancer(Balance::LeastRequest, &[3, 1]);
    let mut dice = dice();
    for _ in 0..400 {
        let picked = balancer.pick(&mut dice, &[], None).unwrap();
        picked.active.set(picked.active.get() + 1);
    }
    let active = |index: usize| balancer.lanes[0].eligible[index].endpoint.active.get();
    assert!((280..320).contains(&active(0)), "{} and {}", active(0), active(1));
}

#[test]
fn what_was_tried_is_avoided_while_there_is_another() {
    for balance in [Balance::RoundRobin, Balance::Random, Balance::LeastRequest] {
        let mut balancer = balancer(balance, &[1, 1, 1]);
        let mut dice = dice();
        // However busy the others are.
        balancer.lanes[0].eligible[1].endpoint.active.set(90);
        balancer.lanes[0].eligible[2].endpoint.active.set(90);
        for _ in 0..50 {
            let picked = balancer.pick(&mut dice, &[address(1)], None).map(|endpoint| endpoint.address);
            assert_ne!(picked, Some(address(1)), "{balance:?}");
        }
        let only = super::tests::balancer(balance, &[1]).pick(&mut dice, &[address(1)], None);
        assert!(only.is_some(), "{balance:?}");
    }
}

#[test]
fn a_hash_always_leads_to_the_same_endpoint_and_its_absence_anywhere() {
    let mut balancer = balancer(Balance::Hash, &[1, 1, 1]);
    let places: Vec<_> = (1..=3).map(|n| (address(n), 1)).collect();
    let eligible: Vec<_> = (0..).zip(places.iter().copied()).collect();
    balancer.lanes[0].hash = Some(Arc::new(HashTable::ring(&eligible, &places, 1024, 1 << 23)));
    let mut dice = dice();
    let mut pick = |tried: &[Address], hash| balancer.pick(&mut dice, tried, hash).unwrap().address;
    let own = pick(&[], Some(7));
    assert!((0..50).all(|_| pick(&[], Some(7)) == own));
    let other = pick(&[own], Some(7));
    assert_ne!(other, own);
    let last = pick(&[own, other], Some(7));
    assert!(last != own && last != other);
    assert_eq!(pick(&[own, other, last], Some(7)), own);
    let anywhere: std::collections::BTreeSet<_> = (0..50).map(|_| pick(&[], None)).collect();
    assert_eq!(anywhere.len(), 3);
}
