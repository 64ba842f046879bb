//! Services that are asked about requests: bodies that are told and sent, clients that leave, services that are slow, and
//! those of one backend.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::shop::{self, Metrics};
use limen_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A gateway, the Services, and the head of a route whose rules come behind it.
const ROUTE: &str = "
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: limen}, spec: {controllerName: limen.dev/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: limen, listeners: [{name: web, port: 80, protocol: HTTP}]}
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: authz}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: shadow}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: open}, spec: {ports: [{port: 80}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  rules:
";

/// What a service decides on is told it with its body, tried again, and copied.
const RULES: &str = "
  - retry: {attempts: 1, codes: [503], backoff: 1ms}
    filters:
    - type: ExternalAuth
      externalAuth: {protocol: HTTP, backendRef: {name: authz, port: 80}, http: {}, forwardBody: {maxSize: 16}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}}}
    backendRefs: [{name: shop, port: 80}]
";

async fn start(shop: &Origin, authz: &Origin, shadow: &TcpListener) -> Gateway {
    start_with(shop, authz, shadow, "").await
}

async fn start_with(shop: &Origin, authz: &Origin, shadow: &TcpListener, flags: &str) -> Gateway {
    let shadow = shadow.local_addr().unwrap();
    let flags = format!(
        "{flags} --workers 1 --half-close-timeout 100ms --backend authz={} --backend shadow={shadow}",
        authz.address
    );
    shop::start(&format!("{ROUTE}{RULES}"), &[shop], &flags).await
}

async fn nobody() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn a_body_that_a_service_is_told_goes_to_the_backend_again_and_to_mirrors() {
    let failing = Script::Echo { statuses: vec![503, 200], headers: Vec::new(), trailers: Vec::new() };
    let shop = Origin::start("shop", failing).await;
    let authz = Origin::start("authz", Script::echo()).await;
    let shadow = nobody().await;
    let gateway = start(&shop, &authz, &shadow).await;
    let mut client = shop::connect(&gateway).await;
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n").await;
    let leave = within("leave to send", client.read_head()).await.unwrap();
    assert_eq!((leave.status, authz.hits()), (100, 0), "the body is read before anybody is asked");
    client.send(b"nine byte").await;
    let reply = within("an answer", client.read_final("POST")).await.unwrap();
    assert_eq!((reply.status, &reply.seen()["body"]), (200, &"nine byte".into()), "{reply:?}");
    assert_eq!((authz.hits(), shop.hits()), (1, 2), "asked once, tried twice");
    let (mut copy, _) = within("a copy", shadow.accept()).await.unwrap();
    let mut heard = Vec::new();
    within("all of it", async {
        while !heard.ends_with(b"nine byte") {
            assert!(copy.read_buf(&mut heard).await.unwrap() > 0, "{heard:?}");
        }
    })
    .await;
    // One whose length is not said before is refused as soon as it is too long.
    client
        .send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n11\r\nseventeen bytes..\r\n")
        .await;
    assert_eq!(within("an answer", client.read("POST")).await.unwrap().status, 413);
    assert_eq!((authz.hits(), shop.hits()), (1, 2));
    let lines = gateway.stop().await;
    assert_eq!(lines[0]["bytes_received"], 9);
}

#[tokio::test]
async fn who_waits_for_a_decision_when_a_drain_is_over_is_told_so() {
    let shop = Origin::start("shop", Script::echo()).await;
    let authz = Origin::start("authz", Script::Never).await;
    let shadow = nobody().await;
    let gateway = start_with(&shop, &authz, &shadow, "--drain 1s").await;
    let mut client = shop::send(&gateway, "/").await;
    // A body that has to be told, and does not come.
    let mut unsaid = shop::connect(&gateway).await;
    unsaid.send(b"POST /told HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 4\r\n\r\nhe").await;
    authz.hit(1).await;
    // The question is one, too.
    let both = |page: &Metrics| page.value(&["limen_requests_active"]) == 3.0;
    Metrics::when(&gateway, "both requests", both).await;
    let (_, reply, other) =
        tokio::join!(gateway.running.drain(), shop::read(&mut client), shop::read(&mut unsaid));
    assert_eq!((reply.status, other.status), (503, 503), "{reply:?} {other:?}");
    for line in gateway.stop().await {
        assert_eq!(
            (&line["response_flags"], &line["response_code_details"]),
            (&"LR".into(), &"drain_deadline".into())
        );
    }
}

#[tokio::test]
async fn who_leaves_while_a_service_decides_goes_nowhere() {
    let shop = Origin::start("shop", Script::echo()).await;
    let authz = Origin::start("authz", Script::Never).await;
    let shadow = nobody().await;
    let gateway = start(&shop, &authz, &shadow).await;
    let client = shop::send(&gateway, "/").await;
    authz.hit(1).await;
    drop(client);
    authz.ended(1).await;
    let lines = gateway.stop().await;
    assert_eq!(lines[0]["response_flags"], "DC");
    assert_eq!((lines.len(), shop.hits()), (1, 0));
}

