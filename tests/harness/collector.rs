//! A collector of spans: takes what is posted to it in HTTP/1.1 or HTTP/2, in clear text or TLS, and lets tests read it
//! by decoders of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use rustls::ServerConfig;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::within;

/// How a collector answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything: 202, and of gRPC status 0 after this message.
    Takes(Vec<u8>),
    /// It answers with this status, of gRPC if that is what it is asked in, at once and without a body.
    Refuses(u16),
    /// It never answers.
    Silent,
}

/// What was posted.
#[derive(Debug, Clone)]
pub struct Post {
    /// The path.
    pub path: String,
    /// Names in lower case; `:authority` and `:scheme` with HTTP/2.
    pub headers: BTreeMap<String, String>,
    /// To its end.
    pub body: Vec<u8>,
    /// Which of the collector's connections it came on, from 0.
    pub connection: usize,
}

impl Post {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The messages of a gRPC call.
    pub fn messages(&self) -> Vec<Proto> {
        let (mut messages, mut rest) = (Vec::new(), &self.body[..]);
        while let [compressed, a, b, c, d, after @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            assert_eq!(*compressed, 0);
            messages.push(Proto::parse(&after[..length]));
            rest = &after[length..];
        }
        assert!(rest.is_empty(), "{rest:?}");
        messages
    }

    /// The body as MessagePack.
    pub fn msgpack(&self) -> Value {
        let mut rest = &self.body[..];
        let value = msgpack(&mut rest);
        assert!(rest.is_empty(), "{rest:?}");
        value
    }
}

/// A collector that can go away and come back where it was.
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    posts: UnboundedReceiver<Post>,
    told: UnboundedSender<Post>,
    tls: Option<Arc<ServerConfig>>,
    serving: Option<AbortHandle>,
    /// Keeps the port while nobody listens.
    _bound: TcpSocket,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Collector {
    /// Starts one that takes everything.
    pub async fn start(tls: Option<Arc<ServerConfig>>) -> Collector {
        Collector::start_as(tls, Mood::Takes(Vec::new())).await
    }

    /// Starts one of a mood.
    pub async fn start_as(tls: Option<Arc<ServerConfig>>, mood: Mood) -> Collector {
        let bound = socket("127.0.0.1:0".parse().unwrap());
        let address = bound.local_addr().unwrap();
        let (told, posts) = unbounded_channel();
        let mut collector = Collector { address, posts, told, tls, serving: None, _bound: bound };
        collector.come_back(mood);
        collector
    }

    /// Nobody listens any more, and its connections are cut.
    pub fn leave(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }

    /// It listens at its old address.
    pub fn come_back(&mut self, mood: Mood) {
        self.leave();
        let listener = socket(self.address).listen(1024).unwrap();
        let serving = serve(listener, self.tls.clone(), self.told.clone(), mood);
        self.serving = Some(tokio::spawn(serving).abort_handle());
    }

    /// What is posted next.
    pub async fn next(&mut self) -> Post {
        within("spans", self.posts.recv()).await.unwrap()
    }
}

fn socket(at: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(at).unwrap();
    socket
}

/// Each connection with its number. What it began ends with it.
async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    told: UnboundedSender<Post>,
    mood: Mood,
) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (told, mood, tls) = (told.clone(), mood.clone(), tls.clone());
        connections.spawn(async move {
            let tell = |mut post: Post| {
                post.connection = number;
                let _ = told.send(post);
            };
            let Some(tls) = tls else {
                let mut start = [0; 3];
                while stream.peek(&mut start).await.is_ok_and(|read| read < 3 && read > 0) {
                    tokio::task::yield_now().await;
                }
                return connection(stream, &start == b"PRI", tell, &mood).await;
            };
            let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            connection(stream, http2, tell, &mood).await;
        });
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    http2: bool,
    mut tell: impl FnMut(Post),
    mood: &Mood,
) {
    if http2 {
        // A connection that is cut, by whomever, is one of the things that are tested.
        let _ = in_http2(stream, &mut tell, mood).await;
    } else {
        in_http1(stream, &mut tell, mood).await;
    }
}

