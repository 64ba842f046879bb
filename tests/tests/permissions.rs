//! A change that takes away what a connection was let in to do ends it as a drain does, and no other.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::tls::{Authority, Pair, base64};
use limen_e2e::{frames, h1, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::drain::{
    NO_ERROR, PING, chat, echoes, gateway, goaway, h2_client, next, passes, routes, to, told_to_go,
};
use crate::talk::{EDGE, says};

const CLEAR: &str = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}";
const TLS: &str = "{port: {number: 80, name: https, protocol: HTTPS}, hosts: [a.example.com], \
                   tls: {mode: SIMPLE, credentialName: pair}}";
const BYTES: &str = "{port: {number: 80, name: tcp, protocol: TCP}, hosts: ['*']}";

fn secret(pair: &Pair) -> String {
    format!(
        "---
{{apiVersion: v1, kind: Secret, metadata: {{name: pair, namespace: istio-system}}, data: {{tls.crt: {}, tls.key: {}}}}}
",
        base64(&pair.certificate),
        base64(&pair.key)
    )
}

/// Writes a file and waits until every worker serves what it says.
async fn change(gateway: &Gateway, file: &str, text: &str) {
    let before = gateway.running.view().generation;
    gateway.write(file, text);
    gateway.until("the change", |view| view.generation > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_text_that_is_permitted_no_more_is_told_to_close() {
    let pair = Authority::new().issue(&["a.example.com"]);
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("far", Script::Held(gate.clone())).await;
    let gateway = gateway(origin.address, "--drain 1h").await;
    let with = |servers: &[&str]| routes(&servers.join(", ")) + &secret(&pair);
    change(&gateway, "routes.yaml", &with(&[CLEAR])).await;
    let mut busy = to(&gateway, 80).await;
    busy.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    origin.hit(1).await;

    // With TLS beside it, clear text is permitted as before.
    change(&gateway, "routes.yaml", &with(&[TLS, CLEAR])).await;
    gate.notify_one();
    let reply = within("the answer", busy.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.closed), (200, false), "{reply:?}");

    busy.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
    origin.hit(2).await;
    change(&gateway, "routes.yaml", &with(&[TLS])).await;
    gate.notify_one();
    let reply = within("the answer", busy.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.closed), (200, true), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_in_clear_text_that_is_permitted_no_more_is_told_to_go() {
    let pair = Authority::new().issue(&["talk.example.com"]);
    let gateway = Gateway::start(&[("edge.yaml", EDGE), ("talk.yaml", &says("one"))], &[]).await;
    let mut client = h2_client(&gateway).await;
    change(&gateway, "edge.yaml", &(EDGE.replace(CLEAR, TLS) + &secret(&pair))).await;
    let ping = told_to_go(&mut client).await;
    client.write_all(&frames::frame(PING, 1, 0, &ping.payload)).await.unwrap();
    assert_eq!(goaway(&next(&mut client).await), (3, NO_ERROR), "the last that is served");
    let mut rest = Vec::new();
    within("the end", client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_lost_its_permission_ends_when_the_time_is_over() {
    let pair = Authority::new().issue(&["a.example.com"]);
    for instead in [TLS, BYTES] {
        let origin = Origin::start("far", Script::Switch).await;
        let gateway = gateway(origin.address, "--drain 1s").await;
        let (mut idle, mut chat) = (to(&gateway, 80).await, chat(&gateway, 80).await);
        let (mut idle_elsewhere, mut elsewhere) =
            (to(&gateway, 8080).await, self::chat(&gateway, 8080).await);
        let servers = format!("{instead}, {}", CLEAR.replace("80, name: http", "8080, name: more"));
        change(&gateway, "routes.yaml", &(routes(&servers) + &secret(&pair))).await;
        within("the idle connection to be closed", idle.end()).await.unwrap();
        within("the end at the deadline", chat.end()).await.unwrap();
        echoes(&mut elsewhere, "as ever").await;
        idle_elsewhere.send(&h1::request("GET", "/", "a.example.com", &[], b"")).await;
        let reply = within("an answer", idle_elsewhere.read_head()).await.unwrap();
        assert_eq!(reply.header("connection"), None, "{reply:?}");
    }
}

/// Connections to these names are handed on undecrypted.
fn undecrypted(names: &[&str]) -> String {
    let hosts = names.join(", ");
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: edge}}, spec: {{servers: [
  {{port: {{number: 443, name: tls, protocol: TLS}}, hosts: [{hosts}], tls: {{mode: PASSTHROUGH}}}}]}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: far}}, spec: {{ports: [{{name: tls, port: 443}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: far}}, spec: {{hosts: [{hosts}],
  gateways: [edge], tls: [{{match: [{{sniHosts: [{hosts}]}}], route: [{{destination: {{host: far, port: {{number: 443}}}}}}]}}]}}}}
"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_that_is_handed_on_no_more_ends_and_that_to_another_name_stays() {
    let authority = Authority::new();
    let names = ["a.example.com", "b.example.com"];
    let origin = Origin::start("far", Script::TalkTls(authority.server(&names))).await;
    let flags =
        ["--backend".to_owned(), format!("far={}", origin.address), "--drain".to_owned(), "1s".to_owned()];
    let gateway = Gateway::start(&[("edge.yaml", &undecrypted(&names))], &flags).await;
    let connect = async |name| authority.connect(gateway.address(443), name, "http/1.1").await.unwrap();
    let (mut going, mut staying) = (connect(names[0]).await, connect(names[1]).await);
    change(&gateway, "edge.yaml", &undecrypted(&names[1..])).await;
    let mut said = Vec::new();
    // TLS that ends without a farewell is an error.
    let _ = within("the end", going.read_to_end(&mut said)).await;
    assert_eq!(said, b"");
    staying.write_all(b"hello").await.unwrap();
    staying.shutdown().await.unwrap();
    within("the answer", staying.read_to_end(&mut said)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said), "far heard hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_handed_on_no_more_end() {
    let raw = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = gateway(raw.local_addr().unwrap(), "--drain 1s").await;
    let handed_on = "---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: raw}, spec: {hosts: ['*'],
  gateways: [edge], tcp: [{route: [{destination: {host: far, port: {number: 80}}}]}]}}
