// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_resources::{Event, Snapshot, Store, parse};

use super::*;

fn snapshot(gateways: &[(&str, &str)]) -> Snapshot {
    let mut store = Store::new();
    for (name, rest) in gateways {
        let text = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec:\n  gatewayClassName: limen\n  listeners: [{{name: http, port: 80, protocol: HTTP}}]\n{rest}"
        );
        for object in parse("g.yaml", &text, "default").objects {
            store.apply(Event::Apply(object));
        }
    }
    store.snapshot()
}

fn assigned(pool: &str, gateways: &[(&str, &str)]) -> Vec<String> {
    let pool: Vec<IpNet> = pool.split(',').map(|network| network.parse().unwrap()).collect();
    let snapshot = snapshot(gateways);
    let gateways: Vec<_> = snapshot.api_gateways().iter().collect();
    assert!(!gateways.is_empty());
    assign(&pool, &gateways).iter().map(|(key, address)| format!("{} {address}", key.name)).collect()
}

const ASSIGNED: &str = "status: {addresses: [{type: IPAddress, value: 10.0.0.2}]}\n";

#[test]
fn each_gets_one_of_its_own_until_there_are_no_more() {
    let four = [("a", ""), ("b", ""), ("c", ""), ("d", "")];
    let two = assigned("10.0.0.0/30", &four);
    assert_eq!(two.len(), 2, "{two:?}");
    let mut addresses: Vec<&str> = two.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    addresses.sort_unstable();
    assert_eq!(addresses, ["10.0.0.1", "10.0.0.2"], "the first and the last of a network are nobody's");
    assert_eq!(assigned("10.0.0.9/32,fd00::/120", &four).len(), 4);
    assert_eq!(assigned("fd00::/16", &four).len(), 4);
}

#[test]
fn one_that_has_an_address_keeps_it_and_one_that_names_one_has_that() {
    assert_eq!(assigned("10.0.0.0/30", &[("a", ""), ("b", ASSIGNED)]), ["a 10.0.0.1", "b 10.0.0.2"]);
    assert_eq!(assigned("10.0.0.0/30", &[("a", ASSIGNED), ("b", ASSIGNED)]), ["a 10.0.0.2", "b 10.0.0.1"]);
    let named = "  addresses: [{value: 10.0.0.2}]\n";
    assert_eq!(assigned("10.0.0.0/30", &[("a", named), ("b", ASSIGNED), ("c", "")]), ["b 10.0.0.1"]);
    assert_eq!(assigned("10.0.1.0/30", &[("a", ASSIGNED)]).len(), 1, "that is no address of this pool");
    let open = "  addresses: [{type: IPAddress}]\n";
    assert_eq!(assigned("10.0.0.5/32", &[("a", open)]), ["a 10.0.0.5"]);
}
