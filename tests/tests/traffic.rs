//! Properties of traffic that a list of requests cannot show: shares, sizes, order, ends.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::shop::{self, Metrics, connect};
use limen_e2e::{frames, h1, h2, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const ROUTES: &str = "
  - match: [{uri: {prefix: /split}}]
    route:
    - {destination: {host: shop, subset: one}, weight: 90}
    - {destination: {host: shop, subset: two}, weight: 10}
  - route: [{destination: {host: shop, subset: one}}]";

/// A DestinationRule for the subsets, to be added to the routes.
const SUBSETS: &str = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  subsets:
  - {name: one, labels: {version: v1}}
  - {name: two, labels: {version: v2}}
";

async fn start(one: &Origin, two: &Origin) -> Gateway {
    let backends = [("v1", one), ("v2", two)];
    // A client that has closed its half is soon taken to have gone.
    let mut flags = ["--half-close-timeout", "100ms"].map(str::to_owned).to_vec();
    let backends = backends.iter().flat_map(|(version, origin)| {
        ["--backend".to_owned(), format!("shop/version={version}={}", origin.address)]
    });
    flags.extend(backends);
    Gateway::start(&[("routes.yaml", &(shop::routes(ROUTES) + SUBSETS))], &flags).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_of_90_to_10_is_kept() {
    // With 20 000 requests one percentage point is 4.7 standard deviations of a fair draw.
    const CONNECTIONS: usize = 8;
    const EACH: usize = 2_500;
    let (one, two) = (Origin::start("v1", Script::echo()).await, Origin::start("v2", Script::echo()).await);
    let gateway = Arc::new(start(&one, &two).await);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let gateway = gateway.clone();
        clients.spawn(async move {
            let mut connection = connect(&gateway).await;
            for _ in 0..EACH {
                connection.send(&h1::request("GET", "/split", "a", &[], b"")).await;
                let reply = within("a response", connection.read("GET")).await.unwrap();
                assert_eq!(reply.status, 200, "{reply:?}");
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!(one.hits() + two.hits(), CONNECTIONS * EACH, "every request reached an origin, once");
    let share = 100.0 * two.hits() as f64 / (CONNECTIONS * EACH) as f64;
    assert!((share - 10.0).abs() <= 1.0, "{share} % instead of 10 %");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_both_ways() {
    const SIZE: usize = 5 << 20;
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + SIZE, b'x');
    let (echo, big) =
        (Origin::start("v1", Script::echo()).await, Origin::start("v2", Script::Raw(answer)).await);
    let gateway = start(&echo, &big).await;
    let body = vec![b'y'; SIZE];
    let up = h1::request("POST", "/up", "a", &[], &body);
    let mut connection = connect(&gateway).await;
    connection.send(&up).await;
    let reply = within("the answer to a large request", connection.read("POST")).await.unwrap();
    assert_eq!(reply.seen()["length"], SIZE, "{reply:?}");

    let mut chunked = b"POST /up HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(70_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    connection.send(&chunked).await;
    let reply = within("the answer to a chunked request", connection.read("POST")).await.unwrap();
    assert_eq!(reply.seen()["length"], SIZE, "on the same connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_arrives_whole_over_both_versions() {
    const SIZE: usize = 3 << 20;
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + SIZE, b'x');
    let big = Origin::start("v1", Script::Raw(answer)).await;
    let other = Origin::start("v2", Script::Dead).await;
    let gateway = start(&big, &other).await;
    let mut connection = connect(&gateway).await;
    connection.send(&h1::request("GET", "/", "a", &[], b"")).await;
    let reply = within("a large answer", connection.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, SIZE));

    let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let mut connection = h2::Connection::new(stream).await.unwrap();
    let request = http::Request::get("http://a/").body(()).unwrap();
    let reply = within("a large answer", connection.exchange(request, Vec::new().into())).await.unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, SIZE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order_and_none_after_a_close() {
    let (one, two) = (Origin::start("v1", Script::echo()).await, Origin::start("v2", Script::echo()).await);
    let gateway = start(&one, &two).await;
    let mut connection = connect(&gateway).await;
    let close = [("connection".to_owned(), "close".to_owned())];
    let mut bytes = h1::request("GET", "/a", "a", &[], b"");
    bytes.extend(h1::request("POST", "/b", "a", &[], b"body"));
    bytes.extend(h1::request("GET", "/c", "a", &close, b""));
    bytes.extend(h1::request("GET", "/never", "a", &[], b""));
    connection.send(&bytes).await;
    for (path, closed) in [("/a", false), ("/b", false), ("/c", true)] {
        let reply = within("a response", connection.read("GET")).await.unwrap();
        assert_eq!((reply.seen()["path"].as_str(), reply.closed), (Some(path), closed), "{reply:?}");
    }
    assert_eq!(one.hits(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_large_get_431() {
    let (one, two) = (Origin::start("v1", Script::echo()).await, Origin::start("v2", Script::echo()).await);
    let gateway = start(&one, &two).await;
    let long = vec![("x-long".to_owned(), "v".repeat(70 * 1024))];
    let many: Vec<(String, String)> = (0..200).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
    for headers in [long, many] {
        let mut connection = connect(&gateway).await;
        connection.send(&h1::request("GET", "/", "a", &headers, b"")).await;
        let reply = within("a refusal", connection.read("GET")).await.unwrap();
        assert_eq!((reply.status, reply.closed, one.hits()), (431, true, 0), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_logged_as_such() {
    let (stalls, two) = (Origin::start("v1", Script::Never).await, Origin::start("v2", Script::echo()).await);
    let gateway = start(&stalls, &two).await;
    let mut connection = connect(&gateway).await;
    connection.send(&h1::request("GET", "/left", "a", &[], b"")).await;
    stalls.hit(1).await;
    drop(connection);
    let lines = gateway.stop().await;
    let line =
        lines.iter().find(|line| line["path"] == "/left").unwrap_or_else(|| panic!("no line in {lines:?}"));
    assert_eq!((&line["response_code"], &line["response_flags"]), (&0.into(), &"DC".into()), "{line}");
}

/// A client that gives up one stream has not left: Envoy tells the two apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_client_resets_is_logged_as_such_and_the_connection_goes_on() {
    let (stalls, two) = (Origin::start("v1", Script::Never).await, Origin::start("v2", Script::echo()).await);
    let gateway = start(&stalls, &two).await;
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let mut bytes = frames::PREFACE.to_vec();
    bytes.extend(frames::frame(frames::SETTINGS, 0, 0, b""));
    bytes.extend([1, 3].into_iter().flat_map(frames::get));
    stream.write_all(&bytes).await.unwrap();
    stalls.hit(2).await;
    for (id, reason) in [(1, frames::CANCEL), (3, frames::REFUSED_STREAM)] {
        let reset = frames::frame(frames::RESET, 0, id, &reason.to_be_bytes());
        stream.write_all(&reset).await.unwrap();
    }
    let prefix = "http_conn_manager_prefix=\"outbound_127.0.0.1_80\"";
    let both = |metrics: &Metrics| metrics.value(&["envoy_http_downstream_rq_rx_reset", prefix]) == 2.0;
    let metrics = Metrics::when(&gateway, "both resets", both).await;
    assert_eq!(metrics.value(&["envoy_http_downstream_cx_active", prefix]), 1.0);
    stream.write_all(&frames::get(5)).await.unwrap();
    stalls.hit(3).await;
    drop(stream);
    let mut lines = gateway.stop().await;
    lines.sort_by_key(|line| line["response_code_details"].to_string());
    let of = |line: &serde_json::Value| {
        ["response_flags", "response_code_details"].map(|key| line[key].as_str().unwrap().to_owned())
    };
    let [left, refused, reset] = &lines[..] else { panic!("{lines:#?}") };
    assert_eq!(of(left), ["DC", "downstream_remote_disconnect"]);
    assert_eq!(of(refused), ["DR", "http2.remote_refuse"]);
    assert_eq!(of(reset), ["DR", "http2.remote_reset"]);
    assert!(lines.iter().all(|line| line["response_code"] == 0), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let (held, quick) =
        (Origin::start("v1", Script::Held(gate.clone())).await, Origin::start("v2", Script::echo()).await);
    let routes = ROUTES.replace("weight: 90", "weight: 0").replace("weight: 10", "weight: 100");
    let flags: Vec<String> = [("v1", &held), ("v2", &quick)]
        .iter()
        .flat_map(|(v, o)| ["--backend".to_owned(), format!("shop/version={v}={}", o.address)])
        .collect();
    let gateway = Gateway::start(&[("routes.yaml", &(shop::routes(&routes) + SUBSETS))], &flags).await;
    let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let connection = h2::Connection::new(stream).await.unwrap();
    let get = |path: &str| http::Request::get(format!("http://a{path}")).body(()).unwrap();
    let (mut first, mut second) = (connection.another(), connection.another());
    let slow = first.exchange(get("/held"), Vec::new().into());
    let fast = async {
        held.hit(1).await;
        let reply =
            within("the quick stream", second.exchange(get("/split"), Vec::new().into())).await.unwrap();
        assert_eq!(reply.origin().as_deref(), Some("v2"));
        gate.notify_one();
    };
    let (slow, ()) = tokio::join!(slow, fast);
    assert_eq!(slow.unwrap().origin().as_deref(), Some("v1"));
}

/// Half of 200: that all or none are meant happens once in 2^199 runs.
#[tokio::test]
async fn faults_and_mirrors_befall_a_share_of_the_requests() {
    let shop = Origin::start("shop", Script::echo()).await;
    let shadow = Origin::start("shadow", Script::echo()).await;
    let config = shop::routes(
        "  - match: [{uri: {prefix: /fault}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 50}}}
    route: [{destination: {host: shop}}]
  - mirror: {host: shadow}
    mirrorPercentage: {value: 50}
    route: [{destination: {host: shop}}]",
    );
    let config = format!(
        "{config}---\n{{apiVersion: v1, kind: Service, metadata: {{name: shadow}}, spec: {{ports: [{{name: http, port: 80}}]}}}}\n"
    );
    let flags = format!("--backend shadow={}", shadow.address);
    let gateway = shop::start(&config, &[&shop], &flags).await;
    let mut client = shop::connect(&gateway).await;
    let mut aborted = 0;
    for path in std::iter::repeat_n("/fault", 200).chain(std::iter::repeat_n("/mirror", 200)) {
        client.send(&h1::request("GET", path, "shop.example.com", &[], b"")).await;
        let status = shop::read(&mut client).await.status;
        assert!(status == 200 || path == "/fault" && status == 418, "{status} for {path}");
        aborted += usize::from(status == 418);
    }
    assert!((1..200).contains(&aborted), "{aborted} of 200");
    shadow.hit(1).await;
    let copies = Metrics::of(&gateway).await.value(&["limen_mirrors_total"]);
    assert!((1.0..200.0).contains(&copies), "{copies} of 200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_the_less_busy_of_two_endpoints_is_preferred() {
    let (busy, idle) =
        (Origin::start("busy", Script::Never).await, Origin::start("idle", Script::echo()).await);
    let config = shop::routes("[{route: [{destination: {host: shop}}]}]");
    let gateway = shop::start(&config, &[&busy, &idle], "--workers 1").await;
    // While neither has anything to do they are equals, and sooner or later a request is stuck.
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut connection = shop::send(&gateway, "/").await;
        let stuck = tokio::select! {
            reply = shop::read(&mut connection) => reply.status != 200,
            () = busy.hit(1) => true,
        };
        held.push(connection);
        if stuck {
            break;
        }
    }
    assert_eq!(busy.hits(), 1, "after {} requests", held.len());
    for _ in 0..20 {
        assert_eq!(shop::ask(&gateway, "/").await.origin().as_deref(), Some("idle"));
    }
    assert_eq!(busy.hits(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_an_ingress_reach_every_endpoint() {
    const ENDPOINTS: usize = 10;
    // At random one of them would be missed once in ten million runs.
    const REQUESTS: usize = 180;
    const CONFIG: &str = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop}, \
        spec: {ingressClassName: limen, defaultBackend: {service: {name: shop, port: {number: 80}}}}}\n---\n\
        {apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: http, port: 80}]}}\n";
    let mut origins = Vec::new();
    for number in 0..ENDPOINTS {
        origins.push(Origin::start(&format!("o{number}"), Script::echo()).await);
    }
    let flags: Vec<String> = origins
        .iter()
        .flat_map(|origin| ["--backend".to_owned(), format!("shop={}", origin.address)])
        .collect();
    let gateway = Gateway::start(&[("ingress.yaml", CONFIG)], &flags).await;
    let mut connection = connect(&gateway).await;
    for _ in 0..REQUESTS {
        connection.send(&h1::request("GET", "/", "any.example.com", &[], b"")).await;
        let reply = within("a response", connection.read("GET")).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let hits: Vec<usize> = origins.iter().map(Origin::hits).collect();
    assert!(hits.iter().all(|hits| *hits > 0), "{hits:?}");
    assert_eq!(hits.iter().sum::<usize>(), REQUESTS);
}
