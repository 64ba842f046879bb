//! Requests that are kept on an endpoint by what they carry, whichever worker and connection they come in on.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::{h1, shop};

/// A gateway of four workers before three origins.
struct World {
    gateway: Gateway,
    _origins: Vec<Origin>,
}

impl World {
    async fn new(hash: &str) -> World {
        let mut origins = Vec::new();
        for name in ["one", "two", "three"] {
            origins.push(Origin::start(name, Script::echo()).await);
        }
        let policy = shop::policy(&format!("{{loadBalancer: {{consistentHash: {{{hash}}}}}}}"));
        let config = shop::routes("[{route: [{destination: {host: shop}}]}]") + &policy;
        let gateway = shop::start(&config, &origins.iter().collect::<Vec<_>>(), "--workers 4").await;
        World { gateway, _origins: origins }
    }

    async fn ask(&self, path: &str, header: Option<(&str, &str)>) -> Reply {
        let mut connection = shop::connect(&self.gateway).await;
        let headers: Vec<(String, String)> =
            header.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        connection.send(&h1::request("GET", path, "shop.example.com", &headers, b"")).await;
        shop::read(&mut connection).await
    }

    /// The origin of each key, asked three times, must be one and the same; the keys must reach all origins.
    async fn keeps(&self, ask: impl AsyncFn(&World, usize) -> Reply) {
        let mut used = BTreeSet::new();
        for key in 0..40 {
            let mut own = BTreeSet::new();
            for _ in 0..3 {
                own.insert(ask(self, key).await.origin().unwrap());
            }
            assert_eq!(own.len(), 1, "key {key} reached {own:?}");
            used.extend(own);
        }
        assert_eq!(used.len(), 3, "only {used:?} were reached");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_keeps_its_requests_on_an_endpoint_with_a_ring_and_with_maglev() {
    for kind in ["ringHash: {minimumRingSize: 512}", "maglev: {tableSize: 1009}"] {
        let world = World::new(&format!("httpHeaderName: X-User, {kind}")).await;
        world.keeps(async |world, key| world.ask("/", Some(("x-user", &key.to_string()))).await).await;
        let mut anywhere = BTreeSet::new();
        for _ in 0..40 {
            anywhere.insert(world.ask("/", None).await.origin().unwrap());
        }
        assert_eq!(anywhere.len(), 3, "without the header any endpoint will do");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_parameter_keeps_its_requests_on_an_endpoint() {
    let world = World::new("httpQueryParameterName: user").await;
    world.keeps(async |world, key| world.ask(&format!("/?a=b&user={key}"), None).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_the_client_keeps_its_requests_on_an_endpoint() {
    let world = World::new("useSourceIp: true").await;
    let mut own = BTreeSet::new();
    for _ in 0..20 {
        own.insert(world.ask("/", None).await.origin().unwrap());
    }
    assert_eq!(own.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_is_made_once_and_keeps_the_client_on_its_endpoint() {
    let attributes = "attributes: [{name: SameSite, value: Strict}, {name: Secure}]";
    let world = World::new(&format!("httpCookie: {{name: user, ttl: 60s, path: /shop, {attributes}}}")).await;
    for _ in 0..10 {
        let first = world.ask("/", None).await;
        let made = first.header("set-cookie").unwrap();
        let (pair, rest) = made.split_once("; ").unwrap();
        assert_eq!(rest, "Max-Age=60; Path=/shop; SameSite=Strict; Secure; HttpOnly");
        assert!(pair.starts_with("user=\""), "{made}");
        for _ in 0..3 {
            let back = world.ask("/", Some(("cookie", pair))).await;
            assert_eq!((back.origin(), back.header("set-cookie")), (first.origin(), None));
        }
    }
    let session = World::new("httpCookie: {name: user, ttl: 0s}").await;
    let made = session.ask("/", None).await.header("set-cookie").unwrap();
    assert!(made.ends_with("\"; HttpOnly"), "{made}");
    let silent = World::new("httpCookie: {name: user}").await;
    assert_eq!(silent.ask("/", None).await.header("set-cookie"), None);
    silent.keeps(async |world, key| world.ask("/", Some(("cookie", &format!("user={key}")))).await).await;
}

/// A port's own way of hashing counts before its rule's, for destinations that name the port; it is not looked for where
/// a request carries nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_port_is_hashed_by_counts_before_what_its_rule_says() {
    let mut origins = Vec::new();
    for name in ["one", "two", "three"] {
        origins.push(Origin::start(name, Script::echo()).await);
    }
    let policy = shop::policy(
        "{loadBalancer: {consistentHash: {httpHeaderName: X-User}}, portLevelSettings: \
         [{port: {number: 80}, loadBalancer: {consistentHash: {httpQueryParameterName: user}}}]}",
    );
    let routes = "[{match: [{uri: {prefix: /named}}], route: [{destination: {host: shop, port: {number: 80}}}]}, \
                  {route: [{destination: {host: shop}}]}]";
    let config = shop::routes(routes) + &policy;
    let gateway = shop::start(&config, &origins.iter().collect::<Vec<_>>(), "--workers 4").await;
    let world = World { gateway, _origins: origins };
    world.keeps(async |world, key| world.ask(&format!("/named?user={key}"), None).await).await;
    world.keeps(async |world, key| world.ask("/unnamed", Some(("x-user", &key.to_string()))).await).await;
    let mut anywhere = BTreeSet::new();
    for _ in 0..40 {
        anywhere.insert(world.ask("/named", Some(("x-user", "1"))).await.origin().unwrap());
    }
    assert_eq!(anywhere.len(), 3, "the rule's header means nothing to the named port");
}
