//! What the gateway says of itself: metrics with Istio's labels, readiness, pages as JSON, and never a key.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::shop::Metrics;
use limen_e2e::tls::{Authority, base64};
use limen_e2e::{h1, within};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
async fn counted(gateway: &Gateway, requests: u64) -> Metrics {
    let counted = |metrics: &Metrics| {
        let lines = metrics.0.lines().filter(|line| line.starts_with("istio_requests_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>() >= requests
    };
    Metrics::when(gateway, "the requests in the metrics", counted).await
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
        "istio_requests_total",
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
    assert_eq!(text.value(&ours), 3.0);
    let unknown = ["istio_requests_total", "response_code=\"404\"", "response_flags=\"NR\"", "\"unknown\""];
    assert_eq!(text.value(&unknown), 1.0);
    let histograms = ["istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"];
    for name in histograms {
        assert_eq!(text.value(&[&format!("{name}_count"), "response_code=\"200\""]), 3.0, "{name}");
        assert_eq!(text.value(&[&format!("{name}_bucket"), "response_code=\"200\"", "le=\"+Inf\""]), 3.0);
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
        text.value(&[&format!("{name}_bucket"), "response_code=\"200\"", &format!("le=\"{le}\"")])
    };
    for (le, count) in [("1000", 0.0), ("2500", 1.0), ("5000", 1.0), ("3600000", 1.0), ("+Inf", 1.0)] {
        assert_eq!(bucket("istio_response_bytes", le), count, "{le}");
    }
    assert_eq!(bucket("istio_request_bytes", "10"), 0.0);
    assert_eq!(bucket("istio_request_bytes", "1000"), 1.0);
    assert_eq!(bucket("istio_request_duration_milliseconds", "60000"), 1.0);
    let labels = ["istio_requests_total", "destination_principal=\"unknown\"", "grpc_response_status=\"\""];
    assert_eq!(text.value(&labels), 1.0);
    assert_eq!(text.value(&["istio_build", "component=\"proxy\"", "tag=\""]), 1.0);
    assert!(text.value(&["limen_downstream_connections_total", "listener=\"127.0.0.1_80\""]) >= 1.0);
    assert!(!text.0.contains("istio_request_messages_total{"), "there was no gRPC");
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
        text.value(&[&[name][..], &labels].concat())
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
    said.push_str(&counted(&gateway, 0).await.0);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_are_rejected_are_counted_until_and_after_they_are_mended() {
    const TIMES: [&str; 3] =
        ["pilot_total_rejected_configs", "type=\"virtualservice\"", "name=\"default/shop\""];
    const NOW: &[&str] = &["limen_config_rejected_objects"];
    let origin = Origin::start("shop", Script::echo()).await;
    let pair = Authority::new().issue(&["shop.example.com"]);
    let gateway = start(&origin, &secret(&pair.certificate, &pair.key)).await;
    let metrics = Metrics::of(&gateway).await;
    assert_eq!((metrics.get(&TIMES), metrics.value(NOW)), (None, 0.0));
    let edits = [
        (ROUTES.replace("http: [{route", "http: [{timeout: never, route"), 1.0, 1.0),
        (ROUTES.to_owned(), 1.0, 0.0),
        (ROUTES.replace("http: [{route", "http: [{retries: {attempts: -1}, route"), 2.0, 1.0),
    ];
    for (text, times, now) in edits {
        gateway.write("routes.yaml", &text);
        let seen = |metrics: &Metrics| metrics.get(&TIMES) == Some(times) && metrics.value(NOW) == now;
        Metrics::when(&gateway, &format!("{times} times, {now} now"), seen).await;
    }
}

/// By address, or by what is spoken there.
fn of_listener(metrics: &Metrics, port: u16, statistic: &str) -> f64 {
    let name = format!("envoy_{statistic}");
    let label = match statistic.starts_with("http_") {
        true => format!("{{http_conn_manager_prefix=\"outbound_127.0.0.1_{port}\""),
        false => format!("{{listener_address=\"127.0.0.1_{port}\""),
    };
    metrics.value(&[&name, &label])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_handshakes_and_requests_of_listeners_have_envoys_names() {
    let origin = Origin::start("shop", Script::echo()).await;
    let authority = Authority::new();
    let pair = authority.issue(&["shop.example.com"]);
    let gateway = start(&origin, &secret(&pair.certificate, &pair.key)).await;
    let mut plain = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    for host in ["shop.example.com", "shop.example.com", "other.example.com"] {
        plain.send(&h1::request("GET", "/", host, &[], b"")).await;
        within("an answer", plain.read("GET")).await.unwrap();
    }
    let https = gateway.address(443);
    let shaken = within("a handshake", authority.connect(https, "shop.example.com", "http/1.1")).await;
    let shaken = shaken.unwrap();
    assert!(within("a refusal", authority.connect(https, "other.example.com", "http/1.1")).await.is_err());
    let mut odd = TcpStream::connect(https).await.unwrap();
    odd.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    within("the end", odd.read_to_end(&mut Vec::new())).await.ok();

    let counted = |metrics: &Metrics| {
        of_listener(metrics, 80, "http_downstream_rq_active") == 0.0
            && of_listener(metrics, 443, "listener_downstream_cx_active") == 1.0
    };
    let metrics = Metrics::when(&gateway, "the ends of all but two connections", counted).await;
    for (port, statistic, value) in [
        (80, "listener_downstream_cx_total", 1.0),
        (80, "listener_downstream_cx_active", 1.0),
        (80, "http_downstream_cx_active", 1.0),
        (80, "http_downstream_rq_total", 3.0),
        (443, "listener_downstream_cx_total", 3.0),
        (443, "listener_downstream_cx_destroy", 2.0),
        (443, "listener_ssl_handshake", 1.0),
        (443, "listener_ssl_connection_error", 1.0),
        (443, "listener_no_filter_chain_match", 1.0),
        (443, "http_downstream_cx_total", 1.0),
        (443, "http_downstream_rq_total", 0.0),
    ] {
        assert_eq!(of_listener(&metrics, port, statistic), value, "{port} {statistic}");
    }
    for (class, value) in [("2xx", 2.0), ("4xx", 1.0), ("5xx", 0.0)] {
        let class = format!("response_code_class=\"{class}\"");
        let parts = ["envoy_http_downstream_rq", "outbound_127.0.0.1_80", &class];
        assert_eq!(metrics.value(&parts), value, "{class}");
    }
    drop((plain, shaken));
    let over = |metrics: &Metrics| {
        [80, 443].iter().all(|port| of_listener(metrics, *port, "http_downstream_cx_active") == 0.0)
    };
    Metrics::when(&gateway, "the end of all connections", over).await;
}

/// Every field of Istio's text line, against what the client and the origin know of the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn istios_text_line_says_each_field_of_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.log");
    let origin = Origin::start("shop", Script::echo()).await;
    let routes = ROUTES.replace("[{route: ", "[{name: all, rewrite: {uri: /v2/}, route: ");
    let flags =
        ["--backend", &format!("shop={}", origin.address), "--access-log", "text", "--access-log-file"];
    let mut flags: Vec<String> = flags.map(str::to_owned).into();
    flags.push(file.display().to_string());
    let gateway = Gateway::start(&[("routes.yaml", &routes)], &flags).await;
    let at = gateway.address(80);
    let stream = TcpStream::connect(at).await.unwrap();
    let from = stream.local_addr().unwrap();
    let mut connection = h1::Connection::new(stream);
    let headers = [("user-agent".to_owned(), "a \"quoted\" one".to_owned())];
    connection.send(&h1::request("POST", "/a?b=c", "shop.example.com", &headers, b"twelve bytes")).await;
    let reply = within("an answer", connection.read("POST")).await.unwrap();
    assert_eq!((reply.status, reply.seen()["path"].as_str()), (200, Some("/v2/a?b=c")));
    drop(connection);
    assert_eq!(get(at, "lost.example.com", "/").await.status, 404);
    gateway.stop().await;

    let text = std::fs::read_to_string(&file).unwrap();
    let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{text}"));
    let (served, lost) = (line("/a?b=c"), line("lost.example.com"));
    let time = served.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap();
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    let seen = reply.seen();
    let id = seen["headers"]["x-request-id"].as_str().unwrap();
    // Two times and a port are the gateway's own: what stands between is known.
    let before =
        format!("[{time}] \"POST /a?b=c HTTP/1.1\" 200 - via_upstream - \"-\" 12 {} ", reply.body.len());
    let between = format!(
        " \"127.0.0.1\" \"a \\x22quoted\\x22 one\" \"{id}\" \"shop.example.com\" \"{}\" \
         outbound|80||shop.default.svc.cluster.local 127.0.0.1:",
        origin.address
    );
    let after = format!(" {at} {from} - all");
    let rest = served.strip_prefix(&before).unwrap_or_else(|| panic!("{served}\n{before}"));
    let (times, port) = rest.split_once(&between).unwrap_or_else(|| panic!("{served}\n{between}"));
    let port = port.strip_suffix(&after).unwrap_or_else(|| panic!("{served}\n{after}"));
    assert_eq!(times.split(' ').filter(|time| time.parse::<u64>().is_ok()).count(), 2, "{times}");
    assert!(port.parse::<u16>().is_ok(), "{served}");
    let end = format!("\"lost.example.com\" \"-\" - - {at} ");
    assert!(lost.contains("\"GET / HTTP/1.1\" 404 NR route_not_found - \"-\" 0 0 "), "{lost}");
    assert!(lost.contains(&end) && lost.ends_with(" - -"), "{lost}\n{end}");
}
