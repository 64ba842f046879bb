//! WebSockets and their like: what passes after a 101, what does not before it, and how a tunnel ends.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::shop::Metrics;
use limen_e2e::tls::{Authority, base64};
use limen_e2e::{h1, within};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: edge}}
---
{apiVersion: v1, kind: Service, metadata: {name: chat}, spec: {ports: [{name: http, port: 80}, {name: http2, port: 81}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: chat}
spec:
  hosts: ['*']
  gateways: [istio-system/edge]
  http:
  - {match: [{uri: {prefix: /secret}}], directResponse: {status: 403}}
  - {match: [{uri: {prefix: /short}}], timeout: 1s, route: [{destination: {host: chat, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /two}}], route: [{destination: {host: chat, port: {number: 81}}}]}
  - {route: [{destination: {host: chat, port: {number: 80}}}]}
---
";

struct World {
    gateway: Gateway,
    origin: Origin,
    authority: Authority,
}

async fn start(script: Script, flags: &str) -> World {
    let origin = Origin::start("chat", script).await;
    let authority = Authority::new();
    let pair = authority.issue(&["a.example.com"]);
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: edge, namespace: istio-system}}, \
         data: {{tls.crt: {}, tls.key: {}}}}}",
        base64(&pair.certificate),
        base64(&pair.key)
    );
    let mut all = vec!["--backend".to_owned(), format!("chat={}", origin.address)];
    all.extend(flags.split_whitespace().map(str::to_owned));
    let gateway = Gateway::start(&[("routes.yaml", &format!("{ROUTES}{secret}\n"))], &all).await;
    World { gateway, origin, authority }
}

impl World {
    async fn connect(&self) -> h1::Connection<TcpStream> {
        h1::Connection::new(TcpStream::connect(self.gateway.address(80)).await.unwrap())
    }
}

/// A request that asks for the protocol `chat`.
fn asking(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let headers = [("connection", "Upgrade"), ("upgrade", "chat")];
    h1::request(method, path, "a.example.com", &headers.map(|(n, v)| (n.to_owned(), v.to_owned())), body)
}

/// Opens a tunnel.
async fn switch<S>(connection: &mut h1::Connection<S>, request: &[u8]) -> Reply
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connection.send(request).await;
    let reply = within("the switch", connection.read_head()).await.unwrap();
    assert_eq!(reply.status, 101, "{reply:?}");
    assert_eq!(reply.header("upgrade").as_deref(), Some("chat"), "{reply:?}");
    assert_eq!(reply.header("connection").as_deref(), Some("upgrade"), "{reply:?}");
    assert_eq!(
        (reply.header("content-length"), reply.header("transfer-encoding")),
        (None, None),
        "{reply:?}"
    );
    assert_eq!(reply.header("x-early").as_deref(), Some("0"), "nothing before the 101: {reply:?}");
    reply
}

