//! What is counted of each cluster, under the names that Envoy's users know.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::shop::{self, Metrics, ask, read, send};
use tokio::sync::Notify;

const ROUTES: &str = "
  - match: [{uri: {prefix: /again}}]
    retries: {attempts: 2, retryOn: 5xx, backoff: 1ms}
    route: [{destination: {host: shop}}]
  - match: [{uri: {prefix: /hurry}}]
    timeout: 50ms
    route: [{destination: {host: shop}}]
  - match: [{uri: {prefix: /try}}]
    retries: {attempts: 1, retryOn: 5xx, perTryTimeout: 20ms, backoff: 1ms}
    route: [{destination: {host: shop}}]
  - retries: {attempts: 0}
    route: [{destination: {host: shop}}]";

fn answers(statuses: &[u16]) -> Script {
    Script::Echo { statuses: statuses.to_vec(), headers: Vec::new(), trailers: Vec::new() }
}

/// How many answers clients have got.
fn answered(metrics: &Metrics) -> f64 {
    let of = |class: &str| {
        let class = format!("response_code_class=\"{class}\"");
        metrics.get(&["envoy_cluster_upstream_rq", "shop.default", &class]).unwrap_or_default()
    };
    of("2xx") + of("4xx") + of("5xx")
}

async fn after(gateway: &Gateway, answers: f64) -> Metrics {
    Metrics::when(gateway, "the answers", |metrics| answered(metrics) == answers).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_requests_and_retries_are_counted_by_cluster_and_outlive_a_swap() {
    let origin = Origin::start("shop", answers(&[200, 503, 200, 503, 503, 503, 200])).await;
    let gateway = shop::start(&shop::routes(ROUTES), &[&origin], "--workers 4").await;
    let asked = [("/", 200), ("/again", 200), ("/again", 503)];
    for (path, status) in asked {
        assert_eq!(ask(&gateway, path).await.status, status);
    }
    let metrics = after(&gateway, 3.0).await;
    for (statistic, value) in [
        ("upstream_rq_total", 6.0),
        ("upstream_rq_active", 0.0),
        ("upstream_rq_retry", 3.0),
        ("upstream_rq_retry_success", 1.0),
        ("upstream_rq_retry_limit_exceeded", 1.0),
        ("upstream_rq_retry_overflow", 0.0),
        ("upstream_rq_pending_active", 0.0),
        ("upstream_cx_connect_fail", 0.0),
        ("membership_total", 1.0),
        ("membership_healthy", 1.0),
    ] {
        assert_eq!(metrics.of_shop(statistic), value, "{statistic}");
    }
    let connections = origin.connections() as f64;
    for statistic in ["upstream_cx_total", "upstream_cx_http1_total", "upstream_rq_pending_total"] {
        assert_eq!(metrics.of_shop(statistic), connections, "{statistic}");
    }
    let ended = metrics.of_shop("upstream_cx_destroy");
    assert_eq!(metrics.of_shop("upstream_cx_active"), connections - ended);
    let by_side = ["local", "remote"].map(|side| metrics.of_shop(&format!("upstream_cx_destroy_{side}")));
    assert_eq!(by_side[0] + by_side[1], ended);

    let before = gateway.running.view().generation;
    gateway.write("shop.yaml", &shop::routes("[{route: [{destination: {host: shop}}]}]"));
    gateway.until("the new routes", |view| view.generation > before).await;
    assert_eq!(ask(&gateway, "/").await.status, 200);
    assert_eq!(after(&gateway, 4.0).await.of_shop("upstream_rq_total"), 7.0);

    gateway.write("shop.yaml", shop::EDGE);
    gateway.until("no clusters", |view| view.ir.clusters.is_empty()).await;
    assert_eq!(Metrics::of(&gateway).await.get(&["envoy_cluster_upstream_rq_total"]), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_come_in_time_is_counted_by_whose_time_it_was() {
    let origin = Origin::start("shop", Script::Never).await;
    let gateway = shop::start(&shop::routes(ROUTES), &[&origin], "").await;
    assert_eq!(ask(&gateway, "/hurry").await.status, 504);
    assert_eq!(ask(&gateway, "/try").await.status, 504);
    let metrics = after(&gateway, 2.0).await;
    assert_eq!(metrics.of_shop("upstream_rq_timeout"), 1.0);
    assert_eq!(metrics.of_shop("upstream_rq_per_try_timeout"), 2.0);
    assert_eq!(metrics.of_shop("upstream_cx_destroy_with_active_rq"), 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_cannot_be_made_are_told_from_those_that_take_too_long() {
    let dead = Origin::start("dead", Script::Dead).await;
    let gateway = shop::start(&shop::routes(ROUTES), &[&dead], "").await;
    assert_eq!(ask(&gateway, "/").await.status, 503);
    let metrics = after(&gateway, 1.0).await;
    let failed = ["upstream_cx_total", "upstream_cx_connect_fail", "upstream_rq_pending_failure_eject"];
    for statistic in failed.into_iter().chain(["upstream_cx_destroy", "upstream_cx_destroy_remote"]) {
        assert_eq!(metrics.of_shop(statistic), 1.0, "{statistic}");
    }
    assert_eq!(metrics.of_shop("upstream_cx_connect_timeout"), 0.0);
    assert_eq!((metrics.of_shop("upstream_cx_active"), metrics.of_shop("upstream_rq_total")), (0.0, 0.0));

    // It waits for the end of what it hears, and so says nothing to a hello.
    let silent = Origin::start("silent", Script::Talk).await;
    let tls =
        "{tls: {mode: SIMPLE, insecureSkipVerify: true}, connectionPool: {tcp: {connectTimeout: 50ms}}}";
    let config = shop::routes(ROUTES) + &shop::policy(tls);
    let gateway = shop::start(&config, &[&silent], "").await;
    assert_eq!(ask(&gateway, "/").await.status, 503);
    let metrics = after(&gateway, 1.0).await;
    for statistic in ["upstream_cx_connect_fail", "upstream_cx_connect_timeout", "upstream_cx_destroy_local"]
    {
        assert_eq!(metrics.of_shop(statistic), 1.0, "{statistic}");
    }

    let nobody = shop::start(&shop::routes(ROUTES), &[], "").await;
    assert_eq!(ask(&nobody, "/").await.status, 503);
    let metrics = after(&nobody, 1.0).await;
    assert_eq!(metrics.of_shop("upstream_cx_none_healthy"), 1.0);
    assert_eq!(metrics.of_shop("membership_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_http2_connection_are_requests_of_their_own() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let config = shop::routes(ROUTES).replace("name: http, port: 80}]}}", "name: http2, port: 80}]}}");
    let gateway = shop::start(&config, &[&origin], "--workers 1").await;
    let mut first = send(&gateway, "/").await;
    let mut second = send(&gateway, "/").await;
    origin.hit(2).await;
    let active = |page: &Metrics| page.of_shop("upstream_rq_active") == 2.0;
    let metrics = Metrics::when(&gateway, "both requests", active).await;
    assert_eq!(
        (metrics.of_shop("upstream_cx_http2_total"), metrics.of_shop("upstream_cx_active")),
        (1.0, 1.0)
    );
    let answers = async {
        for connection in [&mut first, &mut second] {
            assert_eq!(read(connection).await.status, 200);
        }
    };
    let open = async {
        loop {
            gate.notify_one();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = answers => {}
        () = open => {}
    }
    let metrics = after(&gateway, 2.0).await;
    let requests = ["upstream_rq_total", "upstream_rq_active"].map(|statistic| metrics.of_shop(statistic));
    assert_eq!((requests, metrics.of_shop("upstream_cx_total")), ([2.0, 0.0], 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mesh_chooses_which_statistics_are_exposed() {
    const MESH: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    defaultConfig:
      proxyStatsMatcher:
        inclusionPrefixes: [http.outbound_127.0.0.1_80]
        inclusionSuffixes: [membership_total]
        inclusionRegexps: ['cluster[.]outbound.*upstream_rq_(retry|2xx)']
";
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = shop::start(&shop::routes(ROUTES), &[&origin], "").await;
    assert_eq!(ask(&gateway, "/").await.status, 200);
    after(&gateway, 1.0).await;
    gateway.write("mesh.yaml", MESH);
    let chosen = |metrics: &Metrics| metrics.get(&["envoy_cluster_upstream_cx_total"]).is_none();
    let metrics = Metrics::when(&gateway, "fewer statistics", chosen).await;
    let names: std::collections::BTreeSet<&str> = metrics
        .0
        .lines()
        .filter(|line| line.starts_with("envoy_"))
        .filter_map(|line| line.split('{').next())
        .collect();
    let of_http = names.iter().filter(|name| name.starts_with("envoy_http_downstream_")).count();
    let rest: Vec<&str> =
        names.into_iter().filter(|name| !name.starts_with("envoy_http_downstream_")).collect();
    let expected =
        ["envoy_cluster_membership_total", "envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_retry"];
    assert_eq!((of_http > 4, &rest[..]), (true, &expected[..]), "{}", metrics.0);
    assert_eq!(metrics.value(&["envoy_cluster_upstream_rq", "response_code_class=\"2xx\""]), 1.0);
    assert_eq!(metrics.value(&["istio_requests_total", "response_code=\"200\""]), 1.0);

    std::fs::remove_file(gateway.config().join("mesh.yaml")).unwrap();
    let all = |metrics: &Metrics| metrics.get(&["envoy_cluster_upstream_cx_total"]).is_some();
    Metrics::when(&gateway, "all statistics", all).await;
}
