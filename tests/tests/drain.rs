//! How connections come to their end: when the process drains, and when a change takes away what let them in.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::select_all;
use http::Request;
use limen::view::Phase;
use limen_e2e::calls::{Calls, Messages, answer, message};
use limen_e2e::frames::{self, Frame, PREFACE, SETTINGS, frame};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::shop::{self, Metrics};
use limen_e2e::tls::{Authority, Pair, base64};
use limen_e2e::{h1, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use crate::slow::apart;
use crate::talk::{EDGE, ask, connect, says};

const DATA: u8 = 0;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(crate) const PING: u8 = 6;
pub(crate) const NO_ERROR: u32 = 0;

/// Whatever is asked of port 80 or 8080 goes to one service.
pub(crate) fn routes(servers: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: edge}}, spec: {{servers: [{servers}]}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: far}}, spec: {{ports: [{{name: http, port: 80}}, {{name: grpc, port: 81}}]}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: far}}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - {{match: [{{uri: {{prefix: /test.}}}}], route: [{{destination: {{host: far, port: {{number: 81}}}}}}]}}
  - {{route: [{{destination: {{host: far, port: {{number: 80}}}}}}]}}
"
    )
}

const ONE: &str = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}";
const TWO: &str = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}, \
                   {port: {number: 8080, name: more, protocol: HTTP}, hosts: ['*']}";

pub(crate) async fn gateway(origin: SocketAddr, flags: &str) -> Gateway {
    gateway_of(origin, &routes(TWO), flags).await
}

async fn gateway_of(origin: SocketAddr, config: &str, flags: &str) -> Gateway {
    let mut all = vec!["--backend".to_owned(), format!("far={origin}")];
    all.extend(flags.split_whitespace().map(str::to_owned));
    Gateway::start(&[("routes.yaml", config)], &all).await
}

/// Does something while the gateway drains.
async fn while_draining(gateway: &Gateway, does: impl Future<Output = ()>) {
    let ending = async {
        within("the drain", gateway.running.drain()).await;
    };
    let doing = async {
        gateway.until("the drain to begin", |view| view.phase == Phase::Draining).await;
        does.await;
    };
    tokio::join!(ending, doing);
}

pub(crate) async fn to(gateway: &Gateway, port: u16) -> h1::Connection<TcpStream> {
    h1::Connection::new(TcpStream::connect(gateway.address(port)).await.unwrap())
}

/// An upgraded connection whose origin sends back what it hears.
pub(crate) async fn chat(gateway: &Gateway, port: u16) -> h1::Connection<TcpStream> {
    let mut connection = to(gateway, port).await;
    let headers = [("connection", "Upgrade"), ("upgrade", "chat")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    connection.send(&h1::request("GET", "/", "a.example.com", &headers, b"")).await;
    assert_eq!(within("the switch", connection.read_head()).await.unwrap().status, 101);
    echoes(&mut connection, "hello").await;
    connection
}

pub(crate) async fn echoes(connection: &mut h1::Connection<TcpStream>, text: &str) {
    connection.send(text.as_bytes()).await;
    assert_eq!(within(text, connection.read_bytes(text.len())).await.unwrap(), text.as_bytes());
}

/// The next frame that is not about settings or windows.
pub(crate) async fn next(stream: &mut TcpStream) -> Frame {
    loop {
        let frame = frames::next(stream).await;
        if ![SETTINGS, 8].contains(&frame.kind) {
            return frame;
        }
    }
}

/// Last stream and reason of a GOAWAY.
pub(crate) fn goaway(frame: &Frame) -> (u32, u32) {
    assert_eq!(frame.kind, GOAWAY, "{frame:?}");
    let number = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
    (number(0), number(4))
}

/// The whole answer to a stream: at least a frame of it, to the one that ends it.
async fn answered(stream: &mut TcpStream, id: u32) {
    loop {
        // Flags are not kept: an answer without a body is one frame of HEADERS.
        let frame = next(stream).await;
        assert_ne!(frame.kind, frames::RESET, "{frame:?}");
        if (frame.kind, frame.stream) == (frames::HEADERS, id) {
            return;
        }
    }
}

/// A connection of HTTP/2 that has heard the first farewell, and the PING that came with it.
pub(crate) async fn told_to_go(stream: &mut TcpStream) -> Frame {
    let farewell = next(stream).await;
    assert_eq!(goaway(&farewell), (0x7fff_ffff, NO_ERROR), "no stream is refused yet");
    let ping = next(stream).await;
    assert_eq!(ping.kind, PING, "{ping:?}");
    // What was on its way is served.
    stream.write_all(&frames::get(3)).await.unwrap();
    answered(stream, 3).await;
    ping
}

pub(crate) async fn h2_client(gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b""), &frames::get(1)].concat()).await.unwrap();
    answered(&mut stream, 1).await;
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_told_twice_and_what_was_on_its_way_is_served() {
    let gateway = Gateway::start(&[("edge.yaml", EDGE), ("talk.yaml", &says("one"))], &[]).await;
    let (mut hears, mut deaf) = (h2_client(&gateway).await, h2_client(&gateway).await);
    while_draining(&gateway, async {
        let ping = told_to_go(&mut hears).await;
        hears.write_all(&frame(PING, 1, 0, &ping.payload)).await.unwrap();
        assert_eq!(goaway(&next(&mut hears).await), (3, NO_ERROR), "the last that is served");
        let mut rest = Vec::new();
        within("the end", hears.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"");
        // A client that never says that it has heard is not waited for.
        told_to_go(&mut deaf).await;
        assert_eq!(goaway(&next(&mut deaf).await), (3, NO_ERROR));
        within("the end", deaf.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"");
    })
    .await;
}

