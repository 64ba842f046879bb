//! gRPC-Web: calls of clients without trailers, in both of its forms, on the ports that are declared to take them.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use limen_e2e::calls::{Call, Calls, Messages, answer, message, status};
use limen_e2e::gateway::Gateway;
use limen_e2e::reply::Reply;
use limen_e2e::tls::base64;
use limen_e2e::{h1, within};
use tokio::net::TcpStream;

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: grpc, protocol: GRPC}, hosts: ['*']}
  - {port: {number: 8080, name: web, protocol: GRPC-WEB}, hosts: ['*']}
---
{apiVersion: v1, kind: Service, metadata: {name: calls}, spec: {ports: [{name: grpc, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: calls}
spec:
  hosts: [calls.example.com]
  gateways: [edge]
  http:
  - route: [{destination: {host: calls}}]
    corsPolicy: {allowOrigins: [{exact: 'https://app.test'}], exposeHeaders: [grpc-status, grpc-message]}
";

struct World {
    gateway: Gateway,
    calls: Calls,
}

async fn start() -> World {
    let calls = Calls::start().await;
    let flags = ["--backend".to_owned(), format!("calls={}", calls.address)];
    let gateway = Gateway::start(&[("routes.yaml", ROUTES)], &flags).await;
    World { gateway, calls }
}

impl World {
    async fn connect(&self, port: u16) -> h1::Connection<TcpStream> {
        h1::Connection::new(TcpStream::connect(self.gateway.address(port)).await.unwrap())
    }

    /// Sends a request and answers its call as `origin` says; returns the answer and what the origin heard.
    async fn exchange(&mut self, port: u16, kind: &str, body: &[u8], origin: Origin) -> (Reply, Heard) {
        let mut connection = self.connect(port).await;
        let fields = [("content-type", kind), ("x-grpc-web", "1"), ("origin", "https://app.test")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        connection.send(&h1::request("POST", "/test.Echo/Say", "calls.example.com", &fields, body)).await;
        let Call { request, mut respond } = self.calls.next().await;
        let kind = request.headers()["content-type"].to_str().unwrap().to_owned();
        let te = request.headers().get("te").map(|te| te.to_str().unwrap().to_owned());
        let mut messages = Vec::new();
        let mut up = Messages::new(request.into_body());
        if matches!(origin, Origin::Answers) {
            while let Some(message) = up.next().await.unwrap() {
                messages.push(message);
            }
        }
        match origin {
            Origin::Answers => {
                let mut down = respond.send_response(answer(), false).unwrap();
                for said in &messages {
                    down.send_data(message(&format!("heard {said}")), false).unwrap();
                }
                down.send_trailers(status("0", "fine")).unwrap();
            }
            Origin::Denies => {
                let mut head = answer();
                head.headers_mut().extend(status("7", "no"));
                respond.send_response(head, true).unwrap();
            }
            Origin::SpeaksHttp => {
                let head = http::Response::builder().status(418).header("content-type", "text/plain");
                respond
                    .send_response(head.body(()).unwrap(), false)
                    .unwrap()
                    .send_data("tea".into(), true)
                    .unwrap();
            }
        }
        (within("the answer", connection.read("POST")).await.unwrap(), Heard { kind, te, messages })
    }
}

enum Origin {
    /// Repeats each message.
    Answers,
    /// Says its status in the head of its answer.
    Denies,
    /// Knows nothing of gRPC.
    SpeaksHttp,
}

struct Heard {
    kind: String,
    te: Option<String>,
    messages: Vec<String>,
}

/// The frame that says the trailers.
fn trailers(text: &str) -> Vec<u8> {
    let mut frame = vec![0x80];
    frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

fn frames(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

const FINE: &str = "grpc-status:0\r\ngrpc-message:fine\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_call_ends_with_its_trailers_in_the_body() {
    let mut world = start().await;
    let body = frames(&[&message("one"), &message("two")]);
    let (reply, heard) = world.exchange(8080, "application/grpc-web+proto", &body, Origin::Answers).await;
    assert_eq!((heard.kind.as_str(), heard.te.as_deref()), ("application/grpc+proto", Some("trailers")));
    assert_eq!(heard.messages, ["one", "two"]);
    assert_eq!(reply.header("content-type").as_deref(), Some("application/grpc-web+proto"), "{reply:?}");
    assert_eq!(reply.header("access-control-allow-origin").as_deref(), Some("https://app.test"), "{reply:?}");
    assert_eq!(
        reply.body,
        frames(&[&message("heard one"), &message("heard two"), &trailers(FINE)]),
        "{reply:?}"
    );
    let lines = world.gateway.stop().await;
    assert_eq!(lines[0]["response_code"], 200, "{}", lines[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_text_is_base64_both_ways() {
    let mut world = start().await;
    // Two segments, each with its own padding.
    let body = base64(message("one")) + &base64(message("two"));
    let (reply, heard) =
        world.exchange(8080, "application/grpc-web-text", body.as_bytes(), Origin::Answers).await;
    assert_eq!((heard.kind.as_str(), heard.messages.join(" ")), ("application/grpc", "one two".to_owned()));
    assert_eq!(reply.header("content-type").as_deref(), Some("application/grpc-web-text+proto"), "{reply:?}");
    let expected = [&message("heard one")[..], &message("heard two"), &trailers(FINE)].map(base64).concat();
    assert_eq!(reply.text(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_in_the_head_stays_there_and_what_is_no_call_passes_as_it_is() {
    let mut world = start().await;
    let body = message("one");
    let (reply, _) = world.exchange(8080, "application/grpc-web", &body, Origin::Denies).await;
    assert_eq!((reply.header("grpc-status").as_deref(), reply.body.len()), (Some("7"), 0), "{reply:?}");
    assert_eq!(reply.header("content-type").as_deref(), Some("application/grpc-web+proto"), "{reply:?}");
    let (reply, _) = world.exchange(8080, "application/grpc-web", &body, Origin::SpeaksHttp).await;
    assert_eq!((reply.status, reply.text().as_str()), (418, "tea"), "{reply:?}");
    assert_eq!(reply.header("content-type").as_deref(), Some("text/plain"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_of_other_protocols_change_nothing() {
    let mut world = start().await;
    let body = base64(message("one"));
    let (reply, heard) =
        world.exchange(80, "application/grpc-web-text", body.as_bytes(), Origin::SpeaksHttp).await;
    assert_eq!((heard.kind.as_str(), reply.text().as_str()), ("application/grpc-web-text", "tea"));
    // Nor do other requests on a port that takes such calls.
    let (reply, heard) = world.exchange(8080, "application/grpc", &message("one"), Origin::Answers).await;
    assert_eq!((heard.kind.as_str(), heard.te), ("application/grpc", None));
    assert_eq!(reply.body, message("heard one"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_stream_are_heard_one_by_one() {
    let mut world = start().await;
    for text in [false, true] {
        let stream = TcpStream::connect(world.gateway.address(8080)).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let kind = if text { "application/grpc-web-text" } else { "application/grpc-web" };
        let say = |bytes: &[u8]| if text { base64(bytes).into_bytes() } else { bytes.to_vec() };
        let request =
            http::Request::post("http://calls.example.com/test.Echo/Watch").header("content-type", kind);
        let (response, mut up) =
            send.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
        up.send_data(Bytes::from(say(&message("watch"))), true).unwrap();
        let Call { request, mut respond } = world.calls.next().await;
        let mut heard = Messages::new(request.into_body());
        assert_eq!(heard.next().await.unwrap().as_deref(), Some("watch"));
        let mut down = respond.send_response(answer(), false).unwrap();
        let mut body = within("the head", response).await.unwrap().into_body();
        for turn in 0..20 {
            let event = message(&format!("event {turn}"));
            down.send_data(event.clone(), false).unwrap();
            let (expected, mut seen) = (say(&event), Vec::new());
            while seen.len() < expected.len() {
                seen.extend(within("the message", body.data()).await.unwrap().unwrap());
            }
            assert_eq!(seen, expected, "all of it, before the next is said");
        }
        down.send_trailers(status("0", "fine")).unwrap();
        let mut rest = Vec::new();
        while let Some(piece) = within("the end", body.data()).await {
            rest.extend(piece.unwrap());
        }
        assert_eq!(rest, say(&trailers(FINE)));
        assert_eq!(within("trailers", body.trailers()).await.unwrap(), None, "a client of gRPC-Web has none");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_as_to_any_caller() {
    let world = start().await;
    let mut connection = world.connect(8080).await;
    let fields = [("content-type".to_owned(), "application/grpc-web-text".to_owned())];
    connection.send(&h1::request("POST", "/a.B/C", "calls.example.com", &fields, b"not base64!")).await;
    let reply = within("the answer", connection.read("POST")).await.unwrap();
    assert_eq!((reply.status, reply.header("grpc-status").as_deref()), (200, Some("13")), "{reply:?}");
    assert_eq!(reply.header("content-type").as_deref(), Some("application/grpc-web-text+proto"), "{reply:?}");
    let mut connection = world.connect(8080).await;
    connection.send(&h1::request("POST", "/a.B/C", "nobody.example.com", &fields, b"")).await;
    let reply = within("the answer", connection.read("POST")).await.unwrap();
    assert_eq!((reply.status, reply.header("grpc-status").as_deref()), (200, Some("12")), "{reply:?}");
    let asked = [("origin", "https://app.test"), ("access-control-request-method", "POST")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    connection.send(&h1::request("OPTIONS", "/a.B/C", "calls.example.com", &asked, b"")).await;
    let reply = within("the answer", connection.read("OPTIONS")).await.unwrap();
    assert_eq!(reply.header("access-control-allow-origin").as_deref(), Some("https://app.test"), "{reply:?}");
}
