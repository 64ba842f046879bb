//! What the gateway says of itself: metrics with Istio's labels, readiness, pages as JSON, and never a key.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::tls::{Authority, base64};
use limen_e2e::{h1, within};
use serde_json::Value;
use tokio::net::TcpStream;

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: SIMPLE, credentialName: shop-tls}
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: http, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {hosts: [shop.example.com], gateways: [edge], http: [{route: [{destination: {host: shop}}]}]}
";

async fn get(address: SocketAddr, host: &str, path: &str) -> Reply {
    let mut connection = h1::Connection::new(TcpStream::connect(address).await.unwrap());
    connection.send(&h1::request("GET", path, host, &[], b"")).await;
    within(path, connection.read("GET")).await.unwrap()
}

async fn page(address: SocketAddr, path: &str) -> Reply {
    get(address, &address.to_string(), path).await
}

async fn start(origin: &Origin, secret: &str) -> Gateway {
    let flags = ["--backend".to_owned(), format!("shop={}", origin.address)];
    Gateway::start(&[("routes.yaml", ROUTES), ("secret.yaml", secret)], &flags).await
}

fn secret(certificate: &str, key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: shop-tls, namespace: istio-system}}\n\
         data:\n  tls.crt: {}\n  tls.key: {}\n",
        base64(certificate),
        base64(key)
    )
}

/// The metrics, once so many requests are in them: a client has its answer before it is counted.
async fn counted(gateway: &Gateway, requests: u64) -> String {
    let address = gateway.running.metrics().unwrap();
    within("the requests in the metrics", async {
        loop {
            let text = page(address, "/stats/prometheus").await.text();
            let lines = text.lines().filter(|line| line.starts_with("istio_requests_total{"));
            let sum: u64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
            if sum >= requests {
                return text;
            }
        }
    })
    .await
}

