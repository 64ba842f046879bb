use super::*;

fn head(fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    fields.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
    head
}

fn lines(head: &RequestHead) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.fields.iter().map(|(_, name, value)| format!("{}: {}", text(name), text(value))).collect()
}

fn edge(client: &str) -> Edge {
    Edge { client: client.parse().unwrap(), https: true, random: 0 }
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
    attempt(&mut head, 1, None, &mut Vec::new());
    assert_eq!(lines(&head), ["x-envoy-attempt-count: 1"]);
    attempt(&mut head, 2, Some(1500), &mut Vec::new());
    assert_eq!(lines(&head), ["x-envoy-attempt-count: 2", "x-envoy-expected-rq-timeout-ms: 1500"]);
}
