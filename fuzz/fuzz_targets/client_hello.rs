//! The first bytes of a TLS port: any bytes. However much of them has come, looking again is of use, and what was once
//! told stays told; what the TLS library reads out of a hello, we read too.
#![no_main]

use limen_wire::client_hello::{ClientHello, Peeked, peek};
use rustls::server::Acceptor;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let whole = peek(input);
    if let Peeked::NeedMore(until) = whole {
        assert!(until > input.len());
    }
    if let Peeked::Hello(hello) = &whole {
        assert!(hello.server_name.as_ref().is_none_or(|name| (1..=255).contains(&name.len())));
        assert!(hello.protocols().all(|protocol| !protocol.is_empty()));
        agree(input, hello);
    }
    for end in 0..input.len() {
        match peek(&input[..end]) {
            Peeked::NeedMore(until) => assert!(until > end),
            told => assert_eq!(told, whole),
        }
    }
});

fn agree(mut input: &[u8], hello: &ClientHello) {
    let mut acceptor = Acceptor::default();
    while !input.is_empty() {
        if acceptor.read_tls(&mut input).is_err() {
            return;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let theirs = accepted.client_hello();
                if let Some(name) = theirs.server_name() {
                    assert_eq!(Some(name.to_ascii_lowercase()), hello.server_name);
                }
                if let Some(protocols) = theirs.alpn() {
                    assert!(protocols.eq(hello.protocols()));
                }
                return;
            }
            Err(_) => return,
        }
    }
}
