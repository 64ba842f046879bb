//! Which authorities we take for one (RFC 3986 3.2, RFC 9110 7.2): the same for every version.

use std::net::Ipv6Addr;

use crate::h1::decimal;

/// Bytes of a registered name. The grammar would allow a comma too; refused, since two `Host` lines that somebody
/// before us merged look just so.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
}

const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_name_byte(byte as u8);
        byte += 1;
    }
    table
};

/// Whether `text` is `host [":" port]`: no user information, a name of safe bytes or an IPv6 address in brackets, a port
/// of digits up to 65535.
pub(crate) fn is_valid(text: &[u8]) -> bool {
    let (host_ok, rest) = match text.strip_prefix(b"[") {
        Some(inner) => match memchr::memchr(b']', inner) {
            Some(end) => (is_ipv6(&inner[..end]), &inner[end + 1..]),
            None => return false,
        },
        None => {
            let is_name = |byte: &u8| NAME_BYTES[usize::from(*byte)];
            let end = text.iter().position(|byte| !is_name(byte)).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            (!name.is_empty(), rest)
        }
    };
    host_ok && (rest.is_empty() || port(rest).is_some())
}

/// The port that an authority names.
pub(crate) fn has_port(text: &[u8]) -> bool {
    match memchr::memrchr(b':', text) {
        Some(at) => port(&text[at..]).is_some(),
        None => false,
    }
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn port(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b":").filter(|digits| digits.len() <= 5)?;
    decimal(digits)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in
            ["a", "a.example:80", "10.0.0.1:65535", "[::1]", "[::ffff:1.2.3.4]:443", "a_b~c%41", "*.x"]
        {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        let bad = [
            "",
            ":80",
            "a:",
            "a:b",
            "a:65536",
            "a:000080",
            "u@a",
            "a/b",
            "a?b",
            "a#b",
            "a b",
            "a,b",
            "a\\b",
            "[::1",
            "::1",
            "[]",
            "[::1%25eth0]",
            "[::1]x",
            "[::1]:",
            "[v1.a]",
            "a:80:80",
            "é",
            "a\0",
            "<a>",
            "a:+80",
        ];
        for bad in bad {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
        assert!(has_port(b"a:1") && has_port(b"[::1]:1"));
        assert!(!has_port(b"a") && !has_port(b"[::1]"));
    }
}
