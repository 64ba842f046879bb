//! Too little memory: requests are answered 503 at once, then connections are refused, until there is enough again. Too
//! few file descriptors: connections are refused. How much is in use is the test's to say; what the system says of a real
//! process is far above a limit of 1 MiB.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use limen::boot::{Readers, Used};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::shop::{self, Metrics, connect};
use limen_e2e::tls::{Authority, base64};
use limen_e2e::{h1, h2, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const NAME: &str = "shop.example.com";
const ROUTES: &str = "[{route: [{destination: {host: shop}}]}]";

/// A gateway with a limit of 1000 bytes and one of 1000 file descriptors.
struct World {
    gateway: Gateway,
    used: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
    authority: Authority,
    origin: Origin,
}

async fn start() -> World {
    let authority = Authority::new();
    let pair = authority.issue(&[NAME]);
    let tls = "{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], \
               tls: {mode: SIMPLE, credentialName: edge}}";
    let config = shop::routes(ROUTES).replace("hosts: ['*']}]", &format!("hosts: ['*']}}, {tls}]"));
    let secret = format!(
        "---\n{{apiVersion: v1, kind: Secret, metadata: {{name: edge, namespace: istio-system}}, \
         data: {{tls.crt: {}, tls.key: {}}}}}\n",
        base64(&pair.certificate),
        base64(&pair.key)
    );
    let origin = Origin::start("shop", Script::echo()).await;
    let (used, open) = (Arc::new(AtomicU64::new(500)), Arc::new(AtomicU64::new(500)));
    let reader = |of: &Arc<AtomicU64>| {
        let reading = of.clone();
        Some(Used::new(move || Some(reading.load(Ordering::Relaxed))))
    };
    let readers = Readers { memory: reader(&used), descriptors: reader(&open) };
    let limits = "--max-memory 1000 --max-file-descriptors 1000".split_whitespace().map(str::to_owned);
    let backend = ["--backend".to_owned(), format!("shop={}", origin.address)];
    let flags: Vec<String> = limits.chain(backend).collect();
    let files = [("shop.yaml", &*format!("{config}{secret}"))];
    let gateway = Gateway::start_using(&files, &flags, readers).await;
    World { gateway, used, open, authority, origin }
}

impl World {
    /// So much is in use, and the gateway knows.
    async fn uses(&self, bytes: u32) {
        self.used.store(bytes.into(), Ordering::Relaxed);
        let known = |page: &Metrics| page.value(&["limen_memory_used_bytes"]) == f64::from(bytes);
        Metrics::when(&self.gateway, "the reading", known).await;
    }

    /// So many file descriptors are open, and the gateway knows.
    async fn opens(&self, descriptors: u32) {
        self.open.store(descriptors.into(), Ordering::Relaxed);
        let known = |page: &Metrics| page.value(&["process_open_fds"]) == f64::from(descriptors);
        Metrics::when(&self.gateway, "the reading", known).await;
    }

    async fn clear(&self) -> TcpStream {
        TcpStream::connect(self.gateway.address(80)).await.unwrap()
    }

    /// Connects until a connection is closed without a word: workers may take what comes before their mail.
    async fn refuses(&self) {
        let refused = async {
            loop {
                let mut stream = self.clear().await;
                let mut seen = Vec::new();
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
                let _ = stream.read_to_end(&mut seen).await;
                if seen.is_empty() {
                    return;
                }
            }
        };
        within("a connection that is closed without a word", refused).await;
    }

    /// Connects until it is served.
    async fn serves(&self) {
        let again = async {
            loop {
                let mut connection = connect(&self.gateway).await;
                connection.send(&h1::request("GET", "/", NAME, &[], b"")).await;
                if connection.read("GET").await.is_ok_and(|reply| reply.status == 200) {
                    return;
                }
            }
        };
        within("service as before", again).await;
    }
}

async fn over_h1<S>(connection: &mut h1::Connection<S>) -> Reply
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connection.send(&h1::request("GET", "/", NAME, &[], b"")).await;
    within("an answer", connection.read("GET")).await.unwrap()
}

async fn over_h2(connection: &mut h2::Connection, content_type: &str, body: &'static [u8]) -> Reply {
    let request = http::Request::post(format!("http://{NAME}/")).header("content-type", content_type);
    let exchange = connection.exchange(request.body(()).unwrap(), Bytes::from_static(body));
    within("an answer", exchange).await.unwrap()
}

/// The answer to a request for which there is no memory. A worker may take what comes on its sockets before its mail, so
/// the first requests after a reading may be served still.
async fn shed(mut ask: impl AsyncFnMut() -> Reply) -> Reply {
    let shed = async {
        loop {
            let reply = ask().await;
            if reply.header("x-envoy-upstream-service-time").is_none() {
                return reply;
            }
        }
    };
    let reply = within("a request that is shed", shed).await;
    assert_eq!(reply.header("x-envoy-overloaded"), None, "{reply:?}");
    reply
}

/// The same where it is no gRPC call.
async fn is_503(ask: impl AsyncFnMut() -> Reply) {
    let reply = shed(ask).await;
    assert_eq!((reply.status, reply.text().as_str()), (503, "envoy overloaded"), "{reply:?}");
}

