use std::future::poll_fn;

use ::h2::server::SendResponse;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::*;
use crate::h2::ResetReason;
use crate::head::Fields;

type Stream = (Request<::h2::RecvStream>, SendResponse<Bytes>);

/// A connection to a server that hands out its streams; `ends` makes it say that it goes.
struct Server {
    streams: mpsc::UnboundedReceiver<Stream>,
    ends: mpsc::UnboundedSender<()>,
}

async fn pair(max_streams: u32) -> (Requests, Server) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (requests, connection) = connect(ours, &ClientLimits::default()).await.unwrap();
    tokio::task::spawn(connection);
    let (hand, streams) = mpsc::unbounded_channel();
    let (ends, mut ended) = mpsc::unbounded_channel();
    tokio::task::spawn(async move {
        let mut builder = ::h2::server::Builder::new();
        let mut server = builder.max_concurrent_streams(max_streams).handshake(theirs).await.unwrap();
        loop {
            tokio::select! {
                accepted = server.accept() => match accepted {
                    Some(Ok(stream)) => hand.send(stream).unwrap(),
                    _ => return,
                },
                _ = ended.recv() => server.abrupt_shutdown(::h2::Reason::NO_ERROR),
            }
        }
    });
    (requests, Server { streams, ends })
}

fn head(method: &[u8], path: &[u8], body: BodyLength) -> RequestHead {
    let mut head = RequestHead::default();
    head.set_method(method);
    head.set_path(path);
    head.set_authority(b"a.example");
    head.body = body;
    head
}

async fn answered(answer: &mut Answer, head: &mut ResponseHead) -> Result<Option<RecvBody>, H2Error> {
    poll_fn(|cx| answer.poll_head(cx, head)).await
}

#[tokio::test]
async fn a_head_goes_over_as_it_is() {
    let (mut requests, mut server) = pair(100).await;
    let mut sent = head(b"POST", b"/a?b=c", BodyLength::Known(2));
    sent.fields.add(b"x-one", b"1");
    sent.fields.add(b"connection", b"close");
    sent.te_trailers = true;
    let (_answer, _body) = requests.send(&sent, true, false).unwrap();
    let (seen, _respond) = server.streams.recv().await.unwrap();
    assert_eq!(
        (seen.method().as_str(), seen.uri().to_string()),
        ("POST", "https://a.example/a?b=c".to_owned())
    );
    let mut lines: Vec<_> = seen.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    lines.sort_unstable();
    assert_eq!(lines, [("content-length", "2"), ("te", "trailers"), ("x-one", "1")]);
}

#[tokio::test]
async fn bytes_that_no_uri_has_are_encoded() {
    let (mut requests, mut server) = pair(100).await;
    let _kept = requests.send(&head(b"GET", b"/a<b>?q=\"`", BodyLength::None), false, true).unwrap();
    let (seen, _respond) = server.streams.recv().await.unwrap();
    assert_eq!(seen.uri().to_string(), "http://a.example/a%3Cb%3E?q=%22%60");
}

