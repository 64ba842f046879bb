use super::*;
use crate::filter::policy;

fn head(fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    fields.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
    head
}

fn lines(head: &RequestHead) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.fields.iter().map(|(_, name, value)| format!("{}: {}", text(name), text(value))).collect()
}

fn edge(peer: &str) -> Edge<'static> {
    Edge {
        policy: &policy::DEFAULT,
        port: 443,
        peer: peer.parse().unwrap(),
        https: true,
        keep_client_cert: false,
        random: 0,
    }
}

#[test]
fn the_client_is_appended() {
    type Lines<'a> = &'a [(&'a str, &'a str)];
    let table: [(Lines<'_>, &str, &str, &str); 6] = [
        (&[], "192.0.2.7", "192.0.2.7", "192.0.2.7"),
        (&[("x-forwarded-for", "10.0.0.1")], "192.0.2.7", "10.0.0.1,192.0.2.7", "192.0.2.7"),
        (
            &[("x-forwarded-for", "a, b"), ("X-Forwarded-For", "c")],
            "192.0.2.7",
            "a, b,c,192.0.2.7",
            "192.0.2.7",
        ),
        (&[("x-forwarded-for", "")], "192.0.2.7", "192.0.2.7", "192.0.2.7"),
        (&[("x-forwarded-for", "a")], "2001:db8::1", "a,2001:db8::1", "2001:db8::1"),
        (&[], "::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
    ];
    for (fields, client, forwarded_for, external) in table {
        let mut head = head(fields);
        apply(&mut head, &edge(client), &mut vec![9]);
        let expected = [
            format!("x-forwarded-for: {forwarded_for}"),
            "x-forwarded-proto: https".to_owned(),
            format!("x-envoy-external-address: {external}"),
            "x-request-id: 00000000-0000-4000-8000-000000000000".to_owned(),
        ];
        assert_eq!(lines(&head), expected);
    }
}

#[test]
fn nothing_a_client_says_of_itself_passes() {
    let mut forged: Vec<(&str, &str)> =
        NOT_FROM_OUTSIDE.iter().map(|name| (std::str::from_utf8(name).unwrap(), "1")).collect();
    forged.extend([
        ("X-Forwarded-Proto", "http"),
        ("x-request-id", "mine"),
        ("X-Forwarded-Client-Cert", "By=x"),
        ("X-Envoy-Internal", "true"),
    ]);
    forged.extend([("x-forwarded-host", "kept"), ("x-envoy-unknown", "kept"), ("a", "kept")]);
    let mut head = head(&forged);
    apply(&mut head, &edge("192.0.2.7"), &mut Vec::new());
    let expected = [
        "x-forwarded-host: kept",
        "x-envoy-unknown: kept",
        "a: kept",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-proto: https",
        "x-envoy-external-address: 192.0.2.7",
        "x-request-id: 00000000-0000-4000-8000-000000000000",
    ];
    assert_eq!(lines(&head), expected);
}

#[test]
fn attempts_are_counted_in_one_line() {
    let mut head = head(&[("x-envoy-attempt-count", "7")]);
    apply(&mut head, &edge("192.0.2.7"), &mut Vec::new());
    head.fields.retain(|_, name, _| name == b"x-envoy-attempt-count");
    let added = &policy::DEFAULT.added;
    attempt(&mut head, added, (1, None), &mut Vec::new());
    assert_eq!(lines(&head), ["x-envoy-attempt-count: 1"]);
    attempt(&mut head, added, (2, Some(1500)), &mut Vec::new());
    assert_eq!(lines(&head), ["x-envoy-attempt-count: 2", "x-envoy-expected-rq-timeout-ms: 1500"]);
}

#[test]
fn trusted_hops_say_who_the_client_is() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let table = [
        (1, "203.0.113.9", Some("203.0.113.9")),
        (1, "10.0.0.1, 203.0.113.9", Some("203.0.113.9")),
        (2, "10.0.0.1, 203.0.113.9", Some("10.0.0.1")),
        (2, "2001:db8::7,203.0.113.9", Some("2001:db8::7")),
        (2, "203.0.113.9", None),
        (1, "unknown", None),
        (1, "203.0.113.9,", None),
        (1, "", None),
        (0, "203.0.113.9", None),
    ];
    for (hops, received, client) in table {
        let policy = HttpPolicy { trusted_hops: hops, ..policy::DEFAULT.clone() };
        let mut head = head(&[("x-forwarded-for", received)]);
        let heard = apply(&mut head, &Edge { policy: &policy, ..edge("192.0.2.7") }, &mut Vec::new());
        assert_eq!(heard.client, client.map(ip), "{hops} of {received:?}");
        let external = head.fields.get(b"x-envoy-external-address").unwrap();
        assert_eq!(external, client.unwrap_or("192.0.2.7").as_bytes(), "{hops} of {received:?}");
        let all = String::from_utf8_lossy(head.fields.get(b"x-forwarded-for").unwrap()).into_owned();
        assert!(all.starts_with(received) && all.ends_with("192.0.2.7"), "{all}");
    }
}

#[test]
fn a_scheme_counts_if_it_is_said_by_a_trusted_hop() {
    type Lines<'a> = &'a [(&'a str, &'a str)];
    let table: [(u32, Lines<'_>, bool); 6] = [
        (0, &[("x-forwarded-proto", "https")], false),
        (1, &[("x-forwarded-proto", "https")], true),
        (1, &[("x-forwarded-proto", "HTTPS")], true),
        (1, &[("x-forwarded-proto", "gopher")], false),
        (1, &[("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")], false),
        (1, &[], false),
    ];
    for (hops, lines, https) in table {
        let policy = HttpPolicy { trusted_hops: hops, ..policy::DEFAULT.clone() };
        let mut head = head(lines);
        let edge = Edge { policy: &policy, https: false, ..edge("192.0.2.7") };
        assert_eq!(apply(&mut head, &edge, &mut Vec::new()).https, https, "{hops} {lines:?}");
        let said = head.fields.get(b"x-forwarded-proto").unwrap();
        assert_eq!(said, if https { &b"https"[..] } else { b"http" }, "{hops} {lines:?}");
    }
}

#[test]
fn what_is_added_can_be_chosen() {
    let mut policy = policy::DEFAULT.clone();
    policy.added.request_id = false;
    policy.added.attempt_count = false;
    policy.added.envoy = false;
    policy.added.forwarded_port = true;
    let mut head = head(&[("x-request-id", "mine"), ("x-forwarded-port", "1"), ("x-forwarded-host", "a")]);
    apply(&mut head, &Edge { policy: &policy, ..edge("192.0.2.7") }, &mut Vec::new());
    attempt(&mut head, &policy.added, (1, Some(5)), &mut Vec::new());
    head.set_authority(b"asked.example");
    let asked = head.authority_span();
    host_rewritten(&mut head, asked, &mut Vec::new());
    let expected = [
        "x-request-id: mine",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-proto: https",
        "x-envoy-external-address: 192.0.2.7",
        "x-forwarded-port: 443",
        "x-forwarded-host: a,asked.example",
    ];
    assert_eq!(lines(&head), expected);
}
