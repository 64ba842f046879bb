//! Interim responses: leave to send a body is the origin's to give, and hints reach the client ahead of the answer.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::{h1, shop, within};

const ROUTES: &str = "[{retries: {attempts: 2, retryOn: 5xx}, route: [{destination: {host: shop}}]}]";

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

struct World {
    origin: Origin,
    _gateway: Gateway,
    connection: shop::Connection,
}

async fn start(script: Script) -> World {
    let origin = Origin::start("shop", script).await;
    let gateway = shop::start(&shop::routes(ROUTES), &[&origin], "").await;
    let connection = shop::connect(&gateway).await;
    World { origin, _gateway: gateway, connection }
}

impl World {
    /// Sends the head of a request with a body of 4 bytes.
    async fn head(&mut self, lines: &str) {
        let head = format!("POST /up HTTP/1.1\r\nhost: a\r\n{lines}content-length: 4\r\n\r\n");
        self.connection.send(head.as_bytes()).await;
    }

    async fn interim(&mut self) -> Reply {
        within("an interim response", self.connection.read_head()).await.unwrap()
    }

    /// The next head must be that of the final response.
    async fn last(&mut self) -> Reply {
        within("the answer", self.connection.read_final("POST")).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leave_to_send_a_body_is_given_by_the_origin() {
    let mut world = start(Script::Interim(CONTINUE.to_vec())).await;
    for _ in 0..2 {
        world.head("expect: 100-continue\r\n").await;
        assert_eq!(world.interim().await.status, 100);
        world.connection.send(b"body").await;
        let reply = world.last().await;
        assert_eq!((reply.status, reply.closed, &reply.seen()["body"]), (200, false, &"body".into()));
        assert_eq!(reply.seen()["headers"]["expect"], "100-continue", "the origin was asked: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_wait_is_not_held_up_by_an_origin_that_says_nothing() {
    let mut world = start(Script::echo()).await;
    world.head("expect: 100-continue\r\n").await;
    world.origin.hit(1).await;
    world.connection.send(b"body").await;
    let reply = world.last().await;
    assert_eq!((reply.status, &reply.seen()["body"]), (200, &"body".into()), "no 100 of the gateway's own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_refuses_the_body_is_heard_without_it() {
    let refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno";
    let mut world = start(Script::Raw(refusal.to_vec())).await;
    world.head("expect: 100-continue\r\n").await;
    let reply = world.last().await;
    assert_eq!((reply.status, reply.text().as_str(), reply.closed), (401, "no", true), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_are_passed_on_ahead_of_the_answer() {
    let mut world = start(Script::Interim([HINTS, HINTS].concat())).await;
    world.head("").await;
    for _ in 0..2 {
        let hints = world.interim().await;
        assert_eq!(hints.status, 103, "{hints:?}");
        assert_eq!(hints.header("link").as_deref(), Some("</a.css>; rel=preload"), "{hints:?}");
        assert_eq!(hints.header("content-length"), None, "{hints:?}");
    }
    world.connection.send(b"body").await;
    assert_eq!(world.last().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_100_that_nobody_waits_for_is_dropped() {
    let mut world = start(Script::Interim(CONTINUE.to_vec())).await;
    world.head("").await;
    world.connection.send(b"body").await;
    let reply = world.last().await;
    assert_eq!((reply.status, reply.seen()["headers"].get("expect")), (200, None), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_1_0_client_hears_no_interim_response() {
    let mut world = start(Script::Interim(HINTS.to_vec())).await;
    world.connection.send(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert_eq!(world.last().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_passed_on_is_not_tried_again() {
    // The origin closes after its hints: a 5xx that the retry policy would try again.
    let mut world = start(Script::Raw(HINTS.to_vec())).await;
    world.connection.send(&h1::request("GET", "/", "a", &[], b"")).await;
    assert_eq!(world.interim().await.status, 103);
    let reply = world.last().await;
    assert_eq!((reply.status, world.origin.hits()), (503, 1), "{reply:?}");
}