async fn in_http1<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    tell: &mut impl FnMut(Post),
    mood: &Mood,
) {
    let (mut bytes, mut whole) = (Vec::new(), None);
    while whole.is_none() && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let (first, lines) = head.split_once("\r\n").unwrap();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let headers: BTreeMap<_, _> = lines.lines().map(field).collect();
        let length: usize = headers["content-length"].parse().unwrap();
        let body = bytes.get(end + 4..end + 4 + length).map(<[u8]>::to_vec);
        let path = first.split(' ').nth(1).unwrap().to_owned();
        whole = body.map(|body| Post { path, headers, body, connection: 0 });
    }
    let Some(post) = whole else { return };
    tell(post);
    let status = match mood {
        Mood::Takes(_) => 202,
        Mood::Refuses(status) => *status,
        Mood::Silent => std::future::pending().await,
    };
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn in_http2<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    tell: &mut impl FnMut(Post),
    mood: &Mood,
) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    // One after the other: a collector's answer comes after all of the call. Who is never answered waits beside.
    let mut waiting = Vec::new();
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        let (head, mut data) = request.into_parts();
        let mut body = Vec::new();
        let mut end = Box::pin(async {
            while let Some(piece) = data.data().await {
                let piece = piece?;
                data.flow_control().release_capacity(piece.len())?;
                body.extend_from_slice(&piece);
            }
            Ok::<(), h2::Error>(())
        });
        tokio::select! {
            read = &mut end => read?,
            // Nothing is read unless the connection is.
            _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => return Ok(()),
        }
        drop(end);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut headers: BTreeMap<_, _> =
            head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        headers.insert(":authority".to_owned(), head.uri.authority().unwrap().to_string());
        headers.insert(":scheme".to_owned(), head.uri.scheme_str().unwrap().to_owned());
        let grpc = headers.get("content-type").is_some_and(|kind| kind.starts_with("application/grpc"));
        tell(Post { path: head.uri.path().to_owned(), headers, body, connection: 0 });
        match mood {
            Mood::Silent => waiting.push(respond),
            Mood::Refuses(status) if grpc => {
                let answer = Response::builder().status(200).header("grpc-status", *status).body(()).unwrap();
                respond.send_response(answer, true)?;
            }
            Mood::Refuses(status) => {
                respond.send_response(Response::builder().status(*status).body(()).unwrap(), true)?;
            }
            Mood::Takes(message) => {
                let status = if grpc { 200 } else { 202 };
                let answer = Response::builder().status(status).body(()).unwrap();
                let mut send = respond.send_response(answer, !grpc)?;
                if grpc {
                    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
                    let frame = [&[0], &length[..], message].concat();
                    send.send_data(Bytes::from(frame), false)?;
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    send.send_trailers(trailers)?;
                }
            }
        }
    }
    Ok(())
}

/// A message of protobuf: its fields, as they stand.
#[derive(Debug, Clone, Default)]
pub struct Proto(Vec<(u64, Field)>);

#[derive(Debug, Clone)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Proto {
    /// Reads all of a message.
    pub fn parse(mut bytes: &[u8]) -> Proto {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut bytes)),
                1 => Field::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    Field::Bytes(take(&mut bytes, length).to_vec())
                }
                kind => panic!("a field of kind {kind}"),
            };
            fields.push((tag >> 3, field));
        }
        Proto(fields)
    }

    /// The number of a field; 0: it is not there.
    pub fn number(&self, field: u64) -> u64 {
        self.0.iter().find(|(known, _)| *known == field).map_or(0, |(_, value)| match value {
            Field::Number(number) => *number,
            Field::Bytes(_) => panic!("field {field} is no number"),
        })
    }

    /// All values of a field.
    pub fn all(&self, field: u64) -> Vec<&[u8]> {
        let of = self.0.iter().filter(|(known, _)| *known == field);
        of.map(|(_, value)| match value {
            Field::Bytes(bytes) => &bytes[..],
            Field::Number(_) => panic!("field {field} is a number"),
        })
        .collect()
    }

    /// The text of a field; empty: it is not there.
    pub fn text(&self, field: u64) -> String {
        self.all(field).first().map(|text| String::from_utf8(text.to_vec()).unwrap()).unwrap_or_default()
    }

    /// Bytes of a field in hexadecimal.
    pub fn hex(&self, field: u64) -> String {
        self.all(field).concat().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The messages of a field.
    pub fn messages(&self, field: u64) -> Vec<Proto> {
        self.all(field).into_iter().map(Proto::parse).collect()
    }
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// One value of MessagePack.
fn msgpack(bytes: &mut &[u8]) -> Value {
    let number = |bytes: &mut &[u8], size| {
        take(bytes, size).iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let kind = take(bytes, 1)[0];
    let text = |bytes: &mut &[u8], length: u64| {
        Value::from(String::from_utf8(take(bytes, length as usize).to_vec()).unwrap())
    };
    let list = |bytes: &mut &[u8], length: u64| (0..length).map(|_| msgpack(bytes)).collect::<Value>();
    let map = |bytes: &mut &[u8], length: u64| {
        let pair = |_| (msgpack(bytes).as_str().unwrap().to_owned(), msgpack(bytes));
        Value::from((0..length).map(pair).collect::<Map<_, _>>())
    };
    match kind {
        0..=0x7f => Value::from(kind),
        0xe0.. => Value::from(kind as i8),
        0x80..=0x8f => map(bytes, u64::from(kind & 0xf)),
        0x90..=0x9f => list(bytes, u64::from(kind & 0xf)),
        0xa0..=0xbf => text(bytes, u64::from(kind & 0x1f)),
        0xcb => Value::from(f64::from_bits(number(bytes, 8))),
        0xcc..=0xcf => Value::from(number(bytes, 1 << (kind - 0xcc))),
        0xd0..=0xd3 => {
            let size = 1 << (kind - 0xd0);
            Value::from((number(bytes, size) << (64 - 8 * size)) as i64 >> (64 - 8 * size))
        }
        0xd9..=0xdb => {
            let length = number(bytes, 1 << (kind - 0xd9));
            text(bytes, length)
        }
        0xdc | 0xdd => {
            let length = number(bytes, 2 << (kind - 0xdc));
            list(bytes, length)
        }
        0xde | 0xdf => {
            let length = number(bytes, 2 << (kind - 0xde));
            map(bytes, length)
        }
        kind => panic!("a value of kind {kind:#x}"),
    }
}
