//! The Huffman code of RFC 7541, appendix B. It is canonical, so the lengths of the codes say everything.

use super::Undecodable;

/// Length in bits of the code of each byte; the last is the end-of-string symbol, which may not be sent.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The longest code.
const LONGEST: usize = 30;
/// Codes up to this long are found by one look.
const SHORT: usize = 9;

/// Symbols ordered by their codes, and where each length begins.
struct Canon {
    symbols: [u16; 257],
    /// The first code of each length, and the place of its symbol.
    first: [(u32, u16); LONGEST + 2],
    /// How many codes have that length.
    count: [u16; LONGEST + 2],
    /// By the next `SHORT` bits: symbol and length of the code, 0 for a longer one.
    short: [(u8, u8); 1 << SHORT],
}

const CANON: Canon = {
    let mut canon = Canon {
        symbols: [0; 257],
        first: [(0, 0); LONGEST + 2],
        count: [0; LONGEST + 2],
        short: [(0, 0); 1 << SHORT],
    };
    let (mut length, mut code, mut place) = (1, 0u32, 0u16);
    while length <= LONGEST {
        canon.first[length] = (code, place);
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                canon.symbols[place as usize] = symbol as u16;
                if length <= SHORT {
                    let mut at = (code as usize) << (SHORT - length);
                    while at < (code as usize + 1) << (SHORT - length) {
                        canon.short[at] = (symbol as u8, length as u8);
                        at += 1;
                    }
                }
                canon.count[length] += 1;
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    canon
};

static TABLE: Canon = CANON;

/// Appends what `coded` says.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
    out.reserve(coded.len() * 8 / 5 + 1);
    // The next bits stand at the top; `held` of them are real.
    let (mut bits, mut held) = (0u64, 0u32);
    let mut coded = coded.iter();
    loop {
        while held <= 56 {
            let Some(byte) = coded.next() else { break };
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        if held == 0 {
            return Ok(());
        }
        let (symbol, length) = TABLE.short[(bits >> (64 - SHORT)) as usize];
        let (symbol, length) = if length == 0 { long(bits) } else { (u16::from(symbol), u32::from(length)) };
        if length > held || symbol == 256 {
            // Padding: fewer than eight bits, all ones, the beginning of the end-of-string code.
            let padded = held < 8 && bits >> (64 - held) == (1 << held) - 1;
            return if padded { Ok(()) } else { Err(Undecodable) };
        }
        out.push(symbol as u8);
        bits <<= length;
        held -= length;
    }
}

/// Symbol and length of a code that is longer than `SHORT`.
fn long(bits: u64) -> (u16, u32) {
    for length in SHORT + 1..=LONGEST {
        let code = (bits >> (64 - length)) as u32;
        let (first, place) = TABLE.first[length];
        let offset = code.wrapping_sub(first);
        if offset < u32::from(TABLE.count[length]) {
            return (TABLE.symbols[usize::from(place) + offset as usize], length as u32);
        }
    }
    // The code is complete: every sequence of thirty bits begins with one.
    (256, LONGEST as u32)
}
