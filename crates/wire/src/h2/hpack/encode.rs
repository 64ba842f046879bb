//! Field lines to header blocks.
//!
//! What repeats from answer to answer is put into the dynamic table the second time it is sent, and takes one byte from
//! then on; what never repeats never gets there. Literals are not Huffman-coded: the code saves the peer a few bytes of
//! the lines that did not repeat, for more work than all the rest of the encoding.

use super::TABLE_BYTES;
use super::table::{Line, STATIC, Table};
use crate::head::Known;

/// Lines remembered, by a hash of theirs. A power of two.
const CELLS: usize = 64;
/// Names remembered.
const NAMES: usize = 16;
/// A longer value is not worth its place in the table.
const LONGEST: usize = 512;

/// What is remembered of a line or a name in the table: its hash, and the number of its entry.
#[derive(Clone, Copy, Default)]
struct Cell {
    hash: u32,
    number: Option<u32>,
}

/// One direction's table.
pub(in crate::h2) struct Encoder {
    table: Table,
    lines: [Cell; CELLS],
    /// Hashes of lines that were sent and not kept. They are apart, so that what never repeats cannot drive out what does.
    seen: [u32; CELLS],
    names: [Cell; NAMES],
    /// The smallest size since the last block, if the peer changed it, to be announced with the present one.
    resized: Option<usize>,
}

impl Encoder {
    pub(in crate::h2) fn new() -> Encoder {
        Encoder {
            table: Table::new(TABLE_BYTES),
            lines: [Cell::default(); CELLS],
            seen: [0; CELLS],
            names: [Cell::default(); NAMES],
            resized: None,
        }
    }

    /// The peer allows a table of this size (SETTINGS_HEADER_TABLE_SIZE).
    pub(in crate::h2) fn set_max(&mut self, size: usize) {
        let size = size.min(TABLE_BYTES);
        if size != self.table.max() {
            self.resized = Some(self.resized.map_or(size, |smallest| smallest.min(size)));
            self.table.set_max(size);
        }
    }

    /// Begins a block. Every block that is begun must be sent, since the peer's table follows ours.
    pub(in crate::h2) fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.resized.take() {
            let size = self.table.max();
            if smallest < size {
                integer(0x20, 5, smallest, out);
            }
            integer(0x20, 5, size, out);
        }
    }

    /// The `:status` of a response.
    pub(in crate::h2) fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                out.extend_from_slice(&[0x08, 3]);
                let digits = [status / 100 % 10, status / 10 % 10, status % 10];
                out.extend(digits.map(|digit| b'0' + digit as u8));
                return;
            }
        };
        out.push(0x80 | index);
    }

    /// A line whose value is a number that changes: never kept.
    pub(in crate::h2) fn content_length(&mut self, length: u64, out: &mut Vec<u8>) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = length;
        while at == digits.len() || rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        integer(0x00, 4, 28, out);
        string(&digits[at..], out);
    }

    /// Any other line. `name` is lower case.
    pub(in crate::h2) fn line(&mut self, known: Known, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let fixed = static_name(name);
        let (keep, secret) = habit(name, value);
        let mut again = None;
        if keep {
            let hash = hash(hash(0, name), value);
            let at = hash as usize % CELLS;
            let cell = self.lines[at];
            let age = cell.number.filter(|_| cell.hash == hash).and_then(|number| self.table.age(number));
            if let Some(age) = age.filter(|age| self.is(*age, name, value)) {
                return integer(0x80, 7, dynamic(age), out);
            }
            if std::mem::replace(&mut self.seen[at], hash) == hash {
                again = Some(hash);
            }
        }
        let index = fixed.or_else(|| self.name_index(name));
        match again {
            // Sent before: kept from now on.
            Some(hash) => {
                literal(0x40, 6, index, name, value, out);
                self.table.insert(Line { known, sound: true, name, value });
                let number = Some(self.table.inserted());
                self.lines[hash as usize % CELLS] = Cell { hash, number };
                if fixed.is_none() {
                    let hash = self::hash(0, name);
                    self.names[hash as usize % NAMES] = Cell { hash, number };
                }
            }
            None if secret => literal(0x10, 4, index, name, value, out),
            None => literal(0x00, 4, index, name, value, out),
        }
    }

    fn is(&self, age: usize, name: &[u8], value: &[u8]) -> bool {
        self.table.get(age).is_some_and(|line| line.name == name && line.value == value)
    }

    /// Where the dynamic table has that name.
    fn name_index(&self, name: &[u8]) -> Option<usize> {
        let hash = hash(0, name);
        let cell = self.names[hash as usize % NAMES];
        let age = self.table.age(cell.number.filter(|_| cell.hash == hash)?)?;
        self.table.get(age).is_some_and(|line| line.name == name).then_some(dynamic(age))
    }
}

/// The index of a dynamic entry.
fn dynamic(age: usize) -> usize {
    STATIC.len() + 1 + age
}

/// Whether a line may be kept in the table, and whether nobody on the way may keep it either (RFC 7541 7.1.3). Lines
/// that differ from answer to answer would only drive out others.
fn habit(name: &[u8], value: &[u8]) -> (bool, bool) {
    match name {
        b"set-cookie" | b"authorization" | b"proxy-authorization" => (false, true),
        b"etag" | b"last-modified" | b"location" | b"content-range" | b"age" => (false, false),
        _ => (value.len() <= LONGEST, false),
    }
}

/// The names of the static table that responses have.
fn static_name(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"accept-ranges" => 18,
        b"access-control-allow-origin" => 20,
        b"age" => 21,
        b"allow" => 22,
        b"cache-control" => 24,
        b"content-disposition" => 25,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-location" => 29,
        b"content-range" => 30,
        b"content-type" => 31,
        b"date" => 33,
        b"etag" => 34,
        b"expires" => 36,
        b"last-modified" => 44,
        b"link" => 45,
        b"location" => 46,
        b"retry-after" => 53,
        b"server" => 54,
        b"set-cookie" => 55,
        b"strict-transport-security" => 56,
        b"vary" => 59,
        b"via" => 60,
        b"www-authenticate" => 61,
        _ => return None,
    })
}

fn literal(kind: u8, prefix: u32, index: Option<usize>, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    match index {
        Some(index) => integer(kind, prefix, index, out),
        None => {
            out.push(kind);
            string(name, out);
        }
    }
    string(value, out);
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    integer(0, 7, text.len(), out);
    out.extend_from_slice(text);
}

/// An integer behind `kind`, with a prefix of so many bits (RFC 7541 5.1).
fn integer(kind: u8, prefix: u32, number: usize, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if number < mask {
        return out.push(kind | number as u8);
    }
    out.push(kind | mask as u8);
    let mut rest = number - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A hash that finds lines again; two lines may share one, so what is found is compared.
fn hash(seed: u32, text: &[u8]) -> u32 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = u64::from(seed) ^ text.len() as u64;
    let mut words = text.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        state = (state ^ word).wrapping_mul(MIX).rotate_left(29);
    }
    let tail = words.remainder().iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
    state = (state ^ tail).wrapping_mul(MIX);
    (state >> 32) as u32
}
