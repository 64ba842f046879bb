//! What a client cannot have others believe, however it spells it; and that trying costs what an ordinary request costs.

use std::sync::Arc;
use std::time::Duration;

use limen::selftest::frames::{Block, END_STREAM, Status, greeting, heard};
use limen_e2e::origin::{Origin, Script};
use limen_e2e::process::Process;
use limen_e2e::reply::Reply;
use limen_e2e::tls::{Authority, base64, connect_with};
use limen_e2e::{h1, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::BINARY;

const CONFIG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}'}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: http, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com, '*.wild.example.com']
  gateways: [edge]
  http:
  - {match: [{uri: {prefix: /admin}}], directResponse: {status: 403}}
  - {match: [{uri: {prefix: /secure}, scheme: {exact: http}}], directResponse: {status: 403}}
  - {match: [{headers: {x-kind: {regex: '.*bad.*'}}}], directResponse: {status: 403}}
  - {match: [{authority: {exact: a.wild.example.com}}], directResponse: {status: 403}}
  - corsPolicy: {allowOrigins: [{exact: 'https://shop.example.com'}]}
    route: [{destination: {host: shop}}]
";

/// Requests of each kind, one behind the other on one connection.
const TIMES: usize = 1_000;

struct World {
    gateway: Process,
    _origin: Origin,
}

impl World {
    async fn start() -> World {
        let origin = Origin::start("shop", Script::echo()).await;
        let flags = ["--backend".to_owned(), format!("shop={}", origin.address)];
        let gateway = Process::start(BINARY, CONFIG, &flags).await;
        let world = World { gateway, _origin: origin };
        // What is made once is made before anything is counted.
        world.asked(&request("/", "shop.example.com", ""), 10).await;
        world
    }

    /// Asks so often; what the last answer was, and what all of it took.
    async fn asked(&self, request: &[u8], times: usize) -> (Reply, Duration) {
        let before = self.gateway.cpu();
        let mut connection = None;
        let mut last = None;
        for _ in 0..times {
            let own = match &mut connection {
                Some(own) => own,
                none => none
                    .insert(h1::Connection::new(TcpStream::connect(self.gateway.address(80)).await.unwrap())),
            };
            own.send(request).await;
            let reply = within("an answer", own.read("GET")).await.unwrap();
            if reply.closed {
                connection = None;
            }
            last = Some(reply);
        }
        (last.unwrap(), self.gateway.cpu() - before)
    }
}

fn request(path: &str, host: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n").into_bytes()
}

/// The same bytes with `~` made a byte that is no UTF-8.
fn odd(mut request: Vec<u8>) -> Vec<u8> {
    request.iter_mut().filter(|byte| **byte == b'~').for_each(|byte| *byte = 0xff);
    request
}

const SHOP: &str = "shop.example.com";

/// The names of fields that only the gateway may write.
const CONTROL: [&str; 20] = [
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-rq-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-path",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-forwarded-client-cert",
    "x-request-id",
];

/// Sees that hostile requests get what they must, and cost at most twice what as many ordinary ones of that size cost.
async fn cost_no_more(world: &World, ordinary: &[u8], hostile: &[Vec<u8>], holds: impl Fn(&[u8], &Reply)) {
    let (reply, usual) = world.asked(ordinary, TIMES).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let before = world.gateway.peak();
    let mut took = Duration::ZERO;
    for request in hostile {
        let (reply, cost) = world.asked(request, TIMES / hostile.len()).await;
        holds(request, &reply);
        took += cost;
    }
    // The system counts in hundredths of a second.
    assert!(took <= 2 * usual + Duration::from_millis(200), "{took:?}, {usual:?} of ordinary ones");
    let grown = (world.gateway.peak() - before) >> 20;
    assert!(grown <= 8, "{grown} MiB");
}

