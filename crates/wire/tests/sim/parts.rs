//! The smaller decoders: base64 in segments, media types, protobuf.

use crate::parts_check::{check_media_type, check_message, check_text};
use proptest::prelude::*;

/// Four letters of base64, said plainly.
fn group(letters: &[u8]) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padding = letters.iter().rev().take_while(|letter| **letter == b'=').count();
    if letters.len() != 4 || padding > 2 {
        return None;
    }
    let mut bits = 0;
    for letter in &letters[..4 - padding] {
        bits = bits << 6 | ALPHABET.iter().position(|known| known == letter)?;
    }
    bits <<= 6 * padding;
    Some(vec![(bits >> 16) as u8, (bits >> 8) as u8, bits as u8][..3 - padding].to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_of_any_kind(letters in prop::collection::vec(prop_oneof!["[A-Za-z0-9+/]{4}", "[A-Za-z0-9]{2}==", "[A-Z=\n_-]{0,5}"], 0..6)) {
        check_text(letters.concat().as_bytes(), group);
    }

    #[test]
    fn media_types_of_any_kind(text in "(application/grpc-web|Application/GRPC-web-text|application/grpc)(\\+[a-z]{0,5})?( ?;.{0,5})?") {
        check_media_type(text.as_bytes());
    }

    #[test]
    fn messages_of_any_kind(fields in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..12)), 0..8)) {
        let mut bytes = Vec::new();
        for (tag, value) in fields {
            bytes.push(tag & 0x7f);
            if tag & 7 == 2 {
                bytes.push(value.len() as u8);
            }
            bytes.extend(value);
        }
        check_message(&bytes);
    }
}
