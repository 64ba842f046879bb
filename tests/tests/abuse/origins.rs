//! Origins that are hostile: what they answer costs no more than it may, harms the requests that they were sent and no
//! others, and their connections are not used again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use limen::selftest::Target;
use limen::selftest::frames::{self, Block, END_HEADERS, END_STREAM, frame};
use limen::selftest::line::Line;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::process::Process;
use limen_e2e::{h1, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::{BINARY, HOST, document};

/// Requests that each class is played with, one after the other.
const TIMES: usize = 4;
/// Frames or lines of which there are many.
const MANY: usize = 10_000;
/// What goes on without end must be ended by the gateway before it has come to so much.
const ENDLESS: usize = 256 << 20;

/// What an origin says to a request.
#[derive(Clone, Default)]
struct Said {
    /// Begins with this.
    first: Vec<u8>,
    /// Then says this, over and over.
    again: Vec<u8>,
    /// And hears nothing more.
    deaf: bool,
    /// Answers every request in so many frames of a byte (HTTP/2).
    crumbs: usize,
}

fn once(bytes: impl Into<Vec<u8>>) -> Said {
    Said { first: bytes.into(), ..Said::default() }
}

fn endless(first: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>) -> Said {
    Said { first: first.into(), again: again.into(), ..Said::default() }
}

/// What comes of a request that such an origin was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The gateway answers this for the origin.
    Is(u16),
    /// The answer that has begun is cut.
    Cut,
}

/// What has become of an origin's connections.
#[derive(Default)]
struct Seen {
    begun: usize,
    /// By the gateway.
    ended: usize,
    /// Bytes that went on them.
    written: usize,
}

/// A hostile origin of either version.
struct Hostile {
    address: SocketAddr,
    seen: Arc<watch::Sender<Seen>>,
    task: AbortHandle,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    async fn start(h2: bool, said: Said) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let (all, said) = (seen.clone(), Arc::new(said));
        let serve = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                all.send_modify(|seen| seen.begun += 1);
                let (all, said) = (all.clone(), said.clone());
                connections.spawn(async move {
                    play(stream, h2, &said, &all).await;
                    all.send_modify(|seen| seen.ended += 1);
                });
            }
        };
        Hostile { address, seen, task: tokio::spawn(serve).abort_handle() }
    }

    /// Waits until that has become of them.
    async fn until(&self, what: &str, holds: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        within(what, seen.wait_for(holds)).await.unwrap();
    }
}

/// Says all of it when a request has come, and goes on hearing until the gateway ends the connection.
async fn play(stream: TcpStream, h2: bool, said: &Said, seen: &watch::Sender<Seen>) {
    let (mut reads, mut writes) = stream.into_split();
    if said.crumbs > 0 {
        return crumbs(&mut reads, &mut writes, said.crumbs, seen).await;
    }
    if !(if h2 { heard_h2(&mut reads).await } else { heard_h1(&mut reads).await }) {
        return;
    }
    if said.deaf {
        return std::future::pending().await;
    }
    let say = async {
        if h2 {
            writes.write_all(&frames::settings(&[])).await?;
        }
        writes.write_all(&said.first).await?;
        let again = said.again.repeat((64 << 10) / said.again.len().max(1) + 1);
        let mut all = 0;
        while !again.is_empty() {
            writes.write_all(&again).await?;
            seen.send_modify(|seen| seen.written += again.len());
            all += again.len();
            if all > ENDLESS {
                // Whoever waits for the end then waits in vain.
                return std::future::pending().await;
            }
        }
        std::io::Result::Ok(())
    };
    let hear = async { tokio::io::copy(&mut reads, &mut tokio::io::sink()).await };
    let _ = tokio::join!(say, hear);
}

/// Answers each request of a connection in so many frames of a byte.
async fn crumbs(
    reads: &mut (impl AsyncRead + Unpin),
    writes: &mut (impl AsyncWrite + Unpin),
    times: usize,
    seen: &watch::Sender<Seen>,
) {
    if writes.write_all(&frames::settings(&[])).await.is_err() || !preface(reads).await {
        return;
    }
    while let Some((kind, stream)) = next(reads).await {
        if kind != frames::HEADERS {
            continue;
        }
        let begun = status(b"200").head(stream, 0);
        let piece = frame(frames::DATA, 0, stream, b"x").repeat(times);
        let all = [begun, piece].concat();
        if writes.write_all(&all).await.is_err() {
            return;
        }
        seen.send_modify(|seen| seen.written += all.len());
    }
}

