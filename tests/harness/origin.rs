//! Origins: servers that answer what they saw, or misbehave as told, in HTTP/1.1 and HTTP/2 (by its preface).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, UdpSocket, UnixListener};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::clients::hex;
use crate::{datagrams, origin_h2, proxied, within};

/// What an origin does with requests.
#[derive(Debug, Clone)]
pub enum Script {
    /// Answers with what it saw. The n-th request gets the n-th status, the last status goes on.
    Echo {
        /// At least one.
        statuses: Vec<u16>,
        /// Header lines of its answers.
        headers: Vec<(String, String)>,
        /// What comes after their bodies.
        trailers: Vec<(String, String)>,
    },
    /// Resets the first streams (HTTP/2) with these codes, then as [`Script::echo`].
    Reset(Vec<u32>),
    /// Says after each answer that the connection ends (HTTP/2: GOAWAY), otherwise as [`Script::echo`].
    GoAway,
    /// Decides on requests that it is asked about by calls of Envoy's `Authorization/Check`, as they ask for (HTTP/2).
    Decides,
    /// Reads requests and never answers.
    Never,
    /// As [`Script::echo`], but each answer waits until it is let go.
    Held(Arc<Notify>),
    /// Writes these bytes when a head has come, before it reads the body, then does as [`Script::echo`].
    Interim(Vec<u8>),
    /// Reads a request and closes the connection without a byte.
    Close,
    /// Reads a request, writes these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Nothing listens at its address.
    Dead,
    /// As many connections wait to be accepted as may: the system lets another one begin and says nothing.
    Full,
    /// Says nothing until the client has ended, then says its own name, `heard` and what it heard.
    Talk,
    /// The same of each datagram.
    Datagrams,
    /// The same inside TLS.
    TalkTls(Arc<rustls::ServerConfig>),
    /// Speaks HTTP as the other script says, inside TLS; an echo tells the server name (`:sni`) and whether the client
    /// had a certificate (`:client`), and its SHA-256 (`:client-hash`).
    Tls(Arc<rustls::ServerConfig>, Arc<Script>),
    /// Reads a PROXY header first, of which an echo tells (`:proxy`), then does as the other script says.
    Proxied(Arc<Script>),
    /// Reads a request with its body and switches to the protocol that it asks for, then sends every byte back. When the
    /// client has said its last, says `bye` and closes; a byte 0 makes it close at once.
    Switch,
    /// The same of requests for a tunnel over HTTP/2, which it says that it takes, but for the path `/two/refused`, which
    /// is answered 403; otherwise as [`Script::echo`].
    Tunnel,
}

impl Script {
    /// Answers 200 with what it saw.
    pub fn echo() -> Script {
        Script::Echo { statuses: vec![200], headers: Vec::new(), trailers: Vec::new() }
    }
}

/// A running origin; it ends when dropped.
pub struct Origin {
    /// The name it answers with.
    pub name: String,
    /// Where it listens; unspecified if that is a unix socket.
    pub address: SocketAddr,
    hits: Arc<watch::Sender<usize>>,
    ended: Arc<watch::Sender<usize>>,
    load: Arc<Load>,
    task: Option<AbortHandle>,
    /// Keeps the address of a dead origin from anybody else: connections are refused there.
    _bound: Option<TcpSocket>,
}

