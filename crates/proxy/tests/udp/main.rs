//! Datagrams through a data plane of one worker: whose they are, where they go, and when their flows end.
#![forbid(unsafe_code)]
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

mod stage;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use limen_proxy::observe::limits::Limit;
use limen_proxy::observe::{Counter, Gauge};
use stage::{Client, Origin, PATIENT, Stage};

const WILD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn a_flow_goes_to_one_endpoint_and_flows_are_spread() {
    let origins = [Origin::start("a"), Origin::start("b")];
    let stage = Stage::start(&[("c", 1, &[&origins[0], &origins[1]])], PATIENT);
    let mut seen = [0, 0];
    for _ in 0..10 {
        let client = Client::of(stage.address(LOCAL));
        let (name, from) = client.asks("x");
        for _ in 0..3 {
            assert_eq!(client.asks("x"), (name.clone(), from), "a flow has one endpoint and one socket");
        }
        seen[usize::from(name == "b")] += 1;
    }
    assert_eq!(seen, [5, 5], "in turn");
    assert_eq!(stage.counter(Counter::UdpFlows), 10);
    stage.until(|stage| stage.counter(Counter::UdpSent) == 40);
    assert_eq!(stage.counter(Counter::UdpReceived), 40);
    assert_eq!(stage.counter(Counter::UdpBytesReceived), 40);
    assert_eq!(stage.gauge(Gauge::UdpFlowsActive), 10);
}

#[test]
fn answers_leave_from_the_address_that_was_asked_wherever_the_listener_is_bound() {
    let origin = Origin::start("a");
    let stage = Stage::bound(WILD, &[("c", 1, &[&origin])], PATIENT);
    for last in 1..4 {
        // The client's socket is connected: it hears nobody else.
        let client = Client::of(stage.address(Ipv4Addr::new(127, 0, 0, last).into()));
        assert_eq!(client.asks("x").0, "a");
    }
    let stage = Stage::bound(Ipv6Addr::UNSPECIFIED.into(), &[("c", 1, &[&origin])], PATIENT);
    for ip in [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into()] {
        assert_eq!(Client::of(stage.address(ip)).asks("x").0, "a");
    }
}

#[test]
fn one_client_that_asks_two_addresses_has_two_flows() {
    let origin = Origin::start("a");
    let stage = Stage::bound(WILD, &[("c", 1, &[&origin])], PATIENT);
    let client = Client::free();
    let ask = |last| {
        let to = stage.address(Ipv4Addr::new(127, 0, 0, last).into());
        let (_, upstream, from) = client.asks_at(to, "x");
        assert_eq!(from, to, "the answer comes from where it was asked");
        upstream
    };
    assert_ne!(ask(2), ask(3));
    assert_eq!(ask(2), ask(2));
    assert_eq!(stage.counter(Counter::UdpFlows), 2);
}

#[test]
fn datagrams_of_every_size_pass_whole() {
    let origin = Origin::start("a");
    let stage = Stage::start(&[("c", 1, &[&origin])], PATIENT);
    let client = Client::of(stage.address(LOCAL));
    for length in [0, 1, 1_500, 9_000, 60_000] {
        let said = "y".repeat(length);
        client.say(&said);
        assert_eq!(client.hears().split(' ').next_back(), Some(&*said));
    }
}

#[test]
fn nobody_but_the_endpoint_can_answer() {
    let origin = Origin::start("a");
    let stage = Stage::start(&[("c", 1, &[&origin])], PATIENT);
    let client = Client::of(stage.address(LOCAL));
    let (_, upstream) = client.asks("x");
    Client::of(upstream).say("from a stranger");
    assert_eq!(client.asks("y"), ("a".to_owned(), upstream));
    stage.until(|stage| stage.counter(Counter::UdpSent) >= 2);
    assert_eq!(stage.counter(Counter::UdpSent), 2);
}

#[test]
fn a_new_generation_keeps_flows_until_their_way_is_gone() {
    let origins = [Origin::start("a"), Origin::start("b")];
    let mut stage = Stage::start(&[("c", 1, &[&origins[0]])], PATIENT);
    let client = Client::of(stage.address(LOCAL));
    let before = client.asks("x");
    assert_eq!(before.0, "a");
    stage.install(&[("c", 1, &[&origins[0], &origins[1]]), ("other", 5, &[&origins[1]])], PATIENT);
    assert_eq!(client.asks("x"), before, "its endpoint is still there");
    // Only endpoints change, no route.
    stage.endpoints(&[("c", 1, &[&origins[1]]), ("other", 5, &[&origins[1]])]);
    stage.until(|stage| stage.gauge(Gauge::UdpFlowsActive) == 0);
    assert_eq!(client.asks("x").0, "b");
    stage.install(&[("other", 1, &[&origins[0]])], PATIENT);
    stage.until(|stage| stage.gauge(Gauge::UdpFlowsActive) == 0);
    assert_eq!(client.asks("x").0, "a", "the route leads elsewhere");
}

