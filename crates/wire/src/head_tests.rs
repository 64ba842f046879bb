//! The heads' own rules: lower-case names, kept order, reused memory.

use super::*;

#[test]
fn names_are_classified_in_any_case() {
    let cases: &[(&[u8], Known)] = &[
        (b"host", Known::Host),
        (b"HOST", Known::Host),
        (b"Content-Length", Known::ContentLength),
        (b"transfer-ENCODING", Known::TransferEncoding),
        (b"connection", Known::Connection),
        (b"Keep-Alive", Known::KeepAlive),
        (b"proxy-connection", Known::ProxyConnection),
        (b"TE", Known::Te),
        (b"trailer", Known::Trailer),
        (b"upgrade", Known::Upgrade),
        (b"Expect", Known::Expect),
        (b"date", Known::Date),
        (b"Server", Known::Server),
        (b"User-Agent", Known::UserAgent),
        (b"HTTP2-Settings", Known::Http2Settings),
        (b"X-Forwarded-For", Known::XForwardedFor),
        (b"x-forwarded-proto", Known::XForwardedProto),
        (b"x-request-id", Known::XRequestId),
        (b"X-Envoy-Max-Retries", Known::XEnvoy),
        (b"x-envoy-a", Known::XEnvoy),
        (b"x-envoy-1234", Known::XEnvoy),
        (b"x-envoy", Known::Other),
        (b"", Known::Other),
        (b"hosts", Known::Other),
        (b"\x48ost\x00", Known::Other),
        (b"accept", Known::Other),
    ];
    for (name, known) in cases {
        assert_eq!(Known::of(name), *known, "{}", String::from_utf8_lossy(name));
    }
}

#[test]
fn lines_keep_their_order_and_lose_their_case() {
    let mut fields = Fields::default();
    fields.add(b"X-B", b"1");
    fields.add(b"x-a", b"2");
    fields.add(b"X-b", b"3");
    let seen: Vec<_> = fields.iter().map(|(_, n, v)| (n.to_vec(), v.to_vec())).collect();
    let line = |n: &str, v: &str| (n.as_bytes().to_vec(), v.as_bytes().to_vec());
    assert_eq!(seen, [line("x-b", "1"), line("x-a", "2"), line("x-b", "3")]);
    assert_eq!(fields.get_all(b"x-b").count(), 2);
    fields.set(b"x-b", b"4");
    assert_eq!(fields.get_all(b"x-b").collect::<Vec<_>>(), [b"4"]);
    fields.set_known(Known::Server, b"server", b"limen");
    fields.set_known(Known::Server, b"server", b"other");
    assert_eq!(fields.get_known(Known::Server), Some(&b"other"[..]));
    assert_eq!(fields.get_all(b"server").count(), 1);
    fields.retain(|known, name, value| known == Known::Server && name == b"server" && value == b"other");
    assert_eq!(fields.len(), 1);
    fields.remove_known(Known::Server);
    assert!(fields.is_empty());
}

#[test]
fn parts_of_a_loaded_head_are_not_copied_and_others_are() {
    let raw = b"GET / X-Name: value";
    let mut fields = Fields::default();
    fields.add(b"old", b"gone");
    fields.load(raw);
    let name = fields.part(raw, &raw[6..12]);
    let value = fields.part(raw, &raw[14..]);
    assert_eq!(fields.stored(), raw.len());
    fields.push(Known::Other, name, value);
    let foreign = fields.part(raw, b"elsewhere");
    assert_eq!(fields.text(foreign), b"elsewhere");
    assert_eq!(fields.get(b"x-name"), Some(&b"value"[..]));
    assert_eq!(fields.len(), 1);
}

#[test]
fn a_cleared_head_keeps_its_memory_and_nothing_else() {
    let mut head = RequestHead::default();
    head.set_method(b"CONNECT");
    head.set_authority(b"example.com:443");
    head.set_path(b"/a?b?c");
    head.fields.add(b"a", &[b'x'; 500]);
    assert_eq!(head.method_kind, MethodKind::Connect);
    assert_eq!((head.path(), head.query()), (&b"/a"[..], Some(&b"b?c"[..])));
    let capacity = head.fields.capacity();
    head.clear();
    assert_eq!(head.fields.capacity(), capacity);
    assert!(head.fields.is_empty() && head.method().is_empty() && head.authority().is_empty());
    assert_eq!((head.method_kind, head.query()), (MethodKind::Other, None));
}