async fn said<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut h1::Connection<S>,
    length: usize,
) -> String {
    let bytes = within("bytes of the tunnel", connection.read_bytes(length)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

fn only(lines: &[Value]) -> &Value {
    let [line] = lines else { panic!("one line expected: {lines:#?}") };
    line
}

/// Says something, hears it, says its last, hears the last of the other side, which closes.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut connection: h1::Connection<S>) {
    switch(&mut connection, &asking("GET", "/chat", b"")).await;
    for words in ["hello", "GET / HTTP/1.1\r\n\r\n", "again"] {
        connection.send(words.as_bytes()).await;
        assert_eq!(said(&mut connection, words.len()).await, words);
    }
    connection.close().await;
    assert_eq!(said(&mut connection, 3).await, "bye", "after the client's half has closed");
    within("the end", connection.end()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_both_ways_until_both_sides_have_said_their_last() {
    let world = start(Script::Switch, "").await;
    converse(world.connect().await).await;
    let lines = world.gateway.stop().await;
    let line = only(&lines);
    assert_eq!((&line["response_code"], &line["response_flags"]), (&101.into(), &"DC".into()), "{line}");
    let sizes = ("hello".len() + "GET / HTTP/1.1\r\n\r\n".len() + "again".len(), "bye".len());
    assert_eq!(line["bytes_received"], sizes.0, "{line}");
    assert_eq!(line["bytes_sent"], sizes.0 + sizes.1, "{line}");
}

/// HTTP/2 has no upgrades: the request goes in HTTP/1.1 to a port that is declared to speak HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_offered_in_http1_to_a_port_of_http2() {
    let world = start(Script::Switch, "").await;
    let mut connection = world.connect().await;
    switch(&mut connection, &asking("GET", "/two", b"")).await;
    connection.send(b"hello").await;
    assert_eq!(said(&mut connection, 5).await, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_both_ways_within_tls() {
    let world = start(Script::Switch, "").await;
    let tls = world.authority.connect(world.gateway.address(443), "a.example.com", "http/1.1").await.unwrap();
    converse(h1::Connection::new(tls)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_closes_first_is_told_onwards_and_logged() {
    let world = start(Script::Switch, "").await;
    let mut connection = world.connect().await;
    switch(&mut connection, &asking("GET", "/chat", b"")).await;
    Metrics::counted(&world.gateway, &["limen_upgrades_active"], 1.0).await;
    connection.send(b"end\0").await;
    assert_eq!(said(&mut connection, 4).await, "end\0");
    within("the end", connection.end()).await.unwrap();
    connection.close().await;
    let lines = world.gateway.stop().await;
    let line = only(&lines);
    assert_eq!((&line["response_code"], &line["response_flags"]), (&101.into(), &"UC".into()), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_are_counted() {
    let world = start(Script::Switch, "").await;
    converse(world.connect().await).await;
    let mut open = world.connect().await;
    switch(&mut open, &asking("GET", "/chat", b"")).await;
    let gateway = &world.gateway;
    Metrics::counted(gateway, &["limen_upgrades_total"], 2.0).await;
    Metrics::counted(gateway, &["limen_upgrades_active"], 1.0).await;
    // What has not ended is not counted.
    Metrics::counted(gateway, &["istio_requests_total"], 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_refused_upgrade_is_a_request_like_any_other() {
    let world = start(Script::echo(), "").await;
    let mut connection = world.connect().await;
    let mut bytes = asking("GET", "/chat", b"");
    bytes.extend(h1::request("GET", "/secret", "a.example.com", &[], b""));
    connection.send(&bytes).await;
    let refused = within("an answer", connection.read("GET")).await.unwrap();
    assert_eq!((refused.status, refused.closed), (200, false), "{refused:?}");
    let secret = within("an answer", connection.read("GET")).await.unwrap();
    assert_eq!((secret.status, world.origin.hits()), (403, 1), "{secret:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_before_the_101_waits_for_it() {
    let world = start(Script::Switch, "").await;
    let mut connection = world.connect().await;
    let mut bytes = asking("GET", "/chat", b"");
    bytes.extend_from_slice(b"early");
    switch(&mut connection, &bytes).await;
    assert_eq!(said(&mut connection, 5).await, "early", "passed on once the origin had switched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_body_can_switch() {
    let world = start(Script::Switch, "").await;
    let mut connection = world.connect().await;
    let mut bytes = asking("POST", "/attach", b"{\"tty\": true}");
    bytes.extend_from_slice(b"typed");
    let reply = switch(&mut connection, &bytes).await;
    assert_eq!(reply.header("x-body").as_deref(), Some("13"), "{reply:?}");
    assert_eq!(said(&mut connection, 5).await, "typed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_tunnel_is_ended_by_the_idle_timeout_and_no_tunnel_by_its_routes() {
    let world = start(Script::Switch, "--idle-timeout 1500ms").await;
    let mut connection = world.connect().await;
    switch(&mut connection, &asking("GET", "/short", b"")).await;
    connection.send(b"last").await;
    assert_eq!(said(&mut connection, 4).await, "last");
    let _ = within("the end of a silent tunnel", connection.end()).await;
    let lines = world.gateway.stop().await;
    let line = only(&lines);
    assert_eq!((&line["response_code"], &line["response_flags"]), (&101.into(), &"SI".into()), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_passes_both_ways_at_once() {
    const SIZE: usize = 8 << 20;
    let world = start(Script::Switch, "").await;
    let stream = TcpStream::connect(world.gateway.address(80)).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    writing.write_all(&asking("GET", "/chat", b"")).await.unwrap();
    let writer = tokio::spawn(async move {
        let piece: Vec<u8> = (1..=251).cycle().take(64 * 1024).collect();
        let mut left = SIZE;
        while left > 0 {
            let n = left.min(piece.len());
            writing.write_all(&piece[..n]).await.unwrap();
            left -= n;
        }
        writing
    });
    let mut seen = Vec::new();
    within("all that was sent", async {
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(reading.read_u8().await.unwrap());
        }
        seen.resize(SIZE, 0);
        reading.read_exact(&mut seen).await.unwrap();
    })
    .await;
    let piece: Vec<u8> = (1..=251).cycle().take(64 * 1024).collect();
    assert!(seen.chunks(piece.len()).all(|part| part == &piece[..part.len()]), "in order, nothing lost");
    drop(writer.await.unwrap());
}

/// A request for a WebSocket, with the key of RFC 6455 1.3.
fn websocket(path: &str) -> Vec<u8> {
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    h1::request("GET", path, "a.example.com", &headers.map(|(n, v)| (n.to_owned(), v.to_owned())), b"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_a_stream_to_an_origin_of_http2_that_takes_tunnels() {
    let world = start(Script::Tunnel, "--workers 1").await;
    for _ in 0..2 {
        let mut connection = world.connect().await;
        connection.send(&websocket("/two/chat?a=b")).await;
        let reply = within("the switch", connection.read_head()).await.unwrap();
        assert_eq!(reply.status, 101, "{reply:?}");
        for (name, value) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            // The answer to that key (RFC 6455 1.3).
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("x-protocol", "CONNECT websocket http://a.example.com/two/chat?a=b"),
            ("x-key", "false"),
        ] {
            assert_eq!(reply.header(name).as_deref(), Some(value), "{name}: {reply:?}");
        }
        for words in ["hello", "GET / HTTP/1.1\r\n\r\n", "again"] {
            connection.send(words.as_bytes()).await;
            assert_eq!(said(&mut connection, words.len()).await, words);
        }
        connection.close().await;
        assert_eq!(said(&mut connection, 3).await, "bye", "after the client's half has closed");
        within("the end", connection.end()).await.unwrap();
    }
    let mut connection = world.connect().await;
    connection.send(&websocket("/two/chat")).await;
    within("the switch", connection.read_head()).await.unwrap();
    connection.send(b"end\0").await;
    assert_eq!(said(&mut connection, 4).await, "end\0");
    within("the end", connection.end()).await.unwrap();
    connection.close().await;
    assert_eq!(world.origin.connections(), 1, "streams of one connection");
    let lines = world.gateway.stop().await;
    let flags: Vec<_> =
        lines.iter().map(|line| (&line["response_code"], line["response_flags"].as_str().unwrap())).collect();
    let switched = &Value::from(101);
    assert_eq!(flags, [(switched, "DC"), (switched, "DC"), (switched, "UC")], "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_of_http2_can_refuse_a_websocket() {
    let world = start(Script::Tunnel, "").await;
    let mut connection = world.connect().await;
    connection.send(&websocket("/two/refused")).await;
    let refused = within("an answer", connection.read("GET")).await.unwrap();
    assert_eq!((refused.status, refused.closed), (403, false), "{refused:?}");
    assert_eq!(refused.header("sec-websocket-accept"), None, "{refused:?}");
    connection.send(&h1::request("GET", "/two/plain", "a.example.com", &[], b"")).await;
    let plain = within("an answer", connection.read("GET")).await.unwrap();
    assert_eq!(plain.status, 200, "{plain:?}");
}

/// It says nothing of tunnels, or breaks off: then it is HTTP/1.1 that may do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_offered_in_http1_to_an_origin_of_http2_that_takes_no_tunnels() {
    let world = start(Script::Switch, "--workers 1").await;
    for _ in 0..2 {
        let mut connection = world.connect().await;
        connection.send(&websocket("/two")).await;
        let reply = within("the switch", connection.read_head()).await.unwrap();
        assert_eq!((reply.status, reply.header("upgrade").as_deref()), (101, Some("WebSocket")), "{reply:?}");
        connection.send(b"hello").await;
        assert_eq!(said(&mut connection, 5).await, "hello");
    }
    assert_eq!(world.origin.connections(), 3, "one to ask, and one for each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_does_not_know_http2_is_asked_for_tunnels_once() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi";
    let world = start(Script::Raw(switch.as_bytes().to_vec()), "--workers 1").await;
    for _ in 0..2 {
        let mut connection = world.connect().await;
        connection.send(&websocket("/two")).await;
        let reply = within("the switch", connection.read_head()).await.unwrap();
        assert_eq!(reply.status, 101, "{reply:?}");
        assert_eq!(said(&mut connection, 2).await, "hi");
    }
    assert_eq!(world.origin.connections(), 3, "one to ask, and one for each");
}
