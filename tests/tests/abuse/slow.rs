//! Clients that begin much and go on with nothing.

use limen_e2e::{frames, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_stop_are_bounded() {
    World::start("").await.withstands("slow-heads").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_stop_are_bounded() {
    World::start("").await.withstands("slow-bodies").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_bounded() {
    World::start("").await.withstands("unread-answers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_nobody_reads_are_bounded() {
    World::start("").await.withstands("unread-pings").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_stop_are_bounded() {
    World::start("").await.withstands("slow-handshakes").await;
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
