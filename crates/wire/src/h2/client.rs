//! HTTP/2, client side: a thin skin over the `h2` crate, generic over the stream it is given. Nothing of the crate shows
//! outside: heads become ours, errors become [`H2Error`].

mod guard;
mod stream;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::h1::decimal;
use crate::head::{BodyLength, Known, MethodKind, RequestHead, ResponseHead, Version, Weight};

use super::H2Error;
use guard::{Credit, Guard};
pub use stream::{RecvBody, SendBody};

/// How many streams may be opened while the server has said nothing: no limit, in a number that it cannot name.
const UNTOLD: usize = usize::MAX - 1;

/// What one connection to a server may hold for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes that the server may send on one stream before we give back window.
    pub initial_stream_window: u32,
    /// Bytes that the server may send on all streams together before we give back window.
    pub initial_connection_window: u32,
    /// Bytes of one decoded header list, 32 more per field (RFC 9113 6.5.2). Above it the stream is reset.
    pub max_header_list: u32,
    /// Fields of one head, or of what comes after a body. Above it the stream is reset.
    pub max_fields: usize,
    /// Bytes of request data buffered per stream.
    pub max_send_buffer: usize,
    /// Bytes that small pieces of bodies may take beside what they hold while nobody has read them, on all streams.
    pub max_small_pieces: usize,
}

impl Default for ClientLimits {
    /// The window of a connection does not hold its streams back: a reader that is slow on one of them must not stop the
    /// others, and each stream is bounded by its own window.
    fn default() -> ClientLimits {
        ClientLimits {
            initial_stream_window: 256 * 1024,
            initial_connection_window: (1 << 31) - 1,
            max_header_list: 64 * 1024,
            max_fields: 128,
            max_send_buffer: 256 * 1024,
            max_small_pieces: 64 * 1024 * 1024,
        }
    }
}

/// The moving part of one connection to a server: all reading and writing happens while this future is polled. It ends
/// when the connection has, and of itself once every [`Requests`] and every stream is gone.
#[derive(Debug)]
pub struct ClientConnection<S: AsyncRead + AsyncWrite + Unpin> {
    inner: ::h2::client::Connection<Guard<S>, Bytes>,
    credit: Arc<Credit>,
}

/// Begins HTTP/2 with prior knowledge: sends the preface and our settings, and does not wait for the server's.
///
/// # Errors
/// The stream failed.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    limits: &ClientLimits,
) -> Result<(Requests, ClientConnection<S>), H2Error> {
    let credit = Credit::new();
    let (requests, inner) = ::h2::client::Builder::new()
        .initial_window_size(limits.initial_stream_window)
        .initial_connection_window_size(limits.initial_connection_window)
        // What is not much beyond the limit is refused by us, who can say for what; the codec keeps no more than this.
        .max_header_list_size(limits.max_header_list.saturating_mul(2))
        .max_send_buffer_size(limits.max_send_buffer)
        .data_frame_budget(limits.max_small_pieces)
        .enable_push(false)
        .initial_max_send_streams(UNTOLD)
        .handshake(Guard::new(io, credit.clone()))
        .await?;
    let room = Room { bytes: limits.max_header_list as usize, fields: limits.max_fields };
    let requests = Requests { inner: requests, room, credit: credit.clone() };
    Ok((requests, ClientConnection { inner, credit }))
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientConnection<S> {
    /// So many milliseconds have passed since some moment: the server may say again what is of no use by itself.
    pub fn at(&self, now_ms: u64) {
        self.credit.pass(now_ms);
    }

    /// The means to ask whether the server is still there; there is one.
    pub fn pings(&mut self) -> Option<Pings> {
        self.inner.ping_pong().map(|inner| Pings { inner })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for ClientConnection<S> {
    type Output = Result<(), H2Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.inner).poll(cx).map_err(H2Error::from)
    }
}

/// PING frames (RFC 9113 6.7).
pub struct Pings {
    inner: ::h2::PingPong,
}

impl Pings {
    /// Asks once; the answer is what [`Pings::poll_answer`] waits for.
    ///
    /// # Errors
    /// The connection has ended, or the last question is not answered yet.
    pub fn ask(&mut self) -> Result<(), H2Error> {
        Ok(self.inner.send_ping(::h2::Ping::opaque())?)
    }

    /// Ready when the server has answered.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), H2Error>> {
        self.inner.poll_pong(cx).map_ok(|_| ()).map_err(H2Error::from)
    }
}

