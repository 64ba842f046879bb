//! Origins: they send back what they are sent, and say their name in `x-origin`.

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet, spawn_local};

use crate::http1::{read_body, read_head};
use crate::websocket::{ACCEPT, CLOSE, frame, read};

/// An origin with a port for HTTP/1.1 and one for HTTP/2.
pub(crate) struct Origin {
    pub(crate) h1: SocketAddr,
    pub(crate) h2: SocketAddr,
    accepting: [JoinHandle<()>; 2],
}

impl Origin {
    /// Listens where the kernel likes.
    pub(crate) async fn start(name: &'static str) -> std::io::Result<Origin> {
        let (one, two) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let (h1, h2) = (one.local_addr()?, two.local_addr()?);
        let first = spawn_local(accepting(one, move |stream| serve_h1(stream, name)));
        let second = spawn_local(accepting(two, move |stream| serve_h2(stream, name)));
        Ok(Origin { h1, h2, accepting: [first, second] })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

/// Accepts until it is dropped, and its connections with it.
async fn accepting<F: Future<Output = ()> + 'static>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn_local(serve(stream));
    }
}

/// Serves one connection; what goes wrong on it is seen by who asked.
async fn serve_h1(stream: TcpStream, name: &'static str) {
    let _ = stream.set_nodelay(true);
    let mut io = stream;
    let mut unread = Vec::new();
    let mut out = Vec::new();
    while let Ok(Some(head)) = read_head(&mut io, &mut unread).await {
        if head.field("upgrade").is_some() {
            let _ = websocket(io, name).await;
            return;
        }
        let Ok(length) = head.length() else { return };
        let Ok(body) = read_body(&mut io, &mut unread, length).await else { return };
        let path = head.first().split(' ').nth(1).unwrap_or_default();
        let body = if length == 0 { path.as_bytes() } else { &body };
        out.clear();
        let lines = format!("HTTP/1.1 200 OK\r\nx-origin: {name}\r\ncontent-length: {}\r\n\r\n", body.len());
        out.extend_from_slice(lines.as_bytes());
        out.extend_from_slice(body);
        if io.write_all(&out).await.is_err() {
            return;
        }
    }
}

async fn websocket(mut io: TcpStream, name: &str) -> Result<(), String> {
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nx-origin: {name}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {ACCEPT}\r\n\r\n"
    );
    io.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut io = BufReader::with_capacity(256, io);
    while let Some((kind, text)) = read(&mut io).await? {
        io.write_all(&frame(kind, &text, None)).await.map_err(|error| error.to_string())?;
        if kind == CLOSE {
            break;
        }
    }
    Ok(())
}

async fn serve_h2(stream: TcpStream, name: &'static str) {
    let _ = stream.set_nodelay(true);
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        spawn_local(async move {
            // Who asked sees how it ended.
            let _ = echo(request, respond, name).await;
        });
    }
}

/// Sends back each piece as it comes; a call ends with its status.
async fn echo(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    name: &'static str,
) -> Result<(), h2::Error> {
    let mut head = Response::new(());
    head.headers_mut().insert("x-origin", HeaderValue::from_static(name));
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut send = respond.send_response(head, false)?;
    let mut body = request.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        // Frames with nothing in them are what floods are made of: clients allow few.
        if !piece.is_empty() {
            send.send_data(piece, false)?;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    send.send_trailers(trailers)
}
