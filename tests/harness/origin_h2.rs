//! Origins that speak HTTP/2.

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::authorization;
use crate::origin::{Answer, Request, Script, Work, add};

/// Serves a connection to its end.
pub(crate) async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, work: Work) {
    let mut offer = h2::server::Builder::new();
    if matches!(*work.script, Script::Tunnel) {
        offer.enable_connect_protocol();
    }
    let Ok(mut connection) = offer.handshake(stream).await else { return };
    let mut streams = tokio::task::JoinSet::new();
    let (end, mut ended) = mpsc::channel(1);
    loop {
        let (request, respond) = tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok(accepted)) => accepted,
                _ => return,
            },
            Some(()) = ended.recv() => match &*work.script {
                Script::GoAway => {
                    connection.graceful_shutdown();
                    continue;
                }
                _ => return,
            },
        };
        streams.spawn(stream_of(request, respond, work.clone(), end.clone()));
    }
}

/// Serves one stream. Whoever sends to `end` ends the connection.
async fn stream_of(
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    work: Work,
    end: mpsc::Sender<()>,
) {
    let nth = work.hit();
    match &*work.script {
        Script::Never => std::future::pending().await,
        Script::Decides => {
            let _ = authorization::decide(request, &mut respond).await;
        }
        Script::Close
        | Script::Dead
        | Script::Full
        | Script::Raw(_)
        | Script::Switch
        | Script::Talk
        | Script::Datagrams
        | Script::TalkTls(_)
        | Script::Tls(..)
        | Script::Proxied(_)
        | Script::Interim(_) => {
            let _ = end.send(()).await;
            // The connection is dropped with whatever it still holds.
            std::future::pending::<()>().await;
        }
        Script::Reset(codes) if nth < codes.len() => respond.send_reset(codes[nth].into()),
        Script::Held(gate) => {
            gate.notified().await;
            let _ = echo(request, &mut respond, &work, nth).await;
        }
        Script::Tunnel if request.extensions().get::<Protocol>().is_some() => {
            let _ = tunnel(request, &mut respond).await;
        }
        Script::Echo { .. } | Script::Reset(_) | Script::GoAway | Script::Tunnel => {
            let _ = echo(request, &mut respond, &work, nth).await;
            if matches!(*work.script, Script::GoAway) {
                let _ = end.send(()).await;
            }
        }
    }
}

/// Takes a tunnel and sends bytes back until either side ends it.
async fn tunnel(
    request: http::Request<h2::RecvStream>,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let refused = request.uri().path() == "/two/refused";
    let protocol = request.extensions().get::<Protocol>().map_or("", Protocol::as_str).to_owned();
    let reply = Response::builder()
        .status(if refused { 403 } else { 200 })
        .header("x-protocol", format!("{} {protocol} {}", request.method(), request.uri()))
        .header("x-key", request.headers().contains_key("sec-websocket-key").to_string())
        .body(())
        .unwrap();
    let mut send = respond.send_response(reply, refused)?;
    let mut data = request.into_body();
    while let Some(piece) = data.data().await {
        let piece = piece?;
        data.flow_control().release_capacity(piece.len())?;
        let last = piece.contains(&0);
        send.send_data(piece, last)?;
        if last {
            return Ok(());
        }
    }
    send.send_data("bye".into(), true)
}

async fn echo(
    request: http::Request<h2::RecvStream>,
    respond: &mut SendResponse<Bytes>,
    work: &Work,
    nth: usize,
) -> Result<(), h2::Error> {
    let (head, mut data) = request.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = data.data().await {
        let piece = piece?;
        data.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let mut headers = lines(&head.headers);
    let scheme = head.uri.scheme_str().unwrap_or_default();
    add(&mut headers, "host", head.uri.authority().map_or("", |authority| authority.as_str()));
    add(&mut headers, ":scheme", scheme);
    work.before.iter().for_each(|(name, value)| add(&mut headers, name, value));
    let trailers = data.trailers().await?.map(|trailers| lines(&trailers)).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let seen = Request { method: head.method.to_string(), path: path.to_owned(), headers, names: Vec::new() };
    let text = seen.seen(&work.name, "HTTP/2", &body, trailers);
    let answer = Answer::of(&work.script, nth);
    let mut reply = Response::builder().status(answer.status).body(()).unwrap();
    *reply.headers_mut() = map(answer.headers);
    reply.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    let bodiless = head.method == http::Method::HEAD;
    let mut send = respond.send_response(reply, bodiless)?;
    if !bodiless {
        send.send_data(text.into(), answer.trailers.is_empty())?;
        if !answer.trailers.is_empty() {
            send.send_trailers(map(answer.trailers))?;
        }
    }
    Ok(())
}

fn lines(headers: &HeaderMap) -> Map<String, Value> {
    let mut lines = Map::new();
    for (name, value) in headers {
        add(&mut lines, name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    lines
}

fn map(lines: &[(String, String)]) -> HeaderMap {
    let pair = |(name, value): &(String, String)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    lines.iter().map(pair).collect()
}
