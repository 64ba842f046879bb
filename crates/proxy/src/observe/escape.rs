//! Writers of numbers, addresses and text that came from outside. None allocates beyond the growth of `out`.
//!
//! A client chooses much of what a log line prints. Text lines keep valid UTF-8 as it is, but `"`, `\`, control
//! characters (C0, DEL, C1), Unicode line separators and bytes that are not UTF-8 become `\xHH`, byte by byte, as nginx
//! writes them. So no request can end a line or a quoted field early, nor steer a terminal, and what was received can
//! still be read back. JSON is escaped by its own rules (RFC 8259 section 7); bytes that are not UTF-8 become U+FFFD.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends what `fill` puts at the beginning of the room it is given; it returns how much that is. For short texts of
/// varying length this is cheaper than making them elsewhere and copying them.
#[inline]
fn write_within<const ROOM: usize>(out: &mut Vec<u8>, fill: impl FnOnce(&mut [u8; ROOM]) -> usize) {
    let start = out.len();
    out.extend_from_slice(&[0; ROOM]);
    let length = out.last_chunk_mut().map_or(0, fill);
    out.truncate(start + length);
}

/// Appends a number in decimal.
#[inline]
pub(crate) fn write_decimal(value: u64, out: &mut Vec<u8>) {
    match value {
        0..10 => out.push(b'0' + value as u8),
        10..100_000 => write_within(out, |room| {
            let (digits, length) = five_digits(value as u32);
            *room = digits;
            length
        }),
        _ => write_long_decimal(value, out),
    }
}

/// The numbers below 100 in two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut all = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        all[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    all
};

/// A number below 100,000 in decimal, and how long that is.
#[inline]
fn five_digits(value: u32) -> ([u8; 8], usize) {
    let pair = |value: u32| u64::from(u16::from_le_bytes(PAIRS[value as usize % 100]));
    let first = u64::from(b'0') + u64::from(value / 10_000 % 10);
    let all = first | pair(value / 100) << 8 | pair(value) << 24;
    let is_shorter = |bound: u32| usize::from(value < bound);
    let zeros = is_shorter(10) + is_shorter(100) + is_shorter(1_000) + is_shorter(10_000);
    ((all >> (8 * zeros)).to_le_bytes(), 5 - zeros)
}

fn write_long_decimal(mut value: u64, out: &mut Vec<u8>) {
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

fn write_ipv4(ip: Ipv4Addr, out: &mut Vec<u8>) {
    write_within(out, |room| put_octets(ip, room) - 1);
}

/// Puts the octets at the beginning of `text`, a dot behind each; returns the length, 16 at most.
#[inline]
fn put_octets(ip: Ipv4Addr, text: &mut [u8; 24]) -> usize {
    let mut length = 0;
    for octet in ip.octets() {
        let (digits, digits_length) = &OCTETS[usize::from(octet)];
        // At most 12 before the last, so that there is always room for four.
        text[length..length + 4].copy_from_slice(digits);
        length += usize::from(*digits_length);
    }
    length
}

/// Appends `ip:port`, or `[ip]:port` for IPv6.
#[inline]
pub(crate) fn write_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(address) => write_address_v4(*address.ip(), address.port(), out),
        SocketAddr::V6(address) => write_address_v6(*address.ip(), address.port(), out),
    }
}

fn write_address_v4(ip: Ipv4Addr, port: u16, out: &mut Vec<u8>) {
    write_within(out, |room| {
        let start = put_octets(ip, room);
        let (digits, length) = five_digits(port.into());
        room[start - 1] = b':';
        room[start..start + 8].copy_from_slice(&digits);
        start + length
    });
}

fn write_address_v6(ip: Ipv6Addr, port: u16, out: &mut Vec<u8>) {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return write_address_v4(ip, port, out);
    }
    // Writing to a Vec cannot fail.
    drop(write!(out, "[{ip}]:{port}"));
}

/// Whether all bytes are printable ASCII other than `"` and `\`.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    is_plain_from::<0x20>(text)
}

/// Whether all bytes are printable ASCII other than `"`, `\` and white space.
#[inline]
pub(super) fn is_plain_word(text: &[u8]) -> bool {
    is_plain_from::<0x21>(text)
}

/// Whether all bytes are from `LOWEST` to `~`, and none is `"` or `\`.
#[inline]
fn is_plain_from<const LOWEST: u8>(text: &[u8]) -> bool {
    // The last bytes may overlap those before; looking at some twice is cheaper than one by one.
    if let Some(last) = text.last_chunk() {
        return !any_odd::<LOWEST>(last) && !text.as_chunks().0.iter().any(any_odd::<LOWEST>);
    }
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => !has_odd::<LOWEST>(*first) && !has_odd::<LOWEST>(*last),
        _ => !text.iter().any(|byte| is_odd::<LOWEST>(*byte)),
    }
}

#[inline]
fn is_odd<const LOWEST: u8>(byte: u8) -> bool {
    byte < LOWEST || byte > b'~' || byte == b'"' || byte == b'\\'
}

/// Whether one of sixteen bytes is not plain. It looks at all of them, so that the compiler can do so at once.
#[inline]
fn any_odd<const LOWEST: u8>(bytes: &[u8; 16]) -> bool {
    bytes.iter().fold(false, |any, byte| any | is_odd::<LOWEST>(*byte))
}

/// Whether one of eight bytes is not plain, looking at all at once. Each subtraction sets a byte's top bit if the byte
/// was too small; a borrow can only come from a byte that was too small itself.
#[inline]
fn has_odd<const LOWEST: u8>(bytes: [u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x80 * ONES;
    let word = u64::from_ne_bytes(bytes);
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (word | below(word, LOWEST) | is(0x7f) | is(b'"') | is(b'\\')) & TOPS != 0
}

/// Literal text of a format. It is mostly one to three bytes, for which a copy is not worth a call.
#[derive(Debug, Clone)]
pub(super) enum Literal {
    /// That many bytes of the array.
    Short([u8; 8], u8),
    Long(Box<[u8]>),
}

impl Literal {
    pub(super) fn new(text: &[u8]) -> Literal {
        let mut short = [0; 8];
        match short.get_mut(..text.len()) {
            Some(room) => room.copy_from_slice(text),
            None => return Literal::Long(text.into()),
        }
        Literal::Short(short, text.len() as u8)
    }

    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Literal::Short(text, length) => write_within(out, |room| {
                *room = *text;
                usize::from(*length)
            }),
            Literal::Long(text) => out.extend_from_slice(text),
        }
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
