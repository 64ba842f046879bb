//! Bodies: valid ones cut everywhere, invalid ones by rule, and the bounds.

use crate::check::{body, check_chunked};
use limen_wire::h1::{BodyDecoder, BodyError, MAX_EXTENSION_BYTES, MAX_TRAILER_BYTES, encode_chunk_header};
use limen_wire::head::BodyLength;

/// Valid chunked bodies, and what is in them.
pub(crate) const CHUNKED: &[(&[u8], &[u8])] = &[
    (b"0\r\n\r\n", b""),
    (b"000000000000000\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    (b"a\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n", b"0123456789abcdefghij"),
    (b"0000000000000003\r\n\r\n\r\r\n0\r\n\r\n", b"\r\n\r"),
    (b"1;ext\r\nx\r\n0;a=b;c=\"d e\"\r\n\r\n", b"x"),
    (b"1;\r\nx\r\n0\r\n\r\n", b"x"),
    (b"1; \t\x80\r\nx\r\n0\r\n\r\n", b"x"),
    (b"1\r\nx\r\n0\r\ntrailer: value\r\nX-Other:\r\n\r\n", b"x"),
    (b"0\r\ncontent-lengths: 5\r\nhos: a\r\ncontent-type: b\r\nhosts: c\r\n\r\n", b""),
];

#[test]
fn valid_chunked_bodies_cut_everywhere() {
    for (raw, data) in CHUNKED {
        check_chunked(raw);
        let mut followed = raw.to_vec();
        followed.extend_from_slice(b"GET / HTTP/1.1\r\n");
        check_chunked(&followed);
        for cut in 0..=raw.len() {
            let mut decoder = BodyDecoder::new(BodyLength::Marked);
            let (mut got, mut taken) = (Vec::new(), 0);
            for part in [&followed[..cut], &followed[cut..]] {
                let mut at = 0;
                while at < part.len() && !decoder.is_done() {
                    let decoded = decoder.decode(&part[at..]).unwrap();
                    got.extend_from_slice(&part[at..][decoded.data]);
                    at += decoded.consumed;
                }
                taken += at;
            }
            assert_eq!(taken, raw.len(), "{}", String::from_utf8_lossy(raw));
            assert!(decoder.is_done());
            assert_eq!(&got, data);
            assert_eq!(decoder.decode(b"more").unwrap().consumed, 0, "the next message stays where it is");
        }
        for end in 0..raw.len() {
            let (_, length) = body(BodyLength::Marked, &raw[..end], 3).unwrap();
            assert_eq!(length, None, "cut short after {end}");
        }
    }
}

/// Rules 6, 7 and 8.
#[test]
fn malformed_chunked_bodies_name_the_rule() {
    let cases: &[(&[u8], &str)] = &[
        (b"\r\n", "empty chunk size"),
        (b";ext\r\n", "empty chunk size"),
        (b"+5\r\nhello\r\n", "chunk size"),
        (b"-5\r\n", "chunk size"),
        (b"0x5\r\n", "chunk size"),
        (b"5_0\r\n", "chunk size"),
        (b" 5\r\n", "chunk size"),
        (b"5 \r\n", "chunk size"),
        (b"5\t;a\r\n", "chunk size"),
        (b"g\r\n", "chunk size"),
        (b"5,5\r\n", "chunk size"),
        (b"\xd9\xa5\r\n", "chunk size"),
        (b"5\n", "chunk size"),
        (b"5\0\r\n", "chunk size"),
        (b"00000000000000005\r\n", "chunk size of more than 16 digits"),
        (b"fffffffffffffffff\r\n", "chunk size of more than 16 digits"),
        (b"5\rhello", "carriage return without line feed"),
        (b"5\r\rhello", "carriage return without line feed"),
        (b"5;a\nhello", "control byte in a chunk extension"),
        (b"5;a\0\r\n", "control byte in a chunk extension"),
        (b"5;a\x7f\r\n", "control byte in a chunk extension"),
        (b"5;a\rb\r\n", "carriage return without line feed"),
        (b"5\r\nhelloX", "chunk data not followed by a line end"),
        (b"5\r\nhello\n", "chunk data not followed by a line end"),
        (b"5\r\nhello0\r\n\r\n", "chunk data not followed by a line end"),
        (b"5\r\nhello\rX", "chunk data not followed by a line end"),
        (b"0\r\n\n", "trailer line"),
        (b"0\r\n\rX", "carriage return without line feed"),
        (b"0\r\n: value\r\n", "trailer line"),
        (b"0\r\n a: b\r\n", "trailer line"),
        (b"0\r\na : b\r\n", "trailer line"),
        (b"0\r\na\r\n", "trailer line"),
        (b"0\r\na: b\n", "trailer line"),
        (b"0\r\na: b\rc\r\n", "carriage return without line feed"),
        (b"0\r\na: \0\r\n", "trailer line"),
        (b"0\r\na: b\r\n c\r\n", "trailer line"),
        (b"0\r\n\xe9: b\r\n", "trailer line"),
        (b"0\r\nGET / HTTP/1.1\r\n", "trailer line"),
        (b"0\r\na: b\r\nContent-Length: 5\r\n", "framing or routing field in the trailers"),
        (b"0\r\nTransfer-encoding: chunked\r\n", "framing or routing field in the trailers"),
        (b"0\r\nHOST:\r\n", "framing or routing field in the trailers"),
    ];
    for (raw, rule) in cases {
        let shown = String::from_utf8_lossy(raw);
        assert_eq!(body(BodyLength::Marked, raw, raw.len()), Err(BodyError::Bad(rule)), "{shown}");
        check_chunked(raw);
    }
}

#[test]
fn extensions_and_trailers_are_bounded_over_the_whole_body() {
    let fits = vec![b'x'; MAX_EXTENSION_BYTES as usize / 2];
    let two = |extra: &[u8]| [b"1;", &fits[..], b"\r\nx\r\n0;", &fits[..], extra, b"\r\n\r\n"].concat();
    assert!(matches!(body(BodyLength::Marked, &two(b""), 1000), Ok((_, Some(_)))));
    assert_eq!(body(BodyLength::Marked, &two(b"x"), 1000), Err(BodyError::ExtensionsTooLarge));

    let mut raw = b"0\r\n".to_vec();
    let line = [b"a: ", &[b'x'; 1019][..], b"\r\n"].concat();
    let lines = MAX_TRAILER_BYTES as usize / line.len();
    (0..lines).for_each(|_| raw.extend_from_slice(&line));
    assert!(matches!(body(BodyLength::Marked, &[&raw[..], b"\r\n"].concat(), 1000), Ok((_, Some(_)))));
    assert_eq!(
        body(BodyLength::Marked, &[&raw[..], b"a:\r\n\r\n"].concat(), 1000),
        Err(BodyError::TrailersTooLarge)
    );
}

#[test]
fn bodies_by_length_leave_the_next_message_alone() {
    for piece in 1..8 {
        assert_eq!(body(BodyLength::None, b"next", piece), Ok((vec![], Some(0))));
        assert_eq!(body(BodyLength::Known(0), b"next", piece), Ok((vec![], Some(0))));
        assert_eq!(body(BodyLength::Known(4), b"bodynext", piece), Ok((b"body".to_vec(), Some(4))));
        assert_eq!(body(BodyLength::Known(9), b"bodynext", piece), Ok((b"bodynext".to_vec(), None)));
        assert_eq!(body(BodyLength::UntilClose, b"all of it", piece), Ok((b"all of it".to_vec(), Some(9))));
    }
    let mut decoder = BodyDecoder::new(BodyLength::Known(u64::MAX));
    assert_eq!(decoder.decode(b"some").unwrap().data, 0..4);
    assert_eq!(decoder.finish_at_close(), Err(BodyError::Truncated));
    let mut decoder = BodyDecoder::new(BodyLength::Marked);
    assert_eq!(decoder.decode(b"ffffffffffffffff\r\nsome").unwrap().data, 18..22);
    assert_eq!(decoder.finish_at_close(), Err(BodyError::Truncated));
}

#[test]
fn one_call_takes_framing_and_one_piece() {
    let mut decoder = BodyDecoder::new(BodyLength::Marked);
    let raw = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let first = decoder.decode(raw).unwrap();
    assert_eq!((first.consumed, first.data, first.done), (11, 3..6, false));
    let second = decoder.decode(&raw[11..]).unwrap();
    assert_eq!((second.consumed, second.data, second.done), (9, 0..2, true));
}

#[test]
fn chunk_headers_are_lower_case_hexadecimal() {
    for (len, line) in
        [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (26, "1a\r\n"), (usize::MAX, "ffffffffffffffff\r\n")]
    {
        let mut out = Vec::new();
        encode_chunk_header(len, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), line);
    }
}
