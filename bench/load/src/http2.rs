//! Requests over HTTP/2, several streams at a time: plain ones, gRPC calls, and gRPC streams that stay open.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::task::{JoinSet, spawn_local};

use crate::work::{FLIP, Job, Load, POOL, Pace, Work, guarded};

/// Requests of one stream's lane before the connection is given up for another.
const REQUESTS: usize = 400;

/// What is said over HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Plain,
    Grpc,
}

/// A connection, driven until it ends.
pub(crate) async fn open(load: &Load, secure: bool) -> Result<SendRequest<Bytes>, String> {
    let io = load.connect(secure.then_some(&load.tls.h2)).await?;
    let (send, connection) =
        guarded("a handshake", async { h2::client::handshake(io).await.map_err(|e| e.to_string()) }).await?;
    // It ends when the last handle to it is dropped and the streams are done, or by the gateway.
    spawn_local(connection);
    Ok(send)
}

/// The head of a request. `length`: of a body that is known beforehand.
fn head(speech: Speech, (host, path): (&str, &str), length: Option<usize>) -> Result<Request<()>, String> {
    let request = match (speech, length) {
        (Speech::Plain, Some(length)) => {
            Request::builder().method(Method::POST).header("content-length", length)
        }
        (Speech::Plain, None) => Request::builder().method(Method::GET),
        (Speech::Grpc, _) => Request::builder()
            .method(Method::POST)
            .header("content-type", "application/grpc")
            .header("te", "trailers"),
    };
    request.uri(format!("http://{host}{path}")).body(()).map_err(|error| error.to_string())
}

/// Sends a request; `end`: nothing follows its head.
pub(crate) async fn ask(
    send: &SendRequest<Bytes>,
    (speech, host, path): (Speech, &str, &str),
    body: Option<Bytes>,
    end: bool,
) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), String> {
    let request = head(speech, (host, path), body.as_ref().map(Bytes::len))?;
    let mut send = send.clone().ready().await.map_err(say)?;
    let (response, mut stream) = send.send_request(request, end && body.is_none()).map_err(say)?;
    if let Some(body) = body {
        stream.send_data(body, end).map_err(say)?;
    }
    Ok((response, stream))
}

fn say(error: h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_go_away() => format!("GOAWAY {reason:?}"),
        Some(reason) => format!("reset {reason:?}"),
        None => error.to_string(),
    }
}

/// The next piece of a body.
async fn piece(body: &mut RecvStream) -> Result<Option<Bytes>, String> {
    let Some(piece) = body.data().await else { return Ok(None) };
    let piece = piece.map_err(say)?;
    body.flow_control().release_capacity(piece.len()).map_err(say)?;
    Ok(Some(piece))
}

/// An answer to its end.
pub(crate) async fn whole(
    response: h2::client::ResponseFuture,
) -> Result<(Response<()>, Vec<u8>, Option<HeaderMap>), String> {
    let (head, mut body) = response.await.map_err(say)?.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = piece(&mut body).await? {
        bytes.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await.map_err(say)?;
    Ok((Response::from_parts(head, ()), bytes, trailers))
}

/// A message of gRPC.
pub(crate) fn message(text: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + text.len());
    bytes.put_u8(0);
    bytes.put_u32(text.len() as u32);
    bytes.put_slice(text);
    bytes.freeze()
}

/// The path of a gRPC call.
fn call_path(nth: usize) -> &'static str {
    if nth.is_multiple_of(2) { "/load.Flip/Say" } else { "/load.Pool/Say" }
}

async fn plain(send: &SendRequest<Bytes>, load: &Load, job: &Job) -> Result<(), String> {
    let sent = job.body.map(|(at, length)| load.text.slice(at..at + length));
    let (response, _) = ask(send, (Speech::Plain, job.host, &job.path), sent.clone(), true).await?;
    let (head, body, _) = whole(response).await?;
    if head.status() != 200 {
        return Err(format!("{} {}", head.status(), String::from_utf8_lossy(&body)));
    }
    if body != sent.as_deref().unwrap_or(job.path.as_bytes()) {
        return Err("an answer to something else".to_owned());
    }
    Ok(())
}

