//! What mirrors see of requests, and that requests see nothing of mirrors.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::shop::{self, Connection, connect};
use limen_e2e::{h1, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SHADOW: &str = "---\n{apiVersion: v1, kind: Service, metadata: {name: shadow}, spec: {ports: [{name: http, port: 80}]}}\n";

const ROUTES: &str = "
  - match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/, authority: inner.example.com}
    headers: {request: {set: {x-by: rule}}}
    retries: {attempts: 2, retryOn: 5xx, backoff: 1ms}
    mirror: {host: shadow}
    route: [{destination: {host: shop}}]
  - mirrors:
    - {destination: {host: shadow}}
    - {destination: {host: shadow}, percentage: {value: 0}}
    - {destination: {host: absent}}
    route: [{destination: {host: shop}}]";

struct World {
    gateway: Gateway,
    shop: Origin,
    shadow: TcpListener,
}

async fn world(shop: Script) -> World {
    let shop = Origin::start("shop", shop).await;
    let shadow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flags = format!("--workers 1 --backend shadow={}", shadow.local_addr().unwrap());
    let gateway = shop::start(&(shop::routes(ROUTES) + SHADOW), &[&shop], &flags).await;
    World { gateway, shop, shadow }
}

async fn status(client: &mut Connection, path: &str, body: &[u8]) -> u16 {
    client.send(&h1::request("POST", path, "shop.example.com", &[], body)).await;
    within("a response", client.read("POST")).await.unwrap().status
}

/// Reads what the gateway sends until it ends with `end`.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    within("a copy", async {
        while !text.ends_with(end.as_bytes()) {
            assert!(stream.read_buf(&mut text).await.unwrap() > 0, "closed after {text:?}");
        }
    })
    .await;
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_copy_is_what_the_origin_sees_once_and_is_not_logged() {
    let World { gateway, shop, shadow } =
        world(Script::Echo { statuses: vec![503, 200], headers: Vec::new(), trailers: Vec::new() }).await;
    let mut client = connect(&gateway).await;
    assert_eq!(status(&mut client, "/old/a?q", b"the body").await, 200);
    assert_eq!(shop.hits(), 2, "the request itself was retried");
    let (mut stream, _) = within("the mirror's connection", shadow.accept()).await.unwrap();
    let copy = read_until(&mut stream, "the body").await;
    let lines: Vec<&str> = copy.split("\r\n").collect();
    assert_eq!(lines[0], "POST /new/a?q HTTP/1.1");
    for line in
        ["host: inner.example.com", "x-by: rule", "content-length: 8", "x-envoy-original-path: /old/a?q"]
    {
        assert!(lines.contains(&line), "{line} is not in {copy}");
    }
    assert_eq!(copy.matches("x-envoy-attempt-count").count(), 1, "{copy}");
    assert!(copy.contains("x-envoy-attempt-count: 1\r\n"), "{copy}");
    stream.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nbad").await.unwrap();
    // The answer was drained: the connection is used again, and what comes next is the next request.
    assert_eq!(status(&mut client, "/old/b", b"").await, 200);
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("POST /new/b "));
    assert_eq!(gateway.stop().await.len(), 2);
}

#[tokio::test]
async fn a_mirror_that_never_answers_holds_nothing_up() {
    let World { gateway, shadow, shop: _shop } = world(Script::echo()).await;
    let mut client = connect(&gateway).await;
    let mut silent = Vec::new();
    for n in 0..5 {
        assert_eq!(status(&mut client, &format!("/{n}"), b"x").await, 200);
        let (mut stream, _) = within("the mirror's connection", shadow.accept()).await.unwrap();
        assert!(read_until(&mut stream, "\r\n\r\nx").await.starts_with(&format!("POST /{n} ")));
        silent.push(stream);
    }
    drop(shadow);
    drop(silent);
    assert_eq!(status(&mut client, "/refused", b"x").await, 200);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_copied_and_the_request_not_mirrored() {
    let World { gateway, shadow, shop: _shop } = world(Script::echo()).await;
    let mut client = connect(&gateway).await;
    assert_eq!(status(&mut client, "/long", &vec![b'x'; (1 << 20) + 1]).await, 200);
    assert_eq!(status(&mut client, "/short", b"x").await, 200);
    let (mut stream, _) = within("the mirror's connection", shadow.accept()).await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\nx").await.starts_with("POST /short "));
}