/// What an origin has had to bear.
#[derive(Default)]
struct Load {
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Load {
    fn opened(&self) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Origin {
    /// Starts an origin on a port that the kernel chooses.
    pub async fn start(name: &str, script: Script) -> Origin {
        Origin::start_at("127.0.0.1", name, script).await
    }

    /// Starts an origin on an address of this machine.
    pub async fn start_at(ip: &str, name: &str, script: Script) -> Origin {
        let at = SocketAddr::new(ip.parse().unwrap(), 0);
        if matches!(script, Script::Datagrams) {
            return Origin::of_datagrams(at, name).await;
        }
        let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(at).unwrap();
        let address = socket.local_addr().unwrap();
        let hits = Arc::new(watch::Sender::new(0));
        let ended = Arc::new(watch::Sender::new(0));
        let load = Arc::new(Load::default());
        let (task, bound) = if matches!(script, Script::Dead) {
            (None, Some(socket))
        } else {
            let full = matches!(script, Script::Full);
            let listener = socket.listen(if full { 0 } else { 1024 }).unwrap();
            let waiting =
                if full { Some(tokio::net::TcpStream::connect(address).await.unwrap()) } else { None };
            let (name, script) = (Arc::from(name), Arc::new(script));
            let (hits, ended, load) = (hits.clone(), ended.clone(), load.clone());
            let work = Work { name, script, hits, ended, load, before: Vec::new() };
            let serve = async move {
                match waiting {
                    None => serve(Listening::Inet(listener), work).await,
                    Some(_waiting) => std::future::pending().await,
                }
            };
            (Some(tokio::spawn(serve).abort_handle()), None)
        };
        Origin { name: name.to_owned(), address, hits, ended, load, task, _bound: bound }
    }

    async fn of_datagrams(at: SocketAddr, name: &str) -> Origin {
        let socket = UdpSocket::bind(at).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (hits, ended) = (Arc::new(watch::Sender::new(0)), Arc::new(watch::Sender::new(0)));
        let answer = datagrams::answer(socket, name.to_owned(), hits.clone());
        let task = Some(tokio::spawn(answer).abort_handle());
        let load = Arc::default();
        Origin { name: name.to_owned(), address, hits, ended, load, task, _bound: None }
    }

    /// Starts an origin at a unix socket: the path of a file that is there after its end, or `@` and an abstract name.
    pub fn start_at_socket(place: &str, name: &str, script: Script) -> Origin {
        let listener = match place.strip_prefix('@') {
            Some(name) => UnixListener::bind(format!("\0{name}")),
            None => UnixListener::bind(place),
        };
        let listener = Listening::Unix(listener.unwrap());
        let (hits, ended) = (Arc::new(watch::Sender::new(0)), Arc::new(watch::Sender::new(0)));
        let load = Arc::new(Load::default());
        let work = Work {
            name: Arc::from(name),
            script: Arc::new(script),
            hits: hits.clone(),
            ended: ended.clone(),
            load: load.clone(),
            before: Vec::new(),
        };
        let task = Some(tokio::spawn(serve(listener, work)).abort_handle());
        let address = SocketAddr::from(([0; 4], 0));
        Origin { name: name.to_owned(), address, hits, ended, load, task, _bound: None }
    }

    /// Ends it, and waits until nobody listens any more.
    pub async fn end(self) {
        let Some(task) = self.task.clone() else { return };
        drop(self);
        let gone = async {
            while !task.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        within("the origin to end", gone).await;
    }

    /// How many whole request heads (or conversations) it has read so far.
    pub fn hits(&self) -> usize {
        *self.hits.borrow()
    }

    /// How many connections it has accepted so far.
    pub fn connections(&self) -> usize {
        self.load.connections.load(Ordering::SeqCst)
    }

    /// Waits until this many connections have ended.
    pub async fn ended(&self, times: usize) {
        let mut ended = self.ended.subscribe();
        let _ = within("connections of the origin to end", ended.wait_for(|ended| *ended >= times)).await;
    }

    /// How many connections were open at the same time, at the most.
    pub fn most_connections(&self) -> usize {
        self.load.most_open.load(Ordering::SeqCst)
    }

    /// How many requests of HTTP/1.1 it has worked on at the same time, at the most.
    pub fn most_at_once(&self) -> usize {
        self.load.most.load(Ordering::SeqCst)
    }

    /// Waits until it has read this many.
    pub async fn hit(&self, times: usize) {
        let mut hits = self.hits.subscribe();
        let _ = within("requests at the origin", hits.wait_for(|hits| *hits >= times)).await;
    }
}

/// A listening socket of either kind.
enum Listening {
    Inet(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    async fn accept(&self) -> std::io::Result<Box<dyn Stream>> {
        match self {
            Listening::Inet(listener) => {
                let (stream, _) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Listening::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

/// What an origin speaks over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn serve(listener: Listening, work: Work) {
    // Connections end with the origin, as they would with a process.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok(stream) = listener.accept().await {
        let work = work.clone();
        work.load.opened();
        connections.spawn(async move {
            accepted(stream, work.clone()).await;
            work.load.open.fetch_sub(1, Ordering::SeqCst);
            work.ended.send_modify(|ended| *ended += 1);
        });
    }
}

async fn accepted(mut stream: Box<dyn Stream>, mut work: Work) {
    if let Script::Proxied(script) = &*work.script.clone() {
        let Some(header) = proxied::read(&mut stream).await else { return };
        work.before.push((":proxy", header));
        work.script = script.clone();
    }
    match &*work.script {
        Script::Talk => return talk(stream, &work).await,
        Script::TalkTls(config) => {
            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config.clone()).accept(stream).await {
                talk(stream, &work).await;
            }
            return;
        }
        Script::Tls(config, script) => return inside_tls(stream, config, script, &work).await,
        _ => {}
    }
    let mut first = Vec::new();
    while first.len() < 3 && fill(&mut stream, &mut first).await {}
    let preface = first.starts_with(b"PRI") && !matches!(*work.script, Script::Raw(_));
    let (reads, writes) = tokio::io::split(stream);
    let stream = tokio::io::join(std::io::Cursor::new(first).chain(reads), writes);
    if preface { origin_h2::connection(stream, work).await } else { connection(stream, work).await }
}

/// What a connection needs of its origin.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) name: Arc<str>,
    pub(crate) script: Arc<Script>,
    hits: Arc<watch::Sender<usize>>,
    ended: Arc<watch::Sender<usize>>,
    load: Arc<Load>,
    /// What an echo says of what came before HTTP, as if they were headers.
    pub(crate) before: Vec<(&'static str, String)>,
}

async fn inside_tls(
    stream: Box<dyn Stream>,
    config: &Arc<rustls::ServerConfig>,
    script: &Arc<Script>,
    work: &Work,
) {
    let Ok(stream) = tokio_rustls::TlsAcceptor::from(config.clone()).accept(stream).await else { return };
    let connection_info = stream.get_ref().1;
    let sni = connection_info.server_name().unwrap_or_default().to_owned();
    let client = connection_info.peer_certificates().and_then(|chain| chain.first());
    let hash = client.map(|leaf| hex(leaf)).unwrap_or_default();
    let client = if client.is_some() { "yes" } else { "no" };
    let h2 = connection_info.alpn_protocol() == Some(b"h2");
    let mut work = Work { script: script.clone(), ..work.clone() };
    work.before.extend([(":sni", sni), (":client", client.to_owned()), (":client-hash", hash)]);
    if h2 { origin_h2::connection(stream, work).await } else { connection(stream, work).await }
}

impl Work {
    fn begin(&self) {
        let now = self.load.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.load.most.fetch_max(now, Ordering::SeqCst);
    }

    fn end(&self) {
        self.load.now.fetch_sub(1, Ordering::SeqCst);
    }

    /// Counts a request; the first is 0.
    pub(crate) fn hit(&self) -> usize {
        let mut nth = 0;
        self.hits.send_modify(|hits| {
            nth = *hits;
            *hits += 1;
        });
        nth
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, work: Work) {
    let mut buffer = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut buffer).await {
        work.begin();
        let nth = work.hit();
        let mut request = parse_head(&head);
        work.before.iter().for_each(|(name, value)| add(&mut request.headers, name, value));
        match &*work.script {
            Script::Echo { .. } | Script::Held(_) | Script::GoAway | Script::Interim(_) | Script::Tunnel => {
                if let Script::Held(gate) = &*work.script {
                    gate.notified().await;
                }
                if let Script::Interim(bytes) = &*work.script {
                    let _ = stream.write_all(bytes).await;
                }
                let Some((body, trailers)) = read_body(&mut stream, &mut buffer, &request).await else {
                    return;
                };
                let seen = request.seen(&work.name, "HTTP/1.1", &body, trailers);
                let answer = Answer::of(&work.script, nth);
                work.end();
                if stream.write_all(&h1_answer(&request, &answer, &seen)).await.is_err() {
                    return;
                }
            }
            Script::Never => {}
            Script::Close
            | Script::Decides
            | Script::Dead
            | Script::Full
            | Script::Talk
            | Script::Datagrams
            | Script::TalkTls(_)
            | Script::Tls(..)
            | Script::Proxied(_)
            | Script::Reset(_) => return,
            Script::Switch => {
                if let Some((body, _)) = read_body(&mut stream, &mut buffer, &request).await {
                    let _ = switch(&mut stream, &request, body.len(), buffer).await;
                }
                return;
            }
            Script::Raw(bytes) => {
                let _ = stream.write_all(bytes).await;
                return;
            }
        }
    }
}

/// Answers 101 and sends bytes back until either side ends it.
async fn switch<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &Request,
    body: usize,
    mut early: Vec<u8>,
) -> std::io::Result<()> {
    let protocol = request.headers.get("upgrade").and_then(Value::as_str).unwrap_or("nothing");
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: {protocol}\r\n\
         x-early: {}\r\nx-body: {body}\r\n\r\n",
        early.len()
    );
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(&early).await?;
        if early.contains(&0) {
            return Ok(());
        }
        early.clear();
        if stream.read_buf(&mut early).await? == 0 {
            stream.write_all(b"bye").await?;
            return stream.shutdown().await;
        }
    }
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, work: &Work) {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    work.hit();
    let answer = format!("{} heard {}", work.name, String::from_utf8_lossy(&heard));
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// How an echo is dressed.
#[derive(Default)]
pub(crate) struct Answer<'s> {
    pub(crate) status: u16,
    pub(crate) headers: &'s [(String, String)],
    pub(crate) trailers: &'s [(String, String)],
}

impl Answer<'_> {
    pub(crate) fn of(script: &Script, nth: usize) -> Answer<'_> {
        match script {
            Script::Echo { statuses, headers, trailers } => {
                Answer { status: statuses[nth.min(statuses.len() - 1)], headers, trailers }
            }
            _ => Answer { status: 200, ..Answer::default() },
        }
    }
}

