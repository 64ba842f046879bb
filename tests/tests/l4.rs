//! Routes for connections and datagrams: shares, and what changes while they are served.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;

use limen_e2e::cluster::Cluster;
use limen_e2e::datagrams::{ask, dropped};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::tls::{Authority, base64};
use limen_e2e::within;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A Gateway that takes connections on port 9000 and datagrams on 9001.
const EDGE: &str = "
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: limen}, spec: {controllerName: limen.dev/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: limen
  listeners: [{name: tcp, port: 9000, protocol: TCP}, {name: udp, port: 9001, protocol: UDP}]
";

/// A Service that has port 1 for connections and for datagrams.
fn service(name: &str, namespace: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{ports: [{{name: tcp, port: 1}}, {{name: udp, port: 1, protocol: UDP}}]}}}}"
    )
}

/// A route of `kind`, made in this year, to these backends.
fn route(kind: &str, (name, year): (&str, u16), backends: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: {kind}, \
         metadata: {{name: {name}, creationTimestamp: '{year}-01-01T00:00:00Z'}}, \
         spec: {{parentRefs: [{{name: edge}}], rules: [{{backendRefs: [{backends}]}}]}}}}"
    )
}

fn backend(name: &str, origin: &Origin) -> [String; 2] {
    ["--backend".to_owned(), format!("{name}={}", origin.address)]
}

/// What is heard to the end of a connection, whichever way that comes.
async fn connection(gateway: &Gateway) -> String {
    end(TcpStream::connect(gateway.address(9000)).await.unwrap()).await
}

async fn end(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let talk = async {
        let _ = stream.write_all(b"x").await;
        let _ = stream.shutdown().await;
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
        String::from_utf8(heard).unwrap()
    };
    within("a connection", talk).await
}

async fn datagram(gateway: &Gateway) -> String {
    within("an answer", ask(gateway.datagram_address(9001), "x")).await.1.unwrap()
}

