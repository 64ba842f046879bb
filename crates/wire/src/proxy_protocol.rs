//! The PROXY protocol, versions 1 and 2: where a connection came from before a balancer passed it on, said in front of
//! everything else (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).
//!
//! Reading is strict: what does not follow the text to the letter is refused, since whoever may write this header may
//! choose the address that everything behind it believes.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The shortest header of version 1, `PROXY UNKNOWN` with its line end. None of version 2 is shorter.
const SHORTEST: usize = 15;
/// The longest header of version 1, line end included.
const LONGEST_V1: usize = 107;
/// Bytes behind the fixed part of a header of version 2; a longer one is refused.
const LONGEST_V2: usize = 16 * 1024;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_V2: usize = 16;

/// The first bytes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Not enough to tell: at least so many bytes more belong to the header.
    NeedMore(usize),
    /// A whole header and its length.
    Header(Header, usize),
    /// No header, or one that is not as it must be.
    Malformed,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// Nothing: the connection is the balancer's own, or of a kind that has no addresses.
    Local,
    /// The connection came from here and was made to there.
    Addresses {
        /// The client.
        from: SocketAddr,
        /// Where it connected to.
        to: SocketAddr,
    },
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Reads the header at the beginning of a connection.
pub fn parse(bytes: &[u8]) -> Parsed {
    if bytes.len() < SHORTEST && (begins(bytes, SIGNATURE) || begins(bytes, b"PROXY ")) {
        Parsed::NeedMore(SHORTEST - bytes.len())
    } else if begins(bytes, SIGNATURE) {
        v2(bytes)
    } else if begins(bytes, b"PROXY ") {
        v1(bytes)
    } else {
        Parsed::Malformed
    }
}

/// Does `bytes` begin with `start`, as far as it goes?
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let n = bytes.len().min(start.len());
    bytes.get(..n) == start.get(..n)
}

fn v1(bytes: &[u8]) -> Parsed {
    let seen = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if seen.len() == LONGEST_V1 { Parsed::Malformed } else { Parsed::NeedMore(1) };
    };
    let line = seen.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    match line.and_then(|line| std::str::from_utf8(line).ok()).and_then(v1_line) {
        Some(header) => Parsed::Header(header, end + 1),
        None => Parsed::Malformed,
    }
}

fn v1_line(line: &str) -> Option<Header> {
    let line = line.strip_prefix("PROXY ")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Header::Local);
    }
    let mut words = line.split(' ');
    let mut word = || words.next();
    let family = word()?;
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (from, to) = (address(word()?)?, address(word()?)?);
    let (from_port, to_port) = (port(word()?)?, port(word()?)?);
    word().is_none().then_some(Header::Addresses {
        from: SocketAddr::new(from, from_port),
        to: SocketAddr::new(to, to_port),
    })
}

/// Decimal digits without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let sound = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if sound { text.parse().ok() } else { None }
}

fn v2(bytes: &[u8]) -> Parsed {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_V2) else {
        return Parsed::NeedMore(FIXED_V2 - bytes.len());
    };
    let Some(&[version, family, high, low]) = fixed.get(SIGNATURE.len()..) else { return Parsed::Malformed };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Parsed::Malformed,
    };
    if length > LONGEST_V2 {
        return Parsed::Malformed;
    }
    let Some(body) = rest.get(..length) else { return Parsed::NeedMore(length - rest.len()) };
    let header = match family {
        _ if local => Some(Header::Local),
        // Unspecified, or local sockets: the real addresses of the connection count.
        0x00 | 0x31 | 0x32 => Some(Header::Local),
        0x11 => addresses::<4>(body),
        0x21 => addresses::<16>(body),
        _ => None,
    };
    header.map_or(Parsed::Malformed, |header| Parsed::Header(header, FIXED_V2 + length))
}

/// Two addresses of `N` bytes, then two ports; what follows them is not looked at.
fn addresses<const N: usize>(body: &[u8]) -> Option<Header>
where
    IpAddr: From<[u8; N]>,
{
    let (from, rest) = body.split_first_chunk::<N>()?;
    let (to, rest) = rest.split_first_chunk::<N>()?;
    let (from_port, rest) = rest.split_first_chunk::<2>()?;
    let (to_port, _) = rest.split_first_chunk::<2>()?;
    Some(Header::Addresses {
        from: SocketAddr::new(IpAddr::from(*from), u16::from_be_bytes(*from_port)),
        to: SocketAddr::new(IpAddr::from(*to), u16::from_be_bytes(*to_port)),
    })
}

/// Appends the header of a connection from `from` to `to`. Where one of them is IPv6, both are written so.
pub fn encode(version: ProxyVersion, from: SocketAddr, to: SocketAddr, out: &mut Vec<u8>) {
    let pair = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Pair::V4(from, to),
        (from, to) => Pair::V6(wide(from), wide(to)),
    };
    match version {
        ProxyVersion::V1 => {
            // Writing to a vector cannot fail.
            let _ = match pair {
                Pair::V4(a, b) => write!(out, "PROXY TCP4 {a} {b} {} {}\r\n", from.port(), to.port()),
                Pair::V6(a, b) => write!(out, "PROXY TCP6 {a} {b} {} {}\r\n", from.port(), to.port()),
            };
        }
        ProxyVersion::V2 => {
            out.extend_from_slice(SIGNATURE);
            match pair {
                Pair::V4(a, b) => {
                    out.extend_from_slice(&[0x21, 0x11, 0, 12]);
                    out.extend(a.octets().iter().chain(&b.octets()));
                }
                Pair::V6(a, b) => {
                    out.extend_from_slice(&[0x21, 0x21, 0, 36]);
                    out.extend(a.octets().iter().chain(&b.octets()));
                }
            }
            out.extend_from_slice(&from.port().to_be_bytes());
            out.extend_from_slice(&to.port().to_be_bytes());
        }
    }
}

enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
