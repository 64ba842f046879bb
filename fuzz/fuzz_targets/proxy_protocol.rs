//! The first bytes behind a balancer: any bytes. A header that is read can be written and is read as the same again.
#![no_main]

use limen_wire::proxy_protocol::{Header, Parsed, ProxyVersion, encode, parse};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    if let Parsed::Header(header, length) = whole {
        assert!(length <= input.len());
        assert_eq!(parse(&input[..length]), whole);
        let more = |end: usize| matches!(parse(&input[..end]), Parsed::NeedMore(n) if n > 0 && end + n <= length);
        assert!((0..length).all(more));
        if let Header::Addresses { from, to } = header {
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut bytes = Vec::new();
                encode(version, from, to, &mut bytes);
                assert_eq!(parse(&bytes), Parsed::Header(header, bytes.len()));
            }
        }
    }
});