/// Connects until this is heard; before that only what was heard formerly.
async fn comes_to_hear(gateway: &Gateway, answer: &str, former: &str) {
    let asking = async {
        loop {
            let now = connection(gateway).await;
            if now == answer {
                return;
            }
            assert_eq!(now, former, "while waiting for {answer:?}");
        }
    };
    within(answer, asking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_go_by_weight_and_that_of_what_is_not_there_is_refused() {
    let (one, two) = (Origin::start("one", Script::Talk).await, Origin::start("two", Script::Talk).await);
    let (three, four) =
        (Origin::start("three", Script::Datagrams).await, Origin::start("four", Script::Datagrams).await);
    let to = "{name: one, port: 1, weight: 6}, {name: missing, port: 1, weight: 4}, {name: two, port: 1, weight: 0}";
    let by_flow = "{name: three, port: 1, weight: 7}, {name: four, port: 1, weight: 3}";
    let config = [
        EDGE.to_owned(),
        service("one", "default"),
        service("two", "default"),
        service("three", "default"),
        service("four", "default"),
        route("TCPRoute", ("shares", 2026), to),
        route("UDPRoute", ("shares", 2026), by_flow),
    ]
    .join("\n---\n");
    let flags =
        [backend("one", &one), backend("two", &two), backend("three", &three), backend("four", &four)];
    let gateway = Gateway::start(&[("config.yaml", &config)], &flags.concat()).await;
    let mut refused = 0;
    for _ in 0..200 {
        match &*connection(&gateway).await {
            "" => refused += 1,
            heard => assert_eq!(heard, "one heard x"),
        }
    }
    // 80 of 200 are expected, with a standard deviation of 7; five of them away is no accident.
    assert!((45..=115).contains(&refused), "{refused} of 200 were refused");
    assert_eq!(two.hits(), 0);
    for _ in 0..200 {
        datagram(&gateway).await;
    }
    assert!((28..=92).contains(&four.hits()), "{} of 200 went to four", four.hits());
    assert_eq!(three.hits() + four.hits(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_oldest_route_has_a_listener_when_the_oldest_is_gone() {
    let (one, two) = (Origin::start("one", Script::Talk).await, Origin::start("two", Script::Talk).await);
    let (three, four) =
        (Origin::start("three", Script::Datagrams).await, Origin::start("four", Script::Datagrams).await);
    let cluster = Cluster::new();
    cluster.apply(EDGE);
    for name in ["one", "two", "three", "four"] {
        cluster.apply(&service(name, "default"));
    }
    let [one_route, two_route] = [("one", 2026), ("two", 2025)]
        .map(|(name, year)| route("TCPRoute", (name, year), &format!("{{name: {name}, port: 1}}")));
    let [three_route, four_route] = [("three", 2025), ("four", 2026)]
        .map(|(name, year)| route("UDPRoute", (name, year), &format!("{{name: {name}, port: 1}}")));
    [&one_route, &two_route, &four_route, &three_route].into_iter().for_each(|text| cluster.apply(text));
    let flags =
        [backend("one", &one), backend("two", &two), backend("three", &three), backend("four", &four)];
    let gateway = Gateway::start_kube(&cluster, &flags.concat()).await;
    assert_eq!(connection(&gateway).await, "two heard x");
    assert_eq!(datagram(&gateway).await, "three heard x");
    cluster.delete(&two_route);
    comes_to_hear(&gateway, "one heard x", "two heard x").await;
    cluster.delete(&three_route);
    // An answer that is under way when its route goes is lost, so nobody asks until it is gone.
    gateway.until("the route to be gone", |view| view.snapshot.udp_routes().len() == 1).await;
    assert_eq!(datagram(&gateway).await, "four heard x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_are_obeyed_while_they_last() {
    let (one, two) =
        (Origin::start("one", Script::Talk).await, Origin::start("two", Script::Datagrams).await);
    let grant = "
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: given, namespace: data}
spec:
  from:
  - {group: gateway.networking.k8s.io, kind: TCPRoute, namespace: default}
  - {group: gateway.networking.k8s.io, kind: UDPRoute, namespace: default}
  to: [{group: '', kind: Service}]
";
    let cluster = Cluster::new();
    let tcp = route("TCPRoute", ("tcp", 2026), "{name: one, namespace: data, port: 1}");
    let udp = route("UDPRoute", ("udp", 2026), "{name: two, namespace: data, port: 1}");
    for text in [EDGE, &service("one", "data"), &service("two", "data"), &tcp, &udp] {
        cluster.apply(text);
    }
    let flags = [backend("one.data", &one), backend("two.data", &two)];
    let gateway = Gateway::start_kube(&cluster, &flags.concat()).await;
    let refusals = async |count| {
        let until = gateway.until("the verdicts", |view| {
            view.judged.iter().filter(|verdict| verdict.reason == "RefNotPermitted").count() == count
        });
        until.await;
    };
    refusals(2).await;
    assert_eq!(connection(&gateway).await, "");
    let to = gateway.datagram_address(9001);
    within("a datagram to be dropped", dropped(&gateway, to, "x")).await;
    cluster.apply(grant);
    refusals(0).await;
    assert_eq!(connection(&gateway).await, "one heard x");
    assert_eq!(datagram(&gateway).await, "two heard x");
    cluster.delete(grant);
    refusals(2).await;
    assert_eq!(connection(&gateway).await, "");
    within("a datagram to be dropped", dropped(&gateway, to, "x")).await;
    assert_eq!((one.hits(), two.hits()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_is_lost_while_its_route_changes() {
    let authority = Authority::new();
    let (one, two) = (Origin::start("one", Script::Talk).await, Origin::start("two", Script::Talk).await);
    let pair = authority.issue(&["a.example.com"]);
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: web}}, data: {{tls.crt: {}, tls.key: {}}}}}",
        base64(&pair.certificate),
        base64(&pair.key)
    );
    let edge = EDGE.replace(
        "protocol: UDP}",
        "protocol: UDP}, {name: tls, port: 443, protocol: TLS, tls: {certificateRefs: [{name: web}]}}",
    );
    let to = |name: &str| {
        let backend = format!("{{name: {name}, port: 1}}");
        let tls = route("TLSRoute", ("route", 2026), &backend)
            .replace("spec: {", "spec: {hostnames: [a.example.com], ");
        [route("TCPRoute", ("route", 2026), &backend), tls].join("\n---\n")
    };
    let services = [edge, secret, service("one", "default"), service("two", "default")].join("\n---\n");
    let files = [("config.yaml", &*services), ("route.yaml", &to("one"))];
    let gateway = Gateway::start(&files, &[backend("one", &one), backend("two", &two)].concat()).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    let over = Cell::new(false);
    let changes = async {
        for turn in 0..100 {
            let name = if turn % 2 == 0 { "two" } else { "one" };
            gateway.write("route.yaml", &to(name));
            let host = format!("{name}.default.svc.cluster.local");
            gateway.until("the change", |view| view.ir.clusters.keys().all(|key| key.host == host)).await;
        }
        over.set(true);
    };
    let client = async |secure: bool| {
        let mut heard = Vec::new();
        while !over.get() {
            heard.push(if secure {
                let server = gateway.address(443);
                let stream = within("a handshake", authority.connect(server, "a.example.com", "")).await;
                end(stream.unwrap()).await
            } else {
                connection(&gateway).await
            });
        }
        heard
    };
    let ((), plain, more, secure, also) =
        tokio::join!(changes, client(false), client(false), client(true), client(true));
    for heard in [plain, more, secure, also] {
        let lost = heard.iter().filter(|heard| !heard.ends_with("heard x")).count();
        assert_eq!(lost, 0, "of {} connections", heard.len());
    }
}