#[test]
fn flows_end_with_their_listener() {
    let origin = Origin::start("a");
    let mut stage = Stage::start(&[("c", 1, &[&origin])], PATIENT);
    let client = Client::of(stage.address(LOCAL));
    client.asks("x");
    stage.install_nothing();
    stage.until(|stage| stage.gauge(Gauge::UdpFlowsActive) == 0);
    stage.until(|stage| stage.log().contains("UDP - outbound|53||c 1 "));
    client.say("y");
    assert!(client.is_refused(), "nobody listens any more");
}

#[test]
fn a_flow_that_is_silent_for_its_time_ends_and_is_logged() {
    let origin = Origin::start("a");
    let stage = Stage::start(&[("c", 1, &[&origin])], 40);
    let client = Client::of(stage.address(LOCAL));
    let (_, first) = client.asks("four");
    stage.until(|stage| stage.gauge(Gauge::UdpFlowsActive) == 0);
    let answer = format!("a {first} four").len();
    let line = format!("UDP - outbound|53||c 4 {answer} {} {}\n", origin.address, client.address());
    stage.until(|stage| stage.log() == line);
    let (_, second) = client.asks("x");
    assert_ne!(first, second);
    assert_eq!(stage.counter(Counter::UdpFlows), 2);
}

#[test]
fn a_destination_that_cannot_be_reached_costs_its_share_of_flows() {
    let origin = Origin::start("a");
    let stage = Stage::start(&[("c", 1, &[&origin]), ("absent", 1, &[]), ("empty", 1, &[])], PATIENT);
    for said in 1..=60 {
        let client = Client::of(stage.address(LOCAL));
        client.say("x");
        stage.until(|stage| {
            let done = stage.counter(Counter::UdpSent) + stage.counter(Counter::UdpNoBackend);
            done == said && stage.counter(Counter::UdpReceived) == said
        });
    }
    let answered = stage.counter(Counter::UdpSent);
    assert!((5..45).contains(&answered), "{answered} of 60");
    stage.until(|stage| {
        let log = stage.log();
        log.contains("UDP NC outbound|53||absent 1 0 - ") && log.contains("UDP UH outbound|53||empty 1 0 - ")
    });
}

#[test]
fn a_route_to_nowhere_drops() {
    let stage = Stage::start(&[], PATIENT);
    Client::of(stage.address(LOCAL)).say("x");
    stage.until(|stage| stage.counter(Counter::UdpNoBackend) == 1);
    stage.until(|stage| stage.log().contains("UDP NR - 1 0 - "));
}

#[test]
fn datagrams_do_not_go_in_clear_text_where_tls_is_asked_for() {
    let origin = Origin::start("a");
    let stage = Stage::start(&[("tls", 1, &[&origin])], PATIENT);
    Client::of(stage.address(LOCAL)).say("x");
    stage.until(|stage| stage.counter(Counter::UdpNoBackend) == 1);
    assert_eq!(stage.counter(Counter::UdpFlows), 0);
}

#[test]
fn a_refusal_ends_the_flow() {
    let gone = Origin::gone();
    let stage = Stage::start(&[("c", 1, &[&gone])], PATIENT);
    Client::of(stage.address(LOCAL)).say("x");
    stage.until(|stage| stage.counter(Counter::UdpRefused) == 1);
    stage.until(|stage| stage.gauge(Gauge::UdpFlowsActive) == 0);
    stage.until(|stage| stage.log().contains("UDP UF outbound|53||c 1 0 "));
}

#[test]
fn the_flow_that_was_silent_for_longest_makes_room() {
    let origin = Origin::start("a");
    let stage = Stage::limited(2, &[("c", 1, &[&origin])]);
    let clients: Vec<_> = (0..3).map(|_| Client::of(stage.address(LOCAL))).collect();
    let first = clients[0].asks("x");
    let second = clients[1].asks("x");
    // It is heard of again, so the other one is the most silent.
    assert_eq!(clients[0].asks("x"), first);
    clients[2].asks("x");
    assert_eq!(stage.counter(Counter::UdpFlowsEvicted), 1);
    assert_eq!(stage.gauge(Gauge::UdpFlowsActive), 2);
    assert_eq!(stage.limit(Limit::UdpFlows), [2, 2, 1], "its value, what is used, how often it refused");
    assert_eq!(clients[0].asks("x"), first);
    assert_ne!(clients[1].asks("x"), second);
}
