//! The first bytes of a TLS port: any bytes. However much of them has come, looking again is of use, and what was once
//! told stays told.
#![no_main]

use limen_wire::client_hello::{Peeked, peek};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let whole = peek(input);
    if let Peeked::NeedMore(until) = whole {
        assert!(until > input.len());
    }
    if let Peeked::Hello(hello) = &whole {
        assert!(hello.server_name.as_ref().is_none_or(|name| (1..=255).contains(&name.len())));
        assert!(hello.protocols().all(|protocol| !protocol.is_empty()));
    }
    for end in 0..input.len() {
        match peek(&input[..end]) {
            Peeked::NeedMore(until) => assert!(until > end),
            told => assert_eq!(told, whole),
        }
    }
});
