//! Traces end to end: what the origin is told, and which spans a collector gets.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::{h1, within};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: spans, namespace: obs}, spec: {ports: [{name: http, port: 9411}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - {match: [{uri: {prefix: /closed}}], directResponse: {status: 503}}
  - {match: [{uri: {prefix: /cart}}], retries: {attempts: 2, retryOn: '503'}, route: [{destination: {host: shop}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - {name: zipkin, zipkin: {service: spans.obs.svc.cluster.local, port: 9411, traceContextOption: USE_B3_WITH_W3C_PROPAGATION}}
    - name: otel
      opentelemetry: {service: obs/spans.obs.svc.cluster.local, port: 9411, http: {path: /v1/traces, headers: [{name: x-key, value: secret}]}}
";

/// What a collector was sent: the head, and the body.
type Sent = UnboundedReceiver<(String, Value)>;

/// A collector that takes whatever is posted.
async fn collector() -> (SocketAddr, Sent) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, sent) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut bytes, mut whole) = (Vec::new(), None);
            while whole.is_none() && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {
                let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let length =
                    head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse::<usize>();
                whole = bytes.get(end + 4..end + 4 + length.unwrap()).map(|body| (head, body.to_vec()));
            }
            let Some((head, body)) = whole else { continue };
            stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            let _ = told.send((head, serde_json::from_slice(&body).unwrap()));
        }
    });
    (address, sent)
}

struct World {
    gateway: Gateway,
    origin: Origin,
    sent: Sent,
}

