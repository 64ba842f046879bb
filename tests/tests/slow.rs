//! What a client may cost: slow, silent, greedy and too many clients against limits that are small.
//!
//! The clock is the real one. Each test waits for what a limit brings about, so that a limit that does nothing is a
//! hang, which the guard turns into a failure; how long something took is never looked at.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::shop::{self, Metrics, connect};
use limen_e2e::tls::{Authority, base64};
use limen_e2e::{frames, h1, h2, within};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::MissedTickBehavior;

const ROUTES: &str = "[{route: [{destination: {host: shop}}]}]";

async fn start(origin: &Origin, flags: &str) -> Gateway {
    shop::start(&shop::routes(ROUTES), &[origin], flags).await
}

async fn get(
    connection: &mut h1::Connection<TcpStream>,
    headers: &[(String, String)],
) -> Result<Reply, String> {
    connection.send(&h1::request("GET", "/", "a", headers, b"")).await;
    within("an answer or the end", connection.read("GET")).await
}

/// Reads until the gateway closes, in whichever way.
async fn until_closed(what: &str, stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut seen = Vec::new();
    // An error is an end too: a socket that was closed with something unread says so by a reset.
    let _ = within(what, stream.read_to_end(&mut seen)).await;
    seen
}

/// One byte at a time, with a pause between that is never shorter than this.
async fn trickle(to: &mut (impl AsyncWriteExt + Unpin), bytes: impl Iterator<Item = u8>, pause: Duration) {
    let mut pace = tokio::time::interval(pause);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for byte in bytes {
        pace.tick().await;
        if to.write_all(&[byte]).await.is_err() {
            return;
        }
    }
}

/// A pause between two pieces of what is sent, never shorter than this, so that it can be seen.
pub(crate) async fn apart(pause: Duration) {
    let mut pace = tokio::time::interval(pause);
    pace.tick().await;
    pace.tick().await;
}

fn only(lines: &[Value]) -> &Value {
    let [line] = lines else { panic!("one line expected: {lines:#?}") };
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_trickles_is_408() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--header-timeout 200ms").await;
    let (reading, mut writing) = TcpStream::connect(gateway.address(80)).await.unwrap().into_split();
    // The head never ends: were the time counted from the last byte, there would be no answer.
    let head = b"GET /slow HTTP/1.1\r\nhost: a\r\nx-long: ".iter().copied().chain(std::iter::repeat(b'a'));
    let client = tokio::spawn(async move { trickle(&mut writing, head, Duration::from_millis(20)).await });
    let mut connection = h1::Connection::new(tokio::io::join(reading, tokio::io::sink()));
    let reply = within("an answer to a head that does not end", connection.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.closed, origin.hits()), (408, true, 0), "{reply:?}");
    client.abort();
    Metrics::refused(&gateway, "header_time", 1).await;
    let lines = gateway.stop().await;
    let line = only(&lines);
    assert_eq!((&line["response_code"], &line["response_flags"]), (&408.into(), &"-".into()), "{line}");
    assert_eq!(line["response_code_details"], "request_header_timeout", "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_without_an_answer() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--idle-timeout 200ms").await;
    let mut used = connect(&gateway).await;
    let reply = get(&mut used, &[]).await.unwrap();
    assert_eq!((reply.status, reply.closed), (200, false), "{reply:?}");
    within("the end of an idle connection", used.end()).await.unwrap();

    let mut silent = TcpStream::connect(gateway.address(80)).await.unwrap();
    assert_eq!(until_closed("the end of a silent connection", &mut silent).await, b"");
    Metrics::refused(&gateway, "idle_time", 2).await;
    assert_eq!(gateway.stop().await.len(), 1, "only the request is logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_http2_connection_is_closed() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--idle-timeout 200ms").await;
    let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::get("http://a/").body(()).unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    assert_eq!(within("an answer", response).await.unwrap().status(), 200);
    within("the end of an idle connection", driver).await.unwrap().unwrap();
    Metrics::refused(&gateway, "idle_time", 1).await;
}