/// Asks until it is served again.
async fn is_200(mut ask: impl AsyncFnMut() -> Reply) {
    let again = async { while ask().await.status != 200 {} };
    within("service as before", again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_shed_above_95_percent_whatever_they_are_spoken_in() {
    let world = start().await;
    let tls = world.gateway.address(443);
    let mut clear = h1::Connection::new(world.clear().await);
    let mut sealed = h1::Connection::new(world.authority.connect(tls, NAME, "http/1.1").await.unwrap());
    let mut h2_clear = h2::Connection::new(world.clear().await).await.unwrap();
    let h2_sealed = world.authority.connect(tls, NAME, "h2").await.unwrap();
    let mut h2_sealed = h2::Connection::new(h2_sealed).await.unwrap();
    assert_eq!(over_h1(&mut clear).await.status, 200);
    world.uses(951).await;
    is_503(async || over_h1(&mut clear).await).await;
    is_503(async || over_h1(&mut sealed).await).await;
    is_503(async || over_h2(&mut h2_clear, "text/plain", b"a body that nobody reads").await).await;
    is_503(async || over_h2(&mut h2_sealed, "text/plain", b"").await).await;
    let call = shed(async || over_h2(&mut h2_sealed, "application/grpc", b"\0\0\0\0\0").await).await;
    assert_eq!((call.status, call.header("grpc-status").as_deref()), (200, Some("14")), "{call:?}");
    assert_eq!(call.header("grpc-message").as_deref(), Some("envoy overloaded"), "{call:?}");
    let shed_so_far = |page: &Metrics| page.value(&["limen_requests_shed_total"]) >= 5.0;
    let page = Metrics::when(&world.gateway, "the count", shed_so_far).await;
    assert_eq!(page.value(&["limen_memory_limit_bytes"]), 1000.0);
    assert_eq!(page.value(&["limen_memory_shedding"]), 1.0);
    assert_eq!(world.gateway.page("/ready").await.status, 200, "the gateway's own pages answer");

    // New connections are still taken. Each worker has answered by now, and nothing of it reached a service.
    let hits = world.origin.hits();
    is_503(async || over_h1(&mut h1::Connection::new(world.clear().await)).await).await;
    world.uses(930).await;
    is_503(async || over_h1(&mut clear).await).await;
    is_503(async || over_h2(&mut h2_sealed, "text/plain", b"").await).await;
    assert_eq!(world.origin.hits(), hits);
    world.uses(929).await;
    is_200(async || over_h1(&mut clear).await).await;
    is_200(async || over_h2(&mut h2_sealed, "text/plain", b"").await).await;
    let lines = world.gateway.stop().await;
    let shed = lines.iter().filter(|line| line["response_flags"] == "OM");
    let codes: Vec<_> = shed.filter(|line| line["response_code_details"] == "overload").collect();
    assert!(codes.len() >= 8, "{lines:#?}");
    let others = lines.iter().filter(|line| line["response_flags"] != "OM");
    others.for_each(|line| assert_eq!(line["response_code_details"], "via_upstream", "{line}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_refused_above_98_percent() {
    let world = start().await;
    let mut there = h1::Connection::new(world.clear().await);
    assert_eq!(over_h1(&mut there).await.status, 200);
    world.uses(981).await;
    world.refuses().await;
    is_503(async || over_h1(&mut there).await).await;
    let page = Metrics::of(&world.gateway).await;
    assert_eq!(page.value(&["limen_limit", "\"memory\""]), 1000.0);
    assert_eq!(page.value(&["limen_limit_used", "\"memory\""]), 981.0);
    assert!(page.value(&["limen_limit_refused_total", "\"memory\""]) >= 2.0, "{}", page.0);
    world.uses(100).await;
    is_200(async || over_h1(&mut there).await).await;
    world.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_refused_when_file_descriptors_run_out_and_those_that_are_there_are_served() {
    let world = start().await;
    let mut there = h1::Connection::new(world.clear().await);
    assert_eq!(over_h1(&mut there).await.status, 200);
    world.opens(950).await;
    world.serves().await;
    world.opens(951).await;
    world.refuses().await;
    assert_eq!(over_h1(&mut there).await.status, 200, "it needs no more of them");
    let page = Metrics::of(&world.gateway).await;
    assert_eq!(page.value(&["limen_limit", "\"file_descriptors\""]), 1000.0);
    assert_eq!(page.value(&["limen_limit_used", "\"file_descriptors\""]), 951.0);
    assert!(page.value(&["limen_limit_refused_total", "\"file_descriptors\""]) >= 1.0, "{}", page.0);
    assert_eq!(
        (page.value(&["process_max_fds"]), page.value(&["limen_file_descriptors_short"])),
        (1000.0, 1.0)
    );
    let idle = |page: &Metrics| page.value(&["limen_upstream_connections_active"]) == 0.0;
    Metrics::when(&world.gateway, "the end of connections that nobody uses", idle).await;
    assert_eq!(world.gateway.page("/ready").await.status, 200, "the gateway's own pages answer");
    world.opens(925).await;
    world.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_above_its_limit_takes_no_connection() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = shop::start(&shop::routes(ROUTES), &[&origin], "--max-memory 1MiB").await;
    // The first reading is mailed before the first configuration, so this holds from the beginning.
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    let mut seen = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut seen)).await;
    assert_eq!(seen, b"");
    let page = Metrics::of(&gateway).await;
    assert!(page.value(&["limen_memory_used_bytes"]) > 1_048_576.0, "{}", page.0);
    assert_eq!(page.value(&["limen_memory_shedding"]), 2.0);
    assert_eq!(page.value(&["limen_downstream_connections_refused_total"]), 1.0);
}
