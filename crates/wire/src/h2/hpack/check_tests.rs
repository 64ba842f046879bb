//! What must hold of any header blocks; the tests and the fuzz target share it.

use super::super::{Decoder, Encoder, is_name, is_value};
use crate::head::Known;

/// Bytes that the lines of a block may come to.
const MOST: usize = 64 * 1024;

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// All that must hold of the blocks that one connection carries. `other` is another decoder, which is given each of them;
/// `None` if it cannot decode one.
pub(crate) fn check(blocks: &[&[u8]], mut other: impl FnMut(&[u8]) -> Option<Lines>) {
    let (mut decoder, mut encoder, mut peer) = (Decoder::new(), Encoder::new(), Decoder::new());
    for block in blocks {
        let mut seen: Lines = Vec::new();
        let decoded = decoder.decode(block, MOST, |line| {
            assert_eq!(line.known, Known::of(line.name));
            let pseudo = line.name.first() == Some(&b':');
            assert_eq!(
                line.sound,
                is_name(line.name) && is_value(line.value),
                "judged rightly, wherever it came from"
            );
            assert!(!line.sound || pseudo || !line.name.iter().any(u8::is_ascii_uppercase));
            seen.push((line.name.to_vec(), line.value.to_vec()));
        });
        let size: usize = seen.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        let before = seen.last().map_or(0, |(name, value)| name.len() + value.len() + 32);
        assert!(size - before <= MOST, "at most a line beyond the limit");
        // The tables of both sides no longer agree, or what was given up is not worth it: nothing more is decoded.
        if decoded != Ok(true) {
            return;
        }
        assert!(size <= MOST);
        assert_eq!(other(block), Some(seen.clone()), "both read the same");
        let mut again = Vec::new();
        encoder.begin(&mut again);
        for (name, value) in &seen {
            encoder.line(Known::of(name), name, value, &mut again);
        }
        let mut read: Lines = Vec::new();
        let decoded =
            peer.decode(&again, usize::MAX, |line| read.push((line.name.to_vec(), line.value.to_vec())));
        assert_eq!((decoded, read), (Ok(true), seen), "what is written is read again");
    }
}
