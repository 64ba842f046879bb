use limen_ir::Address;

use super::*;

fn check_backend(text: &str, service: &str, namespace: Option<&str>, port: Option<u16>, address: &str) {
    let backend = parse::backend(text).unwrap();
    assert_eq!(backend.service, service, "{text}");
    assert_eq!(backend.namespace.as_deref(), namespace, "{text}");
    assert_eq!(backend.port, port, "{text}");
    assert_eq!(backend.address.to_string(), address, "{text}");
}

#[test]
fn the_defaults_are_those_of_the_product() {
    let Settings { meaning, serving, .. } = Settings::from_flags([]).unwrap();
    assert_eq!(meaning.namespace, "default");
    assert_eq!(meaning.translation(), limen_translate::Settings::default());
    assert_eq!(serving.drain, Duration::from_secs(30));
    assert_eq!(serving.admin, ServeAt::Address("127.0.0.1:15000".parse().unwrap()));
    assert_eq!(serving.readiness, ServeAt::Address("0.0.0.0:15021".parse().unwrap()));
    assert_eq!(serving.metrics, ServeAt::Address("0.0.0.0:15020".parse().unwrap()));
    assert_eq!(serving.sni_host_mismatch, SniHostMismatch::Misdirected);
    assert_eq!(serving.access_log, None);
}

#[test]
fn a_backend_names_service_namespace_port_and_labels() {
    check_backend("web=127.0.0.1:9000", "web", None, None, "127.0.0.1:9000");
    check_backend("web.prod=127.0.0.1:9000", "web", Some("prod"), None, "127.0.0.1:9000");
    check_backend("web.prod.svc.cluster.local:80=[::1]:9", "web", Some("prod"), Some(80), "[::1]:9");
    let subset = parse::backend("web:80/version=two=127.0.0.1:9000").unwrap();
    assert_eq!(subset.labels, BTreeMap::from([("version".to_owned(), "two".to_owned())]));
    assert_eq!(subset.port, Some(80));
    check_backend("web:80=unix:///run/a=b.sock", "web", None, Some(80), "unix:///run/a=b.sock");
    check_backend("web.prod/a=b=unix://@web", "web", Some("prod"), None, "unix://@web");
}

#[test]
fn a_name_in_a_backend_is_resolved() {
    let backend = parse::backend("web=localhost:9000").unwrap();
    assert!(matches!(backend.address, Address::Inet(address) if address.ip().is_loopback()));
}

