//! Numbers and addresses against the standard library; text against what must not get through.

use super::*;

#[test]
fn looking_at_eight_bytes_at_once_sees_what_looking_at_each_sees() {
    for byte in 0..=255_u8 {
        let plain = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        for (length, place) in (1..20).flat_map(|length| (0..length).map(move |place| (length, place))) {
            for filler in [b' ', b'~', b'!', b'#', b'[', b']'] {
                let mut text = vec![filler; length];
                text[place] = byte;
                assert_eq!(is_plain(&text), plain, "{text:?}");
            }
        }
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn numbers_and_addresses_print_as_the_standard_library_prints_them() {
    for value in [0, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(written(|out| write_decimal(value, out)), value.to_string());
    }
    for text in ["0.0.0.0:0", "10.244.0.10:5678", "255.255.255.255:65535", "9.10.99.100:80", "[fe80::1]:443"]
    {
        assert_eq!(written(|out| write_address(text.parse().unwrap(), out)), text);
    }
    let mapped = "[::ffff:10.0.0.1]:80".parse().unwrap();
    assert_eq!(written(|out| write_address(mapped, out)), "10.0.0.1:80");
    assert_eq!(written(|out| write_seconds(61_987_654, out)), "61.987");
    assert_eq!(written(|out| write_seconds(1_005_999, out)), "1.005");
}

#[test]
fn every_octet_prints_in_every_place() {
    for octet in 0..=255_u8 {
        for ip in [[octet, 1, 22, 255], [255, octet, 0, 9], [0, 0, octet, 0], [255, 255, 255, octet]] {
            let ip = Ipv4Addr::from(ip);
            assert_eq!(written(|out| write_ip(ip.into(), out)), ip.to_string());
        }
    }
}

#[test]
fn text_keeps_what_is_harmless_and_escapes_the_rest() {
    let check = |text: &[u8], line: &str, json: &str| {
        assert_eq!(written(|out| write_text(text, out)), line);
        assert_eq!(written(|out| write_json_text(text, out)), json);
    };
    check(b"curl/7.81.0 (x; y)", "curl/7.81.0 (x; y)", "curl/7.81.0 (x; y)");
    check(b"a\"b\\c", r"a\x22b\x5Cc", r#"a\"b\\c"#);
    check(b"a\r\n\t\x00\x1b[2J\x7f", r"a\x0D\x0A\x09\x00\x1B[2J\x7F", r"a\r\n\t\u0000\u001B[2J\u007F");
    check("grüß 漢".as_bytes(), "grüß 漢", "grüß 漢");
    check("\u{85}\u{2028}".as_bytes(), r"\xC2\x85\xE2\x80\xA8", r"\u0085\u2028");
    check(b"x\xff\xc3(", r"x\xFF\xC3(", "x\u{fffd}\u{fffd}(");
}
