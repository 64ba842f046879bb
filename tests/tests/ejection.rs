//! Endpoints that are left out for what they answer: decided once for all workers, and taken back in time.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen::view::View;
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::shop::{self, Metrics};

fn config(outlier: &str) -> String {
    let policy = format!("{{loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: {{{outlier}}}}}");
    shop::routes("[{retries: {attempts: 0}, route: [{destination: {host: shop}}]}]") + &shop::policy(&policy)
}

async fn start(outlier: &str, origins: &[&Origin]) -> Gateway {
    shop::start(&config(outlier), origins, "--workers 4").await
}

fn answers(statuses: &[u16]) -> Script {
    Script::Echo { statuses: statuses.to_vec(), headers: Vec::new(), trailers: Vec::new() }
}

async fn ask(gateway: &Gateway) -> Reply {
    shop::ask(gateway, "/").await
}

/// Waits until the metrics tell of so many ejections: now, in all, and of those the ones for this reason.
async fn ejections(gateway: &Gateway, reason: &str, told: [f64; 3]) {
    let which = ["active", "enforced_total", &format!("enforced_consecutive_{reason}")]
        .map(|which| format!("outlier_detection_ejections_{which}"));
    let tell = |metrics: &Metrics| which.each_ref().map(|which| metrics.of_shop(which)) == told;
    Metrics::when(gateway, &format!("ejections to be {told:?}"), tell).await;
}

fn out(view: &View) -> usize {
    view.applied.ejected.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_errors_in_a_row_over_four_workers_eject_at_five() {
    let statuses = [500, 500, 500, 500, 200, 500, 502, 503, 504, 500];
    let origin = Origin::start("shop", answers(&statuses)).await;
    let gateway = start("interval: 1h, baseEjectionTime: 1h", &[&origin]).await;
    for status in statuses {
        assert_eq!(ask(&gateway).await.status, status);
    }
    let view = gateway.until("the ejection", |view| out(view) == 1).await;
    assert_eq!(view.applied.ejected[0].address.to_string(), origin.address.to_string());
    assert_eq!(view.applied.ejected[0].cluster, "outbound|80||shop.default.svc.cluster.local");
    ejections(&gateway, "5xx", [1.0, 1.0, 1.0]).await;
    let metrics = Metrics::of(&gateway).await;
    let members = ["total", "healthy"].map(|which| metrics.of_shop(&format!("membership_{which}")));
    assert_eq!(members, [1.0, 0.0]);
    let reply = ask(&gateway).await;
    assert_eq!((reply.status, &*reply.text()), (503, "no healthy upstream"));
    assert_eq!(origin.hits(), statuses.len());
    let lines = gateway.stop().await;
    // Each worker writes its own lines.
    assert_eq!(lines.iter().filter(|line| line["response_flags"] == "UH").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_left_out_comes_back() {
    let origin = Origin::start("shop", answers(&[500, 500, 200])).await;
    let gateway = start("consecutive5xxErrors: 2, interval: 10ms, baseEjectionTime: 20ms", &[&origin]).await;
    let before = gateway.running.view().applied.generation;
    assert_eq!((ask(&gateway).await.status, ask(&gateway).await.status), (500, 500));
    // Left out is one generation, back is the next.
    gateway.until("the end of the ejection", |v| v.applied.generation >= before + 2 && out(v) == 0).await;
    assert_eq!(ask(&gateway).await.status, 200);
    ejections(&gateway, "5xx", [0.0, 1.0, 1.0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_reached_is_left_out_and_the_others_bear_its_part() {
    let dead = Origin::start("dead", Script::Dead).await;
    let alive = Origin::start("alive", answers(&[500])).await;
    // What it answers does not count here, and both failures do although answers of the other stand between them.
    let outlier = "consecutive5xxErrors: 0, splitExternalLocalOriginErrors: true, \
                   consecutiveLocalOriginFailures: 2, interval: 1h, baseEjectionTime: 1h";
    let gateway = start(outlier, &[&dead, &alive]).await;
    let mut failed = 0;
    while failed < 2 {
        failed += usize::from(ask(&gateway).await.status == 503);
    }
    let view = gateway.until("the ejection", |view| out(view) == 1).await;
    assert_eq!(view.applied.ejected[0].address.to_string(), dead.address.to_string());
    ejections(&gateway, "local_origin_failure", [1.0, 1.0, 1.0]).await;
    for _ in 0..20 {
        assert_eq!(ask(&gateway).await.status, 500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_endpoints_stand_in_for_near_ones_that_are_left_out() {
    let near = Origin::start("near", answers(&[200, 200, 500])).await;
    let far = Origin::start("far", answers(&[200])).await;
    let place = |place: &str, origin: &Origin| format!("shop/istio-locality={place}={}", origin.address);
    let (near_one, far_one) = (place("eu.a.1", &near), place("us.a.1", &far));
    let flags = ["--locality", "eu/a/1", "--backend", &near_one, "--backend", &far_one].map(str::to_owned);
    let config = config("consecutive5xxErrors: 1, interval: 1h, baseEjectionTime: 1h");
    let gateway = Gateway::start(&[("shop.yaml", &config)], &flags).await;
    for status in [200, 200, 500] {
        assert_eq!(ask(&gateway).await.status, status);
    }
    assert_eq!(far.hits(), 0);
    gateway.until("the ejection", |view| out(view) == 1).await;
    assert_eq!((ask(&gateway).await.status, far.hits(), near.hits()), (200, 1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_too_few_healthy_ones_all_are_used() {
    let origin = Origin::start("shop", answers(&[502])).await;
    let outlier = "consecutiveGatewayErrors: 1, interval: 1h, baseEjectionTime: 1h, minHealthPercent: 50";
    let gateway = start(outlier, &[&origin]).await;
    assert_eq!(ask(&gateway).await.status, 502);
    gateway.until("the ejection", |view| out(view) == 1).await;
    assert_eq!(ask(&gateway).await.status, 502);
    assert_eq!(origin.hits(), 2);
}