#[tokio::test]
async fn a_service_that_takes_too_long_lets_nobody_in_and_is_counted() {
    let shop = Origin::start("shop", Script::echo()).await;
    let authz = Origin::start("authz", Script::Never).await;
    let shadow = nobody().await;
    let gateway = start(&shop, &authz, &shadow).await;
    let reply = shop::ask(&gateway, "/").await;
    assert_eq!((reply.status, shop.hits()), (403, 0), "{reply:?}");
    let counted = |metrics: &Metrics| metrics.value(&["limen_external_auth_failed_total"]) == 1.0;
    let metrics = Metrics::when(&gateway, "the failure", counted).await;
    assert_eq!(metrics.value(&["limen_external_auth_allowed_total"]), 0.0);
    let lines = gateway.stop().await;
    assert_eq!(lines[0]["response_code_details"], "ext_authz_error");
    assert_eq!(lines[0]["upstream_transport_failure_reason"], "response_timeout");
}

/// Two backends, one of which has somebody who decides.
const SHARES: &str = "
  - backendRefs:
    - name: shop
      port: 80
      filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: authz, port: 80}, http: {}}}]
    - {name: open, port: 80}
";

#[tokio::test]
async fn who_decides_for_one_backend_is_not_asked_about_requests_for_another() {
    const REQUESTS: usize = 60;
    let shop = Origin::start("shop", Script::echo()).await;
    let open = Origin::start("open", Script::echo()).await;
    let denies = Script::Echo { statuses: vec![401], headers: Vec::new(), trailers: Vec::new() };
    let authz = Origin::start("authz", denies).await;
    let flags = format!("--workers 1 --backend authz={} --backend open={}", authz.address, open.address);
    let gateway = shop::start(&format!("{ROUTE}{SHARES}"), &[&shop], &flags).await;
    let (mut served, mut refused) = (0, 0);
    for _ in 0..REQUESTS {
        match shop::ask(&gateway, "/").await.status {
            200 => served += 1,
            401 => refused += 1,
            other => panic!("answered {other}"),
        }
    }
    assert_eq!((open.hits(), authz.hits(), shop.hits()), (served, refused, 0));
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    gateway.stop().await;
}

#[tokio::test]
async fn the_time_that_a_service_takes_to_decide_is_part_of_the_time_for_the_request() {
    const AUTH: &str = "filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: authz, port: 80}, http: {}}}]";
    let config = format!(
        "{ROUTE}
  - {{matches: [{{path: {{value: /rule}}}}], timeouts: {{request: 60s}}, {AUTH}, backendRefs: [{{name: shop, port: 80}}]}}
  - {{matches: [{{path: {{value: /backend}}}}], timeouts: {{request: 60s}}, backendRefs: [{{name: shop, port: 80, {AUTH}}}]}}
  - {{matches: [{{path: {{value: /open}}}}], backendRefs: [{{name: shop, port: 80}}]}}
"
    );
    let gate = Arc::new(Notify::new());
    let shop = Origin::start("shop", Script::echo()).await;
    let authz = Origin::start("authz", Script::Held(Arc::clone(&gate))).await;
    let flags = format!("--workers 1 --backend authz={}", authz.address);
    let gateway = shop::start(&config, &[&shop], &flags).await;
    for (place, path) in (1..).zip(["/rule", "/backend"]) {
        let mut waiting = shop::send(&gateway, path).await;
        authz.hit(place).await;
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_millis(100) {
            assert_eq!(shop::ask(&gateway, "/open").await.status, 200);
        }
        gate.notify_one();
        let reply = shop::read(&mut waiting).await;
        let left = reply.seen()["headers"]["x-envoy-expected-rq-timeout-ms"].clone();
        let left: u64 = left.as_str().unwrap_or_default().parse().unwrap();
        assert!(left <= 59_900, "{path}: {left} ms are left of 60 s");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_service_is_told_of_no_body_that_is_larger_than_any_may_be() {
    let shop = Origin::start("shop", Script::echo()).await;
    let authz = Origin::start("authz", Script::echo()).await;
    let shadow = nobody().await;
    let gateway = start_with(&shop, &authz, &shadow, "--max-body-bytes 10").await;
    let mut client = shop::connect(&gateway).await;
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(format!("{chunked}a\r\nten bytes.\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(within("the one", client.read("POST")).await.unwrap().status, 200);
    // The route would take sixteen; the end of this body never comes.
    client.send(format!("{chunked}b\r\neleven byte\r\n").as_bytes()).await;
    assert_eq!(within("the other", client.read("POST")).await.unwrap().status, 413);
    assert_eq!((authz.hits(), shop.hits()), (1, 1));
    let refused = |page: &Metrics| page.value(&["limen_limit_refused_total", "\"body_bytes\""]) == 1.0;
    Metrics::when(&gateway, "the body to be counted", refused).await;
}
