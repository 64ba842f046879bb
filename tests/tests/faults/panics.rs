//! A panic ends one connection and is counted; nothing else changes. Where a part fails that the gateway cannot do
//! without, whoever runs it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use limen::boot::faults::{Point, arm};
use limen::boot::{Readers, Used};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::process::Process;
use limen_e2e::shop::{self, Metrics, connect};
use limen_e2e::{h1, h2, within};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ROUTES: &str = "[{route: [{destination: {host: shop}}]}]";
const PANICS: &[&str] = &["limen_panics_total"];

/// A gateway with one worker before one origin, to which no more than one request may be on its way: a permit that a
/// panic kept would be missed at once.
async fn start(origin: &Origin, more: &str) -> Gateway {
    let policy = shop::policy(&format!("{{connectionPool: {{http: {{http2MaxRequests: 1{more}}}}}}}"));
    shop::start(&(shop::routes(ROUTES) + &policy), &[origin], "--workers 1").await
}

/// Asks on a connection that is there already, and is answered.
async fn is_served(connection: &mut shop::Connection) {
    connection.send(&h1::request("GET", "/other", "a", &[], b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// So many panics are counted, and of everything that was under way nothing is left but so many connections of clients.
async fn leaves(gateway: &Gateway, panics: f64, clients: f64) {
    let prefix = "http_conn_manager_prefix=\"outbound_127.0.0.1_80\"";
    let all = |page: &Metrics| {
        page.value(PANICS) == panics
            && page.value(&["limen_requests_active"]) == 0.0
            && page.value(&["limen_upstream_requests_pending"]) == 0.0
            && page.value(&["envoy_http_downstream_cx_active", prefix]) == clients
            && page.value(&["envoy_http_downstream_rq_active", prefix]) == 0.0
            && page.of_shop("upstream_rq_active") == 0.0
            && page.of_shop("upstream_rq_pending_active") == 0.0
    };
    Metrics::when(gateway, "a panic that is counted and leaves nothing", all).await;
}

fn of_path<'l>(lines: &'l [Value], path: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["path"] == path).collect()
}

fn said(line: &Value) -> (u64, &str, &str) {
    let text = |name: &str| line[name].as_str().unwrap();
    (line["response_code"].as_u64().unwrap(), text("response_flags"), text("response_code_details"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_request_ends_its_connection_only() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "").await;
    let mut other = connect(&gateway).await;
    is_served(&mut other).await;
    let armed = arm(Point::Request, "/h1-request");
    for round in 1..=3 {
        let mut struck = shop::send(&gateway, "/h1-request").await;
        let error = within("the end of the connection", struck.read("GET")).await.unwrap_err();
        assert!(error.starts_with("reading: "), "it is reset: {error}");
        assert_eq!(armed.struck(), round);
        is_served(&mut other).await;
        leaves(&gateway, round as f64, 1.0).await;
    }
    drop(armed);
    assert_eq!(shop::ask(&gateway, "/h1-request").await.status, 200, "the worker serves what it was");
    let lines = gateway.stop().await;
    let struck: Vec<_> = of_path(&lines, "/h1-request").into_iter().map(said).collect();
    let broken = (0, "LR", "internal_error");
    assert_eq!(struck, [broken, broken, broken, (200, "-", "via_upstream")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_a_panic_cuts_is_not_taken_for_whole() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "").await;
    let mut other = connect(&gateway).await;
    is_served(&mut other).await;
    let connections = origin.connections();
    let _armed = arm(Point::Body, "/h1-body");
    let mut struck = shop::send(&gateway, "/h1-body").await;
    let error = within("the end of the answer", struck.read("GET")).await.unwrap_err();
    assert!(error.starts_with("reading: "), "it is reset: {error}");

    // A client of HTTP/1.0 has no other sign of the end than that of the connection.
    let mut old = TcpStream::connect(gateway.address(80)).await.unwrap();
    old.write_all(b"GET /h1-body HTTP/1.0\r\nhost: a\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    let end = within("the end of the answer", old.read_to_end(&mut seen)).await;
    assert!(end.is_err(), "it is reset: {end:?} {seen:?}");

    // The origin's connections end as well: what is left of the answers is no start of others.
    origin.ended(1).await;
    is_served(&mut other).await;
    leaves(&gateway, 2.0, 1.0).await;
    assert!(origin.connections() > connections, "{}", origin.connections());
    let lines = gateway.stop().await;
    for line in of_path(&lines, "/h1-body") {
        assert_eq!(said(line), (200, "LR", "internal_error"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_stream_ends_one_connection_at_the_most() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "").await;
    let connect = async || {
        let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
        h2::Connection::new(stream).await.unwrap()
    };
    let get = |path: &str| http::Request::get(format!("http://a{path}")).body(()).unwrap();
    let (mut struck, mut other) = (connect().await, connect().await);
    for (point, path) in [(Point::Request, "/h2-request"), (Point::Body, "/h2-body")] {
        let _armed = arm(point, path);
        struck.exchange(get("/before"), Vec::new().into()).await.unwrap();
        let end = within("the end of the stream", struck.exchange(get(path), Vec::new().into())).await;
        assert!(end.is_err(), "{end:?}");
        let next = within("the end", struck.exchange(get("/after"), Vec::new().into())).await;
        assert!(next.is_err(), "its connection is gone: {next:?}");
        let reply = within("a response", other.exchange(get("/other"), Vec::new().into())).await.unwrap();
        assert_eq!(reply.status, 200);
        struck = connect().await;
    }
    drop(struck);
    leaves(&gateway, 2.0, 1.0).await;
    let lines = gateway.stop().await;
    assert_eq!(said(of_path(&lines, "/h2-request")[0]), (0, "LR", "internal_error"));
    assert_eq!(said(of_path(&lines, "/h2-body")[0]), (200, "LR", "internal_error"));
    assert_eq!(of_path(&lines, "/other").len(), 2);
}

/// What a request is made of may be what neither its filters nor its log line can bear: the second panic comes while the
/// first is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_within_a_panic_does_not_end_the_process() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "").await;
    let mut other = connect(&gateway).await;
    let _armed = (arm(Point::Request, "/twice"), arm(Point::Log, "/twice"));
    assert!(within("the end", shop::send(&gateway, "/twice").await.read("GET")).await.is_err());
    is_served(&mut other).await;
    leaves(&gateway, 2.0, 1.0).await;

    // Alone it comes when the answer is out already.
    let _armed = arm(Point::Log, "/unlogged");
    let mut struck = shop::send(&gateway, "/unlogged").await;
    assert_eq!(shop::read(&mut struck).await.status, 200);
    within("the end of the connection", struck.end()).await.unwrap();
    is_served(&mut other).await;
    leaves(&gateway, 3.0, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_connection_is_told_that_making_it_failed() {
    let origin = Origin::start("shop", Script::echo()).await;
    // No time is set for requests: nothing but being told ends their wait.
    let gateway = shop::start(
        &(shop::routes(ROUTES) + &shop::policy("{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}")),
        &[&origin],
        "--workers 1",
    )
    .await;
    let address = origin.address.to_string();
    let armed = arm(Point::Dial, &address);
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(shop::send(&gateway, "/waits").await);
    }
    for connection in &mut waiting {
        assert_eq!(shop::read(connection).await.status, 503);
    }
    assert!(armed.struck() > 0);
    let struck = armed.struck() as f64;
    drop(armed);
    for connection in &mut waiting {
        is_served(connection).await;
    }
    leaves(&gateway, struck, 3.0).await;
    assert_eq!(origin.connections(), 1, "and it is shared as ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_connection_that_panics_takes_no_more_streams() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let gateway = start(&origin, ", h2UpgradePolicy: UPGRADE").await;
    let mut client = shop::send(&gateway, "/held").await;
    origin.hit(1).await;
    let address = origin.address.to_string();
    let armed = arm(Point::Shared, &address);
    // The answer moves the connection.
    gate.notify_one();
    assert_eq!(shop::read(&mut client).await.status, 503);
    // It is tried again, on a connection that comes to the same end.
    assert_eq!(armed.struck(), 2);
    drop(armed);
    gate.notify_one();
    is_served(&mut client).await;
    leaves(&gateway, 2.0, 1.0).await;
    let one = |page: &Metrics| page.of_shop("upstream_cx_active") == 1.0;
    Metrics::when(&gateway, "the one connection that is left", one).await;
    assert_eq!(origin.connections(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_panics_is_no_business_of_the_request() {
    let origin = Origin::start("shop", Script::echo()).await;
    let shadow = Origin::start("shadow", Script::echo()).await;
    let config = shop::routes("[{mirror: {host: shadow}, route: [{destination: {host: shop}}]}]")
        + "---\n{apiVersion: v1, kind: Service, metadata: {name: shadow}, spec: {ports: [{name: http, port: 80}]}}\n";
    let flags = format!("--workers 1 --backend shadow={}", shadow.address);
    let gateway = shop::start(&config, &[&origin], &flags).await;
    let _armed = arm(Point::Mirror, "/copied");
    let mut client = shop::send(&gateway, "/copied").await;
    assert_eq!(shop::read(&mut client).await.status, 200);
    leaves(&gateway, 1.0, 1.0).await;
    assert_eq!(shadow.hits(), 0);
    is_served(&mut client).await;
    shadow.hit(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_a_panic_cuts_are_not_taken_for_whole() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = origin.local_addr().unwrap();
    let config =
        "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: edge}, spec: {servers: [
  {port: {number: 9000, name: db, protocol: TCP}, hosts: ['*']}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: db}, spec: {hosts: ['*'],
  gateways: [edge], tcp: [{route: [{destination: {host: db, port: {number: 1}}}]}]}}
";
    let flags = ["--backend".to_owned(), format!("db={address}"), "--workers".to_owned(), "1".to_owned()];
    let gateway = Gateway::start(&[("config.yaml", config)], &flags).await;
    let pair = async || {
        let client = TcpStream::connect(gateway.address(9000)).await.unwrap();
        (client, within("the origin's connection", origin.accept()).await.unwrap().0)
    };
    let echo = async |(client, far): &mut (TcpStream, TcpStream)| {
        let mut got = [0];
        far.write_all(b"x").await.unwrap();
        within("a byte", client.read_exact(&mut got)).await.unwrap();
    };
    let (mut struck, mut other) = (pair().await, pair().await);
    echo(&mut struck).await;
    echo(&mut other).await;
    let armed = arm(Point::Relay, &address.to_string());
    struck.1.write_all(b"y").await.unwrap();
    let mut rest = Vec::new();
    let (heard, sent) = (struck.0.read_to_end(&mut rest).await, struck.1.read_to_end(&mut Vec::new()).await);
    assert!(heard.is_err() && sent.is_err(), "both sides see that it was cut: {heard:?} {sent:?}");
    assert_eq!(armed.struck(), 1);
    drop(armed);
    echo(&mut other).await;
    Metrics::when(&gateway, "the count", |page| page.value(PANICS) == 1.0).await;
}

/// A route to a ServiceEntry with this endpoint.
fn entry(origin: &Origin) -> String {
    let routes = shop::routes("[{route: [{destination: {host: out.example.com}}]}]");
    format!(
        "{routes}---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: out}}\nspec: \
         {{hosts: [out.example.com], location: MESH_EXTERNAL, resolution: STATIC, ports: [{{number: 80, name: http, \
         protocol: HTTP, targetPort: {}}}], endpoints: [{{address: {}}}]}}\n",
        origin.address.port(),
        origin.address.ip()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_fails_is_told_of_and_the_gateway_can_end_in_good_order() {
    let (first, second) = (
        Origin::start("first", Script::echo()).await,
        Origin::start_at("127.0.0.2", "second", Script::echo()).await,
    );
    let flags = ["--workers".to_owned(), "2".to_owned()];
    let gateway = Gateway::start(&[("shop.yaml", &entry(&first))], &flags).await;
    assert_eq!(shop::ask(&gateway, "/").await.origin().as_deref(), Some("first"));
    let broken = tokio::time::timeout(std::time::Duration::ZERO, gateway.running.broken()).await;
    assert!(broken.is_err(), "nothing is broken yet");
    let armed = arm(Point::Worker, &second.address.ip().to_string());
    let changed = entry(&first).replace(
        "endpoints: [",
        &format!(
            "endpoints: [{{address: {}, ports: {{http: {}}}}}, ",
            second.address.ip(),
            second.address.port()
        ),
    );
    gateway.write("shop.yaml", &changed);
    assert_eq!(within("the news", gateway.running.broken()).await, "a worker");
    assert!(armed.struck() > 0);
    // Nobody waits for workers that are gone.
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watch_of_the_memory_that_fails_is_told_of_while_all_is_served() {
    let origin = Origin::start("shop", Script::echo()).await;
    let fails = Arc::new(AtomicBool::new(false));
    let failing = fails.clone();
    let used = Used::new(move || {
        assert!(!failing.load(Ordering::SeqCst), "asked for by the test");
        Some(1)
    });
    let readers = Readers { memory: Some(used), descriptors: None };
    let flags = ["--max-memory", "1000", "--backend", &format!("shop={}", origin.address)].map(str::to_owned);
    let gateway = Gateway::start_using(&[("shop.yaml", &shop::routes(ROUTES))], &flags, readers).await;
    fails.store(true, Ordering::SeqCst);
    assert_eq!(
        within("the news", gateway.running.broken()).await,
        "the watch of memory and file descriptors"
    );
    assert_eq!(shop::ask(&gateway, "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_put_in_force_leaves_what_is_served() {
    let origin = Origin::start("shop", Script::echo()).await;
    let config = shop::routes(ROUTES);
    let gateway = shop::start(&config, &[&origin], "").await;
    let armed = arm(Point::Compile, "cannot-be-compiled.example.com");
    let hosts =
        |name: &str| config.replace("spec: {hosts: ['*'], gate", &format!("spec: {{hosts: ['{name}'], gate"));
    gateway.write("shop.yaml", &hosts("cannot-be-compiled.example.com"));
    Metrics::when(&gateway, "the failure", |page| page.value(PANICS) == 1.0).await;
    assert!(armed.struck() > 0);
    assert_eq!(shop::ask(&gateway, "/").await.status, 200, "what was served before");
    gateway.write("shop.yaml", &hosts("elsewhere.example.com"));
    let changed = async { while shop::ask(&gateway, "/").await.status != 404 {} };
    within("the next change", changed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_of_a_change_that_could_not_be_put_in_force_are_there_with_the_next() {
    let shop = Origin::start("shop", Script::echo()).await;
    let late = Origin::start("cannot-be-built", Script::echo()).await;
    let service = "---\n{apiVersion: v1, kind: Service, metadata: {name: cannot-be-built}, spec: {ports: [{name: http, port: 80}]}}\n";
    let with = |rules: &str| {
        shop::routes(&format!("[{rules}{{route: [{{destination: {{host: shop}}}}]}}]")) + service
    };
    let backend = format!("--backend cannot-be-built={}", late.address);
    let gateway = shop::start(&with(""), &[&shop], &backend).await;
    let armed = arm(Point::Cluster, "cannot-be-built");
    let rule = "{match: [{uri: {prefix: /late}}], route: [{destination: {host: cannot-be-built}}]}, ";
    gateway.write("shop.yaml", &with(rule));
    Metrics::when(&gateway, "the failure", |page| page.value(PANICS) >= 1.0).await;
    assert!(armed.struck() > 0);
    drop(armed);
    let next = format!("{{match: [{{uri: {{prefix: /next}}}}], directResponse: {{status: 204}}}}, {rule}");
    gateway.write("shop.yaml", &with(&next));
    let changed = async { while shop::ask(&gateway, "/next").await.status != 204 {} };
    within("the next change", changed).await;
    assert_eq!(shop::ask(&gateway, "/late").await.status, 200, "it is not taken for what is there");
}

/// What a process says of a panic, and what it ends with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_tells_where_it_panicked_and_repeats_nothing_and_ends_with_1_without_a_worker() {
    let (first, second) = (
        Origin::start("first", Script::echo()).await,
        Origin::start_at("127.0.0.2", "second", Script::echo()).await,
    );
    let added = format!("{{address: {}, ports: {{http: {}}}}}, ", second.address.ip(), second.address.port());
    let changed = entry(&first).replace("endpoints: [", &format!("endpoints: [{added}"));
    let panics = [("request", "/what-was-read"), ("worker", "127.0.0.2")];
    for worker in [false, true] {
        let binary = env!("CARGO_BIN_EXE_limen-process");
        let gateway = Process::start_panicking(binary, &entry(&first), &[], &panics).await;
        let mut struck = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
        struck.send(&h1::request("GET", "/what-was-read", "a", &[], b"")).await;
        assert!(within("the end of the connection", struck.read("GET")).await.is_err());
        let mut next = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
        is_served(&mut next).await;
        if worker {
            gateway.add("config.yaml", &changed);
        } else {
            gateway.terminate();
        }
        let (code, said) = gateway.ended().await;
        assert_eq!(code, Some(i32::from(worker)), "{said}");
        let panics = said.lines().filter(|line| line.contains("panicked at")).collect::<Vec<_>>();
        assert!(panics.iter().all(|line| line.starts_with("error: thread worker-")), "{said}");
        assert!(panics.len() > usize::from(worker), "{said}");
        assert!(!said.contains("what-was-read") && !said.contains("127.0.0.2"), "{said}");
        assert_eq!(said.contains("error: a worker has failed: finishing open connections"), worker, "{said}");
    }
}
