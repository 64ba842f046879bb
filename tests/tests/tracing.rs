//! Traces end to end: what the origin is told, and which spans a collector gets.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use limen_e2e::collector::{Collector, Mood, Proto};
use limen_e2e::dns::{DnsServer, Says};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::shop::Metrics;
use limen_e2e::tls::Authority;
use limen_e2e::{h1, within};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpStream;

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
";

/// What the mesh says.
const PROVIDERS: &str = "
extensionProviders:
- {name: zipkin, zipkin: {service: spans.obs.svc.cluster.local, port: 9411, traceContextOption: USE_B3_WITH_W3C_PROPAGATION}}
- name: otel
  opentelemetry: {service: obs/spans.obs.svc.cluster.local, port: 9411, http: {path: /v1/traces, headers: [{name: x-key, value: secret}]}}
- name: grpc
  opentelemetry: {service: spans.obs.svc.cluster.local, port: 9411, grpc: {timeout: 20s, initialMetadata: [{name: X-Key, value: secret}]}}
- {name: datadog, datadog: {service: spans.obs.svc.cluster.local, port: 9411}}
- {name: skywalking, skywalking: {service: spans.obs.svc.cluster.local, port: 9411, accessToken: entry}}
- {name: slow, zipkin: {service: spans.obs.svc.cluster.local, port: 9411, timeout: 600s}}
";

const HOST: &str = "spans.obs.svc.cluster.local";
/// Counters of spans.
const SENT: &[&str] = &["limen_spans_sent_total"];
const LOST: &[&str] = &["limen_spans_lost_total"];

struct World {
    gateway: Gateway,
    origin: Origin,
    collector: Collector,
}

/// A gateway whose Telemetry has this entry, in front of an origin that answers with these statuses.
async fn world(entry: &str, statuses: &[u16]) -> World {
    let telemetry = format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: mesh, namespace: istio-system}}\nspec: {{tracing: [{entry}]}}"
    );
    world_of((PROVIDERS, &telemetry), statuses, Collector::start(None).await, &[]).await
}

