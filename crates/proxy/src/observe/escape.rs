//! Writers of numbers, addresses and text that came from outside. None allocates beyond the growth of `out`.
//!
//! A client chooses much of what a log line prints. Text lines keep valid UTF-8 as it is, but `"`, `\`, control
//! characters (C0, DEL, C1), Unicode line separators and bytes that are not UTF-8 become `\xHH`, byte by byte, as nginx
//! writes them. So no request can end a line or a quoted field early, nor steer a terminal, and what was received can
//! still be read back. JSON is escaped by its own rules (RFC 8259 section 7); bytes that are not UTF-8 become U+FFFD.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends a number in decimal.
pub(super) fn write_decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut text = [0_u8; 20];
    let mut start = text.len();
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        start -= 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[start..]);
}

/// Appends microseconds as seconds with three decimals, as nginx prints times.
pub(super) fn write_seconds(micros: u64, out: &mut Vec<u8>) {
    let millis = micros / 1_000;
    write_decimal(millis / 1_000, out);
    out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis)]);
}

fn digit(value: u64) -> u8 {
    b'0' + (value % 10) as u8
}

/// Appends an address without its port; IPv4 mapped into IPv6 prints as IPv4.
pub(super) fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => write_ipv4(ip, out),
        // Writing to a Vec cannot fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

fn write_ipv4(ip: Ipv4Addr, out: &mut Vec<u8>) {
    let mut text = [0_u8; 15];
    let mut length = 0;
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            text[length] = b'.';
            length += 1;
        }
        if octet >= 100 {
            text[length] = b'0' + octet / 100;
            length += 1;
        }
        if octet >= 10 {
            text[length] = b'0' + octet / 10 % 10;
            length += 1;
        }
        text[length] = b'0' + octet % 10;
        length += 1;
    }
    out.extend_from_slice(&text[..length]);
}

/// Appends `ip:port`, or `[ip]:port` for IPv6.
pub(super) fn write_address(address: SocketAddr, out: &mut Vec<u8>) {
    let ip = address.ip().to_canonical();
    if ip.is_ipv6() {
        out.push(b'[');
        write_ip(ip, out);
        out.push(b']');
    } else {
        write_ip(ip, out);
    }
    out.push(b':');
    write_decimal(u64::from(address.port()), out);
}

/// Whether all bytes are printable ASCII other than `"` and `\`. Without a branch, so that it runs over many bytes at
/// once.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| {
        plain & (byte.wrapping_sub(0x20) < 0x5f) & (*byte != b'"') & (*byte != b'\\')
    })
}

/// Appends text to a text line, escaped as the module says.
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    if is_plain(text) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = char.encode_utf8(&mut bytes).as_bytes();
            if matches!(char, '"' | '\\' | '\u{2028}' | '\u{2029}') || char.is_control() {
                write_hex(bytes, out);
            } else {
                out.extend_from_slice(bytes);
            }
        }
        write_hex(chunk.invalid(), out);
    }
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
        out.extend_from_slice(&[b'\\', b'x', high, low]);
    }
}

/// Appends text as the inside of a JSON string.
pub(super) fn write_json_text(text: &[u8], out: &mut Vec<u8>) {
    if is_plain(text) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            write_json_char(char, out);
        }
        if !chunk.invalid().is_empty() {
            write_json_char(char::REPLACEMENT_CHARACTER, out);
        }
    }
}

fn write_json_char(char: char, out: &mut Vec<u8>) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        _ if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => {
            let code = u32::from(char);
            out.extend_from_slice(b"\\u");
            out.extend([12, 8, 4, 0].map(|shift| HEX[(code >> shift) as usize & 15]));
        }
        _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in
            ["0.0.0.0:0", "10.244.0.10:5678", "255.255.255.255:65535", "9.10.99.100:80", "[fe80::1]:443"]
        {
            assert_eq!(written(|out| write_address(text.parse().unwrap(), out)), text);
        }
        let mapped = "[::ffff:10.0.0.1]:80".parse().unwrap();
        assert_eq!(written(|out| write_address(mapped, out)), "10.0.0.1:80");
        assert_eq!(written(|out| write_seconds(61_987_654, out)), "61.987");
        assert_eq!(written(|out| write_seconds(1_005_999, out)), "1.005");
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
}