#[tokio::test]
async fn interim_heads_then_body_and_trailers() {
    let (mut requests, mut server) = pair(100).await;
    let (mut answer, mut up) = requests.send(&head(b"POST", b"/", BodyLength::Marked), false, false).unwrap();
    up.send_data(Bytes::from_static(b"x"), false).unwrap();
    let mut fields = Fields::default();
    fields.add(b"x-checksum", b"1");
    up.send_trailers(&fields).unwrap();
    let (mut request, mut respond) = server.streams.recv().await.unwrap();
    assert_eq!(request.body_mut().data().await.unwrap().unwrap(), "x");
    assert!(request.body_mut().data().await.is_none());
    assert_eq!(request.body_mut().trailers().await.unwrap().unwrap()["x-checksum"], "1");

    respond.send_informational(Response::builder().status(103).body(()).unwrap()).unwrap();
    let mut down = respond.send_response(Response::new(()), false).unwrap();
    down.send_data(Bytes::from_static(b"y"), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    for name in ["grpc-status", "set-cookie"] {
        trailers.insert(http::HeaderName::from_static(name), HeaderValue::from_static("0"));
    }
    down.send_trailers(trailers).unwrap();
    let mut seen = ResponseHead::default();
    assert!(answered(&mut answer, &mut seen).await.unwrap().is_none());
    assert_eq!(seen.status, 103);
    let mut body = answered(&mut answer, &mut seen).await.unwrap().unwrap();
    assert_eq!((seen.status, seen.body), (200, BodyLength::Marked));
    assert_eq!(body.data().await.unwrap().unwrap(), "y");
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!((trailers.get(b"grpc-status"), trailers.len()), (Some(&b"0"[..]), 1));
}

#[tokio::test]
async fn a_refused_stream_and_a_connection_that_ends_are_told_apart() {
    let (mut requests, mut server) = pair(100).await;
    assert!(requests.is_open());
    let (mut answer, _up) = requests.send(&head(b"GET", b"/", BodyLength::None), false, true).unwrap();
    let (_request, mut respond) = server.streams.recv().await.unwrap();
    respond.send_reset(::h2::Reason::REFUSED_STREAM);
    let error = answered(&mut answer, &mut ResponseHead::default()).await.unwrap_err();
    assert!(error.is_remote_reset() && error.reason() == Some(ResetReason::REFUSED_STREAM), "{error}");

    let (mut answer, _up) = requests.send(&head(b"GET", b"/", BodyLength::None), false, true).unwrap();
    let _stream = server.streams.recv().await.unwrap();
    server.ends.send(()).unwrap();
    let error = answered(&mut answer, &mut ResponseHead::default()).await.unwrap_err();
    assert_ne!(error.reason(), Some(ResetReason::REFUSED_STREAM));
    assert!(!requests.is_open());
    assert!(requests.send(&head(b"GET", b"/", BodyLength::None), false, true).is_err());
}

#[tokio::test]
async fn the_servers_limit_of_streams_shows() {
    let (mut requests, mut server) = pair(3).await;
    let (mut answer, _up) = requests.send(&head(b"GET", b"/", BodyLength::None), false, true).unwrap();
    let (_request, mut respond) = server.streams.recv().await.unwrap();
    respond.send_response(Response::builder().status(204).body(()).unwrap(), true).unwrap();
    let mut seen = ResponseHead::default();
    answered(&mut answer, &mut seen).await.unwrap();
    assert_eq!((seen.status, seen.body, requests.max_streams()), (204, BodyLength::None, 3));
}

/// Whether a connection stands after an answer in 1 000 pieces of a byte that nobody reads, of which those that are not
/// read may take so many bytes.
async fn stands(max_small_pieces: usize) -> bool {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let limits = ClientLimits { max_small_pieces, ..ClientLimits::default() };
    let (mut requests, connection) = connect(ours, &limits).await.unwrap();
    tokio::task::spawn(connection);
    let _kept = requests.send(&head(b"GET", b"/", BodyLength::None), false, true).unwrap();
    let mut said = b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88".to_vec();
    said.extend(b"\0\0\x01\0\0\0\0\0\x01x".repeat(1_000));
    // Who has acknowledged the ping has seen all before it.
    said.extend(b"\0\0\x08\x06\0\0\0\0\0pingping");
    theirs.read_exact(&mut [0; crate::h1::H2_PREFACE.len()]).await.unwrap();
    loop {
        let mut frame = [0; 9];
        if theirs.read_exact(&mut frame).await.is_err() {
            return false;
        }
        let [high, middle, low, kind, flags, ..] = frame;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        theirs.read_exact(&mut vec![0; length]).await.unwrap();
        match (kind, flags & 1) {
            (1, _) => theirs.write_all(&said).await.unwrap(),
            (6, 1) => return true,
            (7, _) => return false,
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_small_pieces_take_that_nobody_reads_is_bounded() {
    // Each counts as a quarter of a KiB.
    assert_eq!((stands(255 * 1_000).await, stands(255 * 1_000 - 1).await), (true, false));
}
