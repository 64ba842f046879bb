//! Origins that die: before an answer, in its head, in its body, while a request is sent to them.
//!
//! What must hold: the client gets an answer of the gateway's own or sees that the origin's is not whole, whichever
//! version of HTTP it speaks; the log and the counters say whose fault it was; a dead connection is never used again; a
//! request that may have been worked on is not sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use limen_e2e::calls::{Calls, answer, message};
use limen_e2e::gateway::Gateway;
use limen_e2e::process::Process;
use limen_e2e::shop::{self, Metrics};
use limen_e2e::{h1, h2, within};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

const ROUTES: &str = "[{route: [{destination: {host: shop}}]}]";

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Death {
    /// The process was killed: its system says that nothing more comes.
    Fin,
    /// The machine, or what is between, says that there is no such connection.
    Reset,
}

/// An origin that writes some bytes in answer to `/killed` and dies when it is told to. Any other request is answered.
struct Mortal {
    listener: Arc<TcpListener>,
    heads: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    /// Where it has read as much as it will of a request that kills it.
    reached: Arc<Notify>,
    die: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mortal {
    /// `reads`: so much of a request's body is read first.
    async fn start(says: &'static str, reads: usize, death: Death) -> Mortal {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (heads, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (reached, die) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let own = (listener.clone(), heads.clone(), connections.clone(), reached.clone(), die.clone());
        let task = tokio::spawn(async move {
            let (listener, heads, connections, reached, die) = own;
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (heads, reached, die) = (heads.clone(), reached.clone(), die.clone());
                all.spawn(async move { live(stream, says, reads, death, (&heads, &reached, &die)).await });
            }
        });
        Mortal { listener, heads, connections, reached, die, task: task.abort_handle() }
    }

    async fn gateway(&self, config: &str) -> Gateway {
        let flags = ["--backend", &format!("shop={}", self.listener.local_addr().unwrap()), "--workers", "1"];
        Gateway::start(&[("shop.yaml", config)], &flags.map(str::to_owned)).await
    }

    fn heads(&self) -> usize {
        self.heads.load(Ordering::SeqCst)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One connection of it.
async fn live(
    mut stream: TcpStream,
    says: &str,
    reads: usize,
    death: Death,
    (heads, reached, die): (&AtomicUsize, &Notify, &Notify),
) {
    let mut seen = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                return;
            }
        };
        heads.fetch_add(1, Ordering::SeqCst);
        if !seen[..end].windows(7).any(|word| word == b"/killed") {
            seen.drain(..end);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother").await;
            continue;
        }
        while seen.len() < end + reads && stream.read_buf(&mut seen).await.unwrap_or(0) > 0 {}
        let _ = stream.write_all(says.as_bytes()).await;
        reached.notify_one();
        die.notified().await;
        if death == Death::Reset {
            stream.set_zero_linger().unwrap();
        }
        return;
    }
}

/// What a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Speaks {
    H10,
    H11,
    H2,
}