";
    change(&gateway, "routes.yaml", &(routes(BYTES) + handed_on)).await;
    let mut client = TcpStream::connect(gateway.address(80)).await.unwrap();
    let (mut far, _) = within("the connection", raw.accept()).await.unwrap();
    change(&gateway, "routes.yaml", &routes(CLEAR)).await;
    passes(&mut client, &mut far).await;
    for side in [&mut client, &mut far] {
        let mut said = Vec::new();
        within("the end", side.read_to_end(&mut said)).await.unwrap();
        assert_eq!(said, b"");
    }
}

/// A listener that decrypts, and a route that has the bytes inside for these names.
fn decrypted(names: &[&str], pair: &Pair) -> String {
    let hosts = names.join(", ");
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {{name: limen}},
  spec: {{controllerName: limen.dev/gateway-controller}}}}
---
{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: edge}}, spec: {{gatewayClassName: limen, listeners: [
  {{name: tls, port: 443, protocol: TLS, tls: {{certificateRefs: [{{name: pair}}]}}}}]}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: pair}}, data: {{tls.crt: {}, tls.key: {}}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: far}}, spec: {{ports: [{{name: tcp, port: 1}}]}}}}
---
{{apiVersion: gateway.networking.k8s.io/v1, kind: TLSRoute, metadata: {{name: far}},
  spec: {{parentRefs: [{{name: edge}}], hostnames: [{hosts}], rules: [{{backendRefs: [{{name: far, port: 1}}]}}]}}}}
",
        base64(&pair.certificate),
        base64(&pair.key)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_that_is_decrypted_stays_for_the_names_that_a_route_keeps() {
    let authority = Authority::new();
    let names = ["a.example.com", "b.example.com", "c.example.com"];
    let pair = authority.issue(&names);
    let raw = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flags = ["--backend".to_owned(), format!("far={}", raw.local_addr().unwrap())];
    let flags = [&flags[..], &["--drain".to_owned(), "1s".to_owned()]].concat();
    let gateway = Gateway::start(&[("edge.yaml", &decrypted(&names[1..], &pair))], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    let mut connected = Vec::new();
    for name in &names[1..] {
        let client = authority.connect(gateway.address(443), name, "any").await.unwrap();
        connected.push((client, within("the connection", raw.accept()).await.unwrap().0));
    }
    let [mut staying, mut going] = <[_; 2]>::try_from(connected).unwrap();
    // One more name, which comes first; then the last goes.
    for (changed, kept) in [(&names[..], true), (&names[..2], false)] {
        change(&gateway, "edge.yaml", &decrypted(changed, &pair)).await;
        if kept {
            lasts(&mut going).await;
        } else {
            let mut said = Vec::new();
            let _ = within("the end", going.0.read_to_end(&mut said)).await;
            assert_eq!(said, b"");
        }
        lasts(&mut staying).await;
    }
}

/// Bytes go both ways for longer than what is to end may take.
async fn lasts((client, far): &mut (impl AsyncRead + AsyncWrite + Unpin, TcpStream)) {
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..15 {
        pace.tick().await;
        let mut heard = [0; 4];
        client.write_all(b"ping").await.unwrap();
        within("bytes", far.read_exact(&mut heard)).await.unwrap();
        far.write_all(b"pong").await.unwrap();
        within("bytes", client.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"pong");
    }
}