/// It goes on telling of its windows while it reads, though the gateway has said all: that is not to reset what is on its
/// way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_answer_of_http2_is_whole_for_who_reads_it_slowly() {
    const LAST: usize = 4 << 20;
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {LAST}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + LAST, b'x');
    let origin = Origin::start("far", Script::Raw(answer)).await;
    let gateway = gateway(origin.address, "--max-connection-requests 1").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut client = socket.connect(gateway.address(80)).await.unwrap();
    let of_streams = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let of_all = frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes());
    client.write_all(&[PREFACE, &of_streams, &of_all, &frames::get(1)].concat()).await.unwrap();
    let (mut seen, mut first) = (0, [0]);
    while within("a frame or the end", client.read(&mut first)).await.expect("an end, not a reset") > 0 {
        let next = frames::next(&mut (&first[..]).chain(&mut client)).await;
        match next.kind {
            DATA => {
                seen += next.payload.len();
                let read = u32::try_from(next.payload.len()).unwrap().to_be_bytes();
                let read = [frame(WINDOW_UPDATE, 0, 1, &read), frame(WINDOW_UPDATE, 0, 0, &read)].concat();
                // After the last of it the stream is no more.
                client.write_all(if seen < LAST { &read } else { &read[13..] }).await.unwrap();
            }
            PING => client.write_all(&frame(PING, 1, 0, &next.payload)).await.unwrap(),
            _ => {}
        }
    }
    assert_eq!(seen, LAST);
    // Who then goes on is not heard for ever.
    let more = async { while client.write_all(&[0; 4096]).await.is_ok() {} };
    within("the end of one that says more", more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_stays_until_the_deadline_and_ends_without_a_reset() {
    let origin = Origin::start("far", Script::Switch).await;
    let gateway = gateway(origin.address, "--drain 2s").await;
    let mut chat = chat(&gateway, 80).await;
    let mut idle = to(&gateway, 80).await;
    while_draining(&gateway, async {
        within("the idle connection to be closed", idle.end()).await.unwrap();
        echoes(&mut chat, "still there").await;
        within("the end", chat.end()).await.unwrap();
    })
    .await;
    let lines = gateway.stop().await;
    let line = lines.iter().find(|line| line["response_code"] == 101).unwrap();
    assert_eq!(
        (&line["response_flags"], &line["response_code_details"]),
        (&"LR".into(), &"drain_deadline".into()),
        "{line}"
    );
}

/// Asks for what the gateway says itself. A connection that has ended instead has done so without a reset.
async fn asked(stream: &mut TcpStream) -> Result<Reply, String> {
    let mut connection = h1::Connection::new(stream);
    connection.send(&h1::request("GET", "/", "talk.example.com", &[], b"")).await;
    let answer = within("an answer or the end", connection.read("GET")).await;
    assert!(!answer.as_ref().is_err_and(|how| !how.starts_with("closed before")), "{answer:?}");
    answer
}

/// Connections over which something was asked, and nothing since.
async fn kept_alive(gateway: &Gateway, many: usize) -> Vec<TcpStream> {
    let mut idle = Vec::new();
    for _ in 0..many {
        let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
        let reply = asked(&mut stream).await.unwrap();
        assert_eq!((reply.status, reply.closed), (200, false), "{reply:?}");
        idle.push(stream);
    }
    idle
}

/// The same, and as many that have said nothing yet, all of them accepted.
async fn idle(gateway: &Gateway, each: usize) -> Vec<TcpStream> {
    let active = |page: &Metrics| page.value(&["limen_downstream_connections_active"]);
    let others = active(&Metrics::of(gateway).await);
    let mut idle = kept_alive(gateway, each).await;
    for _ in 0..each {
        idle.push(TcpStream::connect(gateway.address(80)).await.unwrap());
    }
    let all = others + idle.len() as f64;
    Metrics::when(gateway, "all connections", |page| active(page) == all).await;
    idle
}

/// Waits for the end of a connection; nothing comes before it, and it is no reset.
async fn ends(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    within("the end", stream.read_to_end(&mut seen)).await.expect("an end, not a reset");
    assert_eq!(seen, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_end_one_after_the_other_and_long_before_the_deadline() {
    let origin = Origin::start("far", Script::Switch).await;
    let config = format!("{}---{}", routes(ONE), says("one"));
    // Their moments lie within three seconds, the deadline is at seventeen.
    let gateway = gateway_of(origin.address, &config, "--drain 18s").await;
    let mut chat = chat(&gateway, 80).await;
    let mut idle = idle(&gateway, 20).await;
    while_draining(&gateway, async {
        let ended = idle.iter().map(|stream| Box::pin(async { stream.peek(&mut [0]).await }));
        let (first, ..) = within("the first end", select_all(ended)).await;
        assert_eq!(first.expect("an end, not a reset"), 0);
        // If others end in the same moment, they have ended after this.
        apart(Duration::from_millis(100)).await;
        let open = |stream: &TcpStream| match stream.try_read(&mut [0]) {
            Ok(read) => {
                assert_eq!(read, 0);
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "an end, not a reset");
                true
            }
        };
        let (mut open, mut over): (Vec<_>, Vec<_>) = idle.drain(..).partition(open);
        let still_open = open.len();
        let mut answered = false;
        // One may end while it is asked.
        while !answered && let Some(mut stream) = open.pop() {
            if let Ok(reply) = asked(&mut stream).await {
                assert_eq!((reply.status, reply.closed), (200, true), "{reply:?}");
                answered = true;
            }
        }
        assert!(answered, "of {still_open} that were open after the first had ended none was served");
        for stream in open.iter_mut().chain(&mut over) {
            ends(stream).await;
        }
        echoes(&mut chat, "the deadline is not near").await;
        chat.close().await;
    })
    .await;
}

/// Idle connections are sent a request after they have been told to end. Returns what error each saw, if all
/// were sent within the second for which that is read: this test may have been kept from it.
async fn cross_the_end() -> Option<Vec<Option<std::io::Error>>> {
    let flags = ["--drain", "3s"].map(str::to_owned);
    let gateway = Gateway::start(&[("edge.yaml", EDGE), ("talk.yaml", &says("one"))], &flags).await;
    let mut idle = idle(&gateway, 5).await;
    let begun = Instant::now();
    let mut took = None;
    while_draining(&gateway, async {
        for stream in &mut idle {
            ends(stream).await;
            stream.write_all(&h1::request("GET", "/", "talk.example.com", &[], b"")).await.unwrap();
        }
        took = Some(begun.elapsed());
        // The gateway need not wait for more of them.
        for stream in &mut idle {
            let _ = stream.shutdown().await;
        }
    })
    .await;
    // Nothing of the gateway is there any more, so whatever it had to say to that has been said.
    let seen = idle.iter().map(|stream| stream.take_error().unwrap()).collect();
    took.filter(|took| *took < Duration::from_secs(1)).map(|_| seen)
}

/// A client may be sending when it is told that the connection ends. Were that met by a reset, one with an answer still to
/// read could lose it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_crosses_the_end_of_an_idle_connection_is_met_by_no_reset() {
    let seen = async {
        loop {
            if let Some(seen) = cross_the_end().await {
                return seen;
            }
        }
    };
    let seen = within("a request in time", seen).await;
    assert!(seen.iter().all(Option::is_none), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_outlast_the_drain_end_as_unavailable() {
    let mut calls = Calls::start().await;
    let gateway = gateway(calls.address, "--drain 1s").await;
    let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let call = async || {
        let request = Request::post("http://a.example.com/test.Echo/Chat")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        send.clone().ready().await.unwrap().send_request(request, false).unwrap()
    };
    let (begun, mut up) = call().await;
    let mut far = calls.next().await;
    let mut down = far.respond.send_response(answer(), false).unwrap();
    down.send_data(message("one"), false).unwrap();
    let begun = within("the head", begun).await.unwrap();
    let mut heard = Messages::new(begun.into_body());
    assert_eq!(heard.next().await.unwrap().as_deref(), Some("one"));
    let (silent, _up) = call().await;
    let _silent = calls.next().await;
    while_draining(&gateway, async {
        up.send_data(message("still there"), false).unwrap();
        let mut at_origin = Messages::new(far.request.into_body());
        assert_eq!(at_origin.next().await.unwrap().as_deref(), Some("still there"));
        down.send_data(message("yes"), false).unwrap();
        assert_eq!(heard.next().await.unwrap().as_deref(), Some("yes"));
        assert_eq!(heard.next().await.unwrap(), None, "an end, not a reset");
        assert_eq!(heard.trailers().await["grpc-status"], "14");
        let head = within("the other's answer", silent).await.unwrap();
        assert_eq!((head.status().as_u16(), &head.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
        drop(send);
        within("the connection to end", connection).await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_outlasts_the_drain_is_answered_503() {
    let origin = Origin::start("far", Script::Held(Arc::new(Notify::new()))).await;
    let gateway = gateway(origin.address, "--drain 1s").await;
    let mut busy = to(&gateway, 80).await;
    busy.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    origin.hit(1).await;
    while_draining(&gateway, async {
        let reply = within("the answer", busy.read("GET")).await.unwrap();
        assert_eq!((reply.status, reply.closed), (503, true), "{reply:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_has_the_port_as_soon_as_connections_are_told_to_end() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("far", Script::Held(gate.clone())).await;
    let gateway = gateway_of(origin.address, &routes(ONE), "--drain 1h").await;
    let address = gateway.address(80);
    let mut busy = to(&gateway, 80).await;
    busy.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    origin.hit(1).await;
    while_draining(&gateway, async {
        // One worker may be refused a client while another listens still.
        let bound = async {
            loop {
                match TcpListener::bind(address).await {
                    Ok(successor) => return successor,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let successor = within("the port to be free", bound).await;
        let (client, _) = tokio::join!(TcpStream::connect(address), successor.accept());
        assert!(client.is_ok());
        // Nor does a change open anything now.
        gateway.write("routes.yaml", &routes(TWO));
        let view = gateway.until("the other listener", |view| view.applied.listeners.len() == 2).await;
        let bound = |port| view.applied.listeners.iter().find(|l| l.declared == port).unwrap().bound;
        assert_eq!((bound(80), bound(8080)), (Some(address), None));
        gate.notify_one();
        let reply = within("the answer", busy.read("GET")).await.unwrap();
        assert_eq!((reply.status, reply.closed), (200, true), "{reply:?}");
    })
    .await;
}

/// A policy for the service that the routes lead to.
fn policy(traffic: &str) -> String {
    format!(
        "---
{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: far}}, spec: {{host: far, trafficPolicy: {traffic}}}}}
"
    )
}

/// Requests that wait, with these routes before that origin, are answered at the deadline: one of HTTP and one of gRPC,
/// which goes to an origin of HTTP/2. `waiting`: a metric, and how many of it there are then.
async fn those_who_wait_are_answered(config: &str, origin: &Origin, waiting: (&str, f64)) {
    let gateway = gateway_of(origin.address, config, "--drain 1s").await;
    let (mut plain, mut call) = (to(&gateway, 80).await, to(&gateway, 80).await);
    plain.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    let is_call = [("content-type".to_owned(), "application/grpc".to_owned())];
    call.send(&h1::request("POST", "/test.Echo/Chat", "a.example.com", &is_call, b"")).await;
    Metrics::when(&gateway, waiting.0, |page| page.get(&[waiting.0]) == Some(waiting.1)).await;
    while_draining(&gateway, async {
        let reply = within("the answer", plain.read("GET")).await.unwrap();
        assert_eq!((reply.status, reply.closed), (503, true), "{reply:?}");
        let reply = within("the other's answer", call.read("POST")).await.unwrap();
        assert_eq!((reply.status, reply.closed), (200, true), "{reply:?}");
        assert_eq!(reply.header("grpc-status").as_deref(), Some("14"), "{reply:?}");
    })
    .await;
    for line in gateway.stop().await {
        let told = (&line["response_flags"], &line["response_code_details"]);
        assert_eq!(told, (&"LR".into(), &"drain_deadline".into()), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_connection_is_being_made_is_answered_at_the_deadline() {
    let config = routes(ONE) + &policy("{connectionPool: {tcp: {connectTimeout: 1h}}}");
    let origin = Origin::start("far", Script::Full).await;
    those_who_wait_are_answered(&config, &origin, ("limen_requests_active", 2.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_a_connection_is_answered_at_the_deadline() {
    let config = routes(ONE).replace("number: 81", "number: 80")
        + &policy("{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 2}}}");
    let origin = Origin::start("far", Script::Never).await;
    those_who_wait_are_answered(&config, &origin, ("limen_upstream_requests_pending", 1.0)).await;
    let origin = Origin::start("far", Script::Never).await;
    let streams =
        config.replace("http1MaxPendingRequests: 2", "h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 1");
    those_who_wait_are_answered(&streams, &origin, ("limen_upstream_requests_pending", 1.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_to_be_tried_again_is_answered_at_the_deadline() {
    // A random part of it, such as nobody has lived to see the end of.
    let patient = "retries: {attempts: 1, retryOn: 5xx, backoff: 800000h}, route:";
    let origin =
        Origin::start("far", Script::Echo { statuses: vec![503], headers: vec![], trailers: vec![] }).await;
    let config = routes(ONE).replace("route:", patient);
    those_who_wait_are_answered(&config, &origin, ("limen_retries_total", 2.0)).await;
    assert_eq!(origin.hits(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_gateway_s_own_that_nobody_reads_is_cut_at_the_deadline() {
    let config = shop::routes("[{directResponse: {status: 200, body: {string: hello}}}]");
    let gateway = shop::start(&config, &[], "--drain 1s").await;
    let mut client = TcpStream::connect(gateway.address(80)).await.unwrap();
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    client.write_all(&[PREFACE, &no_window, &frames::get(1)].concat()).await.unwrap();
    answered(&mut client, 1).await;
    while_draining(&gateway, async {
        let reset = loop {
            let frame = next(&mut client).await;
            if ![GOAWAY, PING].contains(&frame.kind) {
                break frame;
            }
        };
        assert_eq!((reset.kind, reset.stream), (frames::RESET, 1), "{reset:?}");
    })
    .await;
    let lines = gateway.stop().await;
    assert_eq!(lines.last().unwrap()["response_flags"], "LR", "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_delayed_is_answered_at_the_deadline() {
    let delay = "fault: {delay: {percentage: {value: 100}, fixedDelay: 3600s}}, route:";
    let origin = Origin::start("far", Script::Never).await;
    let config = routes(ONE).replace("route:", delay);
    let gateway = gateway_of(origin.address, &config, "--drain 1s").await;
    let mut waits = to(&gateway, 80).await;
    waits.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    Metrics::when(&gateway, "the request", |page| page.get(&["limen_requests_active"]) == Some(1.0)).await;
    while_draining(&gateway, async {
        let reply = within("the answer", waits.read("GET")).await.unwrap();
        assert_eq!((reply.status, reply.closed), (503, true), "{reply:?}");
    })
    .await;
    assert_eq!(gateway.stop().await[0]["response_flags"], "LR,DI");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_goes_drains_its_own_connections_and_no_others() {
    let origin = Origin::start("far", Script::Switch).await;
    let gateway = gateway(origin.address, "--drain 2s").await;
    let (mut going, mut staying) = (chat(&gateway, 8080).await, chat(&gateway, 80).await);
    let gone = gateway.address(8080);
    let (mut idle, mut idle_elsewhere) = (to(&gateway, 8080).await, to(&gateway, 80).await);
    gateway.write("routes.yaml", &routes(ONE));
    gateway.until("one listener", |view| view.applied.listeners.len() == 1).await;
    assert!(TcpStream::connect(gone).await.is_err(), "nobody listens there");
    echoes(&mut going, "still there").await;
    within("the idle connection to be closed", idle.end()).await.unwrap();
    within("the end at the deadline", going.end()).await.unwrap();
    echoes(&mut staying, "as ever").await;
    idle_elsewhere.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    let reply = within("an answer", idle_elsewhere.read_head()).await.unwrap();
    assert_eq!(reply.header("connection"), None, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_listener_has_gone_is_answered_and_its_connection_closed() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("far", Script::Held(gate.clone())).await;
    let gateway = gateway(origin.address, "").await;
    let mut busy = to(&gateway, 8080).await;
    busy.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    origin.hit(1).await;
    gateway.write("routes.yaml", &routes(ONE));
    gateway.until("one listener", |view| view.applied.listeners.len() == 1).await;
    gate.notify_one();
    let reply = within("the answer", busy.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.closed), (200, true), "{reply:?}");
}

/// Whoever has the connection that it waits for is not told to end, so that none becomes free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_behind_another_listener_s_is_answered_at_the_deadline() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("far", Script::Held(gate.clone())).await;
    let one = policy("{connectionPool: {tcp: {maxConnections: 1}}}");
    let gateway = gateway_of(origin.address, &(routes(TWO) + &one), "--drain 1s").await;
    let (mut has, mut waits) = (to(&gateway, 80).await, to(&gateway, 8080).await);
    has.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    origin.hit(1).await;
    waits.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    let pending = "limen_upstream_requests_pending";
    Metrics::when(&gateway, pending, |page| page.get(&[pending]) == Some(1.0)).await;
    gateway.write("routes.yaml", &(routes(ONE) + &one));
    let reply = within("the answer", waits.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.closed), (503, true), "{reply:?}");
    gate.notify_one();
    let reply = within("the answer of who has it", has.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.closed), (200, false), "{reply:?}");
}

/// A connection's bytes go to `far` and back.
pub(crate) async fn passes(client: &mut TcpStream, far: &mut TcpStream) {
    for (from, to) in [(1, 2), (2, 1)] {
        let (one, two) = if from < to { (&mut *client, &mut *far) } else { (&mut *far, &mut *client) };
        one.write_all(b"ping").await.unwrap();
        let mut heard = [0; 4];
        within("bytes", two.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"ping");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_elsewhere_ends_a_connection() {
    let origin = Origin::start("far", Script::Switch).await;
    let raw = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: raw}}, spec: {{ports: [{{name: tcp, port: 1}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: raw}}, spec: {{servers: [
  {{port: {{number: 9000, name: tcp, protocol: TCP}}, hosts: ['*']}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: raw}}, spec: {{hosts: ['*'],
  gateways: [raw], tcp: [{{route: [{{destination: {{host: raw, port: {{number: 1}}}}}}]}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: raw-a, labels: {{kubernetes.io/service-name: raw}}}}
addressType: IPv4
ports: [{{name: tcp, port: {}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
",
        raw.local_addr().unwrap().port()
    );
    let gateway = gateway(origin.address, "--drain 1s").await;
    gateway.write("raw.yaml", &tcp);
    gateway.until("the third listener", |view| view.applied.listeners.len() == 3).await;
    let (mut going, mut chat) = (self::chat(&gateway, 8080).await, chat(&gateway, 80).await);
    let mut client = TcpStream::connect(gateway.address(9000)).await.unwrap();
    let (mut far, _) = within("the connection", raw.accept()).await.unwrap();
    let mut h2 = TcpStream::connect(gateway.address(80)).await.unwrap();
    h2.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await.unwrap();
    assert_eq!(frames::next(&mut h2).await.kind, SETTINGS);
    let elsewhere = routes(ONE).replace("host: far, port: {number: 80}", "host: nowhere");
    let changes = [
        ("the endpoint is gone", "raw.yaml", tcp.replace("{addresses: [127.0.0.1]}", "")),
        ("an object is wrong", "bad.yaml", says("one").replace("hosts", "hots")),
        // Last, so that its time is over after that of the others would be.
        ("a listener and a route are gone", "routes.yaml", elsewhere),
    ];
    for (what, file, text) in changes {
        let before = gateway.running.view();
        gateway.write(file, &text);
        let seen = |view: &limen::view::View| {
            view.generation > before.generation || view.problems() != before.problems()
        };
        gateway.until(what, seen).await;
        echoes(&mut chat, what).await;
        passes(&mut client, &mut far).await;
    }
    // Nor when the time is over that a connection has which a change does end.
    within("the end of the one whose listener is gone", going.end()).await.unwrap();
    echoes(&mut chat, "still there").await;
    passes(&mut client, &mut far).await;
    // The new routes hold for what begins now, on the connection that stands.
    h2.write_all(&frames::get(1)).await.unwrap();
    let first = next(&mut h2).await;
    assert_eq!((first.kind, first.stream), (frames::HEADERS, 1), "no farewell: {first:?}");
}

/// A Gateway whose servers in TLS are these: name, hosts, Secret.
fn in_tls(pair: &Pair, servers: &[(&str, &str)]) -> String {
    let servers: Vec<String> = servers
        .iter()
        .map(|(name, host)| {
            format!(
                "{{port: {{number: 443, name: {name}, protocol: HTTPS}}, hosts: [{host}], \
                 tls: {{mode: SIMPLE, credentialName: pair}}}}"
            )
        })
        .collect();
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: edge}}, spec: {{servers: [{}]}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: pair, namespace: istio-system}}, data: {{tls.crt: {}, tls.key: {}}}}}
",
        servers.join(", "),
        base64(&pair.certificate),
        base64(&pair.key)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_server_that_goes_ends_its_connections_and_those_of_another_name_stay() {
    let authority = Authority::new();
    let pair = authority.issue(&["talk.example.com", "other.example.com"]);
    let (talk, other) = (("talk", "talk.example.com"), ("other", "other.example.com"));
    let files = [("edge.yaml", &*in_tls(&pair, &[talk, other])), ("talk.yaml", &says("one"))];
    let gateway = Gateway::start(&files, &["--drain".to_owned(), "1s".to_owned()]).await;
    let address = gateway.address(443);
    let connect =
        async |name| h1::Connection::new(authority.connect(address, name, "http/1.1").await.unwrap());
    let (mut staying, mut going) = (connect("talk.example.com").await, connect("other.example.com").await);
    let before = gateway.running.view().generation;
    gateway.write("edge.yaml", &in_tls(&pair, &[talk]));
    gateway.until("the change", |view| view.generation > before).await;
    within("the end", going.end()).await.unwrap();
    staying.send(&h1::request("GET", "/", "talk.example.com", &[], b"")).await;
    let reply = within("an answer", staying.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.closed), (200, false), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_others_learn_of_it_everything_goes_on() {
    let flags = ["--drain-delay", "1h"].map(str::to_owned);
    let gateway = Gateway::start(&[("edge.yaml", EDGE), ("talk.yaml", &says("one"))], &flags).await;
    let mut standing = connect(&gateway).await;
    let ending = gateway.running.drain();
    let doing = async {
        gateway.until("readiness to say no", |view| view.phase == Phase::Draining).await;
        assert_eq!(ask(&mut standing).await, "200 one");
        assert_eq!(ask(&mut standing).await, "200 one", "it was not told to close");
        assert_eq!(ask(&mut connect(&gateway).await).await, "200 one", "new ones are served");
    };
    tokio::select! {
        () = ending => panic!("it does not wait"),
        () = doing => {}
    }
}
