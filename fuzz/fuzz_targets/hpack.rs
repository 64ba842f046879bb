//! Header compression: blocks of one connection, each behind a byte that is its length. The decoder is private to the
//! codec, so its sources are compiled here again; another decoder reads the same.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the codec uses all of it")]

use fluke_hpack::decoder::DecoderError;

mod head {
    pub(crate) use limen_wire::head::Known;
}

mod h1 {
    pub(crate) const fn is_token_byte(byte: u8) -> bool {
        matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
            || byte.is_ascii_alphanumeric()
    }
}

#[path = "hpack/h2.rs"]
mod h2;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (mut blocks, mut rest) = (Vec::new(), input);
    while let Some((length, after)) = rest.split_first() {
        let (block, after) = after.split_at(after.len().min(usize::from(*length)));
        blocks.push(block);
        rest = after;
    }
    let mut other = fluke_hpack::Decoder::new();
    other.set_max_allowed_table_size(4096);
    h2::check(&blocks, |block| match other.decode(block) {
        Ok(lines) => Some(lines),
        // It wants a line after a change of size, which nobody has to send; the change it has made.
        Err(DecoderError::SizeUpdateAtEnd) => Some(Vec::new()),
        Err(_) => None,
    });
});
