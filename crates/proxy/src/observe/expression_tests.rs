//! Expressions over a record.

use std::net::SocketAddr;

use limen_wire::head::{Fields, Version};

use super::{Expression, Room};
use crate::address::Address;
use crate::observe::{Flags, Record};

fn of_request(expression: &str) -> Option<String> {
    let mut fields = Fields::default();
    fields.add(b"user-agent", b"curl/8");
    fields.add(b"x-many", b"a");
    fields.add(b"x-many", b"b");
    fields.add(b"x-forwarded-proto", b"https");
    let mut answered = Fields::default();
    answered.add(b"content-type", b"text/plain");
    let local: SocketAddr = "10.0.0.1:8080".parse().unwrap();
    let remote: SocketAddr = "192.0.2.7:40000".parse().unwrap();
    let record = Record {
        method: b"GET",
        path: b"/shop/cart?id=7",
        authority: b"shop.example.com",
        protocol: Some(Version::H2),
        request_fields: Some(&fields),
        response_fields: Some(&answered),
        code: 503,
        flags: Flags::UH,
        details: "no_healthy_upstream",
        duration_us: 1_500_000,
        bytes_sent: 19,
        sni: Some("shop.example.com"),
        cluster: "outbound|80||shop",
        ..Record::new(1_700_000_000_000, local, remote)
    };
    let expression =
        Expression::compile(expression, &Room::default()).unwrap_or_else(|why| panic!("{expression}: {why}"));
    let text = expression.text(&record);
    assert_eq!(expression.is_true(&record), text.as_deref() == Some("true"));
    text
}

#[test]
fn attributes_have_envoys_names() {
    for (expression, expected) in [
        ("response.code >= 400", Some("true")),
        ("response.code", Some("503")),
        ("response.flags == 2 && response.code_details == 'no_healthy_upstream'", Some("true")),
        ("request.path", Some("/shop/cart?id=7")),
        ("request.url_path + '|' + request.query", Some("/shop/cart|id=7")),
        ("request.method == 'GET' && request.host.endsWith('.example.com')", Some("true")),
        ("request.scheme + ' ' + request.protocol + ' ' + request.useragent", Some("https HTTP/2 curl/8")),
        ("request.headers['User-Agent'] == request.headers[':authority']", Some("false")),
        ("request.headers['x-many']", Some("a,b")),
        ("request.duration > duration('1s')", Some("true")),
        ("request.duration", Some("1.5s")),
        ("request.time", Some("2023-11-14T22:13:20+00:00")),
        ("response.headers['content-type'].matches('^text/')", Some("true")),
        ("response.size", Some("19")),
        ("connection.requested_server_name", Some("shop.example.com")),
        ("connection.mtls", Some("false")),
        ("source.address + ' ' + string(destination.port)", Some("192.0.2.7:40000 8080")),
        ("xds.cluster_name", Some("outbound|80||shop")),
        ("'x-many' in request.headers && !('x-none' in request.headers)", Some("true")),
        ("has(request.referer) || has(response.grpc_status)", Some("false")),
        ("has(response.code)", Some("true")),
        // What there is not is worth nothing, unless the rest decides.
        ("request.headers['x-none'] == ''", None),
        ("request.referer == ''", None),
        ("upstream.address == ''", None),
        ("response.grpc_status == 0", None),
        ("no.such.thing", None),
        ("request.referer == '' || true", Some("true")),
        ("1 / 0 == 1", None),
        ("request.headers", None),
    ] {
        assert_eq!(of_request(expression).as_deref(), expected, "{expression}");
    }
}

/// It is evaluated as any other is, for each request: it must not end in a panic that is caught, which costs a line each.
#[test]
fn what_stands_for_a_refused_filter_is_false() {
    let address: SocketAddr = "192.0.2.7:40000".parse().unwrap();
    let record = Record::new(0, address, address);
    assert_eq!(Expression::never().text(&record).as_deref(), Some("false"));
    assert!(!Expression::never().is_true(&record));
}