/// Asks for `/killed`, has the origin killed once `mark` has arrived, and says what the client makes of the answer.
async fn killed(gateway: &Gateway, origin: &Mortal, speaks: Speaks, mark: &str) -> Result<(), String> {
    let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    if speaks == Speaks::H2 {
        let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = http::Request::get("http://a/killed").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        let response = within("the head of the answer", response).await.map_err(|error| error.to_string())?;
        let mut body = response.into_body();
        let mut seen = Vec::new();
        while !mark.is_empty() && !seen.ends_with(mark.as_bytes()) {
            seen.extend(within("a part of the body", body.data()).await.unwrap().unwrap());
        }
        origin.die.notify_one();
        while let Some(piece) = within("the end of the body", body.data()).await {
            piece.map_err(|error| error.to_string())?;
        }
        driver.abort();
        return Ok(());
    }
    let (mut reading, mut writing) = stream.into_split();
    let version = if speaks == Speaks::H10 { "1.0" } else { "1.1" };
    writing.write_all(format!("GET /killed HTTP/{version}\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let arrived = |seen: &[u8]| match mark {
        "" => seen.windows(4).any(|four| four == b"\r\n\r\n"),
        mark => seen.windows(mark.len()).any(|part| part == mark.as_bytes()),
    };
    while !arrived(&seen) {
        assert!(within("a part of the answer", reading.read_buf(&mut seen)).await.unwrap() > 0, "{seen:?}");
    }
    origin.die.notify_one();
    within("the end of the connection", reading.read_to_end(&mut seen)).await.map_err(|e| e.to_string())?;
    let mut whole = h1::Connection::new(tokio::io::join(&seen[..], tokio::io::sink()));
    whole.read("GET").await.map(drop)
}

fn said(line: &Value) -> (u64, &str, &str) {
    let text = |name: &str| line[name].as_str().unwrap();
    (line["response_code"].as_u64().unwrap(), text("response_flags"), text("response_code_details"))
}

const BROKEN_OFF: &str = "upstream_reset_after_response_started{connection_termination}";

/// Answers that are not whole, and what of their bodies arrives.
const PARTS: [(&str, &str); 6] = [
    ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", ""),
    ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nPART", "PART"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nPART", "PART"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nPART\r\n", "PART"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nPART\r\n0\r\n", "PART"),
    ("HTTP/1.1 200 OK\r\n\r\nPART", "PART"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_its_origin_broke_off_is_not_taken_for_whole() {
    for (says, mark) in PARTS {
        for death in [Death::Fin, Death::Reset] {
            if death == Death::Fin && !says.contains("length") && !says.contains("chunked") {
                // The end of the connection is the end of the answer.
                continue;
            }
            let origin = Mortal::start(says, 0, death).await;
            let gateway = origin.gateway(&shop::routes(ROUTES)).await;
            let clients = [Speaks::H10, Speaks::H11, Speaks::H2];
            for (nth, speaks) in clients.into_iter().enumerate() {
                let what = format!("{says:?} {death:?} {speaks:?}");
                let whole = killed(&gateway, &origin, speaks, mark).await;
                assert!(whole.is_err(), "{what}: taken for whole");
                let other = shop::ask(&gateway, "/other").await;
                assert_eq!((other.status, &*other.text()), (200, "other"), "{what}");
                // The other's connection is used again, the dead one is not; and nothing was sent twice.
                assert_eq!((origin.heads(), origin.connections()), (2 * (nth + 1), nth + 2), "{what}");
            }
            let counted = |page: &Metrics| {
                page.value(&["limen_faults_origin_total"]) == 3.0
                    && page.of_shop("upstream_cx_destroy_with_active_rq") == 3.0
                    && page.of_shop("upstream_rq_active") == 0.0
            };
            Metrics::when(&gateway, "three failures of the origin, and nothing left of them", counted).await;
            let lines = gateway.stop().await;
            let broken: Vec<_> = lines.iter().filter(|line| line["path"] == "/killed").map(said).collect();
            assert_eq!(broken, [(200, "UC", BROKEN_OFF); 3], "{says:?} {death:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_origin_dies_before_it_answers_is_503_and_not_sent_twice_if_that_may_harm() {
    for says in ["", "HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n"] {
        for death in [Death::Fin, Death::Reset] {
            // What is only read may be asked for once more, by default; never what may change something.
            for (method, tries) in [("POST", 1), ("GET", 2)] {
                let origin = Mortal::start(says, 0, death).await;
                let gateway = origin.gateway(&shop::routes(ROUTES)).await;
                let killer = async {
                    loop {
                        origin.reached.notified().await;
                        origin.die.notify_one();
                    }
                };
                let asked = async {
                    let mut client = shop::connect(&gateway).await;
                    client.send(&h1::request(method, "/killed", "a", &[], b"")).await;
                    let reply = within("an answer", client.read(method)).await.unwrap();
                    client.send(&h1::request("GET", "/other", "a", &[], b"")).await;
                    assert_eq!(within("an answer", client.read("GET")).await.unwrap().text(), "other");
                    reply
                };
                let reply = tokio::select! {
                    () = killer => unreachable!(),
                    reply = asked => reply,
                };
                let what = format!("{says:?} {death:?} {method}");
                assert_eq!(reply.status, 503, "{what}: {reply:?}");
                assert!(reply.text().contains("connection termination"), "{what}: {reply:?}");
                assert_eq!(origin.heads() - 1, tries, "{what}");
                assert_eq!(origin.connections(), tries + 1, "{what}: no dead connection is used again");
                let lines = gateway.stop().await;
                let (code, flags, details) = said(&lines[0]);
                assert_eq!((code, flags), (503, if tries > 1 { "UC,URX" } else { "UC" }), "{what}");
                assert_eq!(details, "upstream_reset_before_response_started{connection_termination}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_origin_dies_is_503_and_neither_hangs_nor_begins_anew() {
    const SIZE: usize = 24 << 20;
    for death in [Death::Fin, Death::Reset] {
        for speaks in [Speaks::H11, Speaks::H2] {
            let origin = Mortal::start("", 100_000, death).await;
            let gateway = origin.gateway(&shop::routes(ROUTES)).await;
            let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
            let killer = async {
                origin.reached.notified().await;
                origin.die.notify_one();
                std::future::pending::<()>().await;
            };
            let upload = async {
                if speaks == Speaks::H2 {
                    let mut client = h2::Connection::new(stream).await.unwrap();
                    let request = http::Request::post("http://a/killed").body(()).unwrap();
                    return client.exchange(request, vec![0; SIZE].into()).await.unwrap();
                }
                let (reading, mut writing) = stream.into_split();
                let bytes = h1::request("POST", "/killed", "a", &[], &vec![0; SIZE]);
                let sends = tokio::spawn(async move {
                    let _ = writing.write_all(&bytes).await;
                });
                let mut client = h1::Connection::new(tokio::io::join(reading, tokio::io::sink()));
                let reply = client.read("POST").await.unwrap();
                sends.abort();
                reply
            };
            let reply = tokio::select! {
                () = killer => unreachable!(),
                reply = within("an answer", upload) => reply,
            };
            assert_eq!(reply.status, 503, "{death:?} {speaks:?}: {reply:?}");
            assert_eq!(origin.heads(), 1, "{death:?} {speaks:?}");
            let lines = gateway.stop().await;
            assert_eq!(said(&lines[0]).1, "UC", "{death:?} {speaks:?}");
        }
    }
}

/// The origin has the head of a request, and may act on it, when it dies; that the rest cannot be sent is no sign that nothing
/// was. The gateway sees the death and the rest at once, since it was stopped meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_which_the_head_alone_went_out_is_not_sent_again() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flags = ["--backend".to_owned(), format!("shop={}", origin.local_addr().unwrap())];
    let binary = env!("CARGO_BIN_EXE_limen-process");
    let gateway = Process::start(binary, &shop::routes(ROUTES), &flags).await;
    let mut client = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    client.send(b"POST /order HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n").await;
    let (mut first, _) = within("a connection", origin.accept()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(within("the head", first.read_buf(&mut head)).await.unwrap(), 0);
    }
    gateway.pause().await;
    first.set_zero_linger().unwrap();
    drop(first);
    // So much is not kept for a later write, whose failure would come after it was counted as sent.
    client.send(&[b'x'; 20_000]).await;
    gateway.resume();
    tokio::select! {
        again = origin.accept() => panic!("it comes again: {again:?}"),
        reply = within("an answer", client.read("POST")) => assert_eq!(reply.unwrap().status, 503),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_takes_connections_and_ends_them_is_not_asked_without_end() {
    let policy = shop::policy("{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flags = ["--backend", &format!("shop={}", listener.local_addr().unwrap()), "--workers", "1"];
    let config = shop::routes(ROUTES) + &policy;
    let gateway = Gateway::start(&[("shop.yaml", &config)], &flags.map(str::to_owned)).await;
    let accepted = AtomicUsize::new(0);
    for _ in 0..20 {
        let status = tokio::select! {
            () = accept_for_ever(&listener, &accepted) => unreachable!(),
            reply = shop::ask(&gateway, "/") => reply.status,
        };
        assert_eq!(status, 503);
    }
    // As many as Istio tries by default: three for each request.
    assert!(accepted.load(Ordering::SeqCst) <= 60, "{accepted:?}");
}

/// SETTINGS of HTTP/2 with MAX_CONCURRENT_STREAMS 0.
const NO_STREAMS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_allows_no_streams_is_not_asked_without_end() {
    let policy = shop::policy("{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flags = ["--backend", &format!("shop={}", listener.local_addr().unwrap()), "--workers", "1"];
    let routes = "[{timeout: 500ms, retries: {attempts: 0}, route: [{destination: {host: shop}}]}]";
    let config = shop::routes(routes) + &policy;
    let gateway = Gateway::start(&[("shop.yaml", &config)], &flags.map(str::to_owned)).await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let counts = accepted.clone();
    let origin = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            counts.fetch_add(1, Ordering::SeqCst);
            stream.write_all(NO_STREAMS).await.unwrap();
            open.push(stream);
        }
    });
    // What the origin says may come before or after a request has its stream. Many at a time make both likely; they are
    // asked until it came before.
    let (mut refused, mut rounds) = (0, 0);
    while rounds < 5 || (refused == 0 && rounds < 60) {
        rounds += 1;
        let asked = (0..20).map(async |_| shop::ask(&gateway, "/").await.status);
        for status in futures_util::future::join_all(asked).await {
            assert!(matches!(status, 503 | 504), "{status}");
            refused += usize::from(status == 503);
        }
    }
    origin.abort();
    let accepted = accepted.load(Ordering::SeqCst);
    assert!(accepted <= 20 * rounds, "{accepted} connections for {rounds} times 20 requests");
    assert!(refused > 0, "nobody heard of it in time");
}

async fn accept_for_ever(listener: &TcpListener, accepted: &AtomicUsize) {
    while listener.accept().await.is_ok() {
        accepted.fetch_add(1, Ordering::SeqCst);
    }
}

/// A gateway before an origin of HTTP/2 that the test answers for.
async fn calls() -> (Gateway, Calls) {
    let calls = Calls::start().await;
    let policy = shop::policy("{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}");
    let flags = ["--backend", &format!("shop={}", calls.address), "--workers", "1"];
    let config = shop::routes(ROUTES) + &policy;
    let gateway = Gateway::start(&[("shop.yaml", &config)], &flags.map(str::to_owned)).await;
    (gateway, calls)
}

/// A call as a client of gRPC makes it.
fn grpc() -> http::Request<()> {
    let request = http::Request::post("http://a/killed").header("content-type", "application/grpc");
    request.header("te", "trailers").body(()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_origin_dies_has_no_status_of_success() {
    // Before the answer, after its head, after a message: the connection is killed, or the stream is reset.
    for (head, text, reset) in [
        (false, false, false),
        (false, false, true),
        (true, false, false),
        (true, false, true),
        (true, true, false),
        (true, true, true),
    ] {
        let what = format!("head {head}, message {text}, reset {reset}");
        let (gateway, mut calls) = calls().await;
        let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
        let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let (response, mut request) = send.send_request(grpc(), false).unwrap();
        request.send_data(message("hello"), true).unwrap();
        let mut call = calls.next().await;
        let mut answering = None;
        if head {
            answering = Some(call.respond.send_response(answer(), false).unwrap());
        }
        if let (true, Some(stream)) = (text, &mut answering) {
            stream.send_data(message("part"), false).unwrap();
        }
        let mut body = None;
        let mut response = Box::pin(response);
        if head {
            let mut stream = within("the head", &mut response).await.unwrap().into_body();
            if text {
                assert!(within("a message", stream.data()).await.unwrap().is_ok());
            }
            body = Some(stream);
        }
        match (&mut answering, reset) {
            (Some(stream), true) => stream.send_reset(::h2::Reason::INTERNAL_ERROR),
            (None, true) => call.respond.send_reset(::h2::Reason::INTERNAL_ERROR),
            (_, false) => calls.kill().await,
        }
        match body {
            None => {
                let head = within("the answer", response).await.unwrap();
                assert_eq!(head.status(), 200, "{what}");
                assert_eq!(head.headers()["grpc-status"], "14", "{what}");
            }
            Some(mut body) => {
                let end = loop {
                    match within("the end", body.data()).await {
                        Some(Ok(_)) => {}
                        end => break end,
                    }
                };
                assert!(matches!(end, Some(Err(_))), "{what}: {end:?}");
            }
        }
        driver.abort();
        let lines = gateway.stop().await;
        let (code, flags, details) = said(&lines[0]);
        let expected = match (head, reset) {
            (false, false) => (200, "UC", "upstream_reset_before_response_started{connection_termination}"),
            (false, true) => (200, "UR", "upstream_reset_before_response_started{remote_reset}"),
            (true, false) => (200, "UC", BROKEN_OFF),
            (true, true) => (200, "UR", "upstream_reset_after_response_started{remote_reset}"),
        };
        assert_eq!((code, flags, details), expected, "{what}");
    }
}

/// HTTP/2 names the length of a body too, and ends it where it likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_body_that_is_shorter_than_its_length_is_not_taken_for_whole() {
    let (gateway, mut calls) = calls().await;
    for speaks in [Speaks::H11, Speaks::H2] {
        let asked = async {
            let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
            if speaks == Speaks::H2 {
                let mut client = h2::Connection::new(stream).await.unwrap();
                let request = http::Request::get("http://a/killed").body(()).unwrap();
                return client.exchange(request, Vec::new().into()).await;
            }
            let mut client = h1::Connection::new(stream);
            client.send(&h1::request("GET", "/killed", "a", &[], b"")).await;
            client.read("GET").await
        };
        let answered = async {
            let mut call = calls.next().await;
            let head = http::Response::builder().header("content-length", "10").body(()).unwrap();
            let mut stream = call.respond.send_response(head, false).unwrap();
            stream.send_data("short".into(), true).unwrap();
        };
        let (whole, ()) = tokio::join!(within("an answer", asked), answered);
        assert!(whole.is_err(), "{speaks:?}: {whole:?}");
    }
}
