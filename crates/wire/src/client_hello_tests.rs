use super::*;

/// A length of `width` bytes, then the bytes.
fn vector(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_be_bytes();
    [&length[4 - width..], bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, data)].concat()
}

fn name(text: &[u8]) -> Vec<u8> {
    extension(SERVER_NAME, &vector(2, &[&[HOST_NAME], &*vector(2, text)].concat()))
}

fn alpn(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = protocols.iter().flat_map(|protocol| vector(1, protocol.as_bytes())).collect();
    extension(ALPN, &vector(2, &list))
}

/// The handshake message with these extensions.
fn handshake(extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &vector(1, &[9; 32]),
        &vector(2, &[0x13, 1]),
        &vector(1, &[0]),
        &vector(2, extensions),
    ];
    [&[CLIENT_HELLO][..], &vector(3, &body.concat())].concat()
}

/// Spread over records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &vector(2, part)].concat()).collect()
}

fn check(bytes: &[u8], expected: Option<&str>, protocols: &[&str]) {
    let Peeked::Hello(hello) = peek(bytes) else { panic!("{:?}", peek(bytes)) };
    assert_eq!(hello.server_name.as_deref(), expected);
    let offered: Vec<_> = hello.protocols().map(String::from_utf8_lossy).collect();
    assert_eq!(offered, protocols);
}

#[test]
fn names_and_protocols_are_found_however_the_hello_is_cut() {
    let grease = extension(0x0a0a, &[0]);
    let message = handshake(&[grease, name(b"A.Example.com"), alpn(&["h2", "http/1.1"])].concat());
    for size in [1 << 14, 100, 7, 3] {
        let bytes = records(&message, size);
        check(&bytes, Some("a.example.com"), &["h2", "http/1.1"]);
        check(&[&*bytes, b"what follows"].concat(), Some("a.example.com"), &["h2", "http/1.1"]);
    }
    check(&records(&handshake(&[]), 1 << 14), None, &[]);
}

#[test]
fn a_part_is_never_taken_for_the_whole_and_says_how_much_it_lacks() {
    let bytes = records(&handshake(&name(b"a.example.com")), 20);
    for end in 0..bytes.len() {
        let Peeked::NeedMore(until) = peek(&bytes[..end]) else { panic!("{end}: {:?}", peek(&bytes[..end])) };
        assert!(until > end && until <= bytes.len(), "{until} after {end} of {}", bytes.len());
    }
}

#[test]
fn other_protocols_are_told_at_their_first_byte_or_two() {
    for bytes in [&b"GET / HTTP/1.1"[..], b"P", b"\x16\x02", b"\x80", b"\0"] {
        assert_eq!(peek(bytes), Peeked::NotTls, "{bytes:?}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let twice = [name(b"a.com"), name(b"b.com")].concat();
    let long = [b'a'; 256];
    for extensions in [&*twice, &name(b""), &name(b"a b"), &name(b"a\0"), &name(&long), &[0, 0, 0, 9]] {
        assert_eq!(peek(&records(&handshake(extensions), 1 << 14)), Peeked::Malformed, "{extensions:?}");
    }
    let server_hello = [2, 0, 0, 0];
    assert_eq!(peek(&records(&server_hello, 100)), Peeked::Malformed);
    let endless = [CLIENT_HELLO, 0, 0x40, 1];
    assert_eq!(peek(&records(&endless, 100)), Peeked::Malformed, "longer than the longest");
    assert_eq!(peek(&[HANDSHAKE, 3, 1, 0, 0]), Peeked::Malformed, "an empty record");
    assert_eq!(peek(&[HANDSHAKE, 3, 1, 0x40, 1, 1]), Peeked::Malformed, "a record that is too long");
    let crumbs = records(&handshake(&name(b"a.example.com")), 1);
    assert_eq!(peek(&crumbs), Peeked::Malformed, "spread over too many records");
}
