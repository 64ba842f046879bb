//! Both sides stand still: a client that does not read, an origin that does not send, or does not read, or all at once.
//!
//! What must hold: the configured times end each of them, over both versions of HTTP; meanwhile the gateway holds no more
//! than its buffers and the system's, and others are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use limen_e2e::gateway::Gateway;
use limen_e2e::shop::{self, Metrics};
use limen_e2e::{h1, within};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::AbortHandle;

const STALLED: usize = 16;
/// What the buffers of four sockets hold at the most, and the gateway's own.
const HELD: u64 = 24 << 20;

/// An origin that for `/endless` sends for as long as it can, for `/part` sends a part and no more, reads nothing of
/// `/deaf` but its head, and answers everything else.
struct Origin {
    address: std::net::SocketAddr,
    /// Bytes of bodies that it got rid of.
    sent: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    async fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                all.spawn(connection(stream, counted.clone()));
            }
        });
        Origin { address, sent, task: task.abort_handle() }
    }

    async fn gateway(&self, route: &str, flags: &str) -> Gateway {
        let backend = ["--backend".to_owned(), format!("shop={}", self.address)];
        let flags: Vec<_> = backend.into_iter().chain(flags.split_whitespace().map(str::to_owned)).collect();
        let config = shop::routes(&format!("[{{{route}route: [{{destination: {{host: shop}}}}]}}]"));
        Gateway::start(&[("shop.yaml", &config)], &flags).await
    }
}

async fn connection(mut stream: TcpStream, sent: Arc<AtomicU64>) -> Option<()> {
    let mut seen = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut seen).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(seen.drain(..end).collect()).unwrap();
        match head.split(' ').nth(1).unwrap() {
            "/endless" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.ok()?;
                let chunk = [&b"4000\r\n"[..], &[b'x'; 0x4000], b"\r\n"].concat();
                loop {
                    stream.write_all(&chunk).await.ok()?;
                    sent.fetch_add(0x4000, Ordering::SeqCst);
                }
            }
            "/part" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nPART").await.ok()?;
                std::future::pending().await
            }
            "/deaf" => std::future::pending().await,
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother").await.ok()?,
        }
    }
}

fn said(line: &Value) -> (u64, &str, &str) {
    let text = |name: &str| line[name].as_str().unwrap();
    (line["response_code"].as_u64().unwrap(), text("response_flags"), text("response_code_details"))
}

fn of_path<'l>(lines: &'l [Value], path: &str) -> &'l Value {
    lines.iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("no {path} in {lines:#?}"))
}

async fn is_served(gateway: &Gateway) {
    let reply = shop::ask(gateway, "/other").await;
    assert_eq!((reply.status, &*reply.text()), (200, "other"));
}