async fn preface(reads: &mut (impl AsyncRead + Unpin)) -> bool {
    reads.read_exact(&mut [0; 24]).await.is_ok()
}

/// Type and stream of the next frame.
async fn next(reads: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u32)> {
    let mut head = [0; 9];
    reads.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    reads.read_exact(&mut vec![0; length as usize]).await.ok()?;
    Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
}

async fn heard_h1(reads: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut heard = Vec::new();
    while !heard.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if !matches!(reads.read_buf(&mut heard).await, Ok(1..)) {
            return false;
        }
    }
    true
}

async fn heard_h2(reads: &mut (impl AsyncRead + Unpin)) -> bool {
    if !preface(reads).await {
        return false;
    }
    while let Some((kind, _)) = next(reads).await {
        if kind == frames::HEADERS {
            return true;
        }
    }
    false
}

/// A gateway before a hostile origin and one that is not.
struct World {
    gateway: Process,
    hostile: Hostile,
    _good: Origin,
}

fn config(h2: bool) -> String {
    let version = if h2 { "http2" } else { "http" };
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}]
---
{{apiVersion: v1, kind: Service, metadata: {{name: bad}}, spec: {{ports: [{{name: {version}, port: 80}}]}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: good}}, spec: {{ports: [{{name: http, port: 80}}]}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: all}}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - {{match: [{{uri: {{prefix: /good}}}}], route: [{{destination: {{host: good}}}}]}}
  - {{retries: {{attempts: 0}}, route: [{{destination: {{host: bad}}}}]}}
"
    )
}

impl World {
    async fn start(h2: bool, said: Said) -> World {
        let hostile = Hostile::start(h2, said).await;
        let good = Origin::start("good", Script::echo()).await;
        let backends = [format!("bad={}", hostile.address), format!("good={}", good.address)];
        let flags: Vec<String> =
            backends.into_iter().flat_map(|backend| ["--backend".to_owned(), backend]).collect();
        let gateway = Process::start(BINARY, &config(h2), &flags).await;
        let world = World { gateway, hostile, _good: good };
        // What is made once is made before anything is counted.
        for _ in 0..4 {
            assert_eq!(ask(world.gateway.address(80), "/good").await, End::Is(200));
        }
        world
    }
}

/// What comes of a request on a connection of its own.
async fn ask(gateway: SocketAddr, path: &str) -> End {
    let mut connection = h1::Connection::new(TcpStream::connect(gateway).await.unwrap());
    connection.send(&h1::request("GET", path, HOST, &[], b"")).await;
    match within("an answer or its end", connection.read("GET")).await {
        Ok(reply) => End::Is(reply.status),
        Err(_) => End::Cut,
    }
}

/// A class of answers: what is said, what comes of it, and what all of it may cost.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) says: &'static str,
    pub(super) holds: &'static str,
    /// Seconds of processor time, in a build without optimisation.
    pub(super) cpu: u64,
    /// MiB at the worst.
    pub(super) memory: u64,
    h2: bool,
    said: fn() -> Vec<Said>,
    ends: &'static [End],
}

const REFUSED: &str = "502";
const CUT: &str = "the answer is cut";

const fn h1_class(name: &'static str, says: &'static str, said: fn() -> Vec<Said>) -> Class {
    Class { name, says, holds: REFUSED, cpu: 2, memory: 8, h2: false, said, ends: &[End::Is(502)] }
}

const fn h2_class(name: &'static str, says: &'static str, said: fn() -> Vec<Said>) -> Class {
    Class { h2: true, ..h1_class(name, says, said) }
}

const fn cut(class: Class) -> Class {
    Class { holds: CUT, ends: &[End::Cut], ..class }
}

/// What no origin may begin its answer with; another answer stands behind each.
const HEADS: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 5, 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 0x5\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551621\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n x: a\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx: a\nset-cookie: evil\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx: a\rset-cookie: evil\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx y: a\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n: a\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "HTTP/1.1 99 No\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 2000 No\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 2x0 No\r\ncontent-length: 0\r\n\r\n",
    "HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "<html>\r\n\r\n",
    "\0\0\x12\x04\0\0\0\0\0",
];

/// Chunked bodies that are none.
const BODIES: &[&str] = &[
    "\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhelloo\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "5;a\0b\r\nhello\r\n0\r\n\r\n",
    "0\r\nx y: z\r\n\r\n",
    "0\r\nx: z\n\r\n",
    "0\r\n folded\r\n\r\n",
    "0\r\ncontent-length: 5\r\n\r\n",
];

const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

