use std::net::SocketAddr;

use limen_ir::Millis;

use super::*;

fn address(n: u8) -> Address {
    Address::Inet(SocketAddr::from(([10, 0, 0, n], 80)))
}

fn policy(aggression: u32) -> Option<Warmup> {
    Some(Warmup { duration: Millis::new(10_000).unwrap(), minimum_percent: 10, aggression })
}

/// The first endpoint has been there for long, the second one appears at 0 s.
fn weights(aggression: u32, seconds: u64) -> (u32, u32, bool) {
    let start = Instant::now();
    let appears = start + Duration::from_secs(60);
    let mut ages = Ages::default();
    ages.reconcile(policy(aggression), [address(1)].into_iter(), start);
    ages.reconcile(policy(aggression), [address(1), address(2)].into_iter(), appears);
    let warmth = ages.at(policy(aggression), appears + Duration::from_secs(seconds));
    let (old, new) = (warmth.weight(address(1), 2), warmth.weight(address(2), 2));
    (old, new, ages.next_look().is_some())
}

#[test]
fn the_share_grows_from_the_minimum_in_a_straight_line_or_a_curve() {
    assert_eq!(weights(1000, 0), (2000, 200, true));
    assert_eq!(weights(1000, 5), (2000, 1000, true));
    assert_eq!(weights(1000, 8), (2000, 1600, true));
    assert_eq!(weights(2000, 4), (2000, 1264, true));
    assert_eq!(weights(500, 5), (2000, 500, true));
}

#[test]
fn at_the_end_weights_are_what_is_written_and_nothing_is_planned() {
    assert_eq!(weights(1000, 10), (2, 2, false));
    let mut ages = Ages::default();
    let now = Instant::now();
    ages.reconcile(None, [address(1)].into_iter(), now);
    assert_eq!(ages.at(None, now).weight(address(1), 7), 7);
    assert!(ages.next_look().is_none());
}
