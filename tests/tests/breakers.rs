//! Circuit breaking: what a cluster's limits mean over all workers together.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::shop::{self, Metrics, ask, read, send};
use limen_e2e::{h1, within};
use tokio::sync::Notify;

const ROUTES: &str = "
  - match: [{uri: {prefix: /hurry}}]
    timeout: 50ms
    route: [{destination: {host: shop}}]
  - match: [{uri: {prefix: /again}}]
    retries: {attempts: 2, retryOn: 5xx}
    route: [{destination: {host: shop}}]
  - retries: {attempts: 0}
    route: [{destination: {host: shop}}]";

async fn start(pool: &str, origin: &Origin) -> Gateway {
    shop::start(&(shop::routes(ROUTES) + &shop::policy(pool)), &[origin], "--workers 4").await
}

/// Waits until so many requests wait for a connection.
async fn pending(gateway: &Gateway, count: u64) {
    let waiting = |metrics: &Metrics| metrics.value(&["limen_upstream_requests_pending"]) == count as f64;
    Metrics::when(gateway, "requests that wait", waiting).await;
}

const ONE_AND_ONE: &str = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_one_waiting_and_the_rest_overflow_over_four_workers() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let gateway = start(ONE_AND_ONE, &origin).await;
    let mut first = send(&gateway, "/").await;
    origin.hit(1).await;
    let mut second = send(&gateway, "/").await;
    pending(&gateway, 1).await;
    for _ in 0..8 {
        let refused = ask(&gateway, "/").await;
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("x-envoy-overloaded").as_deref(), Some("true"));
        let text = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
        assert_eq!(refused.text(), text);
    }
    assert_eq!((origin.hits(), origin.connections()), (1, 1));
    let metrics = Metrics::of(&gateway).await;
    assert_eq!(metrics.value(&["limen_upstream_overflows_total"]), 8.0);
    assert_eq!(metrics.of_shop("upstream_rq_pending_overflow"), 8.0);
    assert_eq!(
        (metrics.of_shop("upstream_cx_overflow"), metrics.of_shop("upstream_rq_pending_active")),
        (1.0, 1.0)
    );
    for (statistic, value) in
        [("cx_open", 1.0), ("remaining_cx", 0.0), ("rq_pending_open", 1.0), ("remaining_pending", 0.0)]
    {
        assert_eq!(metrics.of_shop(&format!("circuit_breakers_default_{statistic}")), value, "{statistic}");
    }
    gate.notify_one();
    assert_eq!(read(&mut first).await.status, 200);
    origin.hit(2).await;
    pending(&gateway, 0).await;
    gate.notify_one();
    assert_eq!(read(&mut second).await.status, 200);
    Metrics::when(&gateway, "room for another", |metrics| {
        metrics.of_shop("circuit_breakers_default_rq_pending_open") == 0.0
            && metrics.of_shop("circuit_breakers_default_remaining_pending") == 1.0
    })
    .await;
    let lines = gateway.stop().await;
    let overflown = lines.iter().filter(|line| line["response_flags"] == "UO").count();
    assert_eq!((lines.len(), overflown), (10, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_connection_is_served_in_the_end_or_times_out() {
    const CLIENTS: usize = 8;
    const EACH: usize = 40;
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = Arc::new(start("{connectionPool: {tcp: {maxConnections: 1}}}", &origin).await);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let gateway = gateway.clone();
        clients.spawn(async move {
            let mut connection = send(&gateway, "/").await;
            for _ in 1..EACH {
                assert_eq!(read(&mut connection).await.status, 200);
                connection.send(&h1::request("GET", "/", "shop.example.com", &[], b"")).await;
            }
            assert_eq!(read(&mut connection).await.status, 200);
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!((origin.hits(), origin.most_at_once()), (CLIENTS * EACH, 1));

    let held = Origin::start("shop", Script::Held(Arc::new(Notify::new()))).await;
    let gateway = start("{connectionPool: {tcp: {maxConnections: 1}}}", &held).await;
    let _first = send(&gateway, "/").await;
    held.hit(1).await;
    let late = ask(&gateway, "/hurry").await;
    assert_eq!((late.status, &*late.text()), (504, "upstream request timeout"));
    assert_eq!((held.hits(), held.connections()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_retries_have_limits_of_their_own() {
    let gate = Arc::new(Notify::new());
    let held = Origin::start("shop", Script::Held(gate.clone())).await;
    let gateway = start("{connectionPool: {http: {http2MaxRequests: 1}}}", &held).await;
    let mut first = send(&gateway, "/").await;
    held.hit(1).await;
    assert_eq!(ask(&gateway, "/").await.status, 503);
    gate.notify_one();
    assert_eq!(read(&mut first).await.status, 200);

    let failing = Origin::start(
        "shop",
        Script::Echo { statuses: vec![503], headers: Vec::new(), trailers: Vec::new() },
    )
    .await;
    let gateway = start("{retryBudget: {percent: 0, minRetryConcurrency: 0}}", &failing).await;
    assert_eq!(ask(&gateway, "/again").await.status, 503);
    assert_eq!(failing.hits(), 1);
    let metrics = Metrics::of(&gateway).await;
    assert_eq!(metrics.of_shop("upstream_rq_retry_overflow"), 1.0);
    assert_eq!(metrics.of_shop("circuit_breakers_default_rq_retry_open"), 1.0);
    assert_eq!(gateway.stop().await[0]["response_flags"], "UO");
    let gateway = start("{connectionPool: {http: {maxRetries: 1}}}", &failing).await;
    assert_eq!(ask(&gateway, "/again").await.status, 503);
    assert_eq!(failing.hits(), 1 + 3, "one retry after the other is one at a time");
    assert_eq!(gateway.stop().await[0]["response_flags"], "URX");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_end_after_their_requests_or_their_time() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start("{connectionPool: {http: {maxRequestsPerConnection: 2}}}", &origin).await;
    let mut connection = send(&gateway, "/").await;
    for _ in 0..5 {
        assert_eq!(read(&mut connection).await.status, 200);
        connection.send(&h1::request("GET", "/", "shop.example.com", &[], b"")).await;
    }
    assert_eq!(read(&mut connection).await.status, 200);
    assert_eq!((origin.hits(), origin.connections()), (6, 3));
    assert!(Metrics::of(&gateway).await.of_shop("upstream_cx_max_requests") >= 2.0);

    let origin = Origin::start("shop", Script::echo()).await;
    let keepalive = "tcpKeepalive: {time: 60s, interval: 10s, probes: 3}";
    let pool = format!("{{connectionPool: {{tcp: {{maxConnectionDuration: 1ms, {keepalive}}}}}}}");
    let gateway = start(&pool, &origin).await;
    let mut connection = send(&gateway, "/").await;
    let renewed = async {
        while origin.connections() < 2 {
            assert_eq!(read(&mut connection).await.status, 200);
            connection.send(&h1::request("GET", "/", "shop.example.com", &[], b"")).await;
        }
    };
    within("a second connection", renewed).await;
    assert!(Metrics::of(&gateway).await.of_shop("upstream_cx_max_duration_reached") >= 1.0);
}