fn refused(request: &[u8], reply: &Reply, expected: u16) {
    assert_eq!(reply.status, expected, "{}", request.get(..request.len().min(200)).unwrap().escape_ascii());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_what_only_the_gateway_may() {
    let world = World::start().await;
    let neutral: String =
        (0..CONTROL.len()).map(|n| format!("x-some-field-of-the-client-{n}: mine\r\n")).collect();
    let control: String = CONTROL.iter().map(|name| format!("{name}: mine\r\n")).collect();
    let hostile = [request("/", SHOP, &control), request("/", SHOP, &control.to_ascii_uppercase())];
    cost_no_more(&world, &request("/", SHOP, &neutral), &hostile, |_, reply| {
        let seen = reply.seen();
        for name in CONTROL {
            assert!(
                !seen["headers"][name].as_str().unwrap_or_default().eq_ignore_ascii_case("mine"),
                "{name}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_chooses_an_address() {
    let world = World::start().await;
    let many = vec!["198.51.100.1"; 500].join(", ");
    let neutral = request("/", SHOP, &format!("x-neutral: {many}\r\n"));
    let hostile = [
        format!("x-forwarded-for: {many}\r\n"),
        format!("x-forwarded-for: {}\r\n", ",".repeat(many.len())),
        "x-forwarded-for: 198.51.100.1\r\n".repeat(50),
        "x-forwarded-for: ~\r\nforwarded: for=198.51.100.1\r\nx-real-ip: 198.51.100.1\r\n".to_owned(),
    ]
    .map(|fields| odd(request("/", SHOP, &fields)));
    cost_no_more(&world, &neutral, &hostile, |_, reply| {
        let seen = reply.seen();
        assert_eq!(seen["headers"]["x-envoy-external-address"], "127.0.0.1");
        let told = seen["headers"]["x-forwarded-for"].as_str().unwrap();
        assert!(told.ends_with("127.0.0.1"), "{told}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_path_walks_round_a_rule() {
    let world = World::start().await;
    let long = |piece: &str| format!("/{}admin", piece.repeat(12_000 / piece.len()));
    let ordinary = request(&format!("/{}", "abc/".repeat(3_000)), SHOP, "");
    let hostile: Vec<_> = [
        "//admin/x".to_owned(),
        "/x%2f..%2Fadmin".to_owned(),
        "/x%5c..%5Cadmin".to_owned(),
        "/x/%2e%2e/admin".to_owned(),
        "/./%2E/admin".to_owned(),
        "/%61dmin".to_owned(),
        long("x/../"),
        long("/"),
        long("%2f"),
        long("x%2f%2e%2e%5c"),
    ]
    .iter()
    .map(|path| request(path, SHOP, ""))
    .collect();
    cost_no_more(&world, &ordinary, &hostile, |request, reply| refused(request, reply, 403)).await;
}

/// A rule on the scheme sees what the connection speaks, whatever the client says of it and however it spells that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_scheme_walks_round_a_rule() {
    let world = World::start().await;
    let said = ["http", "HTTP", "hTtP", "https", "HTTPS", "hTTpS"];
    let hostile: Vec<_> = said
        .iter()
        .map(|scheme| request(&format!("{scheme}://{SHOP}/secure"), SHOP, ""))
        .chain([request("/secure", SHOP, "x-forwarded-proto: https\r\n")])
        .collect();
    let ordinary = request(&format!("http://{SHOP}/"), SHOP, "");
    cost_no_more(&world, &ordinary, &hostile, |request, reply| refused(request, reply, 403)).await;
    for scheme in said {
        let block = Block::default()
            .line(b":method", b"GET")
            .line(b":scheme", scheme.as_bytes())
            .line(b":path", b"/secure")
            .line(b":authority", SHOP.as_bytes());
        let mut stream = TcpStream::connect(world.gateway.address(80)).await.unwrap();
        stream.write_all(&[greeting(), block.head(1, END_STREAM)].concat()).await.unwrap();
        let mut seen = Vec::new();
        let answered = async {
            while heard(&seen).answers.is_empty() {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "{scheme}");
            }
        };
        within("an answer", answered).await;
        assert_eq!(heard(&seen).answers, [(1, Status::Is(403))], "{scheme}");
    }
}

/// Dots of hosts stand for themselves, and a wildcard for at least one label.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dots_of_hosts_stand_for_themselves() {
    let world = World::start().await;
    let ordinary = request("/", SHOP, "");
    let hostile: Vec<_> = [
        "shopxexample.com",
        "shop-example.com",
        "shop.examplexcom",
        "xshop.example.com",
        "shop.example.com.evil.com",
        "wild.example.com",
        ".wild.example.com.evil.com",
        "evilwild.example.com",
        "a.wildxexample.com",
        "*",
    ]
    .iter()
    .map(|host| request("/", host, ""))
    .collect();
    cost_no_more(&world, &ordinary, &hostile, |request, reply| {
        assert!(matches!(reply.status, 400 | 404), "{}: {}", request.escape_ascii(), reply.status);
    })
    .await;
    // Of an authority that is exact, and of an origin of CORS.
    assert_eq!(world.asked(&request("/", "a.wild.example.com", ""), 1).await.0.status, 403);
    assert_eq!(world.asked(&request("/", "axwild.wild.example.com", ""), 1).await.0.status, 200);
    for (origin, allowed) in [("https://shop.example.com", true), ("https://shopxexample.com", false)] {
        let asked = request("/", SHOP, &format!("origin: {origin}\r\n"));
        let reply = world.asked(&asked, 1).await.0;
        assert_eq!(reply.header("access-control-allow-origin").is_some(), allowed, "{origin}");
    }
}

/// Bytes that are no UTF-8 are no path and no host; in other fields they hide nothing from a rule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_text_hide_nothing() {
    let world = World::start().await;
    let field = |value: &str| odd(request("/", SHOP, &format!("x-kind: {value}\r\n")));
    let ordinary = request("/", SHOP, &format!("x-kind: {}\r\n", "good".repeat(100)));
    let hostile = [
        field("bad~"),
        field("~bad"),
        field("~bad~"),
        field(&format!("{}bad", "~".repeat(400))),
        field(&format!("bad{}", "~".repeat(400))),
    ];
    cost_no_more(&world, &ordinary, &hostile, |request, reply| refused(request, reply, 403)).await;
    let hostile = [
        odd(request("/~", SHOP, "")),
        odd(request("/a?b=~", SHOP, "")),
        odd(request("/", "shop.example.com~", "")),
        odd(request("/", "~.wild.example.com", "")),
        odd(request("/", SHOP, "x-k~ind: a\r\n")),
    ];
    // Whoever is refused has to connect again.
    let ordinary = request("/", SHOP, "connection: close\r\n");
    cost_no_more(&world, &ordinary, &hostile, |request, reply| refused(request, reply, 400)).await;
    assert_eq!(world.asked(&field("~good~"), 1).await.0.status, 200, "and mean nothing else");
}

fn secured(pair: &limen_e2e::tls::Pair, authority: &Authority) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: [edge.example.com]
    tls: {{mode: MUTUAL, credentialName: edge, subjectAltNames: ['spiffe://example.com/ann', ann.example.com]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: edge, namespace: istio-system}}
data: {{tls.crt: {}, tls.key: {}, ca.crt: {}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: shop}}, spec: {{ports: [{{name: http, port: 80}}]}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: ca, namespace: istio-system}}, data: {{cacert: {}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop}}
spec:
  host: shop
  trafficPolicy: {{tls: {{mode: SIMPLE, credentialName: ca, sni: shop.example.com, subjectAltNames: [shop.example.com]}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: all}}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - {{match: [{{uri: {{prefix: /shop}}}}], retries: {{attempts: 0}}, route: [{{destination: {{host: shop}}}}]}}
  - {{directResponse: {{status: 200}}}}
",
        base64(&pair.certificate),
        base64(&pair.key),
        base64(authority.certificate()),
        base64(authority.certificate()),
    )
}

/// A name ends where its certificate says and not at a byte 0; dots of names stand for themselves. Of clients and of
/// origins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_certificates_are_whole_and_literal() {
    let authority = Authority::new();
    let pair = authority.issue(&["edge.example.com"]);
    let names = |name: &str| -> [(String, bool); 4] {
        [
            (name.to_owned(), true),
            (format!("{name}\0.evil.example"), false),
            (format!("evil.example\0{name}"), false),
            (name.replacen('.', "x", 1), false),
        ]
    };
    for (name, lets_in) in names("ann.example.com").into_iter().chain(names("spiffe://example.com/ann")) {
        let shop =
            if name.contains("spiffe") { "shop.example.com".to_owned() } else { name.replace("ann", "shop") };
        let server = authority.http_server(&[&shop], false);
        let origin = Origin::start("shop", Script::Tls(server, Arc::new(Script::echo()))).await;
        let flags = ["--backend".to_owned(), format!("shop={}", origin.address)];
        let gateway = Process::start(BINARY, &secured(&pair, &authority), &flags).await;
        let (cpu, peak) = (gateway.cpu(), gateway.peak());

        let ann = authority.issue_client("ann", std::slice::from_ref(&name));
        let config = authority.client_with(Some(&ann.pair), "http/1.1");
        let entered = async {
            let stream = connect_with(config, gateway.address(443), "edge.example.com").await.ok()?;
            let mut connection = h1::Connection::new(stream);
            connection.send(&request("/", "edge.example.com", "")).await;
            Some(connection.read("GET").await.ok()?.status)
        };
        assert_eq!(within("an answer or none", entered).await == Some(200), lets_in, "a client, {name:?}");

        let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
        connection.send(&request("/shop", "edge.example.com", "")).await;
        let status = within("an answer", connection.read("GET")).await.unwrap().status;
        let expected = if shop == "shop.example.com" { 200 } else { 503 };
        assert_eq!(status, expected, "an origin, {shop:?}");
        let took = (gateway.cpu() - cpu, (gateway.peak() - peak) >> 20);
        assert!(took.0 <= Duration::from_secs(1) && took.1 <= 8, "{took:?}");
    }
}