/// A gateway whose Telemetry has this entry, in front of an origin that answers with these statuses.
async fn world(tracing: &str, statuses: &[u16]) -> World {
    let script = Script::Echo { statuses: statuses.to_vec(), headers: Vec::new(), trailers: Vec::new() };
    let origin = Origin::start("shop", script).await;
    let (address, sent) = collector().await;
    let telemetry = format!(
        "{{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {{name: spans, namespace: istio-system}}, \
         spec: {{tracing: [{tracing}]}}}}"
    );
    let backends = [format!("shop={}", origin.address), format!("spans.obs={address}")];
    let flags: Vec<String> =
        backends.into_iter().flat_map(|backend| ["--backend".to_owned(), backend]).collect();
    let gateway = Gateway::start(&[("routes.yaml", ROUTES), ("telemetry.yaml", &telemetry)], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    World { gateway, origin, sent }
}

impl World {
    /// Asks, and returns the header fields that the origin saw.
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Value {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let mut connection = h1::Connection::new(TcpStream::connect(self.gateway.address(80)).await.unwrap());
        connection.send(&h1::request("GET", path, "shop.example.com", &headers, b"")).await;
        within("an answer", connection.read("GET")).await.unwrap().seen()["headers"].clone()
    }

    /// So many spans of Zipkin's.
    async fn spans(&mut self, count: usize) -> Vec<Value> {
        let mut spans = Vec::new();
        while spans.len() < count {
            let (head, body) = within("spans", self.sent.recv()).await.unwrap();
            assert!(head.starts_with("post /api/v2/spans http/1.1"), "{head}");
            spans.extend(body.as_array().unwrap().iter().cloned());
        }
        spans
    }
}

fn of_kind<'s>(spans: &'s [Value], kind: &str) -> &'s Value {
    spans.iter().find(|span| span["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_becomes_two_spans_of_a_new_trace_and_the_origin_is_told() {
    let tags = "{team: {literal: {value: edge}}, who: {header: {name: X-User, defaultValue: nobody}}, \
                code: {formatter: {value: \"%RESPONSE_CODE%!\"}}, none: {environment: {name: LIMEN_NO_SUCH_VARIABLE}}}";
    let entry =
        format!("{{providers: [{{name: zipkin}}], randomSamplingPercentage: 100, customTags: {tags}}}");
    let mut world = world(&entry, &[200]).await;
    let seen = world.get("/cart/1?a=b", &[("x-user", "ann")]).await;
    let spans = world.spans(2).await;
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let (server, client) = (of_kind(&spans, "SERVER"), of_kind(&spans, "CLIENT"));
    assert_eq!((&server["traceId"], server["traceId"].as_str().unwrap().len()), (&client["traceId"], 32));
    assert_eq!((server.get("parentId"), &client["parentId"]), (None, &server["id"]), "{spans:#?}");
    assert_eq!(server["name"], "shop.default.svc.cluster.local:80/cart*");
    assert_eq!(client["name"], "router outbound|80||shop.default.svc.cluster.local egress");
    assert_eq!(server["localEndpoint"]["serviceName"], "istio-ingressgateway.istio-system");
    for (name, value) in [
        ("http.url", "http://shop.example.com/cart/1?a=b"),
        ("http.method", "GET"),
        ("http.status_code", "200"),
        ("component", "proxy"),
        ("istio.canonical_service", "istio-ingressgateway"),
        ("istio.mesh_id", "cluster.local"),
        ("team", "edge"),
        ("who", "ann"),
        ("code", "200!"),
    ] {
        assert_eq!(server["tags"][name], value, "{name}");
    }
    assert_eq!((server["tags"].get("none"), server["tags"].get("error")), (None, None));
    assert_eq!(client["tags"]["upstream_address"], world.origin.address.to_string());
    assert!(client["timestamp"].as_u64() >= server["timestamp"].as_u64(), "{spans:#?}");
    // What the origin was told.
    assert_eq!((&seen["x-b3-traceid"], &seen["x-b3-spanid"]), (&server["traceId"], &client["id"]));
    assert_eq!((&seen["x-b3-parentspanid"], &seen["x-b3-sampled"]), (&server["id"], &"1".into()));
    let (trace, id) = (server["traceId"].as_str().unwrap(), client["id"].as_str().unwrap());
    assert_eq!(seen["traceparent"], format!("00-{trace}-{id}-01"));
    assert_eq!(seen["x-envoy-decorator-operation"], server["name"]);
    let request_id = seen["x-request-id"].as_str().unwrap();
    assert_eq!((request_id.as_bytes()[14], &server["tags"]["guid:x-request-id"]), (b'9', &request_id.into()));

    world.get("/closed", &[]).await;
    let spans = world.spans(1).await;
    assert_eq!(
        (spans.len(), &spans[0]["tags"]["error"], &spans[0]["name"]),
        (1, &"true".into(), &"shop:80/closed*".into()).clone()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_trace_is_continued_and_its_decision_stands() {
    let mut world = world("{providers: [{name: zipkin}], randomSamplingPercentage: 0}", &[200]).await;
    let ids = [("x-b3-traceid", "463ac35c9f6413ad"), ("x-b3-spanid", "a2fb4a1d1a96d312")];
    let unsampled = world.get("/cart", &[]).await;
    assert_eq!(
        (&unsampled["x-b3-sampled"], unsampled["x-request-id"].as_str().unwrap().as_bytes()[14]),
        (&"0".into(), b'4')
    );
    let refused = world.get("/cart", &[ids[0], ids[1], ("x-b3-sampled", "0")]).await;
    assert_eq!((&refused["x-b3-traceid"], &refused["x-b3-sampled"]), (&ids[0].1.into(), &"0".into()));
    let seen = world.get("/cart", &[ids[0], ids[1], ("x-b3-sampled", "1")]).await;
    // What was not sampled would have come before.
    let spans = world.spans(2).await;
    let server = of_kind(&spans, "SERVER");
    assert_eq!((&server["traceId"], &server["parentId"]), (&ids[0].1.into(), &ids[1].1.into()));
    assert_eq!((&seen["x-b3-traceid"], &seen["x-b3-parentspanid"]), (&ids[0].1.into(), &server["id"]));
    let w3c = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    world.get("/cart", &[("traceparent", w3c)]).await;
    let spans = world.spans(2).await;
    assert_eq!(of_kind(&spans, "SERVER")["traceId"], "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otlp_gets_a_span_for_each_attempt() {
    let mut world = world("{providers: [{name: OTEL}], enableIstioTags: false}", &[503, 200]).await;
    let w3c = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen = world.get("/cart", &[("traceparent", w3c), ("tracestate", "a=b")]).await;
    let (head, body) = within("spans", world.sent.recv()).await.unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1") && head.contains("x-key: secret"), "{head}");
    let resource = &body["resourceSpans"][0];
    let service = serde_json::json!({"key": "service.name", "value": {"stringValue": "istio-ingressgateway.istio-system"}});
    assert_eq!(resource["resource"]["attributes"][0], service);
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    let [first, second, server] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((&server["kind"], &server["parentSpanId"]), (&2.into(), &"b7ad6b7169203331".into()));
    for client in [first, second] {
        assert_eq!((&client["kind"], &client["parentSpanId"]), (&3.into(), &server["spanId"]));
        assert_eq!(client["traceId"], "0af7651916cd43dd8448eb211c80319c");
    }
    assert_eq!((&first["status"]["code"], second["status"].get("code")), (&2.into(), None));
    let own = second["spanId"].as_str().unwrap();
    assert_eq!(seen["traceparent"], format!("00-0af7651916cd43dd8448eb211c80319c-{own}-01"));
    assert_eq!((&seen["tracestate"], seen.get("x-b3-traceid")), (&"a=b".into(), None));
    assert!(!body.to_string().contains("istio.canonical_service"), "{body:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_spans_are_reported_origins_are_told_of_no_trace() {
    let off = world("{providers: [{name: zipkin}], disableSpanReporting: true}", &[200]).await;
    let seen = off.get("/cart", &[("x-b3-sampled", "1")]).await;
    assert_eq!((seen.get("x-b3-traceid"), seen.get("x-envoy-decorator-operation")), (None, None));
    let mut silent = world(
        "{providers: [{name: zipkin}], randomSamplingPercentage: 100, disableContextPropagation: true}",
        &[200],
    )
    .await;
    assert_eq!(silent.get("/cart", &[]).await.get("x-b3-traceid"), None);
    assert_eq!(silent.spans(2).await.len(), 2);
}
