//! Our side against the client side of the codec, over a pipe in memory.

use super::*;
use crate::head::{BodyLength, Fields, MethodKind, RequestHead, ResponseHead, Version};
use bytes::Bytes;
use http::Request;
use std::future::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

/// The next request, or the end.
async fn next(
    server: &mut Server,
) -> Option<Result<(ServerStream, Result<RequestHead, HeadError>), H2Error>> {
    let mut head = RequestHead::default();
    let incoming = server.accept(&mut head).await?;
    Some(incoming.map(|incoming| (incoming.stream, incoming.verdict.map(|()| head))))
}

/// The next request, which is one.
async fn request(server: &mut Server) -> (ServerStream, RequestHead) {
    let (stream, head) = next(server).await.unwrap().unwrap();
    (stream, head.unwrap())
}

/// All data up to the end.
async fn data(stream: &mut ServerStream) -> Result<Option<Vec<u8>>, H2Error> {
    let mut piece = Vec::new();
    Ok(stream.data(&mut piece).await?.then_some(piece))
}

type Server = ServerConnection<DuplexStream>;
type Sender = ::h2::client::SendRequest<Bytes>;

async fn connect(limits: Limits) -> (Server, Sender, JoinHandle<Result<(), ::h2::Error>>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let client = tokio::spawn(async move {
        let (sender, connection) = ::h2::client::handshake(theirs).await.unwrap();
        let driver = tokio::spawn(connection);
        (sender.ready().await.unwrap(), driver)
    });
    let mut server = ServerConnection::handshake(ours, &limits).await.unwrap();
    // The client is ready once it has our settings; the connection is driven meanwhile.
    let (sender, driver) = tokio::select! {
        client = client => client.unwrap(),
        _ = next(&mut server) => panic!("nothing was sent yet"),
    };
    (server, sender, driver)
}

/// Drives the connection beside `work`.
async fn beside<T>(server: &mut Server, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done,
        accepted = next(server) => match accepted {
            Some(Err(error)) => panic!("connection: {error}"),
            Some(Ok(_)) => panic!("unexpected request"),
            None => work.await,
        },
    }
}

fn get(uri: &str) -> http::request::Builder {
    Request::get(uri)
}

/// Sends a head without a body and gives what arrives.
async fn receive(request: Request<()>) -> Result<RequestHead, HeadError> {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let _response = sender.send_request(request, true).unwrap();
    next(&mut server).await.unwrap().unwrap().1
}

