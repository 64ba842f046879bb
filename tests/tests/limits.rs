//! At each limit a client or an origin is served, one beyond it is refused as docs/limits.md says, and the metrics move.
//! Limits of memory and of file descriptors stand in `overload.rs`, slow and silent clients in `slow.rs`.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::shop::{self, Connection, Metrics, connect};
use limen_e2e::{frames, h1, h2, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use crate::slow::{LARGE, apart, large};

const ROUTES: &str = "[{route: [{destination: {host: shop}}]}]";

async fn start(origin: &Origin, flags: &str) -> Gateway {
    shop::start(&shop::routes(ROUTES), &[origin], flags).await
}

/// A gateway before an origin that is spoken to in HTTP/2.
async fn start_http2(origin: &Origin, flags: &str) -> Gateway {
    let config = shop::routes(ROUTES).replace("name: http, port: 80}", "name: http2, port: 80}");
    shop::start(&config, &[origin], flags).await
}

/// Waits until a limit has refused so often, and compares what it is and what is used of it.
async fn limit_is(gateway: &Gateway, limit: &str, (value, used, refused): (f64, f64, u32)) {
    let label = format!("{{limit=\"{limit}\"}}");
    let told = [value, used, f64::from(refused)];
    let tells = |page: &Metrics| {
        let names = ["limen_limit", "limen_limit_used", "limen_limit_refused_total"];
        names.map(|name| page.value(&[name, &label])) == told
    };
    Metrics::when(gateway, &format!("{limit} to be {told:?}: value, used, refused"), tells).await;
}

async fn get(connection: &mut Connection) -> Result<Reply, String> {
    connection.send(&h1::request("GET", "/", "a", &[], b"")).await;
    within("an answer or the end", connection.read("GET")).await
}

/// A connection is closed without a word.
async fn is_refused(mut stream: TcpStream) {
    let mut seen = Vec::new();
    // A reset is an end, too.
    let _ = within("the end of a surplus connection", stream.read_to_end(&mut seen)).await;
    assert_eq!(seen, b"");
}

/// Connects until it is served: the gateway learns in its own time that a place is free.
async fn serves_again(gateway: &Gateway) {
    let again =
        async { while get(&mut connect(gateway).await).await.map(|reply| reply.status) != Ok(200) {} };
    within("the place that became free", again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_the_process() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-connections 2").await;
    let (mut first, mut second) = (connect(&gateway).await, connect(&gateway).await);
    for connection in [&mut first, &mut second] {
        assert_eq!(get(connection).await.unwrap().status, 200);
    }
    is_refused(TcpStream::connect(gateway.address(80)).await.unwrap()).await;
    limit_is(&gateway, "connections", (2.0, 2.0, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_listener() {
    let origin = Origin::start("shop", Script::echo()).await;
    let second = "hosts: ['*']}, {port: {number: 8080, name: more, protocol: HTTP}, hosts: ['*']}]";
    let config = shop::routes(ROUTES).replacen("hosts: ['*']}]", second, 1);
    let gateway = shop::start(&config, &[&origin], "--max-listener-connections 1").await;
    let mut there = connect(&gateway).await;
    assert_eq!(get(&mut there).await.unwrap().status, 200);
    is_refused(TcpStream::connect(gateway.address(80)).await.unwrap()).await;
    let mut elsewhere = h1::Connection::new(TcpStream::connect(gateway.address(8080)).await.unwrap());
    assert_eq!(get(&mut elsewhere).await.unwrap().status, 200, "another listener has its own");
    limit_is(&gateway, "listener_connections", (1.0, 1.0, 1)).await;
    drop(there);
    serves_again(&gateway).await;
}

async fn connect_from(ip: &str, gateway: &Gateway) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
    socket.connect(gateway.address(80)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_client() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-client-connections 1 --workers 4").await;
    let mut first = h1::Connection::new(connect_from("127.0.0.1", &gateway).await);
    assert_eq!(get(&mut first).await.unwrap().status, 200);
    for _ in 0..8 {
        is_refused(connect_from("127.0.0.1", &gateway).await).await;
    }
    let mut other = h1::Connection::new(connect_from("127.0.0.2", &gateway).await);
    assert_eq!(get(&mut other).await.unwrap().status, 200, "another client");
    limit_is(&gateway, "client_connections", (1.0, 1.0, 8)).await;
    drop(first);
    serves_again(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_who_a_proxy_header_says() {
    let origin = Origin::start("shop", Script::echo()).await;
    let mesh = "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, \
                data: {mesh: 'defaultConfig: {gatewayTopology: {proxyProtocol: {}}}'}}\n";
    let config = shop::routes(ROUTES) + mesh;
    let gateway = shop::start(&config, &[&origin], "--max-client-connections 1").await;
    let said = async |client: &str| {
        let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
        let header = format!("PROXY TCP4 {client} 192.0.2.1 4000 80\r\n");
        stream.write_all(header.as_bytes()).await.unwrap();
        stream
    };
    let mut one = h1::Connection::new(said("192.0.2.7").await);
    assert_eq!(get(&mut one).await.unwrap().status, 200);
    let mut other = h1::Connection::new(said("192.0.2.8").await);
    assert_eq!(get(&mut other).await.unwrap().status, 200, "from the same balancer, for another");
    is_refused(said("192.0.2.7").await).await;
    limit_is(&gateway, "client_connections", (1.0, 1.0, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_connection() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-connection-requests 2").await;
    let mut connection = connect(&gateway).await;
    let first = get(&mut connection).await.unwrap();
    assert_eq!((first.status, first.closed), (200, false), "{first:?}");
    let last = get(&mut connection).await.unwrap();
    assert_eq!((last.status, last.closed), (200, true), "{last:?}");
    assert_eq!(last.header("connection").as_deref(), Some("close"), "{last:?}");
    limit_is(&gateway, "connection_requests", (2.0, 2.0, 1)).await;

    let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    for _ in 0..2 {
        let request = http::Request::get("http://a/").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        assert_eq!(within("an answer", response).await.unwrap().status(), 200);
    }
    drop(send);
    // Its last word may find the connection closed.
    let _ = within("the end of the connection", driver).await.unwrap();
    limit_is(&gateway, "connection_requests", (2.0, 2.0, 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_a_head() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-header-bytes 2000").await;
    let bare = h1::request("GET", "/", "a", &[("x".to_owned(), String::new())], b"").len();
    for (size, status) in [(2000, 200), (2001, 431)] {
        let mut connection = connect(&gateway).await;
        let long = ("x".to_owned(), "v".repeat(size - bare));
        let request = h1::request("GET", "/", "a", &[long], b"");
        assert_eq!(request.len(), size);
        connection.send(&request).await;
        assert_eq!(within("an answer", connection.read("GET")).await.unwrap().status, status, "{size}");
    }
    limit_is(&gateway, "header_bytes", (2000.0, 2000.0, 1)).await;

    // Method, scheme, authority and path, and then this field, each with 32 more.
    let rest: usize =
        [":methodGET", ":schemehttp", ":authoritya", ":path/", "x"].map(|line| line.len() + 32).iter().sum();
    let mut client =
        h2::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap()).await.unwrap();
    for (size, status) in [(2000, 200), (2001, 431)] {
        let request = http::Request::get("http://a/").header("x", "v".repeat(size - rest)).body(()).unwrap();
        let reply = within("an answer", client.exchange(request, Bytes::new())).await.unwrap();
        assert_eq!(reply.status, status, "{size}: {reply:?}");
    }
    limit_is(&gateway, "header_bytes", (2000.0, 2000.0, 2)).await;
    assert_eq!(origin.hits(), 2);
}

/// So many fields.
fn fields(count: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("x-{n}"), "v".to_owned())).collect()
}

/// The same as a map.
fn map(count: usize) -> HeaderMap {
    let field = |(name, value): (String, String)| {
        (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
    };
    fields(count).into_iter().map(field).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn field_lines_of_a_head_crumbs_of_cookies_counted() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-headers 20").await;
    // Besides these stands the host.
    for (count, status) in [(19, 200), (20, 431)] {
        let mut connection = connect(&gateway).await;
        connection.send(&h1::request("GET", "/", "a", &fields(count), b"")).await;
        assert_eq!(within("an answer", connection.read("GET")).await.unwrap().status, status, "{count}");
    }
    limit_is(&gateway, "headers", (20.0, 20.0, 1)).await;
    let mut client =
        h2::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap()).await.unwrap();
    for (count, status) in [(20, 200), (21, 431)] {
        let mut request = http::Request::get("http://a/");
        for n in 0..count {
            request = request.header("cookie", format!("c{n}=v"));
        }
        let exchange = client.exchange(request.body(()).unwrap(), Bytes::new());
        assert_eq!(within("an answer", exchange).await.unwrap().status, status, "{count} crumbs");
    }
    limit_is(&gateway, "headers", (20.0, 20.0, 2)).await;
}

/// Sends a body in chunks, with so many fields after it.
async fn with_trailers(gateway: &Gateway, count: usize) -> Reply {
    let mut request =
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n".to_vec();
    for (name, value) in fields(count) {
        request.extend(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend(b"\r\n");
    let mut connection = connect(gateway).await;
    connection.send(&request).await;
    within("an answer", connection.read("POST")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_a_request_s_body() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-headers 20 --max-header-bytes 2000").await;
    assert_eq!(with_trailers(&gateway, 20).await.status, 200);
    assert_eq!(with_trailers(&gateway, 21).await.status, 400);
    let mut client =
        h2::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap()).await.unwrap();
    let mut send = async |trailers: HeaderMap| {
        let request = http::Request::post("http://a/").body(()).unwrap();
        within("an end", client.exchange_with(request, Bytes::from_static(b"x"), Some(trailers))).await
    };
    assert_eq!(send(map(20)).await.unwrap().status, 200);
    assert!(send(map(21)).await.unwrap_err().starts_with("reset"), "too many");
    limit_is(&gateway, "headers", (20.0, 2.0, 2)).await;
    let long = HeaderMap::from_iter([(
        HeaderName::from_static("x"),
        HeaderValue::try_from("v".repeat(2000)).unwrap(),
    )]);
    assert!(send(long).await.unwrap_err().starts_with("reset"), "too long");
    let largest = Metrics::of(&gateway).await.value(&["limen_limit_used", "\"header_bytes\""]);
    limit_is(&gateway, "header_bytes", (2000.0, largest, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_answers() {
    let answer = |head: &str, size: usize| {
        let start = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{head}x: ");
        format!("{start}{}\r\n\r\n", "v".repeat(size - start.len() - 4)).into_bytes()
    };
    let many = |count: usize| {
        fields(count).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>()
    };
    for (script, status, limit, told) in [
        (answer("", 2000), 200, "response_header_bytes", (2000.0, 2000.0, 0)),
        (answer("", 2001), 502, "response_header_bytes", (2000.0, 0.0, 1)),
        (answer(&many(18), 1000), 200, "response_headers", (20.0, 20.0, 0)),
        (answer(&many(19), 1000), 502, "response_headers", (20.0, 0.0, 1)),
    ] {
        let origin = Origin::start("shop", Script::Raw(script)).await;
        let gateway = start(&origin, "--max-header-bytes 2000 --max-headers 20").await;
        let reply = get(&mut connect(&gateway).await).await.unwrap();
        assert_eq!(reply.status, status, "{limit}: {reply:?}");
        limit_is(&gateway, limit, told).await;
        if status == 502 {
            let lines = gateway.stop().await;
            assert_eq!(lines[0]["response_flags"], "UPE", "{lines:#?}");
        }
    }
}

fn echo_with(headers: Vec<(String, String)>, trailers: Vec<(String, String)>) -> Script {
    Script::Echo { statuses: vec![200], headers, trailers }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_answers_in_http2() {
    let long = |size: usize| vec![("x".to_owned(), "v".repeat(size))];
    for (headers, status, refused) in [
        (fields(10), 200, None),
        (fields(21), 502, Some("response_headers")),
        (long(1000), 200, None),
        (long(2000), 502, Some("response_header_bytes")),
    ] {
        let origin = Origin::start("shop", echo_with(headers, Vec::new())).await;
        let gateway = start_http2(&origin, "--max-header-bytes 2000 --max-headers 20").await;
        let reply = get(&mut connect(&gateway).await).await.unwrap();
        assert_eq!(reply.status, status, "{refused:?}: {reply:?}");
        for limit in ["response_headers", "response_header_bytes"] {
            Metrics::refused(&gateway, limit, u32::from(refused == Some(limit))).await;
        }
        // Far beyond it the stream ends all the same.
        assert_eq!(get(&mut connect(&gateway).await).await.unwrap().status, status);
    }
    let origin = Origin::start("shop", echo_with(long(20_000), Vec::new())).await;
    let gateway = start_http2(&origin, "--max-header-bytes 2000").await;
    assert_eq!(get(&mut connect(&gateway).await).await.unwrap().status, 502, "much more than is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_an_answer_s_body() {
    for http2 in [false, true] {
        for (count, whole) in [(20, true), (21, false)] {
            let origin = Origin::start("shop", echo_with(Vec::new(), fields(count))).await;
            let flags = "--max-headers 20";
            let gateway = if http2 { start_http2(&origin, flags).await } else { start(&origin, flags).await };
            let mut client =
                h2::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap()).await.unwrap();
            let request = http::Request::get("http://a/").header("te", "trailers").body(()).unwrap();
            let reply = within("an end", client.exchange(request, Bytes::new())).await;
            assert_eq!(reply.is_ok(), whole, "{count}, HTTP/2 {http2}: {reply:?}");
            Metrics::refused(&gateway, "response_headers", u32::from(!whole)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_a_body() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-body-bytes 10").await;
    let post = async |request: Vec<u8>| {
        let mut connection = connect(&gateway).await;
        connection.send(&request).await;
        within("an answer", connection.read("POST")).await.unwrap()
    };
    let named = |size: usize| h1::request("POST", "/", "a", &[], &vec![b'x'; size]);
    let chunked = |size: usize| {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        format!("{head}5\r\nxxxxx\r\n{:x}\r\n{}\r\n0\r\n\r\n", size - 5, "x".repeat(size - 5)).into_bytes()
    };
    assert_eq!(post(named(10)).await.status, 200);
    let reply = post(named(11)).await;
    assert_eq!((reply.status, reply.closed, origin.hits()), (413, true, 1), "{reply:?}");
    assert_eq!(reply.text(), "Payload Too Large");
    assert_eq!(post(chunked(10)).await.status, 200);
    let reply = post(chunked(11)).await;
    assert_eq!((reply.status, reply.closed), (413, true), "{reply:?}");
    let mut client =
        h2::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap()).await.unwrap();
    for (size, status) in [(10, 200), (11, 413), (10, 200)] {
        let request = http::Request::post("http://a/").body(()).unwrap();
        let exchange = client.exchange(request, vec![b'x'; size].into());
        assert_eq!(within("an answer", exchange).await.unwrap().status, status, "{size}");
    }
    limit_is(&gateway, "body_bytes", (10.0, 10.0, 3)).await;
    let lines = gateway.stop().await;
    let refused: Vec<_> = lines.iter().filter(|line| line["response_code"] == 413).collect();
    assert_eq!(refused.len(), 3);
    refused
        .iter()
        .for_each(|line| assert_eq!(line["response_code_details"], "request_payload_too_large", "{line}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_for_a_head_in_http2() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let gateway = start(&origin, "--header-timeout 300ms").await;
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let mut bytes = frames::PREFACE.to_vec();
    bytes.extend(frames::frame(frames::SETTINGS, 0, 0, b""));
    // A request that is under way does not keep the connection from being ended.
    bytes.extend(frames::get(1));
    // A head without its end (END_STREAM alone).
    bytes.extend(frames::frame(frames::HEADERS, 0x1, 3, b"\x82\x86\x84"));
    stream.write_all(&bytes).await.unwrap();
    let mut seen = Vec::new();
    let _ = within("the end of a head that does not end", stream.read_to_end(&mut seen)).await;
    // GOAWAY, ENHANCE_YOUR_CALM.
    let last = seen.windows(17).any(|frame| frame[3] == 7 && frame[13..17] == [0, 0, 0, 11]);
    assert!(last, "{seen:?}");
    Metrics::refused(&gateway, "header_time", 1).await;
    gate.notify_one();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_for_a_request() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--request-timeout 300ms").await;
    let mut connection = connect(&gateway).await;
    connection.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nx").await;
    let reply = within("an answer to a body that does not end", connection.read("POST")).await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (408, "request timeout"));
    Metrics::refused(&gateway, "request_time", 1).await;
    assert_eq!(Metrics::of(&gateway).await.value(&["limen_limit", "\"request_time\""]), 0.3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_in_which_nothing_moves_on_a_request() {
    let origin = Origin::start("shop", Script::Never).await;
    let gateway = start(&origin, "--stream-idle-timeout 300ms").await;
    let reply = get(&mut connect(&gateway).await).await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (504, "stream timeout"), "{reply:?}");
    Metrics::refused(&gateway, "stream_idle_time", 1).await;
    assert_eq!(gateway.stop().await[0]["response_flags"], "SI");
}

/// An origin that refuses `/again` and answers anything else without an end.
async fn answers_for_ever(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut heard = vec![0; 4096];
            let n = stream.read(&mut heard).await.unwrap();
            if heard[..n].starts_with(b"GET /again") {
                let _ = stream
                    .write_all(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .await;
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 ok\r\n\r\n").await;
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            while stream.write_all(b"x").await.is_ok() {
                pace.tick().await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_in_which_a_request_waits_for_its_turn() {
    let routes = "
  - match: [{uri: {prefix: /fault}}]
    fault: {delay: {fixedDelay: 1h, percentage: {value: 100}}}
    route: [{destination: {host: shop}}]
  - match: [{uri: {prefix: /again}}]
    retries: {attempts: 1, retryOn: 5xx, backoff: 1h}
    route: [{destination: {host: shop}}]
  - route: [{destination: {host: shop}}]";
    let config = shop::routes(routes) + &shop::policy("{connectionPool: {tcp: {maxConnections: 1}}}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = format!("shop={}", listener.local_addr().unwrap());
    let origin = tokio::spawn(answers_for_ever(listener));
    let flags = ["--backend", &backend, "--stream-idle-timeout", "300ms"].map(str::to_owned);
    let gateway = Gateway::start(&[("shop.yaml", &config)], &flags).await;
    for path in ["/fault", "/again"] {
        let reply = shop::ask(&gateway, path).await;
        assert_eq!((reply.status, reply.text().as_str()), (504, "stream timeout"), "{path}: {reply:?}");
    }
    let mut busy = shop::send(&gateway, "/busy").await;
    assert_eq!(within("an answer", busy.read_head()).await.unwrap().status, 200);
    let reply = shop::ask(&gateway, "/waits").await;
    assert_eq!((reply.status, reply.text().as_str()), (504, "stream timeout"), "{reply:?}");
    Metrics::refused(&gateway, "stream_idle_time", 3).await;
    origin.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_kept_for_another_attempt() {
    let script = Script::Echo { statuses: vec![503, 200, 503], headers: Vec::new(), trailers: Vec::new() };
    let origin = Origin::start("shop", script).await;
    let routes = "[{retries: {attempts: 2, retryOn: 5xx}, route: [{destination: {host: shop}}]}]";
    let gateway = shop::start(&shop::routes(routes), &[&origin], "--replay-buffer 10").await;
    for (size, status, hits) in [(10, 200, 2), (11, 503, 3)] {
        let mut connection = connect(&gateway).await;
        connection.send(&h1::request("POST", "/", "a", &[], &vec![b'x'; size])).await;
        let reply = within("an answer", connection.read("POST")).await.unwrap();
        assert_eq!((reply.status, origin.hits()), (status, hits), "{size}");
    }
    limit_is(&gateway, "replay_bytes", (10.0, 10.0, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_http2() {
    let origin = Origin::start("shop", Script::Never).await;
    let gateway = start(&origin, "--stream-window 70000 --connection-window 100000").await;
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let mut bytes = frames::PREFACE.to_vec();
    bytes.extend(frames::frame(frames::SETTINGS, 0, 0, b""));
    stream.write_all(&bytes).await.unwrap();
    let told = frames::next(&mut stream).await;
    let setting = told.payload.chunks(6).find(|setting| setting[..2] == [0, 4]).unwrap();
    assert_eq!(setting[2..], 70_000u32.to_be_bytes());
    let update = frames::next(&mut stream).await;
    assert_eq!((update.stream, update.payload), (0, (100_000u32 - 65_535).to_be_bytes().to_vec()));
    // More than a frame of the stream's window at once: FLOW_CONTROL_ERROR.
    let mut bytes = frames::frame(frames::HEADERS, 0x4, 1, b"\x83\x86\x84\x01\x01a");
    for _ in 0..5 {
        bytes.extend(frames::frame(0, 0, 1, &[b'x'; 14_001]));
    }
    stream.write_all(&bytes).await.unwrap();
    let reset = loop {
        let frame = frames::next(&mut stream).await;
        if frame.kind == frames::RESET {
            break frame;
        }
    };
    assert_eq!((reset.stream, reset.payload), (1, 3u32.to_be_bytes().to_vec()));
    for (limit, value) in [("stream_window", 70_000.0), ("connection_window", 100_000.0)] {
        let label = format!("\"{limit}\"");
        let used = |page: &Metrics| page.value(&["limen_limit_used", &label]) >= 14_001.0;
        let page = Metrics::when(&gateway, "what was sent ahead", used).await;
        assert_eq!(page.value(&["limen_limit", &label]), value);
        assert!(page.value(&["limen_limit_used", &label]) <= value, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_of_no_use_in_http2() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--http2-credit 100").await;
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let mut bytes = frames::PREFACE.to_vec();
    bytes.extend(frames::frame(frames::SETTINGS, 0, 0, b""));
    // Time earns some back while they come.
    bytes.extend(frames::frame(6, 0, 0, b"12345678").repeat(1000));
    stream.write_all(&bytes).await.unwrap();
    let goodbye = loop {
        let frame = frames::next(&mut stream).await;
        if frame.kind == 7 {
            break frame;
        }
    };
    assert_eq!(goodbye.payload[4..8], 11u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    limit_is(&gateway, "http2_credit", (100.0, 101.0, 1)).await;
    let away = |page: &Metrics, work: &str| page.value(&["limen_connections_sent_away_total", work]);
    let for_pings = |page: &Metrics| away(page, "work=\"ping\"") == 1.0;
    let page = Metrics::when(&gateway, "one sent away for its pings", for_pings).await;
    assert_eq!(away(&page, "work=\"settings\""), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_where_the_cluster_names_no_number() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let config = shop::routes(ROUTES) + &shop::policy("{connectionPool: {tcp: {maxConnections: 1}}}");
    let gateway = shop::start(&config, &[&origin], "--max-pending-requests 1").await;
    let mut first = shop::send(&gateway, "/").await;
    origin.hit(1).await;
    let mut second = shop::send(&gateway, "/").await;
    let waits = |page: &Metrics| page.value(&["limen_upstream_requests_pending"]) == 1.0;
    Metrics::when(&gateway, "a request that waits", waits).await;
    let refused = shop::ask(&gateway, "/").await;
    assert_eq!((refused.status, refused.header("x-envoy-overloaded").as_deref()), (503, Some("true")));
    limit_is(&gateway, "pending_requests", (1.0, 1.0, 1)).await;
    for waiting in [&mut first, &mut second] {
        gate.notify_one();
        assert_eq!(shop::read(waiting).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_ports_do_not_count_as_connections() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-connections 1 --max-client-connections 1").await;
    let mut only = connect(&gateway).await;
    assert_eq!(get(&mut only).await.unwrap().status, 200);
    for _ in 0..4 {
        assert_eq!(gateway.page("/ready").await.status, 200);
    }
    assert_eq!(get(&mut only).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_wait_for_a_client_that_does_not_read() {
    const MOST: f64 = 65536.0;
    // What was read of the client before it was looked at what waits.
    const READ_AT_ONCE: f64 = 2.0 * 16393.0;
    let origin = large().await;
    let gateway = start(&origin, "--write-buffer 65536 --http2-credit 100000 --stall-timeout 1h").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(gateway.address(80)).await.unwrap();
    // Room for all of the answer, on streams and on the connection.
    let settings = frames::frame(frames::SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let window = frames::frame(8, 0, 0, &0x7f00_0000u32.to_be_bytes());
    stream.write_all(&[frames::PREFACE, &settings, &window, &frames::get(1)].concat()).await.unwrap();
    let label = "limit=\"unwritten_bytes\"";
    let used = |page: &Metrics| page.value(&["limen_limit_used", label]);
    let refused = |page: &Metrics| page.value(&["limen_limit_refused_total", label]);
    let page = Metrics::when(&gateway, "data that waits", |page| used(page) > 0.0).await;
    assert_eq!(page.value(&["limen_limit", label]), MOST);
    assert!(
        used(&page) < MOST / 2.0 && refused(&page) == 0.0,
        "data alone waits at the origin: {}",
        used(&page)
    );
    // Answers to what the client asks cannot wait elsewhere: nothing more is read.
    let pings = frames::frame(6, 0, 0, b"12345678").repeat(8_000);
    let (mut reading, mut writing) = stream.into_split();
    let writer = tokio::spawn(async move { writing.write_all(&pings).await.map(|()| writing) });
    let page = Metrics::when(&gateway, "the end of reading", |page| refused(page) > 0.0).await;
    assert!((MOST..MOST + READ_AT_ONCE).contains(&used(&page)), "{}", used(&page));

    // Whoever reads again gets all of it.
    let mut seen = (0, 0);
    while seen != (LARGE, 8_000) {
        let frame = frames::next(&mut reading).await;
        seen.0 += if frame.kind == 0 { frame.payload.len() } else { 0 };
        seen.1 += usize::from(frame.kind == 6);
    }
    assert!(within("the last ping to be sent", writer).await.unwrap().is_ok());
    let page = Metrics::of(&gateway).await;
    assert!(used(&page) < MOST + READ_AT_ONCE, "{}", used(&page));
}

/// What a client sends is in two pieces, with a time between that can be seen.
const PIECES: Duration = Duration::from_millis(5);

/// Does this until there is something to be seen of a limit: the gateway may find both pieces of what was sent at once.
async fn until_seen(gateway: &Gateway, limit: &str, mut does: impl AsyncFnMut()) {
    let label = format!("limit=\"{limit}\"");
    let seen = async {
        while Metrics::of(gateway).await.value(&["limen_limit_used", &label]) == 0.0 {
            does().await;
        }
    };
    within(limit, seen).await;
    limit_is_seen(gateway, limit).await;
}

/// It has refused nothing, and what is used of it is less than it.
async fn limit_is_seen(gateway: &Gateway, limit: &str) {
    let label = format!("limit=\"{limit}\"");
    let page = Metrics::of(gateway).await;
    let [most, used, refused] = ["limen_limit", "limen_limit_used", "limen_limit_refused_total"]
        .map(|name| page.value(&[name, &label]));
    assert!(used > 0.0 && used < most && refused == 0.0, "{limit}: {used} of {most}, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_that_a_head_takes_is_seen_in_both_versions() {
    let origin = Origin::start("shop", Script::echo()).await;
    let request = h1::request("GET", "/", "a", &[], b"");
    let begin = [frames::PREFACE, &frames::frame(frames::SETTINGS, 0, 0, b"")].concat();
    for (http2, sent, first) in
        [(false, request, 9), (true, [begin.clone(), frames::get(1)].concat(), begin.len() + 4)]
    {
        let gateway = start(&origin, "").await;
        until_seen(&gateway, "header_time", async || {
            let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(&sent[..first]).await.unwrap();
            apart(PIECES).await;
            stream.write_all(&sent[first..]).await.unwrap();
            if http2 {
                while frames::next(&mut stream).await.kind != frames::HEADERS {}
            } else {
                let reply = within("an answer", h1::Connection::new(stream).read("GET")).await;
                assert_eq!(reply.unwrap().status, 200);
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_between_requests_is_seen_in_both_versions() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "").await;
    let mut h1 = connect(&gateway).await;
    assert_eq!(get(&mut h1).await.unwrap().status, 200);
    until_seen(&gateway, "idle_time", async || {
        apart(PIECES).await;
        assert_eq!(get(&mut h1).await.unwrap().status, 200);
    })
    .await;

    // Answers of the gateway itself are there in the same turn of its loop.
    let at_once = "[{directResponse: {status: 200}}]";
    for routes in [ROUTES, at_once] {
        let gateway = shop::start(&shop::routes(routes), &[&origin], "").await;
        let mut h2 =
            h2::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap()).await.unwrap();
        let mut ask = async || {
            let request = http::Request::get("http://a/").body(()).unwrap();
            let reply = within("an answer", h2.exchange(request, Bytes::new())).await.unwrap();
            assert_eq!(reply.status, 200);
        };
        ask().await;
        until_seen(&gateway, "idle_time", async || {
            apart(PIECES).await;
            ask().await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_at_the_defaults() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "").await;
    let page = Metrics::of(&gateway).await;
    for (limit, value) in [("header_bytes", 65536.0), ("headers", 128.0), ("streams", 100.0)] {
        assert_eq!(page.value(&["limen_limit", &format!("limit=\"{limit}\"")]), value, "{limit}");
    }
    // Besides these stands the host.
    for (count, status) in [(127, 200), (128, 431)] {
        let mut connection = connect(&gateway).await;
        connection.send(&h1::request("GET", "/", "a", &fields(count), b"")).await;
        assert_eq!(within("an answer", connection.read("GET")).await.unwrap().status, status, "{count}");
    }
    for (count, status) in [(128, 200), (129, 431)] {
        let mut client =
            h2::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap()).await.unwrap();
        let mut request = http::Request::get("http://a/");
        request.headers_mut().unwrap().extend(map(count));
        let exchange = client.exchange(request.body(()).unwrap(), Bytes::new());
        assert_eq!(within("an answer", exchange).await.unwrap().status, status, "{count}");
    }
}
