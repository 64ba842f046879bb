//! Connections to services: whose they are, how many, and when they end.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::{h1, within};
use tokio::net::TcpStream;
use tokio::sync::Notify;

fn config(policy: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}]
---
{{apiVersion: v1, kind: Service, metadata: {{name: shop}}, spec: {{ports: [{{name: http, port: 80}}]}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop}}
spec: {{host: shop, trafficPolicy: {policy}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - match: [{{uri: {{prefix: /hurry}}}}]
    timeout: 50ms
    route: [{{destination: {{host: shop}}}}]
  - retries: {{attempts: 0}}
    route: [{{destination: {{host: shop}}}}]
"
    )
}

async fn start(workers: usize, policy: &str, origin: &Origin) -> Gateway {
    start_in_mesh("", workers, policy, origin).await
}

async fn start_in_mesh(mesh: &str, workers: usize, policy: &str, origin: &Origin) -> Gateway {
    let flags = ["--workers", &workers.to_string(), "--backend", &format!("shop={}", origin.address)];
    let mesh = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, \
         data: {{mesh: '{mesh}'}}}}"
    );
    let files = [("shop.yaml", &*config(policy)), ("mesh.yaml", &mesh)];
    Gateway::start(&files, &flags.map(str::to_owned)).await
}

type Connection = h1::Connection<TcpStream>;

/// Sends a request on a connection of its own, so that it may come to any worker.
async fn send(gateway: &Gateway, path: &str) -> Connection {
    let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    again(&mut connection, path).await;
    connection
}

async fn again(connection: &mut Connection, path: &str) {
    connection.send(&h1::request("GET", path, "shop.example.com", &[], b"")).await;
}

async fn read(connection: &mut Connection) -> Reply {
    within("a response", connection.read("GET")).await.unwrap()
}

/// Waits until so many requests wait for a connection.
async fn pending(gateway: &Gateway, count: u64) {
    let wait = async {
        while gateway.metric("limen_upstream_requests_pending").await != count {
            tokio::task::yield_now().await;
        }
    };
    within("requests that wait", wait).await;
}

/// HTTP/2 with one connection, on which so many streams are allowed; one request may wait.
fn shared(streams: u32, pending: u32) -> String {
    format!(
        "{{connectionPool: {{tcp: {{maxConnections: 1}}, http: {{h2UpgradePolicy: UPGRADE, \
         maxConcurrentStreams: {streams}, http1MaxPendingRequests: {pending}}}}}}}"
    )
}

