//! Golden lines, formats of users, and that no request can forge anything.

use limen_wire::head::{Fields, Version};
use proptest::prelude::*;

use super::*;
use crate::address::Address;
use crate::observe::flags::Flags;

fn line(config: &AccessLogConfig, record: &Record<'_>) -> String {
    let log = AccessLog::compile(config, "gateway-0").unwrap();
    let mut out = Vec::new();
    log.format(record, &mut TimeCache::default(), &mut out);
    String::from_utf8(out).unwrap()
}

fn text(format: &str, record: &Record<'_>) -> String {
    line(&AccessLogConfig::Text { format: format.to_owned(), omit_empty: false }, record)
}

fn member(key: &str, value: JsonTemplate) -> JsonField {
    JsonField { key: key.to_owned(), value }
}

fn format(text: &str) -> JsonTemplate {
    JsonTemplate::Text(text.to_owned())
}

fn fields(lines: &[(&str, &[u8])]) -> Fields {
    let mut fields = Fields::default();
    lines.iter().for_each(|(name, value)| fields.add(name.as_bytes(), value));
    fields
}

fn request_fields() -> Fields {
    fields(&[
        ("x-forwarded-for", b"10.244.0.1"),
        ("user-agent", b"curl/7.81.0"),
        ("x-request-id", b"3170f1cf-61ea-9166-b63c-35273a31e6f5"),
    ])
}

/// The request of the guide whose log lines users know.
fn known(fields: &Fields) -> Record<'_> {
    Record {
        method: b"GET",
        path: b"/v1",
        authority: b"yuya.example.com",
        protocol: Some(Version::H11),
        request_fields: Some(fields),
        code: 200,
        details: "via_upstream",
        bytes_sent: 33,
        request_total_bytes: 82,
        duration_us: 900,
        upstream_service_time_ms: Some(0),
        upstream_host: Some(Address::Inet("10.244.0.10:5678".parse().unwrap())),
        upstream_local: Some("10.244.0.8:52522".parse().unwrap()),
        cluster: "outbound|7777||dest-svc-v1.application.svc.cluster.local",
        attempts: 1,
        ..empty()
    }
}

fn empty() -> Record<'static> {
    let (local, remote) = ("10.244.0.8:8080".parse().unwrap(), "10.244.0.1:6131".parse().unwrap());
    Record::new(1_726_403_756_471, local, remote)
}

/// A path that has to be escaped.
const ODD_SOCKET: Address = Address::Unix("/run/\"ü\" .sock");