fn each(before: &str, all: &[&str]) -> Vec<Said> {
    all.iter().map(|one| once(format!("{before}{one}{EVIL}"))).collect()
}

fn head(block: Block) -> Vec<u8> {
    block.head(1, 0)
}

/// A head of an answer of this status.
fn status(code: &[u8]) -> Block {
    Block::default().line(b":status", code)
}

/// An entry of 4 000 bytes, and sixteen times the same.
fn large(code: &[u8]) -> Block {
    status(code).kept(b"x", &[b'a'; 4_000]).again(62, 14)
}

fn flood(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<Said> {
    vec![endless([], frame(kind, flags, stream, payload))]
}

/// Requests that are ended with the connection by which they were sent.
const ENDED: &[End] = &[End::Is(502), End::Is(503)];

pub(super) const CLASSES: &[Class] = &[
    h1_class("heads without end", "fields of an answer for ever", || {
        vec![endless("HTTP/1.1 200 OK\r\n", format!("x: {}\r\n", "a".repeat(1_000)))]
    }),
    h1_class("a line without end", "one line for ever: of the status, a name, a value", || {
        let all = ["HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\nx", "HTTP/1.1 200 OK\r\nx: a"];
        all.map(|begun| endless(begun, [b'a'; 1_000])).into()
    }),
    h1_class("many fields", "an answer of 10 000 fields", || {
        vec![once(format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a:b\r\n".repeat(MANY)))]
    }),
    h1_class("interim answers", "103 for ever", || {
        vec![endless([], "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")]
    }),
    h1_class(
        "heads that can be read in two ways",
        "lengths that contradict each other, bare line feeds, folded lines, switches that nobody asked for",
        || each("", HEADS),
    ),
    Class {
        holds: "200 without it",
        ends: &[End::Is(200)],
        ..h1_class("answers that nobody asked for", "an answer with another behind", || {
            vec![once(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{EVIL}"))]
        })
    },
    Class {
        cpu: 4,
        holds: "200",
        ends: &[End::Is(200)],
        ..h1_class("chunks of a byte", "a body in 100 000 chunks of a byte", || {
            let head = CHUNKED.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
            vec![once(format!("{head}{}0\r\n\r\n", "1\r\nx\r\n".repeat(100_000)))]
        })
    },
    cut(h1_class("chunks that are none", "a chunked body that is not, with another answer behind", || {
        each(CHUNKED, BODIES)
    })),
    cut(h1_class("trailers without end", "trailers for ever", || {
        vec![endless(format!("{CHUNKED}0\r\n"), "x: a\r\n")]
    })),
    cut(h1_class("extensions without end", "extensions of a chunk for ever", || {
        vec![endless(format!("{CHUNKED}5;"), "aaaaaaaa")]
    })),
    h2_class("CONTINUATION of nothing", "a head in empty CONTINUATION frames for ever", || {
        let begun = frame(frames::HEADERS, 0, 1, &status(b"200").0);
        vec![endless(begun, frame(frames::CONTINUATION, 0, 1, b""))]
    }),
    h2_class("CONTINUATION of much", "a head in full CONTINUATION frames for ever", || {
        let begun = frame(frames::HEADERS, 0, 1, &status(b"200").0);
        vec![endless(begun, frame(frames::CONTINUATION, 0, 1, &[0; frames::MOST]))]
    }),
    h2_class("a head of references", "a head of 16 KiB that decodes to 47 MiB", || {
        vec![once(head(status(b"200").kept(b"x", &[b'a'; 4_000]).again(62, 12_000)))]
    }),
    h2_class("interim answers in HTTP/2", "103 for ever", || {
        vec![endless([], head(status(b"103").line(b"link", b"</a.css>")))]
    }),
    Class {
        memory: 64,
        ..h2_class(
            "interim answers of references",
            "103 for ever, of 20 bytes each that decode to 60 KiB",
            || vec![endless(head(large(b"103")), head(status(b"103").again(62, 14)))],
        )
    },
    h2_class("PING", "PING for ever", || flood(frames::PING, 0, 0, b"12345678")),
    h2_class("SETTINGS", "SETTINGS for ever", || vec![endless([], frames::settings(&[(4, 65_535)]))]),
    h2_class("acknowledgements", "unasked acknowledgements of PING for ever", || {
        flood(frames::PING, frames::ACK, 0, b"12345678")
    }),
    h2_class("PRIORITY", "PRIORITY for ever", || flood(frames::PRIORITY, 0, 1, &[0, 0, 0, 3, 0])),
    h2_class("WINDOW_UPDATE", "WINDOW_UPDATE of a byte for ever", || {
        vec![endless([], frames::window_update(0, 1))]
    }),
    h2_class("empty DATA", "DATA of nothing for ever, before and behind the head", || {
        let empty = frame(frames::DATA, 0, 1, b"");
        vec![endless(empty.clone(), empty)]
    }),
    h2_class("unknown frames", "frames of a type that nobody knows for ever", || {
        flood(frames::UNKNOWN, 0, 0, b"")
    }),
    Class {
        ends: ENDED,
        holds: "502 or 503",
        ..h2_class("resets", "RST_STREAM of one request for ever", || {
            vec![endless([], frames::reset(1, frames::CANCEL))]
        })
    },
    Class {
        ends: ENDED,
        holds: "502 or 503",
        ..h2_class(
            "mistakes",
            "frames and heads for which a request, or the connection, must be ended",
            || {
                let late = [head(status(b"200")), frame(frames::DATA, END_STREAM, 1, b"x")].concat();
                vec![
                    once(frames::window_update(1, 0)),
                    once(frames::window_update(0, 0x7fff_ffff)),
                    once(head(status(b"200").line(b"X-Upper", b"a"))),
                    once(head(status(b"200").line(b"content-length", b"x"))),
                    once(head(Block::default().line(b"x", b"no status"))),
                    once(head(status(b"200").line(b"x", b"a\r\nset-cookie: evil"))),
                    once(head(status(b"101"))),
                    once(frame(frames::HEADERS, END_HEADERS, 1, &[0xff; 20])),
                    once(frame(5, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])),
                    once(frame(frames::DATA, 0, 1, b"before the head")),
                    once(frame(frames::DATA, 0, 3, b"of no request")),
                    once([head(status(b"103")), frame(frames::DATA, END_STREAM, 1, b"x")].concat()),
                    endless(frames::window_update(1, 0), late),
                ]
            },
        )
    },
];

async fn withstands(name: &str) {
    let class = CLASSES.iter().find(|class| class.name == name).unwrap();
    let all = (class.said)();
    // One of many is played once.
    let times = if all.len() > 1 { 1 } else { TIMES };
    let mut cost = (Duration::ZERO, 0);
    for said in all {
        let shown =
            said.first.get(..said.first.len().min(100)).unwrap_or_default().escape_ascii().to_string();
        // An origin is of one mind.
        let world = World::start(class.h2, said).await;
        let before = (world.gateway.cpu(), world.gateway.peak());
        let at = world.gateway.address(80);
        let bystander = tokio::spawn(async move {
            for _ in 0..TIMES {
                assert_eq!(ask(at, "/good").await, End::Is(200), "somebody else's request");
            }
        });
        for _ in 0..times {
            let end = ask(at, "/").await;
            assert!(class.ends.contains(&end), "{name}: {end:?} of {shown}");
        }
        bystander.await.unwrap();
        // Of a mistake in one request the others of the connection know nothing.
        if class.ends != ENDED {
            let ended = |seen: &Seen| seen.begun == times && seen.ended == times;
            world.hostile.until(&format!("the end of the connections of {shown}"), ended).await;
        }
        cost.0 += world.gateway.cpu() - before.0;
        cost.1 = cost.1.max((world.gateway.peak() - before.1) >> 20);
    }
    assert!(cost.0 <= Duration::from_secs(class.cpu), "{name}: {:?} of processor time", cost.0);
    assert!(cost.1 <= class.memory, "{name}: {} MiB", cost.1);
}

/// DATA that holds nothing is allowed (RFC 9113 6.1), and some origins send it whenever they flush: among data it ends no
/// connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_among_data_ends_nothing() {
    let begun = head(status(b"200"));
    let [empty, full, last] = [(0, &b""[..]), (0, b"message"), (END_STREAM, b"")]
        .map(|(flags, payload)| frame(frames::DATA, flags, 1, payload));
    let world = World::start(true, once([begun, [empty, full].concat().repeat(2_000), last].concat())).await;
    let mut connection = h1::Connection::new(TcpStream::connect(world.gateway.address(80)).await.unwrap());
    connection.send(&h1::request("GET", "/", HOST, &[], b"")).await;
    let reply = within("an answer", connection.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, 2_000 * b"message".len()));
}

/// So many clients of origins that do not go on.
const CLIENTS: usize = 40;

/// Has as many clients send each of these bytes at the same time, as far as they are taken, and hear nothing.
async fn shouted(gateway: &Process, bytes: &[u8]) -> Vec<Line> {
    let target = Target {
        address: gateway.address(80),
        tls: false,
        host: HOST.to_owned(),
        path: "/".to_owned(),
        admin: gateway.admin(),
    };
    let lines: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (target, bytes) = (target.clone(), bytes.to_vec());
            tokio::task::spawn_blocking(move || {
                let mut line = Line::raw(&target).unwrap();
                line.shout(&bytes, Duration::from_millis(500));
                line
            })
        })
        .collect();
    let mut held = Vec::new();
    for line in lines {
        held.push(within("a client", line).await.unwrap());
    }
    held
}