fn reply(status: u16) -> ResponseHead {
    let mut head = ResponseHead { status, ..ResponseHead::default() };
    head.fields.add(b"x-answer", b"42");
    head
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let request = get("https://Example.com:8443/a/b?c=d")
        .header("accept", "*/*")
        .header("cookie", "a=1")
        .header("x-first", "1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("cookie", "c=3")
        .body(())
        .unwrap();
    let head = receive(request).await.unwrap();
    assert_eq!(head.method(), b"GET");
    assert_eq!(head.method_kind, MethodKind::Idempotent);
    assert_eq!(head.path_and_query(), b"/a/b?c=d");
    assert_eq!(head.authority(), b"Example.com:8443");
    assert_eq!((head.version, head.body), (Version::H2, BodyLength::None));
    assert!(head.te_trailers && head.keep_alive && !head.expect_continue);
    assert_eq!(head.fields.get_all(b"cookie").collect::<Vec<_>>(), [b"a=1; b=2; c=3"]);
    let names: Vec<_> = head.fields.iter().map(|(_, name, _)| name.to_vec()).collect();
    assert_eq!(names, [&b"accept"[..], b"cookie", b"x-first"]);
}

#[tokio::test]
async fn refused_heads_name_the_rule() {
    let base = || get("https://a/");
    let cases = [
        (base().header("host", "b"), HeadError::Bad("authority and host differ")),
        (base().header("host", "a").header("host", "a"), HeadError::Bad("several host fields")),
        (
            base().header("content-type", "a/b").header("content-type", "a/b"),
            HeadError::Bad("several content-type fields"),
        ),
        (base().header("x", " a"), HeadError::Bad("white space around a field value")),
        (base().header("x", "a\t"), HeadError::Bad("white space around a field value")),
        (base().header("expect", "200-ok"), HeadError::Expectation),
        (get("https://u:p@a/"), HeadError::Bad("authority")),
        (get("https://a,b/"), HeadError::Bad("authority")),
        (base().method("CONNECT").uri("a"), HeadError::Bad("CONNECT target")),
        (base().method(&*"M".repeat(65)), HeadError::Bad("method")),
    ];
    for (request, error) in cases {
        let request = request.body(()).unwrap();
        assert_eq!(receive(request).await.unwrap_err(), error);
    }
}

#[tokio::test]
async fn crumbs_that_hold_nothing_leave_no_white_space() {
    for (crumbs, line) in [(&["", "a=1", "", "b=2", ""][..], "a=1; b=2"), (&["", ""], ""), (&["a=1"], "a=1")]
    {
        let request =
            crumbs.iter().fold(get("https://a/"), |request, crumb| request.header("cookie", *crumb));
        let head = receive(request.body(()).unwrap()).await.unwrap();
        assert_eq!(head.fields.get_all(b"cookie").collect::<Vec<_>>(), [line.as_bytes()], "{crumbs:?}");
    }
}

#[tokio::test]
async fn fields_are_counted_crumb_by_crumb() {
    for (crumbs, ok) in [(127, true), (128, false)] {
        let mut request = get("https://a/").header("x", "y");
        for _ in 0..crumbs {
            request = request.header("cookie", "a");
        }
        let head = receive(request.body(()).unwrap()).await;
        assert_eq!(head.is_ok(), ok, "{crumbs}");
        assert_eq!(head.err(), (!ok).then_some(HeadError::TooManyFields));
    }
}

#[tokio::test]
async fn an_answer_goes_out_without_what_belongs_to_one_connection() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let (response, _) = sender.send_request(get("https://a/").body(()).unwrap(), true).unwrap();
    let (mut stream, _) = request(&mut server).await;
    let mut head = reply(404);
    head.fields.add(b"Connection", b"close");
    head.fields.add(b"upgrade", b"websocket");
    head.fields.add(b"content-length", b"99");
    head.fields.add(b"server", b"origin");
    head.fields.add(b"x-answer", b"43");
    head.body = BodyLength::Known(5);
    stream.send_head(&head, false).unwrap();
    assert!(matches!(stream.send_head(&head, false), Err(H2Error::Misuse(_))));
    assert_eq!(beside(&mut server, stream.capacity(5)).await.unwrap(), 5);
    stream.send_data(b"hello", true).unwrap();
    assert!(matches!(stream.send_data(b"", true), Err(H2Error::Closed)));
    let (parts, mut body) = beside(&mut server, response).await.unwrap().into_parts();
    assert_eq!(parts.status, 404);
    assert_eq!(parts.headers["content-length"], "5");
    assert_eq!(parts.headers["server"], "origin");
    assert!(!parts.headers.contains_key("connection") && !parts.headers.contains_key("upgrade"));
    let answers: Vec<_> = parts.headers.get_all("x-answer").iter().collect();
    assert_eq!(answers, ["42", "43"]);
    assert_eq!(beside(&mut server, body.data()).await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn heads_that_http2_cannot_carry_are_refused() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let (response, _) = sender.send_request(get("https://a/").body(()).unwrap(), true).unwrap();
    let (mut stream, _) = request(&mut server).await;
    let mut head = reply(200);
    head.fields.add(b"x", b"a\r\nb: c");
    assert!(matches!(stream.send_head(&head, true), Err(H2Error::Head("field value"))));
    let mut head = reply(200);
    head.fields.add(b"a b", b"c");
    assert!(matches!(stream.send_head(&head, true), Err(H2Error::Head("field name"))));
    assert!(matches!(stream.send_head(&reply(99), true), Err(H2Error::Head("status code"))));
    assert!(matches!(stream.send_informational(&reply(101)), Err(H2Error::Head(_))));
    stream.send_head(&reply(200), true).unwrap();
    assert_eq!(beside(&mut server, response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_large_head_takes_several_frames() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let (response, _) = sender.send_request(get("https://a/").body(()).unwrap(), true).unwrap();
    let (mut stream, _) = request(&mut server).await;
    let mut head = reply(200);
    head.fields.add(b"x-large", &[b'v'; 40_000]);
    stream.send_head(&head, true).unwrap();
    let response = beside(&mut server, response).await.unwrap();
    assert_eq!(response.headers()["x-large"].len(), 40_000);
}

#[tokio::test]
async fn window_comes_back_only_on_release() {
    let limits = Limits { initial_stream_window: 8, ..Limits::default() };
    let (mut server, mut sender, _driver) = connect(limits).await;
    let post = Request::post("https://a/").header("content-length", "12").body(()).unwrap();
    let (_response, mut up) = sender.send_request(post, false).unwrap();
    up.send_data(Bytes::from_static(b"123456789012"), true).unwrap();
    let (mut stream, head) = request(&mut server).await;
    assert_eq!(head.body, BodyLength::Known(12));
    let first = beside(&mut server, data(&mut stream)).await.unwrap().unwrap();
    assert_eq!(first, b"12345678");
    stream.release(1000);
    let second = beside(&mut server, data(&mut stream)).await.unwrap().unwrap();
    assert_eq!(second, b"9012");
    stream.release(4);
    assert!(beside(&mut server, data(&mut stream)).await.unwrap().is_none());
    stream.send_head(&reply(204), true).unwrap();
}

#[tokio::test]
async fn a_body_must_be_as_long_as_its_head_says() {
    for sent in [&b"123"[..], b"12345"] {
        let (mut server, mut sender, _driver) = connect(Limits::default()).await;
        // The client's codec would not send such a thing under its own eyes.
        let post = Request::post("https://a/").header("content-length", "4").body(()).unwrap();
        let (response, mut up) = sender.send_request(post, false).unwrap();
        let (mut stream, _) = request(&mut server).await;
        up.send_data(Bytes::copy_from_slice(sent), true).unwrap();
        let error = beside(&mut server, response).await.unwrap_err();
        assert_eq!(error.reason(), Some(::h2::Reason::PROTOCOL_ERROR));
        let mut piece = Vec::new();
        let end = loop {
            match beside(&mut server, stream.data(&mut piece)).await {
                Ok(true) => {}
                end => break end,
            }
        };
        assert!(end.is_err());
    }
}

#[tokio::test]
async fn capacity_follows_the_clients_window() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let (response, _) = sender.send_request(get("https://a/").body(()).unwrap(), true).unwrap();
    let (mut stream, _) = request(&mut server).await;
    stream.send_head(&reply(200), false).unwrap();
    let mut body = beside(&mut server, response).await.unwrap().into_body();
    let mut sent = 0;
    let mut received = 0;
    // The client's window is 65535: more than that goes through only with its consent.
    while sent < 200_000 {
        let room = beside(&mut server, stream.capacity(200_000 - sent)).await.unwrap();
        assert!(room > 0 && room <= 65_535);
        stream.send_data(&vec![b'x'; room], sent + room == 200_000).unwrap();
        sent += room;
        if sent >= 65_535 {
            while received < sent {
                let data = beside(&mut server, body.data()).await.unwrap().unwrap();
                received += data.len();
                body.flow_control().release_capacity(data.len()).unwrap();
            }
        }
    }
    assert_eq!(received, 200_000);
    assert!(beside(&mut server, body.data()).await.is_none());
}

#[tokio::test]
async fn without_room_nothing_is_sent() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let (response, _) = sender.send_request(get("https://a/").body(()).unwrap(), true).unwrap();
    let (mut stream, _) = request(&mut server).await;
    stream.send_head(&reply(200), false).unwrap();
    let _body = beside(&mut server, response).await.unwrap().into_body();
    let mut left = 65_535;
    while left > 0 {
        let room = beside(&mut server, stream.capacity(left)).await.unwrap();
        stream.send_data(&vec![b'x'; room], false).unwrap();
        left -= room;
    }
    let pending = poll_fn(|cx| Poll::Ready(stream.poll_capacity(1, cx).is_pending())).await;
    assert!(pending, "the window was spent");
    assert!(matches!(stream.send_data(b"x", false), Err(H2Error::Misuse(_))));
}

#[tokio::test]
async fn trailers_go_both_ways_without_forbidden_ones() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let post = Request::post("https://a/").body(()).unwrap();
    let (response, mut up) = sender.send_request(post, false).unwrap();
    up.send_data(Bytes::from_static(b"x"), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    for name in ["grpc-status", "authorization", "host", "content-type", "x-forwarded-for"] {
        trailers.insert(http::HeaderName::from_static(name), http::HeaderValue::from_static("0"));
    }
    up.send_trailers(trailers).unwrap();
    let (mut stream, head) = request(&mut server).await;
    assert_eq!(head.body, BodyLength::Marked);
    assert_eq!(beside(&mut server, data(&mut stream)).await.unwrap().unwrap(), b"x");
    stream.release(1);
    assert!(beside(&mut server, data(&mut stream)).await.unwrap().is_none());
    let fields = stream.take_trailers().unwrap();
    let names: Vec<_> = fields.iter().map(|(_, name, _)| name.to_vec()).collect();
    assert_eq!(names, [b"grpc-status"]);

    stream.send_head(&reply(200), false).unwrap();
    let mut fields = Fields::default();
    fields.add(b"grpc-message", b"fine");
    stream.send_trailers(&fields).unwrap();
    let mut body = beside(&mut server, response).await.unwrap().into_body();
    assert!(beside(&mut server, body.data()).await.is_none());
    let trailers = beside(&mut server, body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["grpc-message"], "fine");
}

#[tokio::test]
async fn a_client_that_gives_up_is_noticed() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    for answered in [false, true] {
        let post = Request::post("https://a/").body(()).unwrap();
        let (_response, mut up) = sender.send_request(post, false).unwrap();
        let (mut stream, _) = request(&mut server).await;
        if answered {
            stream.send_head(&reply(200), false).unwrap();
        }
        up.send_reset(::h2::Reason::CANCEL);
        let reason = beside(&mut server, poll_fn(|cx| stream.poll_reset(cx))).await;
        assert_eq!(reason, ResetReason::CANCEL);
        let error = beside(&mut server, data(&mut stream)).await.unwrap_err();
        assert!(error.is_remote_reset() && !error.is_io() && !error.is_connection(), "{error}");
        assert_eq!(error.reason(), Some(ResetReason::CANCEL));
        assert!(beside(&mut server, stream.capacity(1)).await.unwrap_err().is_remote_reset());
        assert!(stream.send_head(&reply(200), true).unwrap_err().is_remote_reset());
    }
}

