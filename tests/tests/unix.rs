//! Endpoints at unix sockets: what becomes of them while the gateway runs.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use limen::view::View;
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::{h1, shop, within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HOST: &str = "app.example.net";
const IN_TURN: &str = "loadBalancer: {simple: ROUND_ROBIN}";

/// A route to a ServiceEntry with endpoints at these sockets; `policy` is the mapping of a traffic policy.
fn config(sockets: &[&str], policy: &str) -> String {
    let route = format!("[{{retries: {{attempts: 0}}, route: [{{destination: {{host: {HOST}}}}}]}}]");
    let endpoints: Vec<String> =
        sockets.iter().map(|place| format!("{{address: 'unix://{place}'}}")).collect();
    format!(
        "{}---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: app}}
spec:
  hosts: [{HOST}]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: app}}
spec: {{host: {HOST}, trafficPolicy: {{{policy}}}}}
",
        shop::routes(&route),
        endpoints.join(", ")
    )
}

fn place(home: &TempDir, name: &str) -> String {
    home.path().join(name).to_string_lossy().into_owned()
}

async fn status(gateway: &Gateway) -> u16 {
    shop::ask(gateway, "/").await.status
}

fn answers(statuses: &[u16]) -> Script {
    Script::Echo { statuses: statuses.to_vec(), headers: Vec::new(), trailers: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_goes_is_not_reached_and_one_that_returns_is() {
    let home = tempfile::tempdir().unwrap();
    let place = place(&home, "app");
    // Its connections end with each answer, so that none is left when it goes.
    let origin = Origin::start_at_socket(&place, "first", Script::GoAway);
    let gateway = Gateway::start(&[("app.yaml", &config(&[&place], IN_TURN))], &[]).await;
    assert_eq!(status(&gateway).await, 200);
    origin.end().await;
    let reply = shop::ask(&gateway, "/").await;
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("immediate connect error: Connection refused"), "{}", reply.text());
    std::fs::remove_file(Path::new(&place)).unwrap();
    let reply = shop::ask(&gateway, "/").await;
    assert!(reply.text().contains("immediate connect error: No such file or directory"), "{}", reply.text());
    let _origin = Origin::start_at_socket(&place, "second", Script::echo());
    assert_eq!(shop::ask(&gateway, "/").await.origin().as_deref(), Some("second"));
    let lines = gateway.stop().await;
    let failed: Vec<_> = lines.iter().filter(|line| line["response_code"] == 503).collect();
    assert_eq!(failed.len(), 2);
    for line in failed {
        assert_eq!((&line["response_flags"], &line["upstream_host"]), (&"UF".into(), &(&*place).into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_is_left_out_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let place = place(&home, "app");
    let _origin = Origin::start_at_socket(&place, "app", answers(&[500, 500, 200]));
    let outlier = "outlierDetection: {consecutive5xxErrors: 2, interval: 10ms, baseEjectionTime: 20ms}";
    let gateway = Gateway::start(&[("app.yaml", &config(&[&place], outlier))], &[]).await;
    let before = gateway.running.view().applied.generation;
    assert_eq!((status(&gateway).await, status(&gateway).await), (500, 500));
    // Left out is one generation, back is the next.
    let back = |view: &View| view.applied.generation >= before + 2 && view.applied.ejected.is_empty();
    gateway.until("the end of the ejection", back).await;
    assert_eq!(status(&gateway).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_left_out_is_shown_by_its_path() {
    let home = tempfile::tempdir().unwrap();
    let place = format!("@{}", place(&home, "app"));
    let _origin = Origin::start_at_socket(&place, "app", answers(&[500]));
    let outlier = "outlierDetection: {consecutive5xxErrors: 1, interval: 1h, baseEjectionTime: 1h}";
    let gateway = Gateway::start(&[("app.yaml", &config(&[&place], outlier))], &[]).await;
    assert_eq!(status(&gateway).await, 500);
    gateway.until("the ejection", |view| view.applied.ejected.len() == 1).await;
    let page = gateway.page("/ejected").await.text();
    assert!(page.contains(&format!("\"address\": \"{place}\"")), "{page}");
    assert_eq!(shop::ask(&gateway, "/").await.text(), "no healthy upstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_kept_on_one_of_several_by_what_they_carry() {
    let home = tempfile::tempdir().unwrap();
    let places = [place(&home, "one"), format!("@{}", place(&home, "two"))];
    let [one, two] = [&*places[0], &*places[1]];
    let _origins =
        [("one", one), ("two", two)].map(|(name, at)| Origin::start_at_socket(at, name, Script::echo()));
    let policy = "loadBalancer: {consistentHash: {httpHeaderName: x-user}}";
    let gateway = Gateway::start(&[("app.yaml", &config(&[one, two], policy))], &[]).await;
    let mut used = BTreeSet::new();
    for user in 0..20 {
        let headers = [("x-user".to_owned(), user.to_string())];
        let mut own = BTreeSet::new();
        for _ in 0..3 {
            let mut connection = shop::connect(&gateway).await;
            connection.send(&h1::request("GET", "/", "shop.example.com", &headers, b"")).await;
            own.insert(shop::read(&mut connection).await.origin().unwrap());
        }
        assert_eq!(own.len(), 1, "user {user} reached {own:?}");
        used.extend(own);
    }
    assert_eq!(used.len(), 2, "only {used:?} were reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_leads_to_a_socket_and_its_limit_of_connections_holds() {
    let home = tempfile::tempdir().unwrap();
    let place = place(&home, "app");
    let origin = Origin::start_at_socket(&place, "app", Script::Switch);
    let policy = "connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}";
    let gateway = Gateway::start(&[("app.yaml", &config(&[&place], policy))], &[]).await;
    let mut client = TcpStream::connect(gateway.address(80)).await.unwrap();
    let head = "GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let mut hears = async |end: &[u8]| {
        while !heard.ends_with(end) {
            assert_ne!(within("bytes", client.read_buf(&mut heard)).await.unwrap(), 0);
        }
        client.write_all(b"hello").await.unwrap();
    };
    hears(b"\r\n\r\n").await;
    hears(b"hello").await;
    // The tunnel holds the only connection: one may wait for it, and another one not.
    let _waits = shop::send(&gateway, "/").await;
    let pending = |metrics: &shop::Metrics| {
        metrics.get(&["envoy_cluster_upstream_rq_pending_active", HOST]) == Some(1.0)
    };
    shop::Metrics::when(&gateway, "a request to wait", pending).await;
    assert_eq!((status(&gateway).await, origin.connections()), (503, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_go_to_a_collector_at_a_socket() {
    let home = tempfile::tempdir().unwrap();
    let (app, spans) = (place(&home, "app"), place(&home, "spans"));
    let _origin = Origin::start_at_socket(&app, "app", Script::echo());
    let collector = Origin::start_at_socket(&spans, "spans", Script::echo());
    let tracing = format!(
        "
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, data: {{
  mesh: 'extensionProviders: [{{name: zipkin, zipkin: {{service: spans.example.net, port: 9411}}}}]'}}}}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: mesh, namespace: istio-system}}
spec: {{tracing: [{{providers: [{{name: zipkin}}], randomSamplingPercentage: 100}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: spans}}
spec:
  hosts: [spans.example.net]
  resolution: STATIC
  ports: [{{number: 9411, name: http, protocol: HTTP}}]
  endpoints: [{{address: 'unix://{spans}'}}]
"
    );
    let files = [("app.yaml", &*config(&[&app], IN_TURN)), ("tracing.yaml", &*tracing)];
    let gateway = Gateway::start(&files, &[]).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    assert_eq!(status(&gateway).await, 200);
    collector.hit(1).await;
    let taken = |metrics: &shop::Metrics| metrics.get(&["limen_spans_sent_total"]) == Some(2.0);
    shop::Metrics::when(&gateway, "both spans to be taken", taken).await;
}
