//! Against the examples of RFC 7541, and ourselves.

use proptest::prelude::*;

use super::*;
use crate::head::Known;

#[path = "check_tests.rs"]
mod check;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Undecodable> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut lines = Vec::new();
    decoder.decode(block, usize::MAX, |line| lines.push((text(line.name), text(line.value))))?;
    Ok(lines)
}

/// RFC 7541, C.4: requests with Huffman coding, on one connection.
#[test]
fn the_examples_of_the_specification() {
    let mut decoder = Decoder::new();
    let first = decode(&mut decoder, &bytes("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")).unwrap();
    let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let base = [line(":method", "GET"), line(":scheme", "http"), line(":path", "/")];
    let host = line(":authority", "www.example.com");
    assert_eq!(first, [&base[..], std::slice::from_ref(&host)].concat());
    let second = decode(&mut decoder, &bytes("8286 84be 5886 a8eb 1064 9cbf")).unwrap();
    assert_eq!(second[3..], [host.clone(), line("cache-control", "no-cache")]);
    let third =
        decode(&mut decoder, &bytes("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf")).unwrap();
    assert_eq!(
        third[1..],
        [line(":scheme", "https"), line(":path", "/index.html"), host, line("custom-key", "custom-value")]
    );
}

/// RFC 7541, C.6: responses whose table of 256 bytes evicts.
#[test]
fn a_small_table_evicts() {
    let mut decoder = Decoder::new();
    let blocks = [
        "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
         1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
         b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    let seen: Vec<_> = blocks.iter().map(|block| decode(&mut decoder, &bytes(block)).unwrap()).collect();
    assert_eq!(seen[0][3].1, "https://www.example.com");
    assert_eq!(
        seen[1].iter().map(|line| &line.1[..]).collect::<Vec<_>>(),
        ["307", "private", "Mon, 21 Oct 2013 20:13:21 GMT", "https://www.example.com"]
    );
    assert_eq!(seen[2][5].1, "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
}

#[test]
fn undecodable_blocks_are_refused() {
    let bad = [
        ("80", "index 0"),
        ("be", "an entry that is not there"),
        ("ff", "an integer without its end"),
        ("ffffffffffff01", "an integer beyond all sense"),
        ("40", "no name"),
        ("4003 6162", "a string cut short"),
        ("8220", "a change of size after a line"),
        ("3fe21f", "a table larger than we allowed"),
        ("0081 ff 00", "padding of eight bits"),
        ("0084 ffff ffff 00", "the end-of-string symbol"),
        ("0081 00 00", "padding that is not ones"),
        ("0088 ffff ffff ffff ffff 00", "the end-of-string symbol where as much is held as can be"),
    ];
    for (block, why) in bad {
        assert_eq!(decode(&mut Decoder::new(), &bytes(block)), Err(Undecodable), "{why}");
    }
}

#[test]
fn names_and_values_are_judged_once() {
    for (name, value, sound) in [
        ("a", "b\tc \u{e9}", true),
        ("A", "b", false),
        ("a b", "c", false),
        ("a", "b\r", false),
        ("", "a", false),
    ] {
        let mut block = vec![0x40, name.len() as u8];
        block.extend(name.bytes());
        block.push(value.len() as u8);
        block.extend(value.bytes());
        block.push(0xbe);
        let mut seen = Vec::new();
        Decoder::new().decode(&block, usize::MAX, |line| seen.push(line.sound)).unwrap();
        assert_eq!(seen, [sound, sound], "{name:?} {value:?}");
    }
}

#[test]
fn what_repeats_takes_one_byte_from_the_third_time_on() {
    let mut encoder = Encoder::new();
    let lengths = [0; 3].map(|_| {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        encoder.line(Known::Server, b"server", b"istio-envoy", &mut block);
        block.len()
    });
    assert_eq!(lengths, [14, 13, 1]);
    let mut unique = Vec::new();
    for number in 0..1000 {
        unique.clear();
        encoder.line(Known::Other, b"x-id", format!("{number}").as_bytes(), &mut unique);
    }
    unique.clear();
    encoder.line(Known::Server, b"server", b"istio-envoy", &mut unique);
    assert_eq!(unique.len(), 1, "lines that never repeat have driven it out");
}

#[test]
fn a_table_that_changes_its_size_says_so() {
    let mut encoder = Encoder::new();
    for (sizes, said) in [
        (&[0][..], &[0x20][..]),
        (&[10, 20], &[0x2a, 0x34]),
        (&[1, 4096, 9999], &[0x21, 0x3f, 0xe1, 0x1f]),
        (&[4096], &[]),
    ] {
        sizes.iter().for_each(|size| encoder.set_max(*size));
        let mut block = Vec::new();
        encoder.begin(&mut block);
        assert_eq!(block, said, "{sizes:?}");
    }
}

#[test]
fn what_was_evicted_takes_no_memory() {
    let mut table = table::Table::new(TABLE_BYTES);
    for number in 0..10_000 {
        let value = number.to_string().repeat(10);
        table.insert(Line { known: Known::Other, sound: true, name: b"x", value: value.as_bytes() });
        assert_eq!(table.get(0).map(|line| line.value), Some(value.as_bytes()));
        assert!(table.held() <= 2 * TABLE_BYTES, "{}", table.held());
    }
}

proptest! {
    /// Whatever is encoded decodes to itself, through changes of the table's size.
    #[test]
    fn decoding_undoes_encoding(
        blocks in prop::collection::vec(
            (prop::option::of(0usize..6000), prop::collection::vec(("[a-c]{1,3}", "[a-d]{0,200}"), 0..12)), 1..40)
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for (size, lines) in blocks {
            if let Some(size) = size {
                encoder.set_max(size);
            }
            let mut block = Vec::new();
            encoder.begin(&mut block);
            encoder.status(200, &mut block);
            encoder.content_length(size.unwrap_or_default() as u64, &mut block);
            for (name, value) in &lines {
                encoder.line(Known::Other, name.as_bytes(), value.as_bytes(), &mut block);
            }
            let seen = decode(&mut decoder, &block).unwrap();
            prop_assert_eq!(&seen[0].1, "200");
            prop_assert_eq!(&seen[1].1, &size.unwrap_or_default().to_string());
            prop_assert_eq!(&seen[2..], &lines[..]);
        }
    }

    /// No input makes the decoder fail otherwise than by saying so.
    #[test]
    fn any_bytes_are_survived(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8)) {
        let blocks: Vec<&[u8]> = blocks.iter().map(|block| &block[..]).collect();
        let mut other = Decoder::new();
        check::check(&blocks, |block| {
            let mut lines = Vec::new();
            let each = |line: Line<'_>| lines.push((line.name.to_vec(), line.value.to_vec()));
            other.decode(block, usize::MAX, each).ok().map(|_| lines)
        });
    }
}

/// What a block comes to is bounded, whatever its size: references to what is in the table, and names from there.
#[test]
fn a_small_block_does_not_become_a_large_one() {
    let long = [&[0x40, 1, b'a', 0x7f, 0x80, 0x1e][..], &[b'v'; 3967]].concat();
    let named = [&[0x40, 0x7f, 0x80, 0x1e][..], &[b'n'; 3967], &[0]].concat();
    for (kept, each) in [(long, &[0xbe][..]), (named, &[0x0f, 47, 0])] {
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(&kept, 4_000, |_| ()), Ok(true));
        let (mut lines, block) = (0, each.repeat(10_000));
        assert_eq!(decoder.decode(&block, 100_000, |_| lines += 1), Ok(false));
        assert_eq!(lines, 26, "of 4 000 bytes each");
    }
}