/// The value of the one series whose line holds all of `parts`.
fn series(text: &str, parts: &[&str]) -> f64 {
    let found: Vec<&str> = text.lines().filter(|line| parts.iter().all(|part| line.contains(part))).collect();
    let [line] = found[..] else { panic!("{} series with {parts:?} in\n{text}", found.len()) };
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_with_istios_labels() {
    let origin = Origin::start("shop", Script::echo()).await;
    let pair = Authority::new().issue(&["shop.example.com"]);
    let gateway = start(&origin, &secret(&pair.certificate, &pair.key)).await;
    for _ in 0..3 {
        assert_eq!(get(gateway.address(80), "shop.example.com", "/").await.status, 200);
    }
    assert_eq!(get(gateway.address(80), "other.example.com", "/").await.status, 404);
    let text = counted(&gateway, 4).await;
    let ours = [
        "istio_requests_total{",
        "reporter=\"source\"",
        "source_workload=\"istio-ingressgateway\"",
        "source_workload_namespace=\"istio-system\"",
        "destination_service=\"shop.default.svc.cluster.local\"",
        "destination_service_name=\"shop\"",
        "destination_service_namespace=\"default\"",
        "request_protocol=\"http\"",
        "response_code=\"200\"",
        "response_flags=\"-\"",
        "connection_security_policy=\"unknown\"",
    ];
    assert_eq!(series(&text, &ours), 3.0);
    let unknown = ["istio_requests_total{", "response_code=\"404\"", "response_flags=\"NR\"", "\"unknown\""];
    assert_eq!(series(&text, &unknown), 1.0);
    let histograms = ["istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"];
    for name in histograms {
        assert_eq!(series(&text, &[&format!("{name}_count{{"), "response_code=\"200\""]), 3.0, "{name}");
        assert_eq!(
            series(&text, &[&format!("{name}_bucket{{"), "response_code=\"200\"", "le=\"+Inf\""]),
            3.0
        );
    }
}

/// Sizes and times of requests of a known size, in Istio's buckets; the labels that do not depend on the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_count_in_istios_buckets() {
    let raw = b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n".iter().copied().chain([b'a'; 2000]);
    let origin = Origin::start("shop", Script::Raw(raw.collect())).await;
    let pair = Authority::new().issue(&["shop.example.com"]);
    let gateway = start(&origin, &secret(&pair.certificate, &pair.key)).await;
    assert_eq!(get(gateway.address(80), "shop.example.com", "/").await.status, 200);
    let text = counted(&gateway, 1).await;
    let bucket = |name: &str, le: &str| {
        series(&text, &[&format!("{name}_bucket{{"), "response_code=\"200\"", &format!("le=\"{le}\"")])
    };
    for (le, count) in [("1000", 0.0), ("2500", 1.0), ("5000", 1.0), ("3600000", 1.0), ("+Inf", 1.0)] {
        assert_eq!(bucket("istio_response_bytes", le), count, "{le}");
    }
    assert_eq!(bucket("istio_request_bytes", "10"), 0.0);
    assert_eq!(bucket("istio_request_bytes", "1000"), 1.0);
    assert_eq!(bucket("istio_request_duration_milliseconds", "60000"), 1.0);
    let labels = ["istio_requests_total{", "destination_principal=\"unknown\"", "grpc_response_status=\"\""];
    assert_eq!(series(&text, &labels), 1.0);
    assert_eq!(series(&text, &["istio_build{", "component=\"proxy\"", "tag=\""]), 1.0);
    assert!(
        series(&text, &["limen_downstream_connections_total{listener=\"127.0.0.1_80\""]) >= 1.0,
        "{text}"
    );
    assert!(!text.contains("istio_request_messages_total{"), "there was no gRPC");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_statuses_of_grpc_are_counted() {
    let trailers = vec![("grpc-status".to_owned(), "5".to_owned())];
    let script = Script::Echo { statuses: vec![200], headers: Vec::new(), trailers };
    let origin = Origin::start("shop", script).await;
    let pair = Authority::new().issue(&["shop.example.com"]);
    let routes = ROUTES.replace("name: http, port: 80", "name: grpc, port: 80");
    let flags = ["--backend".to_owned(), format!("shop={}", origin.address)];
    let secret = secret(&pair.certificate, &pair.key);
    let gateway = Gateway::start(&[("routes.yaml", &routes), ("secret.yaml", &secret)], &flags).await;
    let headers = [("content-type", "application/grpc+proto"), ("te", "trailers")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    // Two messages, of five bytes and of none.
    let body = b"\0\0\0\0\x05hello\0\0\0\0\0";
    let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    for _ in 0..3 {
        connection.send(&h1::request("POST", "/shop.Shop/Buy", "shop.example.com", &headers, body)).await;
        assert_eq!(within("an answer", connection.read("POST")).await.unwrap().status, 200);
    }
    let text = counted(&gateway, 3).await;
    let of = |name: &str| {
        let labels = ["request_protocol=\"grpc\"", "grpc_response_status=\"5\"", "response_code=\"200\""];
        series(&text, &[&[format!("{name}{{").as_str()][..], &labels].concat())
    };
    assert_eq!((of("istio_requests_total"), of("istio_request_messages_total")), (3.0, 6.0));
    // What the origin echoes reads as the beginning of one long message.
    assert_eq!(of("istio_response_messages_total"), 3.0);
    let lines = gateway.stop().await;
    assert!(lines.iter().all(|line| line["response_code"] == 200), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_shows_a_key() {
    let origin = Origin::start("shop", Script::echo()).await;
    let (pair, other) =
        (Authority::new().issue(&["shop.example.com"]), Authority::new().issue(&["a.example"]));
    let gateway = start(&origin, &secret(&pair.certificate, &pair.key)).await;
    // A pair that does not match is told of, which is where a careless message would quote it.
    gateway.write("secret.yaml", &secret(&pair.certificate, &other.key));
    gateway.until("the problem of the pair", |view| !view.problems().is_empty()).await;
    let admin = gateway.running.admin().unwrap();
    let mut said = gateway.problems().join("\n");
    for path in ["/", "/state", "/objects", "/ir", "/endpoints", "/problems", "/verdicts", "/listeners"] {
        let reply = page(admin, path).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        if path != "/" {
            assert_ne!(
                serde_json::from_slice::<Value>(&reply.body).unwrap_or_default(),
                Value::Null,
                "{path} is JSON"
            );
        }
        said.push_str(&reply.text());
    }
    said.push_str(&counted(&gateway, 0).await);
    assert!(said.contains("shop-tls"), "the pages speak of the certificate at all");
    let view = gateway.running.view();
    said.push_str(&format!("{view:?}"));
    for key in [&pair.key, &other.key] {
        let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
        for secret in [body.as_str(), &base64(key)[40..80], "PRIVATE KEY"] {
            assert!(!said.contains(secret), "key material in an output: {secret}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_port_answers_local_names_only() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "").await;
    let admin = gateway.running.admin().unwrap();
    assert_eq!(page(admin, "/state").await.status, 200);
    let rebound = get(admin, "evil.example.com", "/state").await;
    assert!(rebound.status >= 400, "a name that was rebound to loopback: {rebound:?}");
    assert_eq!(page(gateway.running.readiness().unwrap(), "/healthz/ready").await.status, 200);
}
