use super::*;

fn lit(name: &str, value: &str) -> Header {
    header(name, vec![Piece::Literal(value.as_bytes().into())])
}

fn header(name: &str, value: Vec<Piece>) -> Header {
    Header { name: name.as_bytes().into(), value: value.into() }
}

fn ops(remove: &[&str], set: Vec<Header>, add: Vec<Header>) -> HeaderOps {
    let remove = remove.iter().map(|name| name.as_bytes().into()).collect();
    HeaderOps::new(HeaderLists { remove, set: set.into(), add: add.into() })
}

fn context() -> Context<'static> {
    Context {
        downstream_remote: "192.0.2.7:1234".parse().unwrap(),
        downstream_local: "[2001:db8::1]:443".parse().unwrap(),
        https: true,
        protocol: Version::H2,
        server_name: Some("a.example.com"),
        upstream_host: None,
        upstream_cluster: "outbound|80||b",
        response_code: None,
        response_flags: Flags::NONE,
        start_ms: 951_782_400_000,
        hostname: "gw-0",
    }
}

fn lines(fields: &Fields) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(_, name, value)| format!("{}: {}", text(name), text(value))).collect()
}

fn request(fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    head.set_method(b"GET");
    head.set_path(b"/p?q");
    head.set_authority(b"h:8080");
    fields.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
    head
}

#[test]
fn remove_then_set_then_add() {
    let ops = ops(
        &["gone", "both", "absent"],
        vec![lit("s", "new"), lit("both", "set"), lit("fresh", "f")],
        vec![lit("a", "2"), lit("s", "added")],
    );
    let mut head = request(&[("a", "1"), ("s", "old"), ("gone", "1"), ("s", "older"), ("both", "x")]);
    ops.apply_request(&mut head, &context(), &mut HeaderScratch::default());
    assert_eq!(lines(&head.fields), ["a: 1", "s: new", "both: set", "fresh: f", "a: 2", "s: added"]);
    assert!(!ops.is_empty());
    assert!(HeaderOps::default().is_empty());
}

#[test]
fn values_are_put_together_before_any_is_written() {
    let req = |name: &str| Piece::Request(RequestField::named(name));
    let swap = ops(&["r"], vec![header("x", vec![req("Y")]), header("y", vec![req("x"), req("r")])], vec![]);
    let mut head = request(&[("x", "1"), ("x", "11"), ("y", "2"), ("r", "removed")]);
    swap.apply_request(&mut head, &context(), &mut HeaderScratch::default());
    assert_eq!(lines(&head.fields), ["x: 2", "y: 1"]);
}

#[test]
fn an_empty_value_is_not_written() {
    let empty = || vec![Piece::Request(RequestField::named("absent"))];
    let ops = ops(&[], vec![header("x", empty()), lit("y", "")], vec![header("z", empty())]);
    let mut head = request(&[("x", "1")]);
    ops.apply_request(&mut head, &context(), &mut HeaderScratch::default());
    assert_eq!(lines(&head.fields), ["x: 1"]);
}

#[test]
fn setting_host_changes_the_authority_only() {
    for name in [":authority", "host"] {
        let ops = ops(&[], vec![lit(name, "other"), lit("x", "1")], vec![]);
        let mut head = request(&[]);
        ops.apply_request(&mut head, &context(), &mut HeaderScratch::default());
        assert_eq!(head.authority(), b"other");
        assert_eq!(lines(&head.fields), ["x: 1"]);
    }
}

#[test]
fn operators() {
    let later = Context {
        upstream_host: Some(Address::Inet("192.0.2.9:80".parse().unwrap())),
        response_code: Some(503),
        response_flags: Flags::UF,
        ..context()
    };
    let known = |operator| vec![Piece::Known(operator)];
    let req = |name: &str| vec![Piece::Request(RequestField::named(name))];
    let table = [
        (known(Operator::DownstreamRemoteAddress), "192.0.2.7:1234"),
        (known(Operator::DownstreamRemoteAddressWithoutPort), "192.0.2.7"),
        (known(Operator::DownstreamLocalAddress), "[2001:db8::1]:443"),
        (known(Operator::Protocol), "HTTP/2"),
        (known(Operator::RequestedServerName), "a.example.com"),
        (known(Operator::UpstreamHost), "192.0.2.9:80"),
        (known(Operator::UpstreamCluster), "outbound|80||b"),
        (known(Operator::ResponseCode), "503"),
        (known(Operator::ResponseFlags), "UF"),
        (known(Operator::StartTime), "2000-02-29T00:00:00.000Z"),
        (known(Operator::Hostname), "gw-0"),
        (req(":authority"), "h:8080"),
        (req("Host"), "h:8080"),
        (req(":path"), "/p?q"),
        (req(":scheme"), "https"),
        (req("User"), "me"),
        (vec![Piece::Response(b"etag"[..].into())], "tag"),
        ([vec![Piece::Literal(b"<"[..].into())], req("user"), req("no")].concat(), "<me"),
    ];
    let request = request(&[("user", "me"), ("user", "you")]);
    for (value, expected) in table {
        let mut head = ResponseHead::default();
        head.fields.add(b"etag", b"tag");
        let ops = ops(&[], vec![header("out", value)], vec![]);
        ops.apply_response(&mut head, &request, &later, &mut HeaderScratch::default());
        assert_eq!(lines(&head.fields), ["etag: tag".to_owned(), format!("out: {expected}")]);
    }
    let at_a_socket = Context { upstream_host: Some(Address::Unix("/run/a.sock")), ..context() };
    let mut head = ResponseHead::default();
    let ops = ops(&[], vec![header("out", known(Operator::UpstreamHost))], vec![]);
    ops.apply_response(&mut head, &request, &at_a_socket, &mut HeaderScratch::default());
    assert_eq!(lines(&head.fields), ["out: /run/a.sock"]);
}

#[test]
fn responses() {
    let ops = ops(&["server"], vec![lit("a", "1")], vec![lit("set-cookie", "c=2")]);
    let mut head = ResponseHead::default();
    [("server", "x"), ("set-cookie", "c=1"), ("a", "0")]
        .iter()
        .for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
    ops.apply_response(&mut head, &request(&[]), &context(), &mut HeaderScratch::default());
    assert_eq!(lines(&head.fields), ["set-cookie: c=1", "a: 1", "set-cookie: c=2"]);
}