#[test]
fn a_bad_backend_says_what_was_expected() {
    for bad in [
        "web",
        "=127.0.0.1:1",
        "web:0=127.0.0.1:1",
        "web=127.0.0.1",
        "web=unix:///",
        "web=unix:x",
        "web/version=127.0.0.1:1",
    ] {
        assert!(parse::backend(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_gateway_has_a_name_labels_and_perhaps_an_address() {
    let inner = parse::gateway("intranet:istio=intranet,zone=a:10.0.0.1").unwrap();
    assert_eq!(inner.name, "intranet");
    assert_eq!(inner.labels.len(), 2);
    assert_eq!(inner.bind, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(parse::gateway("v6:istio=v6:[::1]").unwrap().bind, Some("::1".parse().unwrap()));
    assert_eq!(parse::gateway("plain:istio=plain").unwrap().bind, None);
    assert!(parse::gateway("nothing").is_err());
    assert!(parse::gateway("a:b=c:not-an-address").is_err());
}

#[test]
fn ports_are_mapped() {
    assert_eq!(parse::port_map("80:8080").unwrap(), PortMap { declared: 80, bound: 8080 });
    assert_eq!(parse::port_map("443:0").unwrap(), PortMap { declared: 443, bound: 0 });
    for bad in ["80", "0:80", "80:http", "80:70000"] {
        assert!(parse::port_map(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_dns_server_is_an_address() {
    for (text, address) in [
        ("10.96.0.10", "10.96.0.10:53"),
        ("10.96.0.10:5353", "10.96.0.10:5353"),
        ("::1", "[::1]:53"),
        ("[::1]", "[::1]:53"),
        ("[::1]:5353", "[::1]:5353"),
    ] {
        assert_eq!(parse::dns_server(text), Ok(address.parse().unwrap()), "{text}");
    }
    assert!(parse::dns_server("dns.example.org").is_err());
}

#[test]
fn times_have_units() {
    assert_eq!(parse::duration("1m30s").unwrap(), Duration::from_secs(90));
    assert_eq!(parse::duration("500ms").unwrap(), Duration::from_millis(500));
    assert_eq!(parse::duration("0s").unwrap(), Duration::ZERO);
    for bad in ["", "30", "s", "1d", "99999999999999999999s", "18446744073709551615h"] {
        assert!(parse::duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in [("1024", 1024), ("3Ki", 3072), ("512MiB", 512 << 20), ("1GB", 1_000_000_000)] {
        assert_eq!(parse::size(text), Ok(Size::Bytes(bytes)), "{text}");
    }
    assert_eq!(parse::size("off"), Ok(Size::Off));
    for bad in ["", "0", "Mi", "-1", "1Mib", "1 Mi", "99999999999Gi", "OFF"] {
        assert!(parse::size(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_default_limits_are_those_of_the_data_plane() {
    let limits = Settings::from_flags(["--max-file-descriptors", "off"]).unwrap().proxy().limits;
    assert_eq!(format!("{limits:?}"), format!("{:?}", limen_proxy::Limits::default()));
}

#[test]
fn each_limit_reaches_the_data_plane() {
    let flags = "--header-timeout 1ms --idle-timeout 2ms --handshake-timeout 3ms --stall-timeout 4ms --half-close-timeout 19ms \
                 --max-connections 5 --max-udp-flows 9 --max-streams 6 --max-header-bytes 700 --max-headers 8 \
                 --request-timeout 10ms --stream-idle-timeout 11ms --max-body-bytes 12 --max-connection-requests 13 \
                 --stream-window 70000 --connection-window 80000 --write-buffer 90000 --http2-credit 140 \
                 --replay-buffer 15 --max-listener-connections 16 --max-client-connections 17 \
                 --max-pending-requests 18";
    let limits = Settings::from_flags(flags.split_whitespace()).unwrap().proxy().limits;
    let times = [
        limits.head_timeout_ms,
        limits.idle_timeout_ms,
        limits.handshake_timeout_ms,
        limits.stall_timeout_ms,
        limits.half_close_timeout_ms,
    ];
    assert_eq!(times, [1, 2, 3, 4, 19]);
    assert_eq!((limits.max_connections, limits.max_udp_flows, limits.max_streams), (5, 9, 6));
    assert_eq!((limits.max_head_bytes, limits.max_fields), (700, 8));
    assert_eq!((limits.request_timeout_ms, limits.stream_idle_timeout_ms), (Some(10), Some(11)));
    assert_eq!((limits.max_body_bytes, limits.max_connection_requests), (12, 13));
    assert_eq!((limits.stream_window, limits.connection_window), (70_000, 80_000));
    assert_eq!((limits.max_unwritten_bytes, limits.h2_credit, limits.replay_bytes), (90_000, 140, 15));
    let connections = (limits.max_listener_connections, limits.max_client_connections);
    assert_eq!((connections, limits.max_pending_requests), ((16, 17), 18));
}

#[test]
fn connections_are_fewer_than_descriptors_unless_it_is_said_otherwise() {
    let connections =
        |flags: &[&str]| Settings::from_flags(flags.iter().copied()).unwrap().proxy().limits.max_connections;
    assert_eq!(connections(&["--max-file-descriptors", "600"]), 284);
    assert_eq!(connections(&["--max-file-descriptors", "600", "--max-connections", "599"]), 599);
    assert_eq!(connections(&["--max-file-descriptors", "600", "--max-connections", "off"]), u32::MAX);
}

#[test]
fn a_limit_that_would_refuse_everything_is_refused() {
    for bad in [
        ["--idle-timeout", "0s"],
        ["--stall-timeout", "0ms"],
        ["--max-connections", "0"],
        ["--max-file-descriptors", "0"],
        ["--max-udp-flows", "0"],
        ["--max-listener-connections", "0"],
        ["--max-client-connections", "0"],
        ["--max-connection-requests", "0"],
        ["--max-body-bytes", "0"],
        ["--max-pending-requests", "0"],
        ["--max-series", "0"],
        ["--request-timeout", "0s"],
        ["--stream-idle-timeout", "0s"],
        ["--stream-window", "65534"],
        ["--connection-window", "2147483648"],
        ["--write-buffer", "1000"],
        ["--http2-credit", "0"],
        ["--max-streams", "0"],
        ["--max-header-bytes", "100"],
        ["--max-headers", "0"],
        ["--max-headers", "257"],
    ] {
        assert!(Settings::from_flags(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn lists_may_be_given_by_repeating_the_flag() {
    let settings = Settings::from_flags(["--map-port", "80:8080", "--map-port", "443:0"]).unwrap();
    assert_eq!(settings.meaning.map_port.len(), 2);
    assert_eq!(settings.meaning.translation().port_map, BTreeMap::from([(80, 8080), (443, 0)]));
}

#[test]
fn named_gateways_take_the_place_of_the_one_that_labels_describe() {
    let settings =
        Settings::from_flags(["--gateway", "in:istio=in:10.0.0.1", "--gateway", "out:istio=out"]).unwrap();
    let gateways = settings.meaning.translation().gateways;
    let named: Vec<(&str, String)> = gateways.iter().map(|g| (g.name.as_str(), g.bind.to_string())).collect();
    assert_eq!(named, [("in", "10.0.0.1".to_owned()), ("out", "0.0.0.0".to_owned())]);
}

#[test]
fn only_kinds_that_can_deny_can_be_ignored() {
    assert!(Settings::from_flags(["--ignore-policy", "AuthorizationPolicy"]).is_ok());
    assert!(Settings::from_flags(["--ignore-policy", "VirtualService"]).is_err());
}

#[test]
fn a_text_format_needs_the_text_log() {
    let settings =
        Settings::from_flags(["--access-log", "json", "--access-log-format", "%PROTOCOL%"]).unwrap();
    assert!(settings.check().is_err());
}
