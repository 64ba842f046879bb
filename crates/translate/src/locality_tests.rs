use std::net::SocketAddr;
use std::sync::Arc;

use limen_ir::endpoint::{Health, WorkloadLabels};

use super::*;

type Endpoints = BTreeMap<Address, Endpoint>;

/// One endpoint at each place, of weight 1.
fn at(places: &[&str]) -> Endpoints {
    let endpoint = |(n, place): (u8, &&str)| {
        let address = Address::Inet(SocketAddr::from(([10, 0, 0, n], 80)));
        let endpoint = Endpoint {
            address: address.clone(),
            weight: 1,
            health: Health::Healthy,
            workload: Arc::new(WorkloadLabels::unknown()),
            locality: Locality::parse(place),
            priority: 0,
            locality_weight: 0,
            in_mesh: false,
        };
        (address, endpoint)
    };
    (1..).zip(places).map(endpoint).collect()
}

fn own(place: &str) -> Own {
    Own::new(&Labels::new(), Some(place), ("", None))
}

fn priorities(endpoints: &Endpoints) -> Vec<u32> {
    endpoints.values().map(|endpoint| endpoint.priority).collect()
}

fn failover(regions: &[(&str, &str)], labels: &[&str]) -> Spread {
    let regions = regions.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    Spread::Failover { regions, labels: labels.iter().map(|label| (*label).to_owned()).collect() }
}

#[test]
fn the_nearest_come_first() {
    let mut endpoints = at(&["eu/a/1", "eu/a/2", "eu/b", "us/a", ""]);
    spread(&mut endpoints, &BTreeMap::new(), &failover(&[], &[]), &own("eu/a/1"));
    assert_eq!(priorities(&endpoints), [0, 1, 2, 3, 3]);
    // Where nothing is near, nothing is far either.
    let mut endpoints = at(&["us/a", "us/b"]);
    spread(&mut endpoints, &BTreeMap::new(), &failover(&[], &[]), &own("eu/a/1"));
    assert_eq!(priorities(&endpoints), [0, 0]);
}

#[test]
fn the_region_that_stands_in_comes_before_the_others() {
    let mut endpoints = at(&["eu/a", "us/a", "asia/a"]);
    spread(&mut endpoints, &BTreeMap::new(), &failover(&[("eu", "asia")], &[]), &own("eu/a"));
    assert_eq!(priorities(&endpoints), [0, 2, 1]);
    let mut endpoints = at(&["eu/a", "us/a", "asia/a"]);
    spread(&mut endpoints, &BTreeMap::new(), &failover(&[("us", "asia")], &[]), &own("eu/a"));
    assert_eq!(priorities(&endpoints), [0, 1, 1]);
}

#[test]
fn labels_order_endpoints_up_to_the_first_that_differs() {
    let mut endpoints = at(&["", "", "", ""]);
    let labels = |rack: &str, version: &str| {
        [("rack", rack), ("version", version)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    };
    let all = [labels("r1", "v1"), labels("r1", "v2"), labels("r2", "v1"), Labels::new()];
    let all: BTreeMap<_, _> = endpoints.keys().cloned().zip(all).collect();
    let gateway = Own { locality: Locality::default(), labels: labels("r1", "v9") };
    spread(&mut endpoints, &all, &failover(&[], &["rack", "version=v1"]), &gateway);
    assert_eq!(priorities(&endpoints), [0, 1, 2, 2]);
}

#[test]
fn shares_go_to_the_localities_that_are_named() {
    let shares =
        |shares: &[(&str, u32)]| shares.iter().map(|(to, share)| ((*to).to_owned(), *share)).collect();
    let how = Spread::Distribute(vec![
        ("us/*".to_owned(), shares(&[("us/*", 100)])),
        ("eu/a/*".to_owned(), shares(&[("eu/a/*", 80), ("eu/b/*", 20)])),
    ]);
    let mut endpoints = at(&["eu/a/1", "eu/a/1", "eu/a/2", "eu/b/1", "us/a/1"]);
    spread(&mut endpoints, &BTreeMap::new(), &how, &own("eu/a/1"));
    let weights: Vec<u32> = endpoints.values().map(|endpoint| endpoint.locality_weight).collect();
    assert_eq!(weights, [54, 54, 27, 20]);
    let mut endpoints = at(&["eu/a/1", "us/a/1"]);
    spread(&mut endpoints, &BTreeMap::new(), &how, &own("asia/a/1"));
    assert_eq!(endpoints, at(&["eu/a/1", "us/a/1"]));
}

#[test]
fn a_rule_counts_before_the_service_and_failing_over_needs_somebody_who_sees_failures() {
    let off = LocalityLb { enabled: Some(false), ..LocalityLb::default() };
    assert_eq!(Spread::of(Some(&off), "PreferClose", None, true), Spread::Off);
    assert_eq!(Spread::of(Some(&LocalityLb::default()), "PreferClose", None, false), Spread::Off);
    assert_eq!(Spread::of(None, "", None, true), failover(&[], &[]));
    assert_eq!(Spread::of(None, "", None, false), Spread::Off);
    assert_eq!(Spread::of(None, "PreferClose", None, false), failover(&[], &[NETWORK, REGION, ZONE]));
    assert_eq!(Spread::of(None, "PreferClose", Some(&off), false), failover(&[], &[NETWORK, REGION, ZONE]));
    assert_eq!(Spread::of(None, "", Some(&off), true), Spread::Off);
    let labels = LocalityLb { failover_priority: vec![ZONE.to_owned()], ..LocalityLb::default() };
    assert_eq!(Spread::of(None, "", Some(&labels), true), failover(&[], &[ZONE]));
    assert_eq!(Spread::of(Some(&off), "", Some(&labels), true), Spread::Off);
}
