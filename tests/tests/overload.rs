//! Too little memory: requests are answered 503 at once, then connections are refused, until there is enough again. Too
//! few file descriptors: connections are refused. How much is in use is mostly the test's to say; what the system says of a
//! real process is far above a limit of 1 MiB, and the last test fills a process of its own.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use limen::boot::{Readers, Used};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::process::Process;
use limen_e2e::reply::Reply;
use limen_e2e::shop::{self, Metrics, connect};
use limen_e2e::tls::{Authority, base64};
use limen_e2e::{frames, h1, h2, within};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

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
    start_with("").await
}

/// With more flags, as a line of words.
async fn start_with(flags: &str) -> World {
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
    let limits = format!("--max-memory 1000 --max-file-descriptors 1000 {flags}");
    let backend = ["--backend".to_owned(), format!("shop={}", origin.address)];
    let flags: Vec<String> = limits.split_whitespace().map(str::to_owned).chain(backend).collect();
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

/// They hold memory for as long as a head may take, and their requests would be refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_not_complete_are_refused_above_95_percent() {
    let world = start_with("--workers 1").await;
    let starts = [&b"P"[..], b"GET / HTTP/1.1\r\nhost: shop"];
    let mut before = Vec::new();
    for start in starts {
        let mut connection = connect(&world.gateway).await;
        connection.send(start).await;
        before.push(connection);
    }
    world.uses(960).await;
    let shed = async {
        loop {
            let mut connection = connect(&world.gateway).await;
            connection.send(&h1::request("GET", "/", NAME, &[], b"")).await;
            if connection.read("GET").await.is_ok_and(|reply| reply.status == 503) {
                return;
            }
        }
    };
    within("a request that is refused", shed).await;
    // Those that had begun before are refused when they go on.
    for (mut connection, next) in before.into_iter().zip(["R", ".example"]) {
        connection.send(next.as_bytes()).await;
        let reply = within("an answer to half a head", connection.read("GET")).await.unwrap();
        assert_eq!((reply.status, reply.closed), (503, true), "{reply:?}");
    }
    for start in starts {
        let mut connection = connect(&world.gateway).await;
        connection.send(start).await;
        let reply = within("an answer to half a head", connection.read("GET")).await.unwrap();
        assert_eq!((reply.status, reply.closed), (503, true), "{reply:?}");
    }
    let head = frames::frame(frames::HEADERS, 0x1, 1, b"\x82\x86");
    let settings = frames::frame(frames::SETTINGS, 0, 0, b"");
    let mut stream = world.clear().await;
    stream.write_all(&[frames::PREFACE, &settings, &head].concat()).await.unwrap();
    let mut seen = Vec::new();
    let _ = within("the end of half a head of HTTP/2", stream.read_to_end(&mut seen)).await;
    let goaway = limen::selftest::frames::heard(&seen).goaway;
    assert_eq!(goaway, Some(limen::selftest::frames::ENHANCE_YOUR_CALM));
    assert_eq!(world.origin.hits(), 0);
    world.uses(500).await;
    world.serves().await;
    for line in world.gateway.stop().await.iter().filter(|line| line["response_code"] == 503) {
        assert_eq!(line["response_flags"], "OM", "{line}");
    }
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
    let page = Metrics::when(&world.gateway, "the end of connections that nobody uses", idle).await;
    assert_eq!(page.of_shop("upstream_cx_idle_timeout"), 0.0, "they were not idle for too long");
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
    let told = |page: &Metrics| {
        page.value(&["limen_memory_used_bytes"]) > 1_048_576.0
            && page.value(&["limen_memory_shedding"]) == 2.0
            && page.value(&["limen_downstream_connections_refused_total"]) == 1.0
    };
    Metrics::when(&gateway, "the one refused for memory", told).await;
}

const MIB: u64 = 1 << 20;
/// What each holder makes the gateway keep.
const HELD: usize = 512 << 10;
/// What holders may take until the limit is reached.
const ROOM: u64 = 64 * MIB;
/// Requests that come when it is full, and what each sends of its body: more than there is room for, less than is read of a
/// body that nobody wants.
const PRESSING: usize = 512;
const PRESSED: usize = 128 * 1024;

/// A request to be held that has come so far: never to its end.
fn begun(length: usize) -> Vec<u8> {
    let head = format!("POST /held HTTP/1.1\r\nhost: {NAME}\r\ncontent-length: {}\r\n\r\n", HELD + 1);
    [head.as_bytes(), &vec![b'x'; length]].concat()
}

/// An origin that reads whatever comes and says nothing.
struct Mute {
    address: SocketAddr,
    /// Bytes that it has read.
    read: watch::Receiver<usize>,
    task: AbortHandle,
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mute {
    async fn start() -> Mute {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (says, read) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let says = says.clone();
                all.spawn(async move {
                    let mut piece = vec![0; 64 * 1024];
                    while let Ok(n @ 1..) = stream.read(&mut piece).await {
                        says.send_modify(|read| *read += n);
                    }
                });
            }
        });
        Mute { address, read, task: task.abort_handle() }
    }
}

