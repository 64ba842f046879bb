//! Origins: servers that answer what they saw, or misbehave as told.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::within;

/// What an origin does with requests.
#[derive(Debug, Clone)]
pub enum Script {
    /// Answers with what it saw. The n-th request gets the n-th status, the last status goes on.
    Echo {
        /// At least one.
        statuses: Vec<u16>,
        /// Header lines of its answers.
        headers: Vec<(String, String)>,
    },
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
    /// Says nothing until the client has ended, then says its own name, `heard` and what it heard.
    Talk,
    /// The same inside TLS.
    TalkTls(Arc<rustls::ServerConfig>),
    /// Reads a request with its body and switches to the protocol that it asks for, then sends every byte back. When the
    /// client has said its last, says `bye` and closes; a byte 0 makes it close at once.
    Switch,
}

impl Script {
    /// Answers 200 with what it saw.
    pub fn echo() -> Script {
        Script::Echo { statuses: vec![200], headers: Vec::new() }
    }
}

/// A running origin; it ends when dropped.
pub struct Origin {
    /// The name it answers with.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    hits: Arc<watch::Sender<usize>>,
    task: Option<AbortHandle>,
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::new(watch::Sender::new(0));
        let task = if matches!(script, Script::Dead) {
            None
        } else {
            let serve = serve(listener, Arc::from(name), Arc::new(script), hits.clone());
            Some(tokio::spawn(serve).abort_handle())
        };
        Origin { name: name.to_owned(), address, hits, task }
    }

    /// How many whole request heads (or conversations) it has read so far.
    pub fn hits(&self) -> usize {
        *self.hits.borrow()
    }

    /// Waits until it has read this many.
    pub async fn hit(&self, times: usize) {
        let mut hits = self.hits.subscribe();
        let _ = within("requests at the origin", hits.wait_for(|hits| *hits >= times)).await;
    }
}

async fn serve(listener: TcpListener, name: Arc<str>, script: Arc<Script>, hits: Arc<watch::Sender<usize>>) {
    // Connections end with the origin, as they would with a process.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        connections.spawn(connection(stream, name.clone(), script.clone(), hits.clone()));
    }
}

async fn connection(
    mut stream: TcpStream,
    name: Arc<str>,
    script: Arc<Script>,
    hits: Arc<watch::Sender<usize>>,
) {
    let mut buffer = Vec::new();
    match &*script {
        Script::Talk => return talk(stream, &name, &hits).await,
        Script::TalkTls(config) => {
            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config.clone()).accept(stream).await {
                talk(stream, &name, &hits).await;
            }
            return;
        }
        _ => {}
    }
    while let Some(head) = read_head(&mut stream, &mut buffer).await {
        let mut nth = 0;
        hits.send_modify(|hits| {
            nth = *hits;
            *hits += 1;
        });
        let request = parse_head(&head);
        if let Script::Held(gate) = &*script {
            gate.notified().await;
        }
        match &*script {
            Script::Echo { .. } | Script::Held(_) | Script::Interim(_) => {
                if let Script::Interim(bytes) = &*script {
                    let _ = stream.write_all(bytes).await;
                }
                let Some(body) = read_body(&mut stream, &mut buffer, &request).await else { return };
                let answer = match &*script {
                    Script::Echo { statuses, headers } => {
                        echo(&name, &request, &body, statuses[nth.min(statuses.len() - 1)], headers)
                    }
                    _ => echo(&name, &request, &body, 200, &[]),
                };
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
            Script::Never => {}
            Script::Close | Script::Dead | Script::Talk | Script::TalkTls(_) => return,
            Script::Switch => {
                if let Some(body) = read_body(&mut stream, &mut buffer, &request).await {
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
async fn switch(
    stream: &mut TcpStream,
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

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: &str, hits: &watch::Sender<usize>) {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    hits.send_modify(|hits| *hits += 1);
    let answer = format!("{name} heard {}", String::from_utf8_lossy(&heard));
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// One more read into the buffer; `false` at the end.
async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    matches!(stream.read_buf(buffer).await, Ok(n) if n > 0)
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
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
struct Request {
    method: String,
    path: String,
    /// Names in lower case; lines of one name joined by commas.
    headers: Map<String, Value>,
}

fn parse_head(head: &str) -> Request {
    let mut lines = head.trim_end().split("\r\n");
    let mut start = lines.next().unwrap_or_default().splitn(3, ' ');
    let mut headers = Map::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim();
        headers
            .entry(name.to_ascii_lowercase())
            .and_modify(|old| *old = json!(format!("{},{value}", old.as_str().unwrap_or_default())))
            .or_insert_with(|| json!(value));
    }
    let mut word = || start.next().unwrap_or_default().to_owned();
    Request { method: word(), path: word(), headers }
}

async fn read_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, request: &Request) -> Option<Vec<u8>> {
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
    Some(buffer.drain(..length).collect())
}

async fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = buffer.windows(2).position(|w| w == b"\r\n") else {
            if !fill(stream, buffer).await {
                return None;
            }
            continue;
        };
        let size =
            usize::from_str_radix(std::str::from_utf8(&buffer[..end]).ok()?.split(';').next()?, 16).ok()?;
        let whole = end + 2 + size + 2;
        while buffer.len() < whole {
            if !fill(stream, buffer).await {
                return None;
            }
        }
        body.extend_from_slice(&buffer[end + 2..end + 2 + size]);
        buffer.drain(..whole);
        if size == 0 {
            return Some(body);
        }
    }
}

fn echo(name: &str, request: &Request, body: &[u8], status: u16, headers: &[(String, String)]) -> Vec<u8> {
    let seen = json!({
        "origin": name,
        "method": request.method,
        "path": request.path,
        "headers": request.headers,
        "length": body.len(),
        "body": String::from_utf8_lossy(&body[..body.len().min(1000)]),
    });
    let text = seen.to_string();
    let mut answer = format!("HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str(&format!("content-length: {}\r\n\r\n", text.len()));
    if request.method != "HEAD" {
        answer.push_str(&text);
    }
    answer.into_bytes()
}
