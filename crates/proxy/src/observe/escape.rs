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
#[inline]
pub(crate) fn write_decimal(mut value: u64, out: &mut Vec<u8>) {
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
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
pub(crate) fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => write_ipv4(ip, out),
        // Writing to a Vec cannot fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

/// Every octet with a dot behind it, and how long that is.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut all = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let digits = [b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8];
        all[octet] = match octet {
            0..10 => ([digits[2], b'.', 0, 0], 2),
            10..100 => ([digits[1], digits[2], b'.', 0], 3),
            _ => ([digits[0], digits[1], digits[2], b'.'], 4),
        };
        octet += 1;
    }
    all
};

#[inline]
fn write_ipv4(ip: Ipv4Addr, out: &mut Vec<u8>) {
    let mut text = [0_u8; 16];
    let mut length = 0;
    for octet in ip.octets() {
        let (digits, digits_length) = &OCTETS[usize::from(octet)];
        // At most 12 before the last, so that there is always room for four.
        text[length..length + 4].copy_from_slice(digits);
        length += usize::from(*digits_length);
    }
    out.extend_from_slice(&text[..length - 1]);
}

/// Appends `ip:port`, or `[ip]:port` for IPv6.
pub(crate) fn write_address(address: SocketAddr, out: &mut Vec<u8>) {
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

/// Whether all bytes are printable ASCII other than `"` and `\`.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    match text.last_chunk() {
        // The last eight bytes may overlap those before; looking at some twice is cheaper than one by one.
        Some(last) => !has_odd(*last) && !text.as_chunks().0.iter().any(|chunk| has_odd(*chunk)),
        None => text.iter().all(|byte| matches!(byte, 0x20..=0x7e) && *byte != b'"' && *byte != b'\\'),
    }
}

/// Whether one of eight bytes is not plain, looking at all at once. Each subtraction sets a byte's top bit if the byte
/// was too small; a borrow can only come from a byte that was too small itself.
#[inline]
fn has_odd(bytes: [u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x80 * ONES;
    let word = u64::from_ne_bytes(bytes);
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (word | below(word, 0x20) | is(0x7f) | is(b'"') | is(b'\\')) & TOPS != 0
}

/// Appends bytes; the pieces between two values are mostly one to three bytes, for which a copy is not worth a call.
#[inline]
pub(super) fn write_short(text: &[u8], out: &mut Vec<u8>) {
    match *text {
        [a] => out.push(a),
        [a, b] => out.extend_from_slice(&[a, b]),
        [a, b, c] => out.extend_from_slice(&[a, b, c]),
        _ => out.extend_from_slice(text),
    }
}

/// Appends text to a text line, escaped as the module says.
#[inline]
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    if is_plain(text) {
        out.extend_from_slice(text);
    } else {
        escape_text(text, out);
    }
}

#[cold]
fn escape_text(text: &[u8], out: &mut Vec<u8>) {
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
#[inline]
pub(super) fn write_json_text(text: &[u8], out: &mut Vec<u8>) {
    if is_plain(text) {
        out.extend_from_slice(text);
    } else {
        escape_json_text(text, out);
    }
}

#[cold]
fn escape_json_text(text: &[u8], out: &mut Vec<u8>) {
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
#[path = "escape_tests.rs"]
mod tests;