/// Bodies of 8 MiB to origins that read no more than the head: 320 MiB in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_origins_do_not_read_are_bounded() {
    for h2 in [false, true] {
        let world = World::start(h2, Said { deaf: true, ..Said::default() }).await;
        let before = (world.gateway.cpu(), world.gateway.peak());
        let _lines =
            shouted(&world.gateway, &h1::request("POST", "/", HOST, &[], &vec![b'x'; 8 << 20])).await;
        assert_eq!(ask(world.gateway.address(80), "/good").await, End::Is(200));
        let took = (world.gateway.cpu() - before.0, (world.gateway.peak() - before.1) >> 20);
        assert!(took.0 <= Duration::from_secs(4) && took.1 <= 64, "{h2}: {took:?}");
    }
}

/// Answers without end that clients do not read, in pieces of a byte where those cost more than they hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_end_that_nobody_reads_are_bounded() {
    let whole = endless("HTTP/1.1 200 OK\r\n\r\n", [b'x'; 1_000]);
    let chunked = endless(CHUNKED, "1\r\nx\r\n");
    let pieces = Said { crumbs: 50_000, ..Said::default() };
    let all = CLIENTS * 10 * 50_000;
    for (what, h2, said, much) in [
        ("bytes", false, whole, 10 << 20),
        ("chunks", false, chunked, 10 << 20),
        ("frames", true, pieces, all),
    ] {
        let world = World::start(h2, said).await;
        let before = (world.gateway.cpu(), world.gateway.peak());
        let _lines = shouted(&world.gateway, &h1::request("GET", "/", HOST, &[], b"")).await;
        let over = |seen: &Seen| seen.written >= much || seen.begun > 0 && seen.begun == seen.ended;
        world.hostile.until(what, over).await;
        assert_eq!(ask(world.gateway.address(80), "/good").await, End::Is(200));
        let took = (world.gateway.cpu() - before.0, (world.gateway.peak() - before.1) >> 20);
        assert!(took.0 <= Duration::from_secs(8) && took.1 <= 96, "{what}: {took:?}");
    }
}