/// Where requests of a connection begin. Any number of clones may be used beside each other.
#[derive(Debug, Clone)]
pub struct Requests {
    inner: ::h2::client::SendRequest<Bytes>,
    room: Room,
    credit: Arc<Credit>,
}

/// How much of fields is taken from a server at a time.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: usize,
    fields: usize,
}

impl Room {
    /// What a header list takes of it.
    ///
    /// # Errors
    /// [`H2Error::TooLarge`] or [`H2Error::TooManyFields`].
    fn weigh(self, headers: &http::HeaderMap) -> Result<Weight, H2Error> {
        let size = |(name, value): (&http::HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
        let (bytes, fields) = (headers.iter().map(size).sum::<usize>(), headers.len());
        if bytes > self.bytes {
            return Err(H2Error::TooLarge);
        }
        if fields > self.fields {
            return Err(H2Error::TooManyFields);
        }
        Ok(Weight { bytes: bytes as u32, fields: fields as u32 })
    }
}

impl Requests {
    /// Whether another request may be begun: neither side has said that the connection ends.
    pub fn is_open(&self) -> bool {
        let mut probe = self.inner.clone();
        !matches!(probe.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// How many streams the server allows at a time, as far as is known.
    pub fn max_streams(&self) -> usize {
        self.inner.current_max_send_streams()
    }

    /// Whether the server takes requests for tunnels with `:protocol` (RFC 8441 3); `None`: it has not said yet.
    pub fn takes_tunnels(&self) -> Option<bool> {
        let told = self.inner.current_max_send_streams() != UNTOLD;
        told.then(|| self.inner.is_extended_connect_protocol_enabled())
    }

    /// Sends a request head. `end`: no body follows, and what is sent into must not be used. One that asks for another
    /// protocol ([`RequestHead::upgrade`]) goes as an extended CONNECT, which only a server that
    /// [takes](Requests::takes_tunnels) it may be sent; its answer is a tunnel if its status is a 2xx.
    ///
    /// # Errors
    /// [`H2Error::Head`] if HTTP/2 cannot carry the head; otherwise the connection has ended and nothing was sent.
    pub fn send(
        &mut self,
        head: &RequestHead,
        https: bool,
        end: bool,
    ) -> Result<(Answer, SendBody), H2Error> {
        let mut request = request(head, https)?;
        let mut method = head.method_kind;
        if let Some(protocol) = head.upgrade_protocol() {
            connect_to(protocol, &mut request)?;
            method = MethodKind::Connect;
        }
        let (answer, body) = self.inner.send_request(request, end)?;
        self.credit.request();
        let body = SendBody::new(body, self.credit.clone());
        Ok((Answer { inner: answer, method, room: self.room }, body))
    }
}

/// Makes a request one for a tunnel (RFC 8441 4): scheme and path stay.
fn connect_to(protocol: &[u8], request: &mut Request<()>) -> Result<(), H2Error> {
    let protocol = std::str::from_utf8(protocol).map_err(|_| H2Error::Head("protocol"))?;
    *request.method_mut() = http::Method::CONNECT;
    request.extensions_mut().insert(::h2::ext::Protocol::from(&*protocol.to_ascii_lowercase()));
    // A stream needs no proof that the other side knows WebSocket (RFC 8441 5).
    request.headers_mut().remove(http::header::SEC_WEBSOCKET_KEY);
    Ok(())
}

/// The answer to one request.
#[derive(Debug)]
pub struct Answer {
    inner: ::h2::client::ResponseFuture,
    method: MethodKind,
    room: Room,
}

impl Answer {
    /// The next head: interim ones (1xx) come without a body and are followed by another. Do not poll again after the
    /// final one.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<Option<RecvBody>, H2Error>> {
        if let Poll::Ready(Some(interim)) = self.inner.poll_informational(cx) {
            let interim = interim?;
            let weight = self.room.weigh(interim.headers())?;
            response_head(&interim, true, self.method, head)?;
            head.weight = weight;
            return Poll::Ready(Ok(None));
        }
        let response = ready!(Pin::new(&mut self.inner).poll(cx))?;
        let weight = self.room.weigh(response.headers())?;
        response_head(&response, response.body().is_end_stream(), self.method, head)?;
        head.weight = weight;
        Poll::Ready(Ok(Some(RecvBody::new(response.into_body(), self.room))))
    }
}

/// Makes a request for the codec.
fn request(head: &RequestHead, https: bool) -> Result<Request<()>, H2Error> {
    let mut headers = stream::header_map(&head.fields, 3)?;
    if let BodyLength::Known(length) = head.body {
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if head.te_trailers {
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    }
    if head.expect_continue {
        headers.insert(http::header::EXPECT, HeaderValue::from_static("100-continue"));
    }
    let authority = Authority::try_from(head.authority()).map_err(|_| H2Error::Head("authority"))?;
    let mut uri = http::uri::Parts::default();
    uri.authority = Some(authority);
    if head.method_kind != MethodKind::Connect {
        uri.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
        uri.path_and_query = Some(target(head.path_and_query())?);
    }
    let mut request = Request::new(());
    *request.method_mut() = http::Method::from_bytes(head.method()).map_err(|_| H2Error::Head("method"))?;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| H2Error::Head("target"))?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

/// A path as the codec takes it: bytes that no URI has (RFC 3986 2) are percent-encoded, which HTTP/1 would have let
/// pass.
fn target(path: &[u8]) -> Result<PathAndQuery, H2Error> {
    let path = if path.is_empty() { &b"/"[..] } else { path };
    if let Ok(target) = PathAndQuery::try_from(path) {
        return Ok(target);
    }
    let mut spelled = Vec::with_capacity(path.len() + 16);
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => spelled.push(*byte),
            b'!' | b'$'..=b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'_' | b'~' | b'[' | b']' => {
                spelled.push(*byte);
            }
            _ => spelled.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    PathAndQuery::try_from(spelled.as_slice()).map_err(|_| H2Error::Head("path"))
}

/// Copies a response head. `ended`: the stream carries no body.
fn response_head<B>(
    response: &Response<B>,
    ended: bool,
    request: MethodKind,
    head: &mut ResponseHead,
) -> Result<(), H2Error> {
    head.clear();
    head.version = Version::H2;
    head.status = response.status().as_u16();
    let mut length = None;
    for (name, value) in response.headers() {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        match Known::of(name) {
            Known::ContentLength => {
                let named = decimal(value).ok_or(H2Error::Head("content-length"))?;
                if length.replace(named).is_some_and(|before| before != named) {
                    return Err(H2Error::Head("several content-length fields"));
                }
            }
            known if known.is_per_hop() => {}
            // White space at the ends is malformed (RFC 9113 8.2.1); from a server it is forgiven.
            _ => head.fields.add(name, value.trim_ascii()),
        }
    }
    let bodiless = request == MethodKind::Head || head.status == 304;
    let tunnel = request == MethodKind::Connect && (200..300).contains(&head.status);
    head.body = match length {
        _ if tunnel => BodyLength::Marked,
        _ if bodiless => BodyLength::None,
        _ if ended => BodyLength::None,
        Some(0) => BodyLength::None,
        Some(length) => BodyLength::Known(length),
        None => BodyLength::Marked,
    };
    head.named_length = length.filter(|_| bodiless);
    Ok(())
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
