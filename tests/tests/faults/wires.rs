//! Wires that delay, split and cut, or are slow, on either side of a gateway.
//!
//! What must hold: a body arrives as it was sent, both ways, or the client sees that something failed; where nothing is cut,
//! nothing fails; a request that may change something reaches its origin once at the most; for what is on its way the
//! gateway holds no more than its buffers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use limen_e2e::gateway::Gateway;
use limen_e2e::process::Process;
use limen_e2e::reply::Reply;
use limen_e2e::shop;
use limen_e2e::wire::{Dice, Weather, Wire};
use limen_e2e::{h1, h2, within};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

const ROUTES: &str = "[{route: [{destination: {host: shop}}]}]";
const REQUESTS: usize = 24;

/// Everything arrives, late and in small parts.
const SLOW: Weather =
    Weather { piece: 900, pause_one_in: 40, pause: Duration::from_millis(3), ..Weather::FAIR };
/// Byte by byte.
const CRUMBS: Weather = Weather { piece: 1, pause_one_in: 2_000, ..SLOW };
/// Every other connection is cut.
const CUTS: Weather = Weather { piece: 4_000, cut_one_in: 2, cut_within: 60_000, ..SLOW };

/// An origin that sends bodies back, and counts what it was asked.
struct Mirror {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    task: AbortHandle,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mirror {
    async fn start() -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(BTreeMap::new()));
        let counted = asked.clone();
        let answer = async move |request: Request<Body>| -> Response {
            let what = format!("{} {}", request.method(), request.uri().path());
            *counted.lock().unwrap().entry(what).or_default() += 1;
            match to_bytes(request.into_body(), usize::MAX).await {
                Ok(body) => body.into_response(),
                Err(_) => axum::http::StatusCode::BAD_REQUEST.into_response(),
            }
        };
        let serve = async move { axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap() };
        Mirror { address, asked, task: tokio::spawn(serve).abort_handle() }
    }

    fn most(&self, method: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(what, _)| what.starts_with(method)).map(|(_, times)| *times).max().unwrap_or(0)
    }
}

fn pattern(dice: &mut Dice, most: u64) -> Vec<u8> {
    let length = dice.below(most);
    (0..length).map(|_| dice.next() as u8).collect()
}

/// Sends a request on a connection of its own.
async fn ask(to: SocketAddr, http2: bool, method: &str, path: &str, body: &[u8]) -> Result<Reply, String> {
    let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
    if http2 {
        // The client takes all that comes: what holds an answer back is the wire alone.
        let mut client = h2::Connection::with_window(stream, 1 << 24).await?;
        let request =
            http::Request::builder().method(method).uri(format!("http://a{path}")).body(()).unwrap();
        return client.exchange(request, body.to_vec().into()).await;
    }
    let mut client = h1::Connection::new(stream);
    client.send(&h1::request(method, path, "a", &[], body)).await;
    client.read(method).await
}

