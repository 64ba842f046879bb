//! gRPC calls that stream both ways: message by message, so that whoever holds one back stops the call for good.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use h2::SendStream;
use http::{Request, Response};
use limen_e2e::calls::{Call, Calls, Messages, answer, message, status};
use limen_e2e::gateway::Gateway;
use limen_e2e::tls::{Authority, base64};
use limen_e2e::within;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: grpc, protocol: GRPC}, hosts: ['*']}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: edge}}
---
{apiVersion: v1, kind: Service, metadata: {name: calls}, spec: {ports: [{name: grpc, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: calls}
spec:
  hosts: ['*']
  gateways: [istio-system/edge]
  http: [{route: [{destination: {host: calls}}]}]
---
";

struct World {
    gateway: Gateway,
    authority: Authority,
    calls: Calls,
}

async fn start(flags: &str) -> World {
    let authority = Authority::new();
    let pair = authority.issue(&["calls.example.com"]);
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: edge, namespace: istio-system}}, \
         data: {{tls.crt: {}, tls.key: {}}}}}",
        base64(&pair.certificate),
        base64(&pair.key)
    );
    let calls = Calls::start().await;
    let mut all = vec!["--backend".to_owned(), format!("calls={}", calls.address)];
    all.extend(flags.split_whitespace().map(str::to_owned));
    let gateway = Gateway::start(&[("routes.yaml", &format!("{ROUTES}{secret}\n"))], &all).await;
    World { gateway, authority, calls }
}

type Responses = h2::client::ResponseFuture;

/// Opens a call over a new connection.
async fn call<S>(stream: S) -> (SendStream<Bytes>, Responses)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://calls.example.com/test.Echo/Chat")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, up) = send.ready().await.unwrap().send_request(request, false).unwrap();
    (up, response)
}

/// Each side says its next message only when it has heard the other's.
async fn ping_pong<S>(world: &mut World, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    const TURNS: usize = 50;
    let (mut up, response) = call(stream).await;
    let Call { request, mut respond } = world.calls.next().await;
    assert_eq!(request.headers()["te"], "trailers");
    let mut heard = Messages::new(request.into_body());
    let mut down = respond.send_response(answer(), false).unwrap();
    let response = within("the head, before any message", response).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let mut replies = Messages::new(response.into_body());
    for turn in 0..TURNS {
        up.send_data(message(&format!("ping {turn}")), false).unwrap();
        assert_eq!(heard.next().await.unwrap(), Some(format!("ping {turn}")));
        down.send_data(message(&format!("pong {turn}")), false).unwrap();
        assert_eq!(replies.next().await.unwrap(), Some(format!("pong {turn}")));
    }
    up.send_data(Bytes::new(), true).unwrap();
    assert_eq!(heard.next().await.unwrap(), None, "the client's end reaches the origin");
    down.send_data(message("last"), false).unwrap();
    assert_eq!(replies.next().await.unwrap().as_deref(), Some("last"), "after the client's end");
    down.send_trailers(status("0", "done")).unwrap();
    assert_eq!(replies.next().await.unwrap(), None);
    let trailers = replies.trailers().await;
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"0".parse().unwrap(), &"done".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_both_ways_one_by_one() {
    let mut world = start("").await;
    let stream = TcpStream::connect(world.gateway.address(80)).await.unwrap();
    ping_pong(&mut world, stream).await;
    let tls = world.authority.connect(world.gateway.address(443), "calls.example.com", "h2").await.unwrap();
    ping_pong(&mut world, tls).await;
    for line in world.gateway.stop().await {
        assert_eq!((&line["response_code"], &line["response_flags"]), (&200.into(), &"-".into()), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_ends_a_call_with_a_status_while_the_client_still_speaks() {
    let mut world = start("").await;
    let (mut up, response) = call(TcpStream::connect(world.gateway.address(80)).await.unwrap()).await;
    up.send_data(message("one"), false).unwrap();
    let Call { request, mut respond } = world.calls.next().await;
    let mut heard = Messages::new(request.into_body());
    assert_eq!(heard.next().await.unwrap().as_deref(), Some("one"));
    let mut down = respond.send_response(answer(), false).unwrap();
    down.send_trailers(status("8", "no%20more")).unwrap();
    let mut replies = Messages::new(within("the head", response).await.unwrap().into_body());
    assert_eq!(replies.next().await.unwrap(), None);
    let trailers = replies.trailers().await;
    assert_eq!(trailers["grpc-status"], "8");
    assert_eq!(trailers["grpc-message"], "no%20more", "as the origin wrote it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_cancelled_is_cancelled_at_the_origin() {
    let mut world = start("").await;
    let (mut up, response) = call(TcpStream::connect(world.gateway.address(80)).await.unwrap()).await;
    let Call { request, mut respond } = world.calls.next().await;
    let mut down = respond.send_response(answer(), false).unwrap();
    let _replies = within("the head", response).await.unwrap();
    up.send_reset(h2::Reason::CANCEL);
    let mut heard = Messages::new(request.into_body());
    let error = heard.next().await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    let reset = within("the reset", std::future::poll_fn(|cx| down.poll_reset(cx))).await.unwrap();
    assert_eq!(reset, h2::Reason::CANCEL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_the_origin_breaks_off_has_no_clean_end() {
    let mut world = start("").await;
    let (_up, response) = call(TcpStream::connect(world.gateway.address(80)).await.unwrap()).await;
    let Call { request: _request, mut respond } = world.calls.next().await;
    let mut down = respond.send_response(answer(), false).unwrap();
    down.send_data(message("half"), false).unwrap();
    let mut replies = Messages::new(within("the head", response).await.unwrap().into_body());
    assert_eq!(replies.next().await.unwrap().as_deref(), Some("half"));
    down.send_reset(h2::Reason::INTERNAL_ERROR);
    assert!(replies.next().await.is_err(), "never an end without a status");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_be_silent_for_longer_than_it_may_refuse_to_read() {
    let mut world = start("--stall-timeout 200ms").await;
    let address = world.gateway.address(80);
    let (mut up, response) = call(TcpStream::connect(address).await.unwrap()).await;
    let Call { request: silent, respond: mut to_silent } = world.calls.next().await;
    let mut half = limen_e2e::h1::Connection::new(TcpStream::connect(address).await.unwrap());
    half.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab").await;
    let Call { request: halved, respond: mut to_half } = world.calls.next().await;

    // This one reads nothing: when it is cut, the time has passed for the two that began before it.
    let (_up, deaf) = call(TcpStream::connect(address).await.unwrap()).await;
    let mut to_deaf = world.calls.next().await;
    let mut down = to_deaf.respond.send_response(answer(), false).unwrap();
    down.send_data(vec![0; 4 << 20].into(), true).unwrap();
    let mut unread = within("the head", deaf).await.unwrap().into_body();
    while within("the end of a client that does not read", unread.data()).await.unwrap().is_ok() {}

    up.send_data(message("at last"), true).unwrap();
    let mut heard = Messages::new(silent.into_body());
    assert_eq!(heard.next().await.unwrap().as_deref(), Some("at last"));
    to_silent.send_response(answer(), true).unwrap();
    assert_eq!(within("the answer", response).await.unwrap().status(), 200);
    half.send(b"cd").await;
    let mut heard = halved.into_body();
    let mut body = Vec::new();
    while let Some(piece) = within("the rest of the body", heard.data()).await {
        body.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(body, b"abcd");
    to_half.send_response(Response::builder().header("content-length", "0").body(()).unwrap(), true).unwrap();
    assert_eq!(within("the answer", half.read("POST")).await.unwrap().status, 200);
}
