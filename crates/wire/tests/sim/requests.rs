//! Requests: what valid ones say, and every shape that two parsers could read in two ways.

use crate::check::{Request, check_request, request};
use limen_wire::h1::{HeadError, Limits, MAX_FIELDS, Preface, encode_request, is_h2_preface, parse_request};
use limen_wire::head::{BodyLength, MethodKind, RequestHead, Version};

/// Valid requests, and what is written for the upstream (empty: the authority is missing, so nothing can be).
pub(crate) const VALID: &[(&[u8], &str)] = &[
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (b"GET /a%20b?c=d&e HTTP/1.1\r\nhost:A.b:80\r\n\r\n", "GET /a%20b?c=d&e HTTP/1.1\r\nhost: A.b:80\r\n\r\n"),
    (b"GET //x HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n", "GET //x HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n"),
    (
        b"GET / HTTP/1.1\r\nX-B: \t 1 \t\r\nHost: a\r\nAccept:\r\nX-b:2\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx-b: 1\r\naccept: \r\nx-b: 2\r\n\r\n",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Type: x\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: x\r\ncontent-length: 5\r\n\r\n",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    (
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    ),
    (b"PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", "PATCH / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n",
    ),
    (b"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "DELETE / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (b"GET http://a:1/b?c HTTP/1.1\r\nHost: A:1\r\n\r\n", "GET /b?c HTTP/1.1\r\nhost: a:1\r\n\r\n"),
    (b"GET HTTPS://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (b"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
    (b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"),
    (b"M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (b"GET / HTTP/1.0\r\n\r\n", ""),
    (b"GET http://a/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop ,, x-gone\r\nX-Hop: 1\r\nx-HOP: 2\r\nX-Stay: 3\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx-stay: 3\r\n\r\n",
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\nTrailer: x\r\n\
          Expect: 100-Continue\r\nHTTP2-Settings: AA\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings, TE\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n",
        "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-key: x\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\n",
    ),
];

fn parse(raw: &[u8]) -> RequestHead {
    let mut head = RequestHead::default();
    assert_eq!(parse_request(raw, &mut 0, &Limits::default(), &mut head), Ok(Some(raw.len())));
    head
}

#[test]
fn valid_requests_cut_everywhere_and_written_again() {
    for (raw, written) in VALID {
        let shown = String::from_utf8_lossy(raw);
        let head = parse(raw);
        let mut out = Vec::new();
        encode_request(&head, &mut out);
        if !written.is_empty() {
            assert_eq!(String::from_utf8_lossy(&out), *written, "{shown}");
        }
        check_request(raw);
        check_request(&[raw, &b"GET /next HTTP/1.1\r\nhost: b\r\n\r\n"[..]].concat());
        check_request(&[raw, &b"\n\0\xff\r\n\r\n"[..]].concat());
    }
}

fn seen(lines: &str) -> Request {
    let raw = format!("GET / {lines}\r\n\r\n");
    request(raw.as_bytes()).unwrap().unwrap().1
}

#[test]
fn persistence() {
    let cases = [
        ("HTTP/1.1\r\nhost: a", true),
        ("HTTP/1.1\r\nhost: a\r\nconnection: close", false),
        ("HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\nconnection: x, CLOSE", false),
        ("HTTP/1.1\r\nhost: a\r\nproxy-connection: close", true),
        ("HTTP/1.0", false),
        ("HTTP/1.0\r\nconnection: Keep-Alive", true),
        ("HTTP/1.0\r\nconnection: keep-alive, close", false),
        ("HTTP/1.0\r\nkeep-alive: 5", false),
    ];
    for (lines, keep_alive) in cases {
        assert_eq!(seen(lines).keep_alive, keep_alive, "{lines}");
    }
}

#[test]
fn what_a_client_asks_of_the_connection() {
    let h11 = |lines: &str| seen(&format!("HTTP/1.1\r\nhost: a\r\n{lines}"));
    assert!(h11("expect: 100-continue").expect_continue);
    assert!(!seen("HTTP/1.0\r\nexpect: 100-continue").expect_continue);
    assert!(h11("te: gzip;q=0.5, Trailers").te_trailers);
    assert!(!h11("te: trailers;q=0.5").te_trailers && !h11("te: gzip").te_trailers);
    let upgrade = |lines: &str| h11(lines).upgrade;
    assert_eq!(upgrade("connection: upgrade\r\nupgrade: websocket").as_deref(), Some(&b"websocket"[..]));
    assert_eq!(upgrade("connection: upgrade\r\nupgrade: TLS/1.0, a").as_deref(), Some(&b"TLS/1.0, a"[..]));
    let never = [
        "upgrade: websocket",
        "connection: upgrade",
        "connection: upgrade\r\nupgrade:",
        "connection: upgrade\r\nupgrade: h2c",
        "connection: upgrade\r\nupgrade: websocket, H2C",
        "connection: upgrade\r\nupgrade: h2c/1",
        "connection: upgrade\r\nupgrade: websocket\r\nupgrade: websocket",
        "connection: upgrade\r\nupgrade: web socket",
        "connection: upgrade\r\nupgrade: a/b/c",
    ];
    for lines in never {
        assert_eq!(upgrade(lines), None, "{lines}");
    }
    assert_eq!(seen("HTTP/1.0\r\nconnection: upgrade\r\nupgrade: websocket").upgrade, None);
}

/// The rules of request parsing by number: request lines (9), field lines (4, 5, 6).
#[test]
fn malformed_lines_name_the_rule() {
    use HeadError::{Bad, Version};
    let cases: &[(&[u8], HeadError)] = &[
        // 9: the request line
        (b"\x16\x03\x01\x02\x00\x01", Bad("method")),
        (b" GET / HTTP/1.1\r\nhost: a\r\n\r\n", Bad("method")),
        (b"\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Bad("method")),
        (b"\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Bad("method")),
        (b"G\xc9T / HTTP/1.1\r\nhost: a\r\n\r\n", Bad("method")),
        (b"GE:T / HTTP/1.1\r\nhost: a\r\n\r\n", Bad("method")),
        (b"GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n", Bad("method")),
        (b"GET  / HTTP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET /  HTTP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET / HTTP/1.1 \r\nhost: a\r\n\r\n", Bad("line end")),
        (b"GET / a HTTP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET /\tHTTP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET /\x0b HTTP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET /\x7f HTTP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET /\r HTTP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET /\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET / http/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET / HTTP/1.1x\r\nhost: a\r\n\r\n", Bad("line end")),
        (b"GET / HTTP/11\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET / ICAP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET / HTTP/1.2\r\nhost: a\r\n\r\n", Version),
        (b"GET / HTTP/0.9\r\nhost: a\r\n\r\n", Version),
        (b"GET / HTTP/3.0\r\nhost: a\r\n\r\n", Version),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version),
        (b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", Bad("fragment in target")),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nhost: a\r\n\r\n", Bad("target is not ASCII")),
        (b"GET /\xe9 HTTP/1.1\r\nhost: a\r\n\r\n", Bad("request line")),
        (b"GET * HTTP/1.1\r\nhost: a\r\n\r\n", Bad("target * is for OPTIONS only")),
        (b"GET a HTTP/1.1\r\nhost: a\r\n\r\n", Bad("form of target")),
        (b"GET a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", Bad("form of target")),
        (b"GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", Bad("form of target")),
        (b"GET ?a HTTP/1.1\r\nhost: a\r\n\r\n", Bad("form of target")),
        (b"GET http:/// HTTP/1.1\r\nhost: a\r\n\r\n", Bad("authority in target")),
        (b"GET http://u@a/ HTTP/1.1\r\nhost: a\r\n\r\n", Bad("authority in target")),
        (b"GET http://u:p@a/ HTTP/1.1\r\nhost: u:p@a\r\n\r\n", Bad("host")),
        (b"GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", Bad("target and host differ")),
        (b"GET http://a:80/ HTTP/1.1\r\nhost: a\r\n\r\n", Bad("target and host differ")),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", Bad("no host field")),
        (b"CONNECT a HTTP/1.1\r\nhost: a\r\n\r\n", Bad("CONNECT target")),
        (b"CONNECT /a HTTP/1.1\r\nhost: a\r\n\r\n", Bad("CONNECT target")),
        (b"CONNECT http://a:1/ HTTP/1.1\r\nhost: a:1\r\n\r\n", Bad("CONNECT target")),
        (b"CONNECT b:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", Bad("target and host differ")),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\ncontent-length: 1\r\n\r\n", Bad("CONNECT with a body")),
        (
            b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\ntransfer-encoding: chunked\r\n\r\n",
            Bad("CONNECT with a body"),
        ),
        // 4: field lines
        (b"GET / HTTP/1.1\r\n host: a\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\n\thost: a\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost : a\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost\t: a\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nb\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: b\r\n c\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost:\r\n a\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost: a\r\n \r\n\r\n", Bad("field name")),
        // 5: bytes
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: b\rc\r\n\r\n", Bad("control byte in a field value")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: b\r\r\n\r\n", Bad("control byte in a field value")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: b\0c\r\n\r\n", Bad("control byte in a field value")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: b\x1fc\r\n\r\n", Bad("control byte in a field value")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: b\x7fc\r\n\r\n", Bad("control byte in a field value")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx\0y: b\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx\xe9y: b\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx(y): b\r\n\r\n", Bad("field name")),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\r\n\r\n", Bad("line end")),
        (b"GET / HTTP/1.1\rhost: a\r\n\r\n", Bad("line end")),
        // 6: line ends
        (b"GET / HTTP/1.1\nhost: a\r\n\r\n", Bad("line feed without carriage return")),
        (b"GET / HTTP/1.1\r\nhost: a\n\r\n", Bad("line feed without carriage return")),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\n", Bad("line feed without carriage return")),
        (b"GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n", Bad("line feed without carriage return")),
    ];
    for (raw, error) in cases {
        assert_eq!(request(raw), Err(*error), "{}", String::from_utf8_lossy(raw));
        check_request(raw);
    }
}

/// The same for what fields say: content-length (1), both framings (2), transfer-encoding (3), host (9), nominated
/// fields (12), expectations (15).
#[test]
fn ambiguous_fields_name_the_rule() {
    use HeadError::{Bad, Expectation};
    let (te, cl) = (Bad("transfer-encoding other than chunked"), Bad("content-length"));
    let (nominated, host) = (Bad("connection nominates a protected field"), Bad("host"));
    let cases: &[(&str, HeadError)] = &[
        ("content-length: +1", cl),
        ("content-length: -1", cl),
        ("content-length: 0x1", cl),
        ("content-length: 1_0", cl),
        ("content-length:", cl),
        ("content-length: 1 1", cl),
        ("content-length: 1, 1", cl),
        ("content-length: 1, 2", cl),
        ("content-length: 1;", cl),
        ("content-length: 1.0", cl),
        ("content-length: \u{661}", cl),
        ("content-length: 9223372036854775808", cl),
        ("content-length: 18446744073709551617", cl),
        ("content-length: 1\r\nContent-Length: 1", Bad("several content-length fields")),
        ("content-length: 1\r\ncontent-length: 2", Bad("several content-length fields")),
        ("content-length: 1\r\ntransfer-encoding: chunked", Bad("transfer-encoding with content-length")),
        ("transfer-encoding: chunked\r\ncontent-length: 0", Bad("transfer-encoding with content-length")),
        ("transfer-encoding: xchunked", te),
        ("transfer-encoding: ,chunked", te),
        ("transfer-encoding: chunked,", te),
        ("transfer-encoding: chunked, chunked", te),
        ("transfer-encoding: gzip, chunked", te),
        ("transfer-encoding: chunked, identity", te),
        ("transfer-encoding: identity", te),
        ("transfer-encoding: \"chunked\"", te),
        ("transfer-encoding: chunked;q=1", te),
        ("transfer-encoding: \u{a0}chunked", te),
        ("transfer-encoding: chunked\u{85}", te),
        ("transfer-encoding:", te),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", Bad("several transfer-encoding fields")),
        ("transfer-encoding: chunked\r\nTransfer-Encoding: identity", te),
        ("content-type: a/b\r\nContent-Type: a/b", Bad("several content-type fields")),
        ("host: a", Bad("several host fields")),
        ("host: b", Bad("several host fields")),
        ("connection: host", nominated),
        ("connection: close, Content-Length", nominated),
        ("connection: transfer-encoding", nominated),
        ("connection: Authorization", nominated),
        ("connection: cookie", nominated),
        ("connection: X-Forwarded-For", nominated),
        ("connection: x-envoy-internal", nominated),
        ("connection: x-request-id", nominated),
        ("connection: traceparent", nominated),
        ("connection: www-authenticate", nominated),
        ("connection: access-control-allow-origin", nominated),
        ("connection: a b", Bad("connection option")),
        ("connection: \"close\"", Bad("connection option")),
        ("connection: close;x", Bad("connection option")),
        ("expect: 200-ok", Expectation),
        ("expect: 100-continue, x", Expectation),
        ("expect:", Expectation),
    ];
    for (lines, error) in cases {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        assert_eq!(request(raw.as_bytes()), Err(*error), "{lines}");
        check_request(raw.as_bytes());
    }
    let h10 = "POST / HTTP/1.0\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(request(h10.as_bytes()), Err(Bad("transfer-encoding in HTTP/1.0")));
    assert_eq!(request(b"GET / HTTP/1.1\r\n\r\n"), Err(Bad("no host field")));
    for value in ["", "a b", "u@a", "a,b", "a/b", "a:b", "a:", "a:99999", "[::1", "a\\b", "a?b", "\u{e9}"] {
        let raw = format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n");
        assert_eq!(request(raw.as_bytes()), Err(host), "{value}");
    }
}

#[test]
fn heads_are_bounded_before_they_are_complete() {
    let limits = Limits { max_head_bytes: 100, max_fields: 4 };
    let parse = |raw: &[u8]| parse_request(raw, &mut 0, &limits, &mut RequestHead::default());
    let padded = |length: usize| {
        let start = "GET / HTTP/1.1\r\nhost: a\r\nx: ";
        format!("{start}{}\r\n\r\n", "y".repeat(length - start.len() - 4))
    };
    assert_eq!(parse(padded(100).as_bytes()), Ok(Some(100)));
    assert_eq!(parse(padded(101).as_bytes()), Err(HeadError::TooLarge));
    assert_eq!(parse(&padded(101).as_bytes()[..99]), Ok(None));
    assert_eq!(parse(&padded(101).as_bytes()[..100]), Err(HeadError::TooLarge));
    let after_empty_line = format!("\r\n{}", padded(100));
    assert_eq!(parse(after_empty_line.as_bytes()), Ok(Some(102)));

    let lines = |count: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x:\r\n".repeat(count - 1));
    assert_eq!(parse(lines(4).as_bytes()), Ok(Some(lines(4).len())));
    assert_eq!(parse(lines(5).as_bytes()), Err(HeadError::TooManyFields));
    let limits = Limits { max_head_bytes: 1 << 20, max_fields: usize::MAX };
    let parse = |raw: &[u8]| parse_request(raw, &mut 0, &limits, &mut RequestHead::default());
    assert!(matches!(parse(lines(MAX_FIELDS).as_bytes()), Ok(Some(_))));
    assert_eq!(parse(lines(MAX_FIELDS + 1).as_bytes()), Err(HeadError::TooManyFields));

    let long = "A".repeat(64);
    assert_eq!(parse(long.as_bytes()), Ok(None));
    assert_eq!(parse(format!("{long}A").as_bytes()), Err(HeadError::Bad("method")));
    let raw = format!("{long} / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(parse(raw.as_bytes()), Ok(Some(raw.len())));
}

/// A head that trickles in is looked at once: what was scanned is not read again.
#[test]
fn scanning_goes_on_where_it_stopped() {
    let mut scanned = 0;
    let mut head = RequestHead::default();
    let start = b"GET / HTTP/1.1\r\nhost: a\r\n";
    assert_eq!(parse_request(start, &mut scanned, &Limits::default(), &mut head), Ok(None));
    assert_eq!(scanned, start.len());
    let other = b"GET / HTTP/1.1\nhost: ab\r\n\r\n";
    assert_eq!(parse_request(other, &mut scanned, &Limits::default(), &mut head).map(|_| ()), Ok(()));
}

#[test]
fn method_kinds() {
    let kind = |method: &str| parse(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).method_kind;
    assert_eq!(kind("HEAD"), MethodKind::Head);
    assert_eq!(kind("GET"), MethodKind::Idempotent);
    assert_eq!(kind("get"), MethodKind::Other);
    assert_eq!(kind("POST"), MethodKind::Other);
    let connect = parse(b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n");
    assert_eq!((connect.method_kind, connect.body), (MethodKind::Connect, BodyLength::None));
    assert_eq!(parse(b"GET / HTTP/1.0\r\n\r\n").version, Version::H10);
}

#[test]
fn filters_cannot_smuggle_framing_in() {
    let mut head = parse(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n");
    head.fields.add(b"Transfer-Encoding", b"chunked");
    head.fields.add(b"host", b"b");
    head.fields.add(b"x", b"y");
    let mut out = Vec::new();
    encode_request(&head, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "POST / HTTP/1.1\r\nhost: a\r\nx: y\r\ncontent-length: 5\r\n\r\n"
    );
}

#[test]
fn the_http2_preface_is_told_apart_byte_by_byte() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for end in 0..preface.len() {
        assert_eq!(is_h2_preface(&preface[..end]), Preface::NeedMore, "{end}");
        let mut other = preface[..=end].to_vec();
        other[end] ^= 1;
        assert_eq!(is_h2_preface(&other), Preface::No, "{end}");
    }
    assert_eq!(is_h2_preface(preface), Preface::Yes);
    assert_eq!(is_h2_preface(&[&preface[..], b"\0\0\0\x04"].concat()), Preface::Yes);
    assert_eq!(is_h2_preface(b"PUT / HTTP/1.1"), Preface::No);
}
