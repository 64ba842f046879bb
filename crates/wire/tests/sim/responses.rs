//! Responses: framing by status, request and fields; what must be refused; what is written for which client.

use crate::check::{check_response, response};
use limen_wire::h1::{
    HeadError, Limits, chunked_response, encode_response, parse_request, parse_response, upgrade_accepted,
};
use limen_wire::head::{BodyLength, MethodKind, RequestHead, ResponseHead, Version};

const KINDS: [MethodKind; 4] =
    [MethodKind::Head, MethodKind::Idempotent, MethodKind::Connect, MethodKind::Other];

/// Valid responses to a GET: body and whether the connection may be used again.
pub(crate) const VALID: &[(&[u8], BodyLength, bool)] = &[
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", BodyLength::Known(5), true),
    (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\n", BodyLength::Known(5), true),
    (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", BodyLength::None, true),
    (b"HTTP/1.1 200 Tr\xe8s bien\r\nTransfer-Encoding: Chunked\r\n\r\n", BodyLength::Marked, true),
    (b"HTTP/1.1 200 OK\r\n\r\n", BodyLength::UntilClose, false),
    (b"HTTP/1.1 500 No\r\nX: \xe9\xff\t~\r\n\r\n", BodyLength::UntilClose, false),
    (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n", BodyLength::Known(1), false),
    (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", BodyLength::Known(1), false),
    (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\nConnection: Keep-Alive\r\n\r\n", BodyLength::Known(1), true),
    (b"HTTP/1.1 204 No Content\r\n\r\n", BodyLength::None, true),
    (b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", BodyLength::None, true),
    (b"HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\n", BodyLength::None, false),
    (b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", BodyLength::None, false),
    (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\netag: x\r\n\r\n", BodyLength::None, true),
    (b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", BodyLength::None, true),
    (b"HTTP/1.1 100 Continue\r\n\r\n", BodyLength::None, true),
    (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", BodyLength::None, true),
    (
        b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\nx: y\r\n\r\n",
        BodyLength::None,
        false,
    ),
    (b"HTTP/1.1 101 Go\r\nconnection: upgrade, x\r\nupgrade: a\r\nx: y\r\n\r\n", BodyLength::None, false),
    (b"HTTP/1.1 999 What\r\ncontent-length: 2\r\n\r\n", BodyLength::Known(2), true),
];

#[test]
fn valid_responses_cut_everywhere() {
    for (raw, body, keep_alive) in VALID {
        let shown = String::from_utf8_lossy(raw);
        let (length, seen) = response(raw, MethodKind::Idempotent).unwrap().unwrap();
        assert_eq!((length, seen.body, seen.keep_alive), (raw.len(), *body, *keep_alive), "{shown}");
        for kind in KINDS {
            check_response(raw, kind);
            check_response(&[raw, &b"HTTP/1.1 200 OK\r\n\r\n"[..]].concat(), kind);
        }
    }
}

#[test]
fn the_request_decides_about_the_body_too() {
    let raw = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let (_, head) = response(raw, MethodKind::Head).unwrap().unwrap();
    assert_eq!((head.body, head.named_length, head.keep_alive), (BodyLength::None, Some(5), true));
    let (_, tunnel) = response(raw, MethodKind::Connect).unwrap().unwrap();
    assert_eq!((tunnel.body, tunnel.keep_alive), (BodyLength::None, false));
    let refused = b"HTTP/1.1 407 No\r\ncontent-length: 5\r\n\r\n";
    let (_, refused) = response(refused, MethodKind::Connect).unwrap().unwrap();
    assert_eq!((refused.body, refused.keep_alive), (BodyLength::Known(5), true));
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (_, head) = response(chunked, MethodKind::Head).unwrap().unwrap();
    assert_eq!((head.body, head.named_length), (BodyLength::None, None));
}

/// Rule 13, and rules 1 to 6 as they hold for responses.
#[test]
fn malformed_responses_name_the_rule() {
    use HeadError::{Bad, Version};
    let cases: &[(&[u8], HeadError)] = &[
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", Bad("status line")),
        (b"hello", Bad("status line")),
        (b"\x15\x03\x01\x00\x02", Bad("status line")),
        (b"http/1.1 200 OK\r\n\r\n", Bad("status line")),
        (b"HTTP/2.0 200 OK\r\n\r\n", Version),
        (b"HTTP/1.2 200 OK\r\n\r\n", Version),
        (b"HTTP/1.1 20 OK\r\n\r\n", Bad("status line")),
        (b"HTTP/1.1 2000 OK\r\n\r\n", Bad("status line")),
        (b"HTTP/1.1  200 OK\r\n\r\n", Bad("status line")),
        (b"HTTP/1.1 +20 OK\r\n\r\n", Bad("status line")),
        (b"HTTP/1.1 099 OK\r\n\r\n", Bad("status code")),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", Bad("status line")),
        (b"HTTP/1.1 200 O\rK\r\n\r\n", Bad("status line")),
        (b"HTTP/1.1 200 OK\n\r\n", Bad("line feed without carriage return")),
        (b"HTTP/1.1 200 OK\r\na: b\n\r\n", Bad("line feed without carriage return")),
        (b"HTTP/1.1 200 OK\r\n a: b\r\n\r\n", Bad("field name")),
        (b"HTTP/1.1 200 OK\r\na : b\r\n\r\n", Bad("field name")),
        (b"HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", Bad("field name")),
        (b"HTTP/1.1 200 OK\r\na\r\n\r\n", Bad("field name")),
        (b"HTTP/1.1 200 OK\r\n: b\r\n\r\n", Bad("field name")),
        (b"HTTP/1.1 200 OK\r\na: \0\r\n\r\n", Bad("control byte in a field value")),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            Bad("several content-length fields"),
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\n", Bad("content-length")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", Bad("content-length")),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            Bad("transfer-encoding with content-length"),
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            Bad("transfer-encoding other than chunked"),
        ),
        (b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Bad("transfer-encoding in HTTP/1.0")),
        (b"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\n", Bad("framing field in a 1xx response")),
        (b"HTTP/1.1 103 A\r\ntransfer-encoding: chunked\r\n\r\n", Bad("framing field in a 1xx response")),
        (b"HTTP/1.1 101 Go\r\n\r\n", Bad("101 without upgrade")),
        (b"HTTP/1.1 101 Go\r\nupgrade: websocket\r\n\r\n", Bad("101 without upgrade")),
        (b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\n\r\n", Bad("101 without upgrade")),
        (
            b"HTTP/1.1 200 OK\r\nconnection: set-cookie\r\nset-cookie: a\r\n\r\n",
            Bad("connection nominates a protected field"),
        ),
    ];
    for (raw, error) in cases {
        let shown = String::from_utf8_lossy(raw);
        assert_eq!(response(raw, MethodKind::Idempotent), Err(*error), "{shown}");
        KINDS.iter().for_each(|kind| check_response(raw, *kind));
    }
}

fn parse(raw: &[u8], kind: MethodKind) -> ResponseHead {
    let mut head = ResponseHead::default();
    assert_eq!(parse_response(raw, &mut 0, &Limits::default(), kind, &mut head), Ok(Some(raw.len())));
    head
}

#[test]
fn fields_of_the_connection_are_dropped() {
    let raw = b"HTTP/1.1 200 OK\r\nServer: x\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Connection: keep-alive\r\nUpgrade: h2\r\nTrailer: a\r\nX-Hop: 1\r\nDate: now\r\nContent-Length: 1\r\n\r\n";
    let head = parse(raw, MethodKind::Other);
    let names: Vec<_> = head.fields.iter().map(|(_, name, _)| name.to_vec()).collect();
    assert_eq!(names, [&b"server"[..], b"date"]);
}

#[test]
fn an_upgrade_is_accepted_only_to_what_was_asked() {
    let ask = |upgrade: &str| {
        let raw = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\n\r\n");
        let mut head = RequestHead::default();
        parse_request(raw.as_bytes(), &mut 0, &Limits::default(), &mut head).unwrap();
        head
    };
    let answer = |upgrade: &str| {
        let raw = format!("HTTP/1.1 101 Go\r\nconnection: Upgrade\r\nupgrade: {upgrade}\r\n\r\n");
        parse(raw.as_bytes(), MethodKind::Idempotent)
    };
    assert!(upgrade_accepted(&ask("websocket"), &answer("WebSocket")));
    assert!(upgrade_accepted(&ask("a/1, websocket"), &answer("websocket")));
    assert!(!upgrade_accepted(&ask("websocket"), &answer("h2c")));
    assert!(!upgrade_accepted(&ask("websocket"), &answer("websocket, h2c")));
    assert!(!upgrade_accepted(&ask("websocket"), &answer("")));
    assert!(!upgrade_accepted(&RequestHead::default(), &answer("websocket")));
    let plain = parse(b"HTTP/1.1 200 OK\r\nupgrade: websocket\r\n\r\n", MethodKind::Idempotent);
    assert!(!upgrade_accepted(&ask("websocket"), &plain));
}

fn encode(head: &ResponseHead, client: Version, kind: MethodKind, keep_alive: bool) -> String {
    let mut out = Vec::new();
    encode_response(head, client, kind, keep_alive, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn what_is_written_for_whom() {
    use BodyLength::{Known, Marked, None as Nothing, UntilClose};
    use Version::{H10, H11};
    let (get, head_kind, connect) = (MethodKind::Idempotent, MethodKind::Head, MethodKind::Connect);
    let close = "connection: close\r\n";
    let keep = "connection: keep-alive\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let cases: &[(u16, BodyLength, Version, MethodKind, bool, &str)] = &[
        (200, Known(5), H11, get, true, "content-length: 5\r\n"),
        (200, Known(5), H11, get, false, &format!("content-length: 5\r\n{close}")),
        (200, Known(5), H10, get, true, &format!("content-length: 5\r\n{keep}")),
        (200, Known(5), H10, get, false, &format!("content-length: 5\r\n{close}")),
        (200, Nothing, H11, get, true, "content-length: 0\r\n"),
        (200, Marked, H11, get, true, chunked),
        (200, Marked, H11, get, false, &format!("{chunked}{close}")),
        (200, UntilClose, H11, get, true, chunked),
        (200, Marked, H10, get, true, close),
        (200, UntilClose, H10, get, true, close),
        (204, Nothing, H11, get, true, ""),
        (204, Nothing, H10, get, true, keep),
        (304, Nothing, H11, get, true, ""),
        (100, Nothing, H11, get, false, ""),
        (103, Nothing, H11, get, true, ""),
        (200, Nothing, H11, head_kind, true, ""),
        (200, Nothing, H11, connect, true, ""),
        (407, Nothing, H11, connect, true, "content-length: 0\r\n"),
        (418, Nothing, H11, get, true, "content-length: 0\r\n"),
    ];
    for (status, body, client, kind, keep_alive, lines) in cases {
        let head = ResponseHead { status: *status, body: *body, ..ResponseHead::default() };
        let text = encode(&head, *client, *kind, *keep_alive);
        let (line, rest) = text.split_once("\r\n").unwrap();
        assert_eq!(rest, format!("{lines}\r\n"), "{status} {body:?} {client:?} {kind:?} {keep_alive}");
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")));
        assert_eq!(chunked_response(&head, *client, *kind), lines.contains(chunked));
    }
    for kind in [head_kind, get] {
        let head = ResponseHead { status: 304, named_length: Some(9), ..ResponseHead::default() };
        assert_eq!(encode(&head, H11, kind, true), "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n");
    }
}

#[test]
fn status_lines_have_the_standard_reason_and_one_framing_field_is_written() {
    let mut head = ResponseHead { status: 503, body: BodyLength::Known(3), ..ResponseHead::default() };
    head.fields.add(b"content-length", b"99");
    head.fields.add(b"transfer-encoding", b"chunked");
    head.fields.add(b"connection", b"x-a");
    head.fields.add(b"X-A", b"b");
    let text = encode(&head, Version::H11, MethodKind::Other, true);
    assert_eq!(text, "HTTP/1.1 503 Service Unavailable\r\nx-a: b\r\ncontent-length: 3\r\n\r\n");
    let head = ResponseHead { status: 599, ..ResponseHead::default() };
    assert!(encode(&head, Version::H11, MethodKind::Other, true).starts_with("HTTP/1.1 599 \r\n"));
    let upgrade = parse(
        b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n",
        MethodKind::Idempotent,
    );
    assert_eq!(
        encode(&upgrade, Version::H11, MethodKind::Idempotent, false),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\nconnection: upgrade\r\n\r\n"
    );
}