async fn a_stream_is_waited_for(workers: usize) {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let gateway = start(workers, &shared(1, 1), &origin).await;
    let mut first = send(&gateway, "/").await;
    origin.hit(1).await;
    let mut second = send(&gateway, "/").await;
    pending(&gateway, 1).await;
    let refused = read(&mut send(&gateway, "/").await).await;
    assert_eq!((refused.status, refused.header("x-envoy-overloaded").as_deref()), (503, Some("true")));
    assert_eq!((origin.hits(), origin.connections()), (1, 1));
    gate.notify_one();
    assert_eq!(read(&mut first).await.status, 200);
    origin.hit(2).await;
    pending(&gateway, 0).await;
    assert_eq!(origin.most_connections(), 1);
    gate.notify_one();
    let reply = read(&mut second).await;
    assert_eq!((reply.status, reply.seen()["protocol"].as_str()), (200, Some("HTTP/2")));
    let lines = gateway.stop().await;
    assert_eq!(lines.iter().filter(|line| line["response_flags"] == "UO").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_the_same_worker_is_waited_for_and_the_rest_overflow() {
    a_stream_is_waited_for(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_connection_of_any_worker_is_waited_for_and_the_rest_overflow() {
    a_stream_is_waited_for(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_stream_is_served_in_the_end_or_times_out() {
    const CLIENTS: usize = 12;
    const EACH: usize = 20;
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = Arc::new(start(4, &shared(2, 0), &origin).await);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let gateway = gateway.clone();
        clients.spawn(async move {
            let mut connection = send(&gateway, "/").await;
            for _ in 1..EACH {
                assert_eq!(read(&mut connection).await.status, 200);
                again(&mut connection, "/").await;
            }
            assert_eq!(read(&mut connection).await.status, 200);
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!(origin.hits(), CLIENTS * EACH);

    let held = Origin::start("shop", Script::Held(Arc::new(Notify::new()))).await;
    let gateway = start(2, &shared(1, 0), &held).await;
    let _first = send(&gateway, "/").await;
    held.hit(1).await;
    let late = read(&mut send(&gateway, "/hurry").await).await;
    assert_eq!((late.status, &*late.text()), (504, "upstream request timeout"));
    assert_eq!((held.hits(), held.connections()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_shared_connection_takes_no_stream_and_finishes_those_it_has() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let pool = "{connectionPool: {tcp: {maxConnectionDuration: 1ms}, http: {h2UpgradePolicy: UPGRADE}}}";
    let gateway = start(1, pool, &origin).await;
    let mut first = send(&gateway, "/").await;
    origin.hit(1).await;
    let mut others = Vec::new();
    let renewed = async {
        while origin.connections() < 2 {
            others.push(send(&gateway, "/").await);
            origin.hit(1 + others.len()).await;
        }
    };
    within("a second connection", renewed).await;
    let release = async {
        loop {
            gate.notify_one();
            tokio::task::yield_now().await;
        }
    };
    let answered = async {
        assert_eq!(read(&mut first).await.status, 200);
        for other in &mut others {
            assert_eq!(read(other).await.status, 200);
        }
        origin.ended(1).await;
    };
    tokio::select! {
        () = release => {}
        () = answered => {}
    }
}

async fn idle_connections_end(mesh: &str, policy: &str, protocol: &str) {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start_in_mesh(mesh, 1, policy, &origin).await;
    let mut client = send(&gateway, "/").await;
    let reply = read(&mut client).await;
    assert_eq!((reply.status, reply.seen()["protocol"].as_str()), (200, Some(protocol)));
    origin.ended(1).await;
    again(&mut client, "/").await;
    assert_eq!(read(&mut client).await.status, 200);
    assert_eq!((origin.hits(), origin.connections()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_end_after_their_time() {
    idle_connections_end("", "{connectionPool: {http: {idleTimeout: 50ms}}}", "HTTP/1.1").await;
    let upgraded = "{connectionPool: {tcp: {idleTimeout: 50ms}, http: {h2UpgradePolicy: UPGRADE}}}";
    idle_connections_end("", upgraded, "HTTP/2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_mesh_says_of_connections_holds_where_no_rule_does() {
    let mesh = "defaultTrafficPolicy: {connectionPool: {tcp: {idleTimeout: 50ms}}}";
    idle_connections_end(mesh, "{outlierDetection: {}}", "HTTP/1.1").await;
}

/// Does the system send probes on the gateway's connections to this origin? Of each socket the table of the system tells
/// the far end, the state and the timer that is set.
fn probed(origin: &Origin) -> Vec<bool> {
    let port = format!(":{:04X}", origin.address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let sockets = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = sockets.filter(|socket| socket[2].ends_with(&port) && socket[3] == "01");
    ours.map(|socket| socket[5].starts_with("02:")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_probed_where_the_mesh_or_a_rule_wants_it() {
    let rule = "{connectionPool: {tcp: {tcpKeepalive: {time: 60s}}}}";
    for (mesh, policy, expected) in [
        ("tcpKeepalive: {time: 60s, interval: 10s, probes: 3}", "{outlierDetection: {}}", true),
        ("", rule, true),
        ("", "{outlierDetection: {}}", false),
    ] {
        let origin = Origin::start("shop", Script::echo()).await;
        let gateway = start_in_mesh(mesh, 1, policy, &origin).await;
        assert_eq!(read(&mut send(&gateway, "/").await).await.status, 200);
        assert_eq!(probed(&origin), [expected], "mesh {mesh:?}, rule {policy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_names_its_client_is_no_other_clients() {
    for (pool, protocol) in [
        ("{proxyProtocol: {}}", "HTTP/1.1"),
        ("{proxyProtocol: {}, connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}", "HTTP/2"),
    ] {
        let origin = Origin::start("shop", Script::Proxied(Arc::new(Script::echo()))).await;
        let running = start(1, pool, &origin).await;
        let mut clients = Vec::new();
        let gateway = running.address(80);
        for _ in 0..2 {
            let stream = TcpStream::connect(gateway).await.unwrap();
            let own = stream.local_addr().unwrap();
            let said = format!("PROXY TCP4 {} {} {} {}", own.ip(), gateway.ip(), own.port(), gateway.port());
            let mut connection = h1::Connection::new(stream);
            again(&mut connection, "/").await;
            clients.push((connection, said));
        }
        for _ in 0..3 {
            for (client, said) in &mut clients {
                let reply = read(client).await.seen();
                assert_eq!(reply["headers"][":proxy"].as_str(), Some(&**said));
                assert_eq!(reply["protocol"].as_str(), Some(protocol));
                again(client, "/").await;
            }
        }
        for (client, _) in &mut clients {
            read(client).await;
        }
        assert_eq!((origin.hits(), origin.connections()), (8, 2), "{protocol}: one for each client");
    }
}