/// A gateway in a process of its own. What goes to `/held` is kept for another attempt, and nobody answers it.
struct Fillable {
    gateway: Process,
    mute: Mute,
    _origin: Origin,
    holders: Vec<TcpStream>,
}

impl Fillable {
    async fn start(flags: &str) -> Fillable {
        let (mute, origin) = (Mute::start().await, Origin::start("shop", Script::echo()).await);
        let held = "{match: [{uri: {prefix: /held}}], retries: {attempts: 1, retryOn: 5xx}, \
                    route: [{destination: {host: mute}}]}";
        let config = shop::routes(&ROUTES.replacen('[', &format!("[{held}, "), 1))
            + "---\n{apiVersion: v1, kind: Service, metadata: {name: mute}, spec: {ports: [{name: http, port: 80}]}}\n";
        let backends = format!("--backend mute={} --backend shop={}", mute.address, origin.address);
        let all = format!("{backends} --access-log json --replay-buffer {HELD} {flags}");
        let flags: Vec<String> = all.split_whitespace().map(str::to_owned).collect();
        let gateway = Process::start(env!("CARGO_BIN_EXE_limen-process"), &config, &flags).await;
        let filled = Fillable { gateway, mute, _origin: origin, holders: Vec::new() };
        // What is made once is made before anything is held.
        let mut connection = filled.connect().await;
        is_200(async || over_h1(&mut connection).await).await;
        filled
    }

    async fn connect(&self) -> h1::Connection<TcpStream> {
        h1::Connection::new(TcpStream::connect(self.gateway.address(80)).await.unwrap())
    }

    /// Another request whose body stops before its end, when the gateway has all that comes of it.
    async fn hold(&mut self) {
        let mut stream = TcpStream::connect(self.gateway.address(80)).await.unwrap();
        let before = *self.mute.read.borrow();
        stream.write_all(&begun(HELD)).await.unwrap();
        let passed_on = self.mute.read.wait_for(|read| *read >= before + HELD);
        within("the body at the origin", passed_on).await.unwrap();
        self.holders.push(stream);
    }
}

/// The gateway reads ten times a second what it uses, so once it is near its limit this fills it no faster than it can see.
/// What comes faster than that can pass the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_filled_sheds_before_it_comes_to_its_limit_and_serves_again() {
    // What one uses that holds nothing, the other does, too.
    let empty = Fillable::start("--max-memory off").await;
    let limit = empty.gateway.resident() + ROOM;
    drop(empty);
    let mut filled = Fillable::start(&format!("--max-memory {limit}")).await;
    let mut there = filled.connect().await;
    assert_eq!(over_h1(&mut there).await.status, 200);
    let used = |page: &Metrics| page.value(&["limen_memory_used_bytes"]);
    let level = |page: &Metrics| page.value(&["limen_memory_shedding"]);
    let mut page = filled.gateway.metrics_when("a reading", |page| used(page) > 0.0).await;
    assert_eq!((page.value(&["limen_memory_limit_bytes"]), level(&page)), (limit as f64, 0.0));
    while level(&page) == 0.0 {
        assert!(
            filled.holders.len() * HELD < 2 * ROOM as usize,
            "nothing is shed of twice what there is room for"
        );
        filled.hold().await;
        let (before, near) = (used(&page), filled.gateway.resident() > limit - ROOM / 3);
        let seen = |page: &Metrics| !near || used(page) != before;
        page = filled.gateway.metrics_when("the next reading", seen).await;
    }
    assert!(used(&page) > 0.95 * limit as f64, "{}", page.0);

    // Connections go where there are fewer, so that some of these come to each worker: after this both know.
    is_503(async || over_h1(&mut there).await).await;
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(filled.connect().await);
    }
    for other in &mut others {
        is_503(async || over_h1(other).await).await;
    }
    // What comes now is refused, so that nothing of it is kept.
    let passed_on = *filled.mute.read.borrow();
    for _ in 0..PRESSING {
        let mut another = filled.connect().await;
        another.send(&begun(PRESSED)).await;
        let reply = within("an answer", another.read("POST")).await.unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (503, "envoy overloaded"), "{reply:?}");
    }
    assert_eq!(*filled.mute.read.borrow(), passed_on);
    let all = |page: &Metrics| page.value(&["limen_requests_shed_total"]) > PRESSING as f64;
    let page = filled.gateway.metrics_when("the count", all).await;
    assert_eq!(level(&page), 1.0, "{}", page.0);
    assert_eq!(filled.gateway.page("/ready").await.status, 200);
    assert_eq!(filled.gateway.readiness("/healthz/ready").await.status, 200);
    let peak = filled.gateway.peak();
    assert!(peak < limit, "{peak} of {limit}, while {} were held", filled.holders.len());

    filled.holders.clear();
    is_200(async || over_h1(&mut there).await).await;
    is_200(async || over_h1(&mut filled.connect().await).await).await;
    filled.gateway.metrics_when("nothing to be shed", |page| level(page) == 0.0).await;
    let log = filled.gateway.access_log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shed = lines.iter().filter(|line| line["response_flags"] == "OM");
    assert!(shed.filter(|line| line["response_code"] == 503).count() > PRESSING, "{lines:#?}");
}