/// One whose mesh says this, beside more objects; `more_flags` are the process's.
async fn world_of(
    (mesh, more): (&str, &str),
    statuses: &[u16],
    collector: Collector,
    more_flags: &[String],
) -> World {
    let script = Script::Echo { statuses: statuses.to_vec(), headers: Vec::new(), trailers: Vec::new() };
    let origin = Origin::start("v1", script).await;
    let backends = [format!("shop={}", origin.address), format!("spans.obs={}", collector.address)];
    let mut flags: Vec<String> =
        backends.into_iter().flat_map(|backend| ["--backend".to_owned(), backend]).collect();
    flags.extend_from_slice(more_flags);
    let mesh = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n{}",
        mesh.lines().map(|line| format!("    {line}\n")).collect::<String>()
    );
    let files = [("routes.yaml", ROUTES), ("mesh.yaml", &*mesh), ("more.yaml", more)];
    let gateway = Gateway::start(&files, &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    World { gateway, origin, collector }
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
            let post = self.collector.next().await;
            assert_eq!(
                (&*post.path, &*post.headers["host"]),
                ("/api/v2/spans", "spans.obs.svc.cluster.local:9411")
            );
            spans.extend(post.json().as_array().unwrap().iter().cloned());
        }
        spans
    }

    /// Waits until so many spans are counted.
    async fn counted(&self, series: &[&str], spans: f64) {
        let so = |metrics: &Metrics| metrics.get(series) == Some(spans);
        Metrics::when(&self.gateway, &format!("{spans} of {series:?}"), so).await;
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
    let post = world.collector.next().await;
    assert_eq!((&*post.path, &*post.headers["x-key"]), ("/v1/traces", "secret"));
    let body = post.json();
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

/// The attributes or tags of a message, of which each has its name in field 1.
fn pairs(message: &Proto, field: u64, value: impl Fn(&Proto) -> String) -> Value {
    message.messages(field).iter().map(|pair| (pair.text(1), Value::from(value(pair)))).collect()
}

/// Attributes of OTLP, whose values are messages.
fn attributes(message: &Proto, field: u64) -> Value {
    pairs(message, field, |pair| pair.messages(2)[0].text(1))
}

/// The spans of OTLP's request, as numbers and names of fields say.
fn of_otlp(request: &Proto) -> (Value, Vec<Proto>) {
    let [resource_spans] = &request.messages(1)[..] else { panic!("{request:?}") };
    let [scope_spans] = &resource_spans.messages(2)[..] else { panic!("{request:?}") };
    assert_eq!(scope_spans.messages(1)[0].text(1), "limen");
    (attributes(&resource_spans.messages(1)[0], 1), scope_spans.messages(2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otlp_over_grpc_gets_the_spans_of_a_call_in_one_message() {
    let mut world = world("{providers: [{name: grpc}]}", &[503, 200, 200]).await;
    let w3c = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen = world.get("/cart", &[("traceparent", w3c)]).await;
    let post = world.collector.next().await;
    assert_eq!(post.path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    for (name, value) in [
        (":authority", "spans.obs.svc.cluster.local:9411"),
        (":scheme", "http"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "20000m"),
        ("x-key", "secret"),
    ] {
        assert_eq!(post.headers[name], value, "{name}");
    }
    let [request] = &post.messages()[..] else { panic!("{post:?}") };
    let (resource, spans) = of_otlp(request);
    assert_eq!(resource, json!({"service.name": "istio-ingressgateway.istio-system"}));
    let [first, second, server] = &spans[..] else { panic!("{spans:#?}") };
    for span in [first, second, server] {
        assert_eq!(span.hex(1), "0af7651916cd43dd8448eb211c80319c");
        assert!(span.number(7) > 1_500_000_000_000_000_000 && span.number(8) >= span.number(7), "{span:?}");
    }
    assert_eq!((server.number(6), server.hex(4)), (2, "b7ad6b7169203331".to_owned()));
    assert_eq!(server.text(5), "shop.default.svc.cluster.local:80/cart*");
    assert_eq!((first.number(6), first.hex(4)), (3, server.hex(2)));
    // An attempt that failed, and one that did not.
    assert_eq!((first.messages(15)[0].number(3), second.messages(15).len()), (2, 0));
    assert_eq!(attributes(server, 9)["http.url"], "http://shop.example.com/cart");
    assert_eq!(attributes(server, 9)["http.status_code"], "200");
    assert_eq!(seen["traceparent"], format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", second.hex(2)));
    world.counted(SENT, 3.0).await;
    // The next call takes the same connection.
    world.get("/cart", &[("traceparent", w3c)]).await;
    assert_eq!(world.collector.next().await.connection, post.connection);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datadog_gets_traces_in_messagepack_and_origins_its_decimal_ids() {
    let mut world = world("{providers: [{name: datadog}], randomSamplingPercentage: 100}", &[200]).await;
    let client = [
        ("x-datadog-trace-id", "13330957469379093041"),
        ("x-datadog-parent-id", "81985529216486895"),
        ("x-datadog-sampling-priority", "2"),
    ];
    let continued = world.get("/cart", &client).await;
    let post = world.collector.next().await;
    assert_eq!((&*post.path, &*post.headers["content-type"]), ("/v0.4/traces", "application/msgpack"));
    assert_eq!(post.headers["x-datadog-trace-count"], "1");
    let body = post.msgpack();
    let [exit, entry] = &body[0].as_array().unwrap()[..] else { panic!("{body:#}") };
    for span in [exit, entry] {
        assert_eq!(span["trace_id"], 13330957469379093041_u64);
        assert_eq!(
            (&span["service"], &span["name"]),
            (&json!("istio-ingressgateway.istio-system"), &json!("envoy.proxy"))
        );
        assert_eq!((&span["error"], &span["metrics"]["_sampling_priority_v1"]), (&json!(0), &json!(1.0)));
        assert!(span["start"].as_u64().unwrap() > 1_500_000_000_000_000_000, "{span:#}");
    }
    assert_eq!((&entry["parent_id"], &exit["parent_id"]), (&json!(81985529216486895_u64), &entry["span_id"]));
    assert_eq!(
        (&entry["meta"]["span.kind"], &exit["meta"]["span.kind"]),
        (&json!("server"), &json!("client"))
    );
    assert_eq!(entry["resource"], "shop.default.svc.cluster.local:80/cart*");
    assert_eq!(entry["meta"]["http.url"], "http://shop.example.com/cart");
    // What the origin was told: all in decimal, and the client's word on sampling as it was.
    assert_eq!(continued["x-datadog-trace-id"], "13330957469379093041");
    assert_eq!(continued["x-datadog-parent-id"], exit["span_id"].to_string());
    assert_eq!(
        (&continued["x-datadog-sampling-priority"], continued.get("x-b3-traceid")),
        (&json!("2"), None)
    );

    let dropped = world.get("/cart", &[client[0], client[1], ("x-datadog-sampling-priority", "-1")]).await;
    assert_eq!(dropped["x-datadog-sampling-priority"], "-1");
    let fresh = world.get("/cart", &[]).await;
    let body = world.collector.next().await.msgpack();
    // What the client wants dropped would have come before.
    assert_eq!(body[0][1]["trace_id"].to_string(), *fresh["x-datadog-trace-id"].as_str().unwrap());
    assert_eq!((&fresh["x-datadog-sampling-priority"], &body[0][1]["parent_id"]), (&json!("1"), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skywalking_gets_a_segment_and_the_origin_its_place_in_it() {
    let mut world =
        world("{providers: [{name: skywalking}], randomSamplingPercentage: 100}", &[503, 200]).await;
    // Trace `t-1`, segment `s-1`, span 4 of `web` (`web-0`), `/home`, sent to `edge:80`.
    let client = "1-dC0x-cy0x-4-d2Vi-d2ViLTA=-L2hvbWU=-ZWRnZTo4MA==";
    let seen = world.get("/cart", &[("sw8", client)]).await;
    let post = world.collector.next().await;
    assert_eq!(post.path, "/skywalking.v3.TraceSegmentReportService/collect");
    assert_eq!((&*post.headers["authentication"], &*post.headers["te"]), ("entry", "trailers"));
    let [segment] = &post.messages()[..] else { panic!("{post:?}") };
    assert_eq!(
        (segment.text(1), segment.text(4)),
        ("t-1".to_owned(), "istio-ingressgateway.istio-system".to_owned())
    );
    let (id, instance) = (segment.text(2), segment.text(5));
    assert_eq!((id.len(), instance.is_empty()), (32, false));
    let [entry, first, second] = &segment.messages(3)[..] else { panic!("{segment:?}") };
    let kinds = |span: &Proto| {
        (span.number(1), span.number(2) as i32, span.number(8), span.number(9), span.number(11))
    };
    assert_eq!(kinds(entry), (0, -1, 0, 3, 0));
    assert_eq!((kinds(first), kinds(second)), ((1, 0, 1, 3, 1), (2, 0, 1, 3, 0)));
    let name = "shop.default.svc.cluster.local:80/cart*";
    assert_eq!((entry.text(6), second.text(7)), (name.to_owned(), world.origin.address.to_string()));
    assert!(entry.number(4) >= entry.number(3) && entry.number(3) > 1_500_000_000_000, "{entry:?}");
    assert_eq!(pairs(entry, 12, |pair| pair.text(2))["http.status_code"], "200");
    let [parent] = &entry.messages(5)[..] else { panic!("{entry:?}") };
    let texts = [2, 3, 5, 6, 7, 8].map(|field| parent.text(field));
    assert_eq!((texts.join(" "), parent.number(4)), ("t-1 s-1 web web-0 /home edge:80".to_owned(), 4));
    // What the origin was told: the same trace, and of this segment the span of the attempt that reached it.
    let told: Vec<&str> = seen["sw8"].as_str().unwrap().split('-').collect();
    assert_eq!((told[0], told[1], told[3], told.len()), ("1", "dC0x", "2", 8));
    let texts: Vec<String> = [2, 4, 5, 6, 7].iter().map(|part| from_base64(told[*part])).collect();
    assert_eq!(texts, [&*id, "istio-ingressgateway.istio-system", &*instance, name, "shop.example.com"]);

    let unsampled = world.get("/cart", &[("sw8", &client.replacen('1', "0", 1))]).await;
    assert!(unsampled["sw8"].as_str().unwrap().starts_with("0-dC0x-"), "{unsampled}");
    let fresh = world.get("/cart", &[]).await;
    let trace = world.collector.next().await.messages()[0].text(1);
    assert_eq!(from_base64(fresh["sw8"].as_str().unwrap().split('-').nth(1).unwrap()), trace);
}

fn from_base64(text: &str) -> String {
    let digit = |byte: u8| {
        let all = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        all.iter().position(|known| *known == byte).unwrap() as u32
    };
    let bytes = text.trim_end_matches('=').as_bytes().chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0, |sum, byte| sum << 6 | digit(*byte)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    String::from_utf8(bytes.collect()).unwrap()
}

/// A gateway whose collector wants TLS, which the DestinationRule says with `tls`.
async fn encrypted(provider: &str, server: Arc<ServerConfig>, tls: &str) -> World {
    let more = format!(
        "apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: mesh, namespace: istio-system}}
spec: {{tracing: [{{providers: [{{name: {provider}}}], randomSamplingPercentage: 100}}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: spans, namespace: istio-system}}
spec: {{host: {HOST}, trafficPolicy: {{tls: {tls}}}}}"
    );
    world_of((PROVIDERS, &more), &[200], Collector::start(Some(server)).await, &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collectors_behind_tls_are_spoken_to_as_their_destination_rules_say() {
    let (authority, home) = (Authority::new(), tempfile::tempdir().unwrap());
    let identity = authority.issue_client("edge", &["edge.example.com".to_owned()]).pair;
    let file = |name: &str, pem: &str| {
        std::fs::write(home.path().join(name), pem).unwrap();
        home.path().join(name).to_string_lossy().into_owned()
    };
    let (ca, strangers) =
        (file("ca", &authority.certificate()), file("strangers", &Authority::new().certificate()));
    let (certificate, key) = (file("certificate", &identity.certificate), file("key", &identity.key));
    let simple = format!("{{mode: SIMPLE, caCertificates: {ca}}}");
    let mutual = format!(
        "{{mode: MUTUAL, caCertificates: {ca}, clientCertificate: {certificate}, privateKey: {key}}}"
    );

    let mut over_http = encrypted("zipkin", authority.server(&[HOST]), &simple).await;
    over_http.get("/cart", &[]).await;
    assert_eq!(over_http.spans(2).await.len(), 2);

    let mut over_grpc = encrypted("grpc", authority.http_server(&[HOST], true), &mutual).await;
    over_grpc.get("/cart", &[]).await;
    let post = over_grpc.collector.next().await;
    assert_eq!((&*post.headers[":scheme"], of_otlp(&post.messages()[0]).1.len()), ("https", 2));

    // Whoever is not who is meant gets nothing.
    let strange = format!("{{mode: SIMPLE, caCertificates: {strangers}}}");
    let refused = encrypted("grpc", authority.http_server(&[HOST], false), &strange).await;
    assert_eq!(refused.get("/cart", &[]).await["x-b3-traceid"], Value::Null);
    refused.counted(LOST, 2.0).await;
    let other = encrypted("zipkin", authority.server(&["other.example.com"]), &simple).await;
    other.get("/cart", &[]).await;
    other.counted(LOST, 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collectors_whose_service_is_of_http2_are_spoken_to_in_it() {
    let more = format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: spans, namespace: istio-system}}
spec: {{host: {HOST}, trafficPolicy: {{connectionPool: {{http: {{h2UpgradePolicy: UPGRADE}}}}}}}}"
    );
    let mesh = format!(
        "{PROVIDERS}\ndefaultConfig: {{tracing: {{sampling: 100}}}}\ndefaultProviders: {{tracing: [zipkin]}}"
    );
    let mut world = world_of((&mesh, &more), &[200], Collector::start(None).await, &[]).await;
    world.get("/cart", &[]).await;
    let post = world.collector.next().await;
    assert_eq!(
        (&*post.headers[":authority"], &*post.path),
        ("spans.obs.svc.cluster.local:9411", "/api/v2/spans")
    );
    assert_eq!((post.json().as_array().unwrap().len(), post.headers.get("grpc-timeout")), (2, None));
    world.counted(SENT, 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_provider_is_named_spans_go_where_the_bootstrap_says() {
    let (authority, home) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca = home.path().join("ca");
    std::fs::write(&ca, authority.certificate()).unwrap();
    let tls = format!(", tlsSettings: {{mode: SIMPLE, caCertificates: {}}}", ca.display());
    let dns = DnsServer::start().await;
    dns.say("collector.example.net", Says::Addresses(vec![[127, 0, 0, 1].into()], 60));
    let flags = ["--dns-server".to_owned(), dns.address.to_string()];
    let server = || Some(authority.server(&["collector.example.net"]));
    for (kind, host, path, tls, server) in [
        ("zipkin", "spans.obs:9411", "/api/v2/spans", "", None),
        ("zipkin", "127.0.0.1", "/api/v2/spans", "", None),
        ("datadog", "collector.example.net", "/v0.4/traces", "", None),
        ("datadog", "collector.example.net", "/v0.4/traces", &*tls, server()),
    ] {
        let collector = Collector::start(server).await;
        let port = collector.address.port();
        let address = if host.contains(':') { host.to_owned() } else { format!("{host}:{port}") };
        let tags = "customTags: {team: {literal: {value: edge}}}";
        let mesh = format!(
            "defaultConfig: {{tracing: {{sampling: 100, {kind}: {{address: \"{address}\"}}, {tags}{tls}}}}}"
        );
        let mut world = world_of((&mesh, ""), &[200], collector, &flags).await;
        let seen = world.get("/cart", &[]).await;
        let post = world.collector.next().await;
        assert_eq!((&*post.path, &post.headers["host"]), (path, &address));
        let tag = match kind {
            "zipkin" => of_kind(post.json().as_array().unwrap(), "SERVER")["tags"]["team"].clone(),
            _ => post.msgpack()[0][1]["meta"]["team"].clone(),
        };
        assert_eq!((tag, seen.get("x-b3-traceid").is_some()), (json!("edge"), kind == "zipkin"));
    }
    // The mesh says that there is none, and no Telemetry that there is.
    let mesh = "{enableTracing: false, defaultConfig: {tracing: {zipkin: {address: \"spans.obs:9411\"}}}}";
    let off = world_of((mesh, ""), &[200], Collector::start(None).await, &[]).await;
    assert_eq!(off.get("/cart", &[]).await.get("x-b3-traceid"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_was_away_gets_spans_again_and_what_it_missed_is_counted() {
    for provider in ["zipkin", "grpc"] {
        let entry = format!("{{providers: [{{name: {provider}}}], randomSamplingPercentage: 100}}");
        let mut world = world(&entry, &[200]).await;
        world.get("/cart", &[]).await;
        let first = world.collector.next().await;
        world.counted(SENT, 2.0).await;
        world.collector.leave();
        world.get("/cart", &[]).await;
        world.counted(LOST, 2.0).await;
        world.collector.come_back(Mood::Takes(Vec::new()));
        world.get("/cart", &[]).await;
        assert_eq!(world.collector.next().await.path, first.path);
        world.counted(SENT, 4.0).await;
        world.counted(LOST, 2.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_a_collector_does_not_take_are_counted_as_lost() {
    // OTLP's answer may say that it refused a part: 1 of them.
    let partly = Mood::Takes(vec![0x0a, 2, 8, 1]);
    for (provider, mood, (sent, lost)) in [
        ("zipkin", Mood::Refuses(500), (0.0, 2.0)),
        ("datadog", Mood::Refuses(413), (0.0, 2.0)),
        ("grpc", Mood::Refuses(14), (0.0, 2.0)),
        ("skywalking", Mood::Refuses(16), (0.0, 2.0)),
        ("grpc", partly, (1.0, 1.0)),
    ] {
        let entry = format!("{{providers: [{{name: {provider}}}], randomSamplingPercentage: 100}}");
        let mut world = world(&entry, &[200]).await;
        world.collector.come_back(mood);
        world.get("/cart", &[]).await;
        world.collector.next().await;
        world.counted(LOST, lost).await;
        world.counted(SENT, sent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_costs_spans_and_no_request() {
    let mut world = world("{providers: [{name: slow}], randomSamplingPercentage: 100}", &[200]).await;
    world.collector.come_back(Mood::Silent);
    let mut connection = h1::Connection::new(TcpStream::connect(world.gateway.address(80)).await.unwrap());
    // A batch of 256 is under way, 1024 wait, and there is no room for the others.
    for _ in 0..1400 {
        connection.send(&h1::request("GET", "/closed", "shop.example.com", &[], b"")).await;
        assert_eq!(within("an answer", connection.read("GET")).await.unwrap().status, 503);
    }
    let overflow = |metrics: &Metrics| metrics.get(LOST).is_some_and(|lost| (120.0..1400.0).contains(&lost));
    Metrics::when(&world.gateway, "spans without room", overflow).await;
}
