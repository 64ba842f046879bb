//! The first bytes behind a balancer: any bytes. A header that is read can be written and is read as the same again, and
//! another library reads the same addresses.
#![no_main]

use std::net::SocketAddr;

use limen_wire::proxy_protocol::{Header, Parsed, ProxyVersion, encode, parse};
use ppp::{HeaderResult, v1, v2};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    if let Parsed::Header(header, length) = whole {
        assert!(length <= input.len());
        assert_eq!(parse(&input[..length]), whole);
        let more =
            |end: usize| matches!(parse(&input[..end]), Parsed::NeedMore(n) if n > 0 && end + n <= length);
        assert!((0..length).all(more));
        if let Header::Addresses { from, to } = header {
            assert_eq!(other(&input[..length]), Some((from, to)));
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut bytes = Vec::new();
                encode(version, from, to, &mut bytes);
                assert_eq!(parse(&bytes), Parsed::Header(header, bytes.len()));
                assert_eq!(other(&bytes), Some((from, to)));
            }
        }
    }
});

/// What another library reads.
fn other(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(header) => match header.ok()?.addresses {
            v1::Addresses::Tcp4(of) => Some((
                (of.source_address, of.source_port).into(),
                (of.destination_address, of.destination_port).into(),
            )),
            v1::Addresses::Tcp6(of) => Some((
                (of.source_address, of.source_port).into(),
                (of.destination_address, of.destination_port).into(),
            )),
            v1::Addresses::Unknown => None,
        },
        HeaderResult::V2(header) => match header.ok()?.addresses {
            v2::Addresses::IPv4(of) => Some((
                (of.source_address, of.source_port).into(),
                (of.destination_address, of.destination_port).into(),
            )),
            v2::Addresses::IPv6(of) => Some((
                (of.source_address, of.source_port).into(),
                (of.destination_address, of.destination_port).into(),
            )),
            _ => None,
        },
    }
}