#[test]
fn every_class_of_origins_stands_in_the_document_with_its_bounds() {
    for Class { name, says, holds, cpu, memory, .. } in CLASSES {
        let row = format!("| {name} | {says} | {holds} | {cpu} s, {memory} MiB | `abuse/origins.rs::");
        assert!(
            document::TEXT.lines().any(|line| line.starts_with(&row)),
            "docs/security.md lacks the row\n{row}…"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_an_answer_ends() {
    withstands("heads without end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_an_answer_ends() {
    withstands("a line without end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_an_answer_are_counted() {
    withstands("many fields").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_are_counted() {
    withstands("interim answers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_can_be_read_in_two_ways_are_refused() {
    withstands("heads that can be read in two ways").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_answers_that_are_none_cut_them() {
    withstands("chunks that are none").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_of_answers_end() {
    withstands("trailers without end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_of_chunks_of_answers_end() {
    withstands("extensions without end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_answers_in_empty_pieces_end() {
    withstands("CONTINUATION of nothing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_answers_of_many_bytes_end() {
    withstands("CONTINUATION of much").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_answers_are_not_decoded_to_their_end() {
    withstands("a head of references").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_in_http2_are_counted() {
    withstands("interim answers in HTTP/2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_of_references_are_not_kept() {
    withstands("interim answers of references").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_of_origins_end() {
    withstands("PING").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_origins_end() {
    withstands("SETTINGS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_of_origins_end() {
    withstands("acknowledgements").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priorities_of_origins_end() {
    withstands("PRIORITY").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_origins_end() {
    withstands("WINDOW_UPDATE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_of_origins_ends() {
    withstands("empty DATA").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_frames_of_origins_end() {
    withstands("unknown frames").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_of_origins_end() {
    withstands("resets").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_of_origins_harm_their_own_requests() {
    withstands("mistakes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_asked_for_are_nobodys() {
    withstands("answers that nobody asked for").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_a_byte_cost_what_they_are() {
    withstands("chunks of a byte").await;
}