/// What failed of the requests over these wires, and how often a wire was cut.
async fn requests(
    seed: u64,
    front: Option<Weather>,
    behind: Option<Weather>,
    bodies: u64,
) -> (Vec<String>, usize) {
    let mut dice = Dice::new(seed);
    let origin = Mirror::start().await;
    let wire_behind = match behind {
        Some(weather) => Some(Wire::lay(origin.address, dice.next(), weather).await),
        None => None,
    };
    let backend = wire_behind.as_ref().map_or(origin.address, |wire| wire.address);
    let flags = ["--backend".to_owned(), format!("shop={backend}")];
    let gateway = Gateway::start(&[("shop.yaml", &shop::routes(ROUTES))], &flags).await;
    let wire_in_front = match front {
        Some(weather) => Some(Wire::lay(gateway.address(80), dice.next(), weather).await),
        None => None,
    };
    let to = wire_in_front.as_ref().map_or(gateway.address(80), |wire| wire.address);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        let mut own = dice.another();
        all.spawn(async move {
            let (http2, method) = (number % 2 == 0, if number % 3 == 0 { "GET" } else { "POST" });
            let body = if method == "GET" { Vec::new() } else { pattern(&mut own, bodies) };
            let what = format!("seed {seed}, request {number}, HTTP/2 {http2}, {method}");
            let answer = within(&what, ask(to, http2, method, &format!("/{number}"), &body)).await;
            match answer {
                Ok(reply) if reply.status == 200 => {
                    assert!(reply.body == body, "{what}: {} of {} bytes", reply.body.len(), body.len());
                    None
                }
                Ok(reply) => {
                    assert!(matches!(reply.status, 400 | 502..=504), "{what}: {reply:?}");
                    Some(format!("{what}: {reply:?}"))
                }
                Err(error) => Some(format!("{what}: {error}")),
            }
        });
    }
    let mut failed = Vec::new();
    while let Some(one) = all.join_next().await {
        failed.extend(one.unwrap());
    }
    assert!(origin.most("POST") <= 1, "seed {seed}: {:?}", origin.asked.lock().unwrap());
    assert!(origin.most("GET") <= 2, "seed {seed}: {:?}", origin.asked.lock().unwrap());
    let cuts = [wire_in_front, wire_behind].iter().flatten().map(Wire::cuts).sum();
    gateway.stop().await;
    (failed, cuts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_late_and_in_small_parts_arrives_whole() {
    for seed in [1, 2] {
        assert_eq!(requests(seed, Some(SLOW), Some(SLOW), 100_000).await, (Vec::new(), 0));
        assert_eq!(requests(seed, Some(CRUMBS), Some(CRUMBS), 4_000).await, (Vec::new(), 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_is_seen_to_be_and_not_done_twice() {
    for (front, behind) in [(Some(CUTS), None), (None, Some(CUTS)), (Some(CUTS), Some(CUTS))] {
        let mut all = 0;
        for seed in [1, 2, 3] {
            let (failed, cuts) = requests(seed, front, behind, 100_000).await;
            assert!(failed.len() < REQUESTS, "seed {seed}, {cuts} cuts: {failed:?}");
            all += cuts;
        }
        // How many connections there are, of which one in two is cut, is the gateway's to decide.
        assert!(all > 0, "{front:?}, {behind:?}");
    }
}

/// Bodies that are on their way at a time, and the bytes of each.
const LARGE: (usize, usize) = (8, 8 << 20);
/// What a gateway may hold for one of them: buffers of 256 KiB on either side, `--write-buffer`, windows of HTTP/2 and what
/// is read ahead.
const HELD: u64 = 2 << 20;

/// Each side is slow where the other is fast, so that what a gateway read without regard to who takes it would stay with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_large_and_goes_over_a_slow_wire_arrives_whole_and_is_not_held() {
    const A_SECOND: u64 = 4 << 20;
    let (bodies, length) = LARGE;
    let slow_from = Weather { bytes_a_second: [0, A_SECOND], ..Weather::FAIR };
    let slow_to = Weather { bytes_a_second: [A_SECOND, 0], ..Weather::FAIR };
    let mut dice = Dice::new(1);
    let body: Arc<Vec<u8>> = Arc::new((0..length).map(|_| dice.next() as u8).collect());
    for http2 in [false, true] {
        let origin = Mirror::start().await;
        let behind = Wire::lay(origin.address, 1, slow_to).await;
        let flags = ["--backend".to_owned(), format!("shop={}", behind.address)];
        let binary = env!("CARGO_BIN_EXE_limen-process");
        let gateway = Process::start(binary, &shop::routes(ROUTES), &flags).await;
        let front = Wire::lay(gateway.address(80), 1, slow_from).await;
        // What it needs for any request is there.
        assert_eq!(ask(front.address, http2, "POST", "/first", b"first").await.unwrap().status, 200);
        let before = gateway.resident();
        let mut all = tokio::task::JoinSet::new();
        for number in 0..bodies {
            let (to, body) = (front.address, body.clone());
            all.spawn(async move {
                let what = format!("HTTP/2 {http2}, {number}");
                let path = format!("/{number}");
                let reply = within(&what, ask(to, http2, "POST", &path, &body)).await.unwrap();
                assert_eq!((reply.status, reply.body.len()), (200, body.len()), "{what}");
                assert!(reply.body == *body, "{what}: it is not what was sent");
            });
        }
        while let Some(one) = all.join_next().await {
            one.unwrap();
        }
        let held = gateway.peak().saturating_sub(before);
        assert!(held < bodies as u64 * HELD, "HTTP/2 {http2}: {held} bytes for {bodies} bodies");
    }
}
