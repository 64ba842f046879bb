//! Clients that begin much and go on with nothing.

use limen_e2e::origin::Script;
use limen_e2e::{frames, shop, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::World;

/// The class is withstood, and so many connections of each version are held until it is over: what it would cost to hold
/// them shows only then.
async fn holds(world: &World, class: &str, h1: &str, h2: &str) {
    let outcome = world.withstands(class).await;
    let did = outcome["did"].as_str().unwrap();
    let all = format!("held {h1} connections of HTTP/1 and {h2} of HTTP/2");
    assert!(did.starts_with(&all), "{did:?}, not {all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_stop_are_bounded() {
    holds(&World::start("").await, "slow-heads", "200 of 200", "50 of 50").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_stop_are_bounded() {
    holds(&World::start("").await, "slow-bodies", "200 of 200", "20 of 20").await;
}

/// Small answers, of which the system takes many for whoever does not read, and large ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_bounded() {
    holds(&World::start("").await, "unread-answers", "100 of 100", "20 of 20").await;
    let large = format!("[{{directResponse: {{status: 200, body: {{string: {:?}}}}}}}]", "x".repeat(50_000));
    let world = World::with(&shop::routes(&large), Script::echo(), "").await;
    holds(&world, "unread-answers", "100 of 100", "20 of 20").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_nobody_reads_are_bounded() {
    holds(&World::start("").await, "unread-pings", "0 of 0", "20 of 20").await;
}

/// What is not TLS is not held where TLS is spoken, and what is not HTTP where that is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_stop_are_bounded() {
    let (world, _deep) = super::doors::with_tls().await;
    for (port, flags, held) in [(80, &[][..], 200), (443, &["--tls"], 300), (8443, &["--tls"], 300)] {
        let outcome = world.withstands_at(port, flags, "slow-handshakes").await;
        assert_eq!(World::told(&outcome, "held "), held, "{port}: {outcome:#}");
    }
}

/// In HTTP/2 a head has as long as in HTTP/1, whether its frame, or the frame that ends it, does not come; and so has
/// any other frame. While other requests wait on the connection, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_http2_that_is_not_completed_ends_its_connection() {
    let world = World::start("--header-timeout 200ms").await;
    let begun = frames::frame(frames::HEADERS, 0x1, 3, b"\x82\x86");
    let waiting = frames::frame(frames::HEADERS, 0x4, 1, b"\x83\x86\x84\x01\x01a");
    for (what, unfinished) in [
        ("a head without its end", begun.clone()),
        ("half a head", begun[..10].to_vec()),
        ("half the head of a frame", begun[..5].to_vec()),
        ("a head behind a request that waits", [waiting, begun].concat()),
        ("half a ping", frames::frame(6, 0, 0, b"12345678")[..12].to_vec()),
    ] {
        let mut stream = TcpStream::connect(world.gateway.address(80)).await.unwrap();
        let settings = frames::frame(frames::SETTINGS, 0, 0, b"");
        stream.write_all(&[frames::PREFACE, &settings, &unfinished].concat()).await.unwrap();
        let mut seen = Vec::new();
        let _ = within(what, stream.read_to_end(&mut seen)).await;
        let goaway = limen::selftest::frames::heard(&seen).goaway;
        assert_eq!(goaway, Some(limen::selftest::frames::ENHANCE_YOUR_CALM), "{what}");
    }
    world.serves().await;
}