#[test]
fn endpoints_at_unix_sockets_print_as_their_path() {
    let (fields, formats) = (request_fields(), [AccessLogConfig::default(), AccessLogConfig::istio_json()]);
    let [text, json] = formats.map(|format| {
        let record = Record { upstream_host: Some(ODD_SOCKET), upstream_local: None, ..known(&fields) };
        line(&format, &record)
    });
    let expected = r#" "/run/\x22ü\x22 .sock" outbound|7777||dest-svc-v1.application.svc.cluster.local - "#;
    assert!(text.contains(expected), "{text}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["upstream_host"], &json["upstream_local_address"]),
        (&r#"/run/"ü" .sock"#.into(), &().into())
    );
    let format = "%UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT%\n";
    let config = AccessLogConfig::Text { format: format.to_owned(), omit_empty: false };
    let record = Record { upstream_host: Some(Address::Unix("@app")), ..known(&fields) };
    assert_eq!(line(&config, &record), "@app @app -\n");
}

#[test]
fn istios_text_line_byte_for_byte() {
    let expected = concat!(
        r#"[2024-09-15T12:35:56.471Z] "GET /v1 HTTP/1.1" 200 - via_upstream - "-" 0 33 0 0 "10.244.0.1" "#,
        r#""curl/7.81.0" "3170f1cf-61ea-9166-b63c-35273a31e6f5" "yuya.example.com" "10.244.0.10:5678" "#,
        "outbound|7777||dest-svc-v1.application.svc.cluster.local 10.244.0.8:52522 10.244.0.8:8080 ",
        "10.244.0.1:6131 - -\n",
    );
    assert_eq!(line(&AccessLogConfig::default(), &known(&request_fields())), expected);
}

#[test]
fn a_line_of_which_nothing_is_known() {
    let record = Record { flags: Flags::NR | Flags::DC, ..empty() };
    let expected = concat!(
        r#"[2024-09-15T12:35:56.471Z] "- - -" 0 NR,DC - - "-" 0 0 0 - "-" "-" "-" "-" "-" "#,
        "- - 10.244.0.8:8080 10.244.0.1:6131 - -\n",
    );
    assert_eq!(line(&AccessLogConfig::default(), &record), expected);
}

#[test]
fn istios_json_line_byte_for_byte() {
    let fields = request_fields();
    let record = Record { original_path: Some(b"/old"), duration_us: 12_345, ..known(&fields) };
    let expected = concat!(
        r#"{"start_time":"2024-09-15T12:35:56.471Z","route_name":null,"method":"GET","path":"/old","#,
        r#""protocol":"HTTP/1.1","response_code":200,"response_flags":"-","#,
        r#""response_code_details":"via_upstream","connection_termination_details":null,"bytes_received":0,"#,
        r#""bytes_sent":33,"duration":12,"upstream_service_time":"0","x_forwarded_for":"10.244.0.1","#,
        r#""user_agent":"curl/7.81.0","request_id":"3170f1cf-61ea-9166-b63c-35273a31e6f5","#,
        r#""authority":"yuya.example.com","upstream_host":"10.244.0.10:5678","#,
        r#""upstream_cluster":"outbound|7777||dest-svc-v1.application.svc.cluster.local","#,
        r#""upstream_local_address":"10.244.0.8:52522","downstream_local_address":"10.244.0.8:8080","#,
        r#""downstream_remote_address":"10.244.0.1:6131","requested_server_name":null,"#,
        r#""upstream_transport_failure_reason":null}"#,
        "\n",
    );
    assert_eq!(line(&AccessLogConfig::istio_json(), &record), expected);
}

#[test]
fn ingress_nginx_line_byte_for_byte() {
    let fields =
        fields(&[("user-agent", b"curl/7.81.0"), ("x-request-id", b"5b0de41158eb9e86c19b0fc0174e4450")]);
    let expected = concat!(
        r#"10.244.0.1 - - [15/Sep/2024:12:35:57 +0000] "GET /v1 HTTP/1.1" 200 33 "-" "curl/7.81.0" 82 0.901 "#,
        "[application-dest-svc-v1-7777] [] 10.244.0.10:5678 33 0.007 200 5b0de41158eb9e86c19b0fc0174e4450\n",
    );
    let record = Record { duration_us: 901_000, upstream_service_time_ms: Some(7), ..known(&fields) };
    assert_eq!(line(&AccessLogConfig::NginxUpstreamInfo, &record), expected);
    let expected = concat!(
        r#"10.244.0.1 - - [15/Sep/2024:12:35:56 +0000] "- - HTTP/2.0" 404 0 "-" "-" 0 0.000 "#,
        "[-] [] - - - - -\n",
    );
    let record = Record { code: 404, protocol: Some(Version::H2), ..empty() };
    assert_eq!(line(&AccessLogConfig::NginxUpstreamInfo, &record), expected);
}

#[test]
fn operators_of_users() {
    let mut request = request_fields();
    request.add(b"X-Tenant", "grün".as_bytes());
    request.add(b"x-empty", b"");
    let response = fields(&[("server", b"envoy")]);
    let record = Record {
        path: b"/a?b=c",
        response_fields: Some(&response),
        request_content_length: Some(12),
        details: "upstream reset{x y}",
        tls_version: Some("TLSv1.3"),
        downstream_direct_remote: "[2001:db8::1]:443".parse().unwrap(),
        request_duration_us: Some(1_999),
        response_duration_us: Some(4_000),
        duration_us: 9_500,
        grpc: true,
        grpc_status: Some(14),
        flags: Flags::UF | Flags::URX,
        route_origin: Some(("shop", "web")),
        cluster: "outbound|80|v1|web.shop.svc.cluster.local",
        ..known(&request)
    };
    let check =
        |format: &str, expected: &str| assert_eq!(text(format, &record), format!("{expected}\n"), "{format}");
    check("%REQ(x-tenant)% %REQ(X-NONE?X-TENANT)% %REQ(X-NONE?X-ALSO)% <%REQ(X-EMPTY)%>", "grün grün - <>");
    check(
        "%REQ(X-REQUEST-ID):8% %REQ(:METHOD):99% %REQ(HOST):4% %START_TIME:10%",
        "3170f1cf GET yuya 2024-09-15",
    );
    check("%REQ(X-TENANT):3%", r"gr\xC3");
    check("%CEL(request.method + '(' + string(response.code) + ')')% %CEL(request.method):2%", "GET(200) GE");
    check("%CEL(request.headers['x-none'])% %CEL(request.headers)%", "- -");
    check(
        "%METADATA(ROUTE:istio:config)%",
        "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/web",
    );
    check("%METADATA(CLUSTER:istio:subset)% %METADATA(CLUSTER:istio:default_original_port)%", "v1 80");
    check("%METADATA(CLUSTER:other:key)%", "-");
    check("%REQ_WITHOUT_QUERY(:PATH)% %REQ(CONTENT-LENGTH)% %REQ(:SCHEME)%", "/a 12 https");
    check("%RESP(Server)% %RESP(X?Server)% %RESP(:STATUS)% %RESP(X)%", "envoy envoy 200 -");
    check(
        "%RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%",
        "upstream_reset{x_y} UF,URX UpstreamConnectionFailure,UpstreamRetryLimitExceeded",
    );
    check("%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%|%EMIT_TIME(%3f)%", "2024/09/15T12:35:56+0000 1726403756|480");
    check(
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        "[2001:db8::1]:443 2001:db8::1",
    );
    check(
        "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT% %DOWNSTREAM_LOCAL_PORT%",
        "10.244.0.10 5678 8080",
    );
    check("%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION% %DURATION%", "1 4 5 9");
    check("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%", "Unavailable UNAVAILABLE 14");
    check(
        "%HOSTNAME% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %DOWNSTREAM_TLS_VERSION% 100%%",
        "gateway-0 1 TLSv1.3 100%",
    );
    check("%ENVIRONMENT(NO_SUCH_VARIABLE_HERE)% %TRAILER(X)%", "- -");
}

#[test]
fn a_format_gets_its_line_feed_once_and_an_empty_format_logs_nothing() {
    assert_eq!(text("a", &empty()), "a\n");
    assert_eq!(text("a\n", &empty()), "a\n");
    assert_eq!(text("", &empty()), "");
    assert!(AccessLog::compile(&AccessLogConfig::Off, "").unwrap().is_off());
    let config = AccessLogConfig::Text { format: "<%REQ(X)%%ROUTE_NAME%>".to_owned(), omit_empty: true };
    assert_eq!(line(&config, &empty()), "<>\n");
}

#[test]
fn json_of_users() {
    let fields = vec![
        member("none", format("%REQ(X)%")),
        member("code", format("%RESPONSE_CODE%")),
        member("both", format("%PROTOCOL%/%RESPONSE_CODE%\"")),
        member("cut", format("%RESPONSE_CODE:2%")),
        member("in half", format("%START_TIME(a\u{fc}%Y):2%")),
        member("whole", format("%START_TIME(a\u{fc}%Y):3%")),
        member(
            "in\"",
            JsonTemplate::Object(vec![member("a", format("%ROUTE_NAME%")), member("b", format("x"))]),
        ),
        member(
            "list",
            JsonTemplate::List(vec![format("%BYTES_SENT%"), JsonTemplate::Scalar("-1.5e3".to_owned())]),
        ),
        member("open", JsonTemplate::Object(vec![member("x", format("%REQ(X)%"))])),
    ];
    let record = Record { code: 404, ..empty() };
    let all = AccessLogConfig::Json { fields: fields.clone(), omit_empty: false };
    let expected = r#"{"none":null,"code":404,"both":"-/404\"","cut":"40","in half":"a","whole":"aü","in\"":{"a":null,"b":"x"},"list":[0,-1.5e3],"open":{"x":null}}"#;
    assert_eq!(line(&all, &record).trim_end(), expected);
    let some = AccessLogConfig::Json { fields, omit_empty: true };
    let expected = r#"{"code":404,"both":"/404\"","cut":"40","in half":"a","whole":"aü","in\"":{"b":"x"},"list":[0,-1.5e3],"open":{}}"#;
    assert_eq!(line(&some, &record).trim_end(), expected);
}

#[test]
fn wrong_formats_are_told_with_operator_and_place() {
    let check = |format: &str, operator: &str, position: usize, reason: &str| {
        let config = AccessLogConfig::Text { format: format.to_owned(), omit_empty: false };
        let error = AccessLog::compile(&config, "").unwrap_err();
        assert_eq!((error.operator.as_str(), error.position), (operator, position), "{format}");
        assert!(error.reason.contains(reason), "{format}: {}", error.reason);
    };
    check("a %FOO% b", "%FOO%", 2, "no such operator");
    check("%START_TIME% %REQ%", "%REQ%", 13, "field name in parentheses");
    check("%REQ(A B)%", "%REQ(A B)%", 0, "`A B` is no field name");
    check("%REQ(A?)%", "%REQ(A?)%", 0, "`` is no field name");
    check("ü100% sure", "% sure", 5, "%%");
    check("%REQ(X):x%", "%REQ(X):x%", 0, "%%");
    check("%REQ(X", "%REQ(X", 0, "%%");
    check("%START_TIME(%Q)%", "%START_TIME(%Q)%", 0, "`%Q` is no conversion");
    check("%START_TIME(\"%Y\")%", "%START_TIME(\"%Y\")%", 0, "no quotes");
    check("%PROTOCOL(x)%", "%PROTOCOL(x)%", 0, "takes no arguments");
    check("%GRPC_STATUS(x)%", "%GRPC_STATUS(x)%", 0, "SNAKE_STRING");
    let json = |value| AccessLogConfig::Json {
        fields: vec![member("a", JsonTemplate::Object(vec![member("b", value)]))],
        omit_empty: false,
    };
    let error = AccessLog::compile(&json(format("x %NO%")), "").unwrap_err();
    let expected = "access log format, key `a.b`, byte 2, `%NO%`: no such operator; names are upper case, as in Envoy's \
        list of access log operators";
    assert_eq!(error.to_string(), expected);
    for scalar in ["01", "1.", "", "-", "yes", "\"x\"", "1e"] {
        assert!(AccessLog::compile(&json(JsonTemplate::Scalar(scalar.to_owned())), "").is_err(), "{scalar}");
    }
}

#[test]
fn bodies_are_asked_for_by_formats_that_hold_them() {
    let log = |format: &str| {
        let config = AccessLogConfig::Text { format: format.to_owned(), omit_empty: false };
        AccessLog::compile(&config, "").unwrap()
    };
    assert!(log("%LOCAL_REPLY_BODY:9%").wants_bodies() && !log("%PROTOCOL%").wants_bodies());
    let record = Record { local_reply_body: b"no \"healthy\" upstream", ..empty() };
    assert_eq!(
        text("%LOCAL_REPLY_BODY:3%|%LOCAL_REPLY_BODY%", &record),
        "no |no \\x22healthy\\x22 upstream\n"
    );
    assert_eq!(text("%LOCAL_REPLY_BODY%", &empty()), "-\n");
}

#[test]
fn operators_without_a_value_here_are_told() {
    let config = AccessLogConfig::Text {
        format: "%DOWNSTREAM_PEER_CHAIN% %DYNAMIC_METADATA(a:b)% %PROTOCOL%".to_owned(),
        omit_empty: false,
    };
    let log = AccessLog::compile(&config, "").unwrap();
    assert_eq!(log.absent_operators(), ["DOWNSTREAM_PEER_CHAIN", "DYNAMIC_METADATA"]);
}

proptest! {
    /// Whatever a client sends, it is one line, its quotes are the format's own, and JSON stays the JSON it was.
    #[test]
    fn no_request_forges_a_line(hostile in proptest::collection::vec(any::<u8>(), 0..60)) {
        let fields = fields(&[("user-agent", &hostile), ("x-forwarded-for", &hostile), ("x-request-id", &hostile)]);
        let sni = String::from_utf8_lossy(&hostile).into_owned();
        let record = Record {
            method: &hostile, path: &hostile, authority: &hostile, sni: Some(&sni), details: &sni, cluster: &sni,
            ..known(&fields)
        };
        for config in [AccessLogConfig::default(), AccessLogConfig::NginxUpstreamInfo] {
            let quotes = line(&config, &known(&request_fields())).matches('"').count();
            let line = line(&config, &record);
            prop_assert_eq!(line.matches('"').count(), quotes);
            prop_assert_eq!(line.find(char::is_control), Some(line.len() - 1));
            prop_assert_eq!(line.lines().count(), 1);
        }
        let line = line(&AccessLogConfig::istio_json(), &record);
        prop_assert_eq!(line.find(char::is_control), Some(line.len() - 1));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(json.as_object().unwrap().len(), ISTIO_JSON.len());
        let expected = if hostile.is_empty() { serde_json::Value::Null } else { sni.as_str().into() };
        prop_assert_eq!(&json["authority"], &expected);
    }

    /// Operators with a short way print what the long way prints, whatever is known and whatever it holds.
    #[test]
    fn both_ways_print_the_same(
        texts in proptest::collection::vec("[ -~]{0,40}|(\\PC| |\"|\n){0,24}", 8),
        bytes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 3),
        numbers in proptest::collection::vec(any::<u64>().prop_flat_map(|most| 0..=most >> (most % 64)), 6),
        addresses in proptest::collection::vec(any::<std::net::SocketAddr>(), 4),
        known in any::<u16>(),
        omit_empty in any::<bool>(),
    ) {
        let is = |bit: u32| known >> bit & 1 == 1;
        let text = |at: usize| if is(at as u32) { texts[at].as_str() } else { "" };
        let names = ["x-forwarded-for", "user-agent", "x-request-id", "x-envoy-original-path", "x-envoy-peer"];
        let mut request = Fields::default();
        for (at, name) in names.iter().enumerate().filter(|(at, _)| is(*at as u32 + 3)) {
            request.add(name.as_bytes(), bytes.get(at).map_or(texts[at].as_bytes(), Vec::as_slice));
        }
        let response = fields(&[("x-envoy-upstream-service-time", texts[7].as_bytes())]);
        let record = Record {
            method: text(0).as_bytes(), path: text(1).as_bytes(), authority: text(2).as_bytes(), details: text(3),
            connection_termination_details: text(4), upstream_transport_failure: text(5), cluster: text(6),
            route_name: text(7), sni: is(8).then_some(&texts[0]), original_path: is(9).then_some(&bytes[0]),
            protocol: is(10).then_some(if is(11) { Version::H2 } else { Version::H11 }),
            request_fields: is(12).then_some(&request), response_fields: is(13).then_some(&response),
            upstream_service_time_ms: is(14).then_some(numbers[0]), code: numbers[1] as u16,
            flags: if is(15) { Flags::from_bits(numbers[2] as u32) } else { Flags::NONE },
            bytes_received: numbers[3], bytes_sent: numbers[4], duration_us: numbers[5],
            upstream_host: is(8).then_some(if is(7) { ODD_SOCKET } else { Address::Inet(addresses[2]) }),
             upstream_local: is(9).then_some(addresses[3]),
            ..Record::new(numbers[2], addresses[0], addresses[1])
        };
        let format = format!("%REQ(:PATH)%{ISTIO_TEXT}");
        let config = AccessLogConfig::Text { format: format.clone(), omit_empty };
        let short = AccessLog::compile(&config, "").unwrap();
        let is_direct = |piece: &Piece| matches!(piece.computed, Computed::Direct(_));
        prop_assert!(short.pieces.iter().all(is_direct));
        let mut long = Compiler::default();
        for part in format::parse(&format, "", &Room::default()).unwrap().parts {
            match part {
                Part::Literal(text) => long.literal(text.as_bytes()),
                Part::Operator { operator, limit } => {
                    long.computed(Computed::Operator { operator, limit, style: Style::Text });
                }
            }
        }
        let long = AccessLog { pieces: long.pieces, end: long.literal, ..short.clone() };
        let print = |log: &AccessLog| {
            let mut out = Vec::new();
            log.format(&record, &mut TimeCache::default(), &mut out);
            String::from_utf8(out).unwrap()
        };
        prop_assert_eq!(print(&short), print(&long));
    }

    /// Parsing takes any text, and what it takes it can print.
    #[test]
    fn no_format_panics(format in "([%(): ?A-Za-z0-9\"\\\\]|%REQ\\(|%START_TIME\\(%|\\)%|:3%|%%|ü){0,30}") {
        let config = AccessLogConfig::Text { format, omit_empty: false };
        if let Ok(log) = AccessLog::compile(&config, "") {
            log.format(&empty(), &mut TimeCache::default(), &mut Vec::new());
        }
    }
}