fn secured(authority: &Authority) -> String {
    let pair = authority.issue(&["shop.example.com"]);
    format!(
        "{}---
apiVersion: v1
kind: Secret
metadata: {{name: shop-tls, namespace: istio-system}}
data: {{tls.crt: {}, tls.key: {}}}
",
        shop::routes(ROUTES).replace(
            "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}",
            "{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], \
             tls: {mode: SIMPLE, credentialName: shop-tls}}",
        ),
        base64(&pair.certificate),
        base64(&pair.key)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_end_is_closed() {
    let authority = Authority::new();
    let flags = ["--handshake-timeout", "200ms"].map(str::to_owned);
    let gateway = Gateway::start(&[("shop.yaml", &secured(&authority))], &flags).await;
    let name = "shop.example.com".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(authority.client("h2"), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();

    for (sent, what) in [(0, "nothing"), (hello.len() / 2, "half a hello"), (hello.len(), "a hello only")] {
        let mut stream = TcpStream::connect(gateway.address(443)).await.unwrap();
        stream.write_all(&hello[..sent]).await.unwrap();
        let seen = until_closed(&format!("the end of a client that sends {what}"), &mut stream).await;
        assert_eq!(!seen.is_empty(), sent == hello.len(), "{what}: only a whole hello is answered: {seen:?}");
    }
    let (reading, mut writing) = TcpStream::connect(gateway.address(443)).await.unwrap().into_split();
    // The record says that 16 KiB follow: no end of the hello is ever reached.
    let endless = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc".iter().copied().chain(std::iter::repeat(3));
    let client = tokio::spawn(async move { trickle(&mut writing, endless, Duration::from_millis(20)).await });
    let mut reading = reading;
    until_closed("the end of a client whose hello trickles", &mut reading).await;
    client.abort();
    Metrics::counted(&gateway, &["limen_tls_handshake_errors_total"], 4.0).await;
    Metrics::refused(&gateway, "handshake_time", 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_header_that_does_not_end_is_closed() {
    let balanced = "---
{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system},
  data: {mesh: 'defaultConfig: {gatewayTopology: {proxyProtocol: {}}}'}}
";
    let flags = ["--handshake-timeout", "200ms"].map(str::to_owned);
    let config = shop::routes(ROUTES) + balanced;
    let gateway = Gateway::start(&[("shop.yaml", &config)], &flags).await;
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0").await.unwrap();
    assert_eq!(until_closed("the end of half a header", &mut stream).await, b"");
    Metrics::refused(&gateway, "handshake_time", 1).await;
    // One that is wrong is no matter of time.
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(until_closed("the end of what is no header", &mut stream).await, b"");
    Metrics::counted(&gateway, &["limen_proxy_header_errors_total"], 2.0).await;
    Metrics::refused(&gateway, "handshake_time", 1).await;
}

pub(crate) const LARGE: usize = 32 << 20;

/// An origin with an answer that no socket's buffers hold.
pub(crate) async fn large() -> Origin {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + LARGE, b'x');
    Origin::start("large", Script::Raw(answer)).await
}

/// Long enough that only the limit ends an exchange while a gateway waits for it.
const STALLED: &str = "--stall-timeout 300ms --drain 1h";

/// The gateway ends although the client still holds its request: it was cut. The log says who failed whom.
async fn is_cut(gateway: Gateway) {
    Metrics::refused(&gateway, "stall_time", 1).await;
    let lines = gateway.stop().await;
    let line = only(&lines);
    assert_eq!((&line["response_code"], &line["response_flags"]), (&200.into(), &"DC".into()), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_response_is_cut() {
    let origin = large().await;
    let gateway = start(&origin, STALLED).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(gateway.address(80)).await.unwrap();
    stream.write_all(&h1::request("GET", "/", "a", &[], b"")).await.unwrap();
    origin.hit(1).await;
    is_cut(gateway).await;
    let seen = until_closed("the end of what was sent", &mut stream).await;
    assert!(seen.len() < LARGE, "{} bytes", seen.len());
}

/// A client that has asked eight times for an answer of the gateway's own, of 1 MiB, and reads none of it.
async fn unread(flags: &str) -> (Gateway, TcpStream) {
    let body = "x".repeat(1 << 20);
    let routes = format!("[{{directResponse: {{status: 200, body: {{string: {body}}}}}}}]");
    let gateway = shop::start(&shop::routes(&routes), &[], flags).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(gateway.address(80)).await.unwrap();
    stream.write_all(&h1::request("GET", "/", "a", &[], b"").repeat(8)).await.unwrap();
    (gateway, stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_what_the_gateway_itself_answers_is_cut() {
    let (gateway, mut stream) = unread(STALLED).await;
    Metrics::refused(&gateway, "stall_time", 1).await;
    let lines = gateway.stop().await;
    let [read @ .., cut] = &lines[..] else { panic!("no line") };
    assert!(read.len() < 7 && read.iter().all(|line| line["response_flags"] == "-"), "{lines:#?}");
    assert_eq!((&cut["response_code"], &cut["response_flags"]), (&200.into(), &"DC".into()), "{cut}");
    let seen = until_closed("the end of what was sent", &mut stream).await;
    let heads = seen.windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count();
    assert_eq!(heads, lines.len(), "nothing follows what is incomplete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_opens_no_window_is_cut() {
    let origin = large().await;
    let gateway = start(&origin, STALLED).await;
    let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::get("http://a/").body(()).unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    let response = within("the head of the answer", response).await.unwrap();
    assert_eq!(response.status(), 200);
    is_cut(gateway).await;
    let mut body = response.into_body();
    let mut seen = 0;
    let end = loop {
        // No capacity is given back: the window stays closed.
        match within("the end of the stream", body.data()).await {
            Some(Ok(data)) => seen += data.len(),
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(_))), "a response that was cut is not taken for complete: {end:?}");
    assert!(seen < LARGE, "{seen} bytes");
    driver.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_over_the_limit_are_closed_at_accept() {
    const REFUSED: &str = "limen_downstream_connections_refused_total";
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-connections 2").await;
    let (mut first, mut second) = (connect(&gateway).await, connect(&gateway).await);
    for connection in [&mut first, &mut second] {
        assert_eq!(get(connection, &[]).await.unwrap().status, 200);
    }
    Metrics::counted(&gateway, &[REFUSED], 0.0).await;
    let mut third = TcpStream::connect(gateway.address(80)).await.unwrap();
    assert_eq!(until_closed("the end of a surplus connection", &mut third).await, b"");
    Metrics::counted(&gateway, &[REFUSED], 1.0).await;
    Metrics::counted(&gateway, &["envoy_listener_downstream_global_cx_overflow"], 1.0).await;
    assert_eq!(get(&mut first, &[]).await.unwrap().status, 200, "those that are there are still served");

    drop(second);
    let again = async {
        // The gateway learns in its own time that a place is free.
        while get(&mut connect(&gateway).await, &[]).await.map(|reply| reply.status) != Ok(200) {}
    };
    within("the place that became free", again).await;
    drop(first);
    let lines = gateway.stop().await;
    assert!(
        lines.iter().all(|line| line["response_flags"] == "-"),
        "a refused connection has no line: {lines:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_the_limit_are_refused() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let gateway = start(&origin, "--max-streams 2").await;
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    // A client library would keep to the limit.
    let mut bytes = frames::PREFACE.to_vec();
    bytes.extend(frames::frame(frames::SETTINGS, 0, 0, b""));
    for id in [1, 3, 5] {
        bytes.extend(frames::get(id));
    }
    stream.write_all(&bytes).await.unwrap();

    let told = frames::next(&mut stream).await;
    assert_eq!(told.kind, frames::SETTINGS);
    let most = told.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).map(|setting| &setting[2..]);
    assert_eq!(most, Some(&2u32.to_be_bytes()[..]), "the limit is announced");
    let refused = loop {
        let frame = frames::next(&mut stream).await;
        assert_ne!(frame.kind, frames::HEADERS, "no answer is due yet");
        if frame.kind == frames::RESET {
            break frame;
        }
    };
    assert_eq!((refused.stream, refused.payload), (5, frames::REFUSED_STREAM.to_be_bytes().to_vec()));
    let told = |page: &Metrics| {
        page.value(&["limen_limit_used", "\"streams\""]) == 2.0
            && page.value(&["limen_limit_refused_total", "\"streams\""]) == 1.0
    };
    Metrics::when(&gateway, "the streams", told).await;

    origin.hit(2).await;
    let mut answered = Vec::new();
    while answered.len() < 2 {
        gate.notify_one();
        let frame = loop {
            let frame = frames::next(&mut stream).await;
            assert_ne!(frame.kind, frames::RESET, "stream {}", frame.stream);
            if frame.kind == frames::HEADERS {
                break frame;
            }
        };
        answered.push(frame.stream);
    }
    answered.sort_unstable();
    assert_eq!((answered, origin.hits()), (vec![1, 3], 2), "the others are served");
}

fn header(name: &str, length: usize) -> (String, String) {
    (name.to_owned(), "v".repeat(length))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_over_the_limits_is_431() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-header-bytes 2000 --max-headers 20").await;
    let lines = |count: usize| (0..count).map(|n| header(&format!("x-{n}"), 1)).collect::<Vec<_>>();
    // Besides these stands the host.
    for (headers, status) in [
        (vec![header("x-long", 1900)], 200),
        (vec![header("x-long", 2000)], 431),
        (lines(19), 200),
        (lines(20), 431),
    ] {
        let before = origin.hits();
        let reply = get(&mut connect(&gateway).await, &headers).await.unwrap();
        assert_eq!((reply.status, reply.closed), (status, status == 431), "{headers:?}: {reply:?}");
        assert_eq!(origin.hits() - before, usize::from(status == 200));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_over_the_limits_is_431_in_http2() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-header-bytes 2000").await;
    let mut connection =
        h2::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap()).await.unwrap();
    for (length, status) in [(1700, 200), (2000, 431), (1700, 200)] {
        let request = http::Request::get("http://a/").header("x-long", "v".repeat(length)).body(()).unwrap();
        let reply = within("an answer", connection.exchange(request, Vec::new().into())).await.unwrap();
        assert_eq!(reply.status, status, "{length}, on the same connection: {reply:?}");
    }
    assert_eq!(origin.hits(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preface_that_trickles_is_closed() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--header-timeout 200ms").await;
    let (mut reading, mut writing) = TcpStream::connect(gateway.address(80)).await.unwrap().into_split();
    // The last byte never comes, and each comes well within the limit: counted from the last one, it would hold.
    let preface = frames::PREFACE[..frames::PREFACE.len() - 1].to_vec();
    let client = tokio::spawn(async move {
        trickle(&mut writing, preface.into_iter(), Duration::from_millis(100)).await;
        writing
    });
    assert_eq!(until_closed("the end of a preface that trickles", &mut reading).await, b"");
    assert!(!client.is_finished(), "the limit ended it, not the last byte");
    client.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_that_says_nothing_is_closed_without_its_help() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--idle-timeout 200ms").await;
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let mut bytes = frames::PREFACE.to_vec();
    bytes.extend(frames::frame(frames::SETTINGS, 0, 0, b""));
    stream.write_all(&bytes).await.unwrap();
    // It acknowledges nothing: neither settings nor the ping that goes with a GOAWAY.
    until_closed("the end of a silent connection", &mut stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_lines_are_counted_on_http2_too() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "--max-headers 20").await;
    let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let mut connection = h2::Connection::new(stream).await.unwrap();
    for (count, status) in [(15, 200), (21, 431)] {
        let mut request = http::Request::get("http://a/");
        for n in 0..count {
            request = request.header(format!("x-{n}"), "v");
        }
        let exchange = connection.exchange(request.body(()).unwrap(), Vec::new().into());
        let reply = within("an answer", exchange).await.unwrap();
        assert_eq!(reply.status, status, "{count}: {reply:?}");
    }
}

/// Connections that clients have to port 80.
fn open(page: &Metrics) -> f64 {
    page.value(&["limen_downstream_connections_active"])
}

/// A client of HTTP/2 that reads nothing. All of its requests are answered, with all windows as wide as they can be: what
/// waits for it in the gateway is more than one answer and less than what holds up a stream. Also returned: its next stream.
async fn deaf(flags: &str) -> (Gateway, TcpStream, u32) {
    let body = "x".repeat(20_000);
    let routes = format!("[{{directResponse: {{status: 200, body: {{string: {body}}}}}}}]");
    let gateway = shop::start(&shop::routes(&routes), &[], flags).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(gateway.address(80)).await.unwrap();
    let of_streams = frames::frame(frames::SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let of_all = frames::frame(8, 0, 0, &(0x7fff_ffff - 65_535u32).to_be_bytes());
    stream.write_all(&[frames::PREFACE, &of_streams, &of_all].concat()).await.unwrap();
    let answered = |page: &Metrics| {
        let of = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        page.0.lines().filter(|line| line.starts_with("istio_requests_total{")).map(of).sum::<f64>()
    };
    let mut count = 0;
    loop {
        count += 1;
        // A gateway that has cut it by now has met what is looked for.
        let _ = stream.write_all(&frames::get(count * 2 - 1)).await;
        let over = |page: &Metrics| answered(page) >= f64::from(count) || open(page) == 0.0;
        let page = Metrics::when(&gateway, "an answer", over).await;
        if open(&page) == 0.0 || page.value(&["limen_limit_used", "\"unwritten_bytes\""]) > 30_000.0 {
            return (gateway, stream, count * 2 + 1);
        }
    }
}

/// No stream waits any more that could be cut for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_that_reads_none_of_its_answers_loses_its_connection() {
    // The buffer is so large that no stream is held up by what is sent in the end.
    let (gateway, mut stream, mut next) =
        deaf("--stall-timeout 300ms --write-buffer 4194304 --drain 1h").await;
    let ended = async || Metrics::when(&gateway, "the end of the connection", |page| open(page) == 0.0).await;
    // The system may find room for what waited, so that nothing does: for some megabytes, if it was only slow before.
    let fill = async {
        while tokio::time::timeout(Duration::from_secs(1), ended()).await.is_err() {
            for _ in 0..10 {
                let _ = stream.write_all(&frames::get(next)).await;
                next += 2;
            }
        }
    };
    within("the end of one who takes nothing", fill).await;
    Metrics::refused(&gateway, "stall_time", 1).await;
    until_closed("the end of what was sent", &mut stream).await;
    let lines = gateway.stop().await;
    assert!(lines.iter().all(|line| line["response_flags"] == "-"), "all were answered: {lines:#?}");
}

/// It cannot be told why, and is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_that_does_not_read_has_no_more_time_for_a_head_than_others() {
    let (gateway, mut stream, _) = deaf("--header-timeout 300ms --stall-timeout 1h").await;
    stream.write_all(&frames::get(100_001)[..12]).await.unwrap();
    Metrics::when(&gateway, "the end of the connection", |page| open(page) == 0.0).await;
    Metrics::refused(&gateway, "header_time", 1).await;
}