/// One more read into the buffer; `false` at the end.
async fn fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> bool {
    matches!(stream.read_buf(buffer).await, Ok(n) if n > 0)
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        if !fill(stream, buffer).await {
            return None;
        }
    }
}

/// A request head as it stood on the wire.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case; lines of one name joined by commas.
    pub(crate) headers: Map<String, Value>,
    /// Names as they stood.
    pub(crate) names: Vec<String>,
}

impl Request {
    /// What an echo says of it.
    pub(crate) fn seen(
        &self,
        origin: &str,
        protocol: &str,
        body: &[u8],
        trailers: Map<String, Value>,
    ) -> String {
        json!({
            "origin": origin,
            "protocol": protocol,
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            "names": self.names,
            "length": body.len(),
            "body": String::from_utf8_lossy(&body[..body.len().min(1000)]),
            "trailers": trailers,
        })
        .to_string()
    }
}

/// One more line.
pub(crate) fn add(headers: &mut Map<String, Value>, name: &str, value: &str) {
    headers
        .entry(name.to_ascii_lowercase())
        .and_modify(|old| *old = json!(format!("{},{value}", old.as_str().unwrap_or_default())))
        .or_insert_with(|| json!(value));
}

fn parse_head(head: &str) -> Request {
    let mut lines = head.trim_end().split("\r\n");
    let mut start = lines.next().unwrap_or_default().splitn(3, ' ');
    let (mut headers, mut names) = (Map::new(), Vec::new());
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        add(&mut headers, name, value.trim());
        names.push(name.to_owned());
    }
    let mut word = || start.next().unwrap_or_default().to_owned();
    Request { method: word(), path: word(), headers, names }
}