async fn call(send: &SendRequest<Bytes>, load: &Load, nth: usize) -> Result<(), String> {
    let sent = message(&load.text[nth % 4096..nth % 4096 + 1 + nth * 131 % 2048]);
    let host = if nth.is_multiple_of(2) { FLIP } else { POOL };
    let (response, _) = ask(send, (Speech::Grpc, host, call_path(nth)), Some(sent.clone()), true).await?;
    let (head, body, trailers) = whole(response).await?;
    let trailers = trailers.unwrap_or_else(|| head.headers().clone());
    let status = trailers.get("grpc-status").map(|status| status.as_bytes().to_vec());
    if head.status() != 200 || status.as_deref() != Some(b"0") {
        return Err(format!("{} grpc-status {status:?} {:?}", head.status(), trailers.get("grpc-message")));
    }
    if body != sent {
        return Err("an answer to something else".to_owned());
    }
    Ok(())
}

/// One connection after the other, each with so many streams that ask at that pace.
pub(crate) async fn lane(
    load: Rc<Load>,
    (number, speech, secure): (usize, Speech, bool),
    streams: usize,
    interval: Duration,
) {
    let kind = format!("{speech:?} over h2{}", if secure { " in TLS" } else { "" });
    while !load.over() {
        let send = match open(&load, secure).await {
            Ok(send) => send,
            Err(why) => {
                load.tally.failed.add(format!("{kind}: {why}"));
                Pace::new(interval, number).turn().await;
                continue;
            }
        };
        let mut lanes = JoinSet::new();
        for stream in 0..streams {
            let (load, send, kind) = (load.clone(), send.clone(), kind.clone());
            lanes.spawn_local(async move {
                let number = number * streams + stream;
                let mut pace = Pace::new(interval, number);
                let mut work = Work::new(format!("h2-{number}"));
                for nth in 0..REQUESTS {
                    pace.turn().await;
                    if load.over() {
                        break;
                    }
                    let begun = Instant::now();
                    let job = work.next();
                    let done = match speech {
                        Speech::Plain => guarded("a request", plain(&send, &load, &job)).await,
                        Speech::Grpc => guarded("a call", call(&send, &load, number + nth)).await,
                    };
                    match done {
                        Ok(()) => load.tally.served(begun, speech == Speech::Grpc || job.body.is_some()),
                        Err(why) => {
                            load.tally.failed.add(format!("{kind}: {why}"));
                            break;
                        }
                    }
                }
            });
        }
        drop(send);
        while lanes.join_next().await.is_some() {}
    }
}

/// A gRPC stream that stays open: a message now and then, which comes back.
pub(crate) async fn talk(load: Rc<Load>, number: usize, secure: bool, interval: Duration) {
    if let Err(why) = talk_on(&load, number, secure, interval).await {
        load.tally.cut.add(format!("gRPC stream: {why}"));
    }
}

async fn talk_on(load: &Load, number: usize, secure: bool, interval: Duration) -> Result<(), String> {
    let mut pace = Pace::new(interval, number);
    pace.turn().await;
    let send = open(load, secure).await?;
    let host = if number.is_multiple_of(2) { FLIP } else { POOL };
    let (response, mut stream) = ask(&send, (Speech::Grpc, host, call_path(number)), None, false).await?;
    let mut said = message(format!("talk {number}").as_bytes());
    stream.send_data(said.clone(), false).map_err(say)?;
    let (head, mut body) = guarded("a head", async { response.await.map_err(say) }).await?.into_parts();
    if head.status != 200 {
        return Err(format!("{}", head.status));
    }
    let mut nth = 0;
    loop {
        let mut heard = Vec::new();
        while heard.len() < said.len() {
            let more = guarded("a message", piece(&mut body)).await?;
            heard.extend_from_slice(&more.ok_or("the end of a body instead of a message")?);
        }
        if heard != said {
            return Err("another message".to_owned());
        }
        load.tally.heard();
        pace.turn().await;
        if load.over() {
            break;
        }
        nth += 1;
        said = message(format!("talk {number} {nth}").as_bytes());
        stream.send_data(said.clone(), false).map_err(say)?;
    }
    stream.send_data(Bytes::new(), true).map_err(say)?;
    guarded("the end", async {
        while piece(&mut body).await?.is_some() {}
        let trailers = body.trailers().await.map_err(say)?;
        let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
        if status.is_some_and(|status| status == "0") { Ok(()) } else { Err(format!("ends with {status:?}")) }
    })
    .await
}