/// Requests for that path are under way no more.
async fn are_over(gateway: &Gateway) {
    Metrics::when(gateway, "the end of all", |page| page.value(&["limen_requests_active"]) == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_are_cut_and_what_is_held_for_them_is_bounded() {
    for http2 in [false, true] {
        let origin = Origin::start().await;
        let gateway = origin.gateway("", "--stall-timeout 500ms").await;
        let mut clients = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..STALLED {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let mut stream = socket.connect(gateway.address(80)).await.unwrap();
            if http2 {
                let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
                clients.push(tokio::spawn(async move { drop(connection.await) }).abort_handle());
                let request = http::Request::get("http://a/endless").body(()).unwrap();
                // No window is opened: nothing is given back.
                let answer = within("a head", send.send_request(request, true).unwrap().0).await.unwrap();
                kept.push((Some((send, answer)), None));
            } else {
                stream.write_all(&h1::request("GET", "/endless", "a", &[], b"")).await.unwrap();
                kept.push((None, Some(stream)));
            }
        }
        let others = async {
            loop {
                is_served(&gateway).await;
            }
        };
        tokio::select! {
            () = others => unreachable!(),
            () = are_over(&gateway) => {}
        }
        let sent = origin.sent.load(Ordering::SeqCst);
        assert!(sent < STALLED as u64 * HELD, "HTTP/2 {http2}: {sent} bytes for {STALLED} clients");
        clients.iter().for_each(AbortHandle::abort);
        let lines = gateway.stop().await;
        let stalled: Vec<_> = lines.iter().filter(|line| line["path"] == "/endless").map(said).collect();
        assert_eq!(stalled, [(200, "DC", "downstream_remote_disconnect"); STALLED], "HTTP/2 {http2}");
    }
}

/// The head and the first part, and how it ends.
async fn part(gateway: &Gateway, http2: bool) -> Result<(), String> {
    let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    if http2 {
        let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = http::Request::get("http://a/part").body(()).unwrap();
        let answer = within("a head", send.send_request(request, true).unwrap().0).await.unwrap();
        let mut body = answer.into_body();
        while let Some(piece) = within("the end", body.data()).await {
            piece.map_err(|error| error.to_string())?;
        }
        driver.abort();
        return Ok(());
    }
    let mut client = h1::Connection::new(stream);
    client.send(&h1::request("GET", "/part", "a", &[], b"")).await;
    within("the end", client.read("GET")).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_sends_no_more_is_cut_by_the_times_of_its_route() {
    for http2 in [false, true] {
        let origin = Origin::start().await;
        let gateway = origin.gateway("timeout: 300ms, ", "").await;
        let end = part(&gateway, http2).await;
        assert!(end.is_err(), "HTTP/2 {http2}: an answer that ended for its time is not whole");
        is_served(&gateway).await;
        are_over(&gateway).await;
        let free = |page: &Metrics| page.of_shop("upstream_rq_active") == 0.0;
        Metrics::when(&gateway, "the end of the request to the origin", free).await;
        let lines = gateway.stop().await;
        assert_eq!(said(of_path(&lines, "/part")), (200, "UT", "response_timeout"), "HTTP/2 {http2}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_says_anything_the_time_of_the_stream_ends_it() {
    const MESH: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n\
        data: {mesh: \"defaultConfig: {connectionSettings: {httpStreamIdleTimeout: 300ms}}\"}\n";
    for http2 in [false, true] {
        let origin = Origin::start().await;
        let config = shop::routes("[{route: [{destination: {host: shop}}]}]") + MESH;
        let flags = ["--backend".to_owned(), format!("shop={}", origin.address)];
        let gateway = Gateway::start(&[("shop.yaml", &config)], &flags).await;
        assert!(part(&gateway, http2).await.is_err(), "HTTP/2 {http2}");
        is_served(&gateway).await;
        let lines = gateway.stop().await;
        let (code, flags, _) = said(of_path(&lines, "/part"));
        assert_eq!((code, flags), (200, "SI"), "HTTP/2 {http2}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_does_not_read_holds_up_its_own_client_only() {
    const SIZE: usize = 64 << 20;
    for http2 in [false, true] {
        let origin = Origin::start().await;
        let gateway = origin.gateway("timeout: 1s, ", "").await;
        let taken = Arc::new(AtomicU64::new(0));
        let stream = TcpStream::connect(gateway.address(80)).await.unwrap();
        let upload = async {
            if http2 {
                let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                let request = http::Request::post("http://a/deaf").body(()).unwrap();
                let (answer, mut body) = send.send_request(request, false).unwrap();
                let counted = taken.clone();
                tokio::spawn(async move {
                    loop {
                        body.reserve_capacity(0x4000);
                        let Some(Ok(room)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else {
                            return;
                        };
                        let piece = vec![0; room.min(0x4000)];
                        counted.fetch_add(piece.len() as u64, Ordering::SeqCst);
                        if body.send_data(piece.into(), false).is_err() {
                            return;
                        }
                    }
                });
                return answer.await.unwrap().status().as_u16();
            }
            let (reading, mut writing) = stream.into_split();
            let head = format!("POST /deaf HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n");
            let counted = taken.clone();
            tokio::spawn(async move {
                writing.write_all(head.as_bytes()).await.unwrap();
                while writing.write_all(&[0; 0x4000]).await.is_ok() {
                    counted.fetch_add(0x4000, Ordering::SeqCst);
                }
            });
            let mut client = h1::Connection::new(tokio::io::join(reading, tokio::io::sink()));
            client.read("POST").await.unwrap().status
        };
        let others = async {
            loop {
                is_served(&gateway).await;
            }
        };
        let status = tokio::select! {
            () = others => unreachable!(),
            status = within("an answer", upload) => status,
        };
        assert_eq!(status, 504, "HTTP/2 {http2}");
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken < HELD, "HTTP/2 {http2}: {taken} bytes");
        let lines = gateway.stop().await;
        assert_eq!(said(of_path(&lines, "/deaf")), (504, "UT", "response_timeout"), "HTTP/2 {http2}");
    }
}