type Body = (Vec<u8>, Map<String, Value>);

async fn read_body<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    request: &Request,
) -> Option<Body> {
    let header = |name: &str| request.headers.get(name).and_then(Value::as_str);
    if header("transfer-encoding").is_some() {
        return read_chunks(stream, buffer).await;
    }
    let length = header("content-length").map_or(0, |v| v.parse::<usize>().unwrap_or(0));
    while buffer.len() < length {
        if !fill(stream, buffer).await {
            return None;
        }
    }
    Some((buffer.drain(..length).collect(), Map::new()))
}

async fn read_line<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(2).position(|w| w == b"\r\n") {
            let line: Vec<u8> = buffer.drain(..end + 2).collect();
            return String::from_utf8(line[..end].to_vec()).ok();
        }
        if !fill(stream, buffer).await {
            return None;
        }
    }
}

async fn read_chunks<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<Body> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream, buffer).await?;
        let size = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        if size == 0 {
            break;
        }
        while buffer.len() < size + 2 {
            if !fill(stream, buffer).await {
                return None;
            }
        }
        body.extend_from_slice(&buffer[..size]);
        buffer.drain(..size + 2);
    }
    let mut trailers = Map::new();
    loop {
        let line = read_line(stream, buffer).await?;
        let Some((name, value)) = line.split_once(':') else { return Some((body, trailers)) };
        add(&mut trailers, name, value.trim());
    }
}

fn h1_answer(request: &Request, answer: &Answer<'_>, text: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Whatever\r\ncontent-type: application/json\r\n", answer.status);
    for (name, value) in answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = if request.method == "HEAD" { "" } else { text };
    if answer.trailers.is_empty() {
        head.push_str(&format!("content-length: {}\r\n\r\n{body}", text.len()));
    } else {
        let lines: String =
            answer.trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let size = body.len();
        head.push_str(&format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n{lines}\r\n"));
    }
    head.into_bytes()
}