#[tokio::test]
async fn our_reset_reaches_the_client() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let (response, _) = sender.send_request(get("https://a/").body(()).unwrap(), true).unwrap();
    let (mut stream, _) = request(&mut server).await;
    stream.reset(ResetReason::REFUSED_STREAM);
    let error = beside(&mut server, response).await.unwrap_err();
    assert_eq!(error.reason(), Some(::h2::Reason::REFUSED_STREAM));

    let (response, _) = sender.send_request(get("https://a/").body(()).unwrap(), true).unwrap();
    let (mut stream, _) = request(&mut server).await;
    stream.send_head(&reply(200), false).unwrap();
    drop(stream);
    let mut body = beside(&mut server, response).await.unwrap().into_body();
    let error = beside(&mut server, body.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(::h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_whole_answer_refuses_the_rest_of_its_request() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let post = Request::post("https://a/").body(()).unwrap();
    let (response, mut up) = sender.send_request(post, false).unwrap();
    let (mut stream, _) = request(&mut server).await;
    stream.send_head(&reply(200), true).unwrap();
    drop(stream);
    assert_eq!(beside(&mut server, response).await.unwrap().status(), 200);
    let reason = beside(&mut server, poll_fn(|cx| up.poll_reset(cx))).await.unwrap();
    assert_eq!(reason, ::h2::Reason::NO_ERROR);
}

#[tokio::test]
async fn an_informational_head_comes_before_the_answer() {
    let (mut server, mut sender, _driver) = connect(Limits::default()).await;
    let post = Request::post("https://a/").header("expect", "100-continue").body(()).unwrap();
    let (mut response, mut up) = sender.send_request(post, false).unwrap();
    let (mut stream, head) = request(&mut server).await;
    assert!(head.expect_continue);
    let interim = ResponseHead { status: 100, ..ResponseHead::default() };
    stream.send_informational(&interim).unwrap();
    let seen = beside(&mut server, poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!(seen.status(), 100);
    up.send_data(Bytes::new(), true).unwrap();
    stream.send_head(&reply(200), true).unwrap();
    assert_eq!(beside(&mut server, response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_graceful_shutdown_finishes_what_is_under_way() {
    let (mut server, mut sender, driver) = connect(Limits::default()).await;
    let (response, _) = sender.send_request(get("https://a/").body(()).unwrap(), true).unwrap();
    let (mut stream, _) = request(&mut server).await;
    assert!(server.has_streams());
    server.graceful_shutdown();
    stream.send_head(&reply(200), true).unwrap();
    drop(stream);
    let answered = tokio::spawn(response);
    let end = next(&mut server).await;
    // The client has nothing left to do here either, and may be gone before our last words.
    assert!(end.is_none_or(|end| end.is_err_and(|error| error.is_io())));
    assert_eq!(answered.await.unwrap().unwrap().status(), 200);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_abrupt_shutdown_says_why() {
    let (mut server, _sender, driver) = connect(Limits::default()).await;
    server.abrupt_shutdown(ResetReason::ENHANCE_YOUR_CALM);
    // Ends, in whichever way, once the announcement is written.
    while let Some(Ok(_)) = next(&mut server).await {}
    let error = driver.await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(::h2::Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn a_resting_connection_holds_nothing() {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    theirs.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    theirs.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    let mut server = ServerConnection::handshake(ours, &Limits::default()).await.unwrap();
    let mut head = RequestHead::default();
    let mut poll =
        async |server: &mut Server| poll_fn(|cx| Poll::Ready(server.poll_accept(&mut head, cx))).await;
    assert!(poll(&mut server).await.is_pending());
    assert!(!server.input.is_empty());
    server.rest();
    assert!(server.input.is_empty());
    theirs.write_all(&frame(6, 0, 0, &[7; 8])).await.unwrap();
    assert!(poll(&mut server).await.is_pending());
    assert!(server.input.is_empty(), "a ping is understood and forgotten");
    theirs
        .write_all(&frame(1, 5, 1, &block(&[(":method", "GET"), (":scheme", "http"), (":path", "/")])))
        .await
        .unwrap();
    assert!(poll(&mut server).await.is_ready());
    let mut seen = vec![0; 1024];
    let n = theirs.read(&mut seen).await.unwrap();
    assert!(seen[..n].windows(17).any(|bytes| bytes == frame(6, 1, 0, &[7; 8])), "the ping is answered");
}

#[tokio::test]
async fn a_wrong_preface_is_an_error() {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let error = ServerConnection::handshake(ours, &Limits::default()).await.unwrap_err();
    assert!(error.is_connection(), "{error}");
}

/// One frame: length, type, flags, stream, payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block of literals without indexing (RFC 7541 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// What becomes of a raw header block: the error that we give, or the end of stream or connection that the codec has
/// made already.
#[derive(Debug, PartialEq)]
enum Verdict {
    Taken,
    Refused(HeadError),
    Reset,
    Ended(ResetReason),
}

async fn judge(fields: &[(&str, &str)]) -> Verdict {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    theirs.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    theirs.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    theirs.write_all(&frame(1, 5, 1, &block(fields))).await.unwrap();
    let mut server = ServerConnection::handshake(ours, &Limits::default()).await.unwrap();
    let reset = async {
        loop {
            let mut header = [0; 9];
            theirs.read_exact(&mut header).await.unwrap();
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let mut payload = vec![0; length as usize];
            theirs.read_exact(&mut payload).await.unwrap();
            if header[3] == 3 {
                return Verdict::Reset;
            }
        }
    };
    tokio::select! {
        verdict = reset => verdict,
        accepted = next(&mut server) => match accepted.unwrap() {
            Ok((_, Ok(_))) => Verdict::Taken,
            Ok((_, Err(error))) => Verdict::Refused(error),
            Err(error) => Verdict::Ended(error.reason().unwrap()),
        },
    }
}

/// The shapes of RFC 9113 8.2 and 8.3 that no well-behaved client library would send.
#[tokio::test]
async fn raw_malformed_heads_are_never_taken() {
    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    assert_eq!(judge(&GET).await, Verdict::Taken);
    let extra: &[(&str, &str)] = &[
        ("X-Upper", "1"),
        ("x", "a\rb"),
        ("x", "a\nb"),
        ("x", "a\0b"),
        ("x", " a"),
        ("x", "a "),
        ("x y", "a"),
        ("", "a"),
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AA"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("content-length", "1"),
        ("content-length", "-1"),
        ("content-length", "0x0"),
        ("content-length", ""),
        (":method", "GET"),
        (":path", "/"),
        (":unknown", "1"),
        (":status", "200"),
        ("host", "b"),
        ("host", ""),
    ];
    for line in extra {
        let fields: Vec<_> = GET.into_iter().chain([*line]).collect();
        assert_ne!(judge(&fields).await, Verdict::Taken, "{line:?}");
    }
    let instead: &[(usize, &str)] = &[
        (0, "GE T"),
        (0, ""),
        (0, "GET\r"),
        (1, "ht tp"),
        (1, ""),
        (2, ""),
        (2, "a"),
        (2, "/ a"),
        (2, "/\t"),
        (2, "*"),
        (2, "http://a/"),
        (2, "/\u{e9}"),
        (3, ""),
        (3, "u@a"),
        (3, "a/b"),
        (3, "a b"),
    ];
    for (at, value) in instead {
        let mut fields = GET;
        fields[*at].1 = value;
        assert_ne!(judge(&fields).await, Verdict::Taken, "{:?}", fields[*at]);
    }
    for missing in GET {
        let fields: Vec<_> = GET.into_iter().filter(|field| *field != missing).collect();
        assert_ne!(judge(&fields).await, Verdict::Taken, "without {}", missing.0);
    }
    let late = [GET[0], ("x", "a"), GET[1], GET[2], GET[3]];
    assert_ne!(judge(&late).await, Verdict::Taken);
    let host_only = [GET[0], GET[1], GET[2], ("host", "a")];
    assert_eq!(judge(&host_only).await, Verdict::Taken);
}
