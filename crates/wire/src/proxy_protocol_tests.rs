use super::*;

fn check_v1(text: &str, expected: Option<(&str, &str)>) {
    let parsed = parse(text.as_bytes());
    let expected = expected.map_or(Header::Local, |(from, to)| Header::Addresses {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    });
    assert_eq!(parsed, Parsed::Header(expected, text.find('\n').unwrap() + 1), "{text:?}");
    needs_more(text.as_bytes(), text.find('\n').unwrap() + 1);
}

/// No part of a header of `length` bytes is taken for the whole, or asks for more than the rest of it.
fn needs_more(bytes: &[u8], length: usize) {
    for end in 0..length {
        let parsed = parse(&bytes[..end]);
        assert!(matches!(parsed, Parsed::NeedMore(1..)), "{end}: {parsed:?}");
        assert!(!matches!(parsed, Parsed::NeedMore(more) if end + more > length), "{end}: {parsed:?}");
    }
}

#[test]
fn a_line_of_version_1_is_read_whole_or_not_at_all() {
    check_v1(
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET / ",
        Some(("192.0.2.1:56324", "198.51.100.2:443")),
    );
    check_v1("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", Some(("[2001:db8::1]:0", "[::1]:65535")));
    check_v1("PROXY UNKNOWN\r\n", None);
    check_v1("PROXY UNKNOWN ffff::1 whatever\r\n", None);
}

#[test]
fn what_is_not_to_the_letter_is_refused() {
    for text in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.004 5.6.7.8 1 2\r\n",
        "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\nand so on",
    ] {
        assert_eq!(parse(text.as_bytes()), Parsed::Malformed, "{text:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(100));
    assert_eq!(parse(endless.as_bytes()), Parsed::Malformed);
}

#[test]
fn what_is_written_is_read_again() {
    for (from, to) in [("192.0.2.1:1", "198.51.100.2:65535"), ("[2001:db8::1]:80", "[::1]:443")] {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut bytes = Vec::new();
            encode(version, from, to, &mut bytes);
            let length = bytes.len();
            needs_more(&bytes, length);
            bytes.extend_from_slice(b"and the rest");
            assert_eq!(parse(&bytes), Parsed::Header(Header::Addresses { from, to }, length));
        }
    }
    let mut mixed = Vec::new();
    encode(ProxyVersion::V1, "192.0.2.1:1".parse().unwrap(), "[::1]:2".parse().unwrap(), &mut mixed);
    assert_eq!(String::from_utf8_lossy(&mixed), "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n");
}

#[test]
fn version_2_passes_extensions_over_and_refuses_what_it_does_not_know() {
    let header = |version: u8, family: u8, body: &[u8]| {
        let length = (body.len() as u16).to_be_bytes();
        [SIGNATURE, &[version, family], &length, body].concat()
    };
    let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0, 80, 1, 187];
    let with_extension = [&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
    let addresses =
        Header::Addresses { from: "192.0.2.1:80".parse().unwrap(), to: "198.51.100.2:443".parse().unwrap() };
    assert_eq!(parse(&header(0x21, 0x11, &with_extension)), Parsed::Header(addresses, 16 + 19));
    for (version, family, body) in
        [(0x20, 0x11, &v4[..]), (0x20, 0, &[]), (0x21, 0, &[]), (0x21, 0x31, &[0; 216])]
    {
        assert_eq!(parse(&header(version, family, body)), Parsed::Header(Header::Local, 16 + body.len()));
    }
    for (version, family, body) in [
        (0x11, 0x11, &v4[..]),
        (0x22, 0x11, &v4),
        (0x21, 0x12, &v4),
        (0x21, 0x11, &v4[..11]),
        (0x21, 0x21, &v4),
    ] {
        assert_eq!(parse(&header(version, family, body)), Parsed::Malformed, "{version} {family}");
    }
    assert_eq!(parse(&header(0x21, 0, &[0; 20_000])), Parsed::Malformed);
}
