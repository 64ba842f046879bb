//! Clients that close their half of the connection (RFC 9112 9.6): what they have asked whole is answered, and nothing of
//! them stays.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use limen_e2e::origin::{Origin, Script};
use limen_e2e::shop::{self, Metrics, connect};
use limen_e2e::{h1, within};
use tokio::sync::Notify;

use crate::slow::apart;

const ROUTES: &str = "[{route: [{destination: {host: shop}}]}]";

fn get(path: &str) -> Vec<u8> {
    h1::request("GET", path, "a", &[], b"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_whole_is_answered_and_then_the_connection_ends() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let gateway = shop::start(&shop::routes(ROUTES), &[&origin], "--idle-timeout 1h").await;
    let body = h1::request("POST", "/", "a", &[], b"ok");
    for (requests, asked) in [(1, get("/")), (1, body), (2, [get("/1"), get("/2")].concat())] {
        let before = origin.hits();
        let mut client = connect(&gateway).await;
        client.send(&asked).await;
        client.close().await;
        for nth in 1..=requests {
            origin.hit(before + nth).await;
            gate.notify_one();
            let reply = within("the answer", client.read("GET")).await.unwrap();
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        within("the end", client.end()).await.unwrap();
    }
    assert!(gateway.stop().await.iter().all(|line| line["response_flags"] == "-"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_asked_whole_is_not_waited_for() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway =
        shop::start(&shop::routes(ROUTES), &[&origin], "--idle-timeout 1h --header-timeout 1h").await;
    let half_a_body = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nhe".to_vec();
    for (what, sent) in
        [("nothing", Vec::new()), ("half a head", get("/")[..9].to_vec()), ("half a body", half_a_body)]
    {
        let mut client = connect(&gateway).await;
        client.send(&sent).await;
        client.close().await;
        within(what, client.end()).await.unwrap();
    }
    let mut client = connect(&gateway).await;
    client.send(&get("/")).await;
    let reply = within("the answer", client.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.closed), (200, false), "{reply:?}");
    client.close().await;
    within("the end of an idle one", client.end()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_sent_nothing_for_too_long_is_taken_to_have_gone() {
    let origin = Origin::start("shop", Script::Never).await;
    let gateway = shop::start(&shop::routes(ROUTES), &[&origin], "--half-close-timeout 200ms").await;
    let mut client = connect(&gateway).await;
    client.send(&get("/")).await;
    origin.hit(1).await;
    client.close().await;
    within("the end", client.end()).await.unwrap();
    origin.ended(1).await;
    let label = "limit=\"half_close_time\"";
    let told = |page: &Metrics| {
        (page.value(&["limen_limit", label]), page.value(&["limen_limit_refused_total", label])) == (0.2, 1.0)
    };
    Metrics::when(&gateway, "the refusal", told).await;
    let lines = gateway.stop().await;
    assert_eq!((&lines[0]["response_code"], &lines[0]["response_flags"]), (&0.into(), &"DC".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_it_waited_is_seen() {
    let gate = Arc::new(Notify::new());
    let origin = Origin::start("shop", Script::Held(gate.clone())).await;
    let gateway = shop::start(&shop::routes(ROUTES), &[&origin], "").await;
    let waits = async {
        for nth in 1.. {
            let mut client = connect(&gateway).await;
            client.send(&get("/")).await;
            client.close().await;
            origin.hit(nth).await;
            // It is seen from a millisecond on.
            apart(std::time::Duration::from_millis(5)).await;
            gate.notify_one();
            assert_eq!(within("the answer", client.read("GET")).await.unwrap().status, 200);
            let page = Metrics::of(&gateway).await;
            if page.value(&["limen_limit_used", "limit=\"half_close_time\""]) > 0.0 {
                return;
            }
        }
    };
    within("a wait", waits).await;
}
