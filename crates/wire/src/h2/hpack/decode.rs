//! Header blocks to field lines.

use super::huffman;
use super::table::{Line, OVERHEAD, STATIC, Table};
use super::{TABLE_BYTES, Undecodable};
use crate::h1::is_token_byte;
use crate::head::Known;

/// One direction's table.
pub(in crate::h2) struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    pub(in crate::h2) fn new() -> Decoder {
        Decoder { table: Table::new(TABLE_BYTES), name: Vec::new(), value: Vec::new() }
    }

    /// Decodes a whole block, a line at a time. False: given up, since its lines come to more than `most` bytes, 32 more
    /// counted for each. A byte or three can stand for thousands, so the size of the block bounds nothing.
    pub(in crate::h2) fn decode(
        &mut self,
        block: &[u8],
        most: usize,
        mut each: impl FnMut(Line<'_>),
    ) -> Result<bool, Undecodable> {
        let mut rest = block;
        let mut begun = false;
        let mut size = 0;
        let mut each = |line: Line<'_>| {
            size += line.name.len() + line.value.len() + OVERHEAD;
            each(line);
            size <= most
        };
        while let Some(first) = rest.first().copied() {
            let on;
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                on = each(self.indexed(index)?);
            } else if first & 0xc0 == 0x40 {
                on = self.literal(&mut rest, 6, true, &mut each)?;
            } else if first & 0xe0 == 0x20 {
                // A change of size stands at the beginning of a block (RFC 7541 4.2).
                let size = integer(&mut rest, 5)?;
                if begun || size > TABLE_BYTES {
                    return Err(Undecodable);
                }
                self.table.set_max(size);
                continue;
            } else {
                on = self.literal(&mut rest, 4, false, &mut each)?;
            }
            if !on {
                return Ok(false);
            }
            begun = true;
        }
        Ok(true)
    }

    fn indexed(&self, index: usize) -> Result<Line<'_>, Undecodable> {
        match index.checked_sub(STATIC.len() + 1) {
            Some(age) => self.table.get(age).ok_or(Undecodable),
            None => static_line(index),
        }
    }

    /// A literal, with its name in a table or not.
    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix: u32,
        insert: bool,
        each: &mut impl FnMut(Line<'_>) -> bool,
    ) -> Result<bool, Undecodable> {
        let index = integer(rest, prefix)?;
        self.name.clear();
        self.value.clear();
        let (known, name_sound, name) = if index == 0 {
            let name = string(rest, &mut self.name)?;
            (Known::of(name), is_name(name), name)
        } else {
            // Copied, since inserting may evict the entry that it stands in.
            let line = match index.checked_sub(STATIC.len() + 1) {
                Some(age) => self.table.get(age).ok_or(Undecodable)?,
                None => static_line(index)?,
            };
            self.name.extend_from_slice(line.name);
            (line.known, is_name(line.name), &self.name[..])
        };
        let value = string(rest, &mut self.value)?;
        let line = Line { known, sound: name_sound && is_value(value), name, value };
        if insert {
            self.table.insert(line);
        }
        Ok(each(line))
    }
}

fn static_line(index: usize) -> Result<Line<'static>, Undecodable> {
    let (name, value) = *index.checked_sub(1).and_then(|at| STATIC.get(at)).ok_or(Undecodable)?;
    Ok(Line { known: Known::of(name), sound: true, name, value })
}

/// An integer with a prefix of so many bits (RFC 7541 5.1).
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Undecodable> {
    let (first, mut more) = rest.split_first().ok_or(Undecodable)?;
    let mask = (1usize << prefix) - 1;
    let mut number = usize::from(*first) & mask;
    if number == mask {
        let mut shift = 0;
        loop {
            let (byte, next) = more.split_first().ok_or(Undecodable)?;
            more = next;
            // Nothing in a block is counted beyond 28 bits.
            if shift > 21 {
                return Err(Undecodable);
            }
            number += (usize::from(*byte) & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = more;
    Ok(number)
}

/// A string, decoded into `scratch` if it has to be (RFC 7541 5.2).
fn string<'a, 'b: 'a>(rest: &mut &'b [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Undecodable> {
    let huffman = rest.first().ok_or(Undecodable)? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, more) = rest.split_at_checked(length).ok_or(Undecodable)?;
    *rest = more;
    if huffman {
        huffman::decode(text, scratch)?;
        return Ok(scratch);
    }
    Ok(text)
}

const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_token_byte(byte as u8) && !(byte as u8).is_ascii_uppercase();
        byte += 1;
    }
    table
};

/// A token in lower case, or the name of a pseudo-header field (RFC 9113 8.2.1, 8.3).
pub(in crate::h2) fn is_name(name: &[u8]) -> bool {
    let plain = name.strip_prefix(b":").unwrap_or(name);
    !plain.is_empty() && plain.iter().all(|byte| NAME_BYTES[usize::from(*byte)])
}

/// No control characters but tabs (RFC 9110 5.5).
pub(in crate::h2) fn is_value(value: &[u8]) -> bool {
    // Without a branch, so that it is done many bytes at a time.
    value.iter().fold(true, |ok, byte| ok & (*byte >= 0x20 && *byte != 0x7f || *byte == b'\t'))
}