#[test]
fn of_an_endpoint_at_a_unix_socket_there_is_an_address_and_no_port() {
    let address: SocketAddr = "192.0.2.7:40000".parse().unwrap();
    let upstream_host = Some(Address::Unix("/run/a.sock"));
    let record = Record { upstream_host, ..Record::new(0, address, address) };
    let holds = |text: &str| Expression::compile(text, &Room::default()).unwrap().is_true(&record);
    assert!(holds("upstream.address == '/run/a.sock'") && !holds("upstream.port >= 0"));
}

#[test]
fn of_a_connection_there_is_no_request() {
    let address: SocketAddr = "192.0.2.7:40000".parse().unwrap();
    let record = Record { flags: Flags::NR, ..Record::new(0, address, address) };
    let holds = |text: &str| Expression::compile(text, &Room::default()).unwrap().is_true(&record);
    assert!(!holds("response.code >= 400") && !holds("response.code < 400"));
    assert!(!holds("request.method == ''") && holds("!has(request.method)"));
    assert!(holds("response.flags == 256"), "NR");
}

#[test]
fn what_could_take_long_or_is_no_cel_is_refused() {
    let refused = |text: &str| Expression::compile(text, &Room::default()).map(drop).unwrap_err();
    assert!(refused("response.code >=").contains("Syntax error"));
    assert!(refused("request.path.matches('(')").contains("no regular expression"));
    assert!(refused("request.path.matches(request.host)").contains("must be written out"));
    assert!(refused("[1].all(a, [1].all(b, [1].all(c, a + b == c)))").contains("nested deeper"));
    assert!(refused(&format!("{}1{}", "(".repeat(60), ")".repeat(60))).contains("Recursion limit"));
    assert!(refused(&format!("'{}' == ''", "a".repeat(5000))).contains("longer than"));
    Expression::compile("[1, 2].exists(a, [3].all(b, a < b))", &Room::default()).unwrap();
}

/// Steps are told beforehand: by what is written out, or as many fields as a request may have.
#[test]
fn what_a_request_costs_is_bounded() {
    let list = |n: usize| format!("[{}]", vec!["0"; n].join(","));
    let (many, few) = (list(600), list(20));
    for (expression, fits) in [
        (format!("{many}.all(a, a < 1)"), true),
        (format!("{few}.all(a, {few}.all(b, a < b))"), true),
        ("request.headers.exists(name, name.matches('^x-'))".to_owned(), true),
        (format!("{many}.all(a, {many}.all(b, a < b))"), false),
        (format!("[{many}].all(a, a.all(b, b < 1))"), true),
        (format!("({few} + {few}).map(a, a + 1).all(a, {many}.all(b, a < b))"), false),
        ("request.headers.all(a, request.headers.all(b, a.matches('x') || b == a))".to_owned(), false),
    ] {
        let refused = Expression::compile(&expression, &Room::default()).map(drop).err();
        let told = refused.as_ref().is_none_or(|why| why.contains("100000 steps"));
        assert!(refused.is_none() == fits && told, "{expression}: {refused:?}");
    }
}

/// Expressions of one author have room together, and large regular expressions take more of it.
#[test]
fn what_expressions_take_is_bounded_together() {
    let room = Room::default();
    let count = |room: &Room, expression: fn(usize) -> String| {
        let full =
            (0..100_000).find_map(|n| Expression::compile(&expression(n), room).err().map(|why| (n, why)));
        let (n, why) = full.expect("there is an end");
        assert!(why.contains("together take more than 16 MiB"), "{why}");
        n
    };
    let small = count(&room, |n| format!("request.path.matches('^/{n}')"));
    let large = count(&Room::default(), |n| format!("request.path.matches('^/{n}.{{300}}')"));
    assert!((50..200).contains(&small) && (5..small).contains(&large), "{small} {large}");
    let plain = count(&Room::default(), |n| format!("request.path == '{n}{}'", "x".repeat(4_000)));
    assert!((50..100).contains(&plain), "{plain}");
    // One that was full stays so for what is large, and others are not.
    assert!(Expression::compile("request.path.matches('a')", &room).is_err());
    Expression::compile("request.path.matches('a')", &Room::default()).unwrap();
}
