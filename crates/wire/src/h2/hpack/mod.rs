//! Header compression for HTTP/2 (RFC 7541).

mod decode;
mod encode;
mod huffman;
mod table;

#[cfg(test)]
mod tests;

pub(super) use decode::{Decoder, is_name, is_value};
pub(super) use encode::Encoder;
pub(super) use table::Line;

/// Bytes of the dynamic table, either way, unless the settings say otherwise (RFC 7541 4.2, RFC 9113 6.5.2).
pub(super) const TABLE_BYTES: usize = 4096;

/// A block that cannot be decoded; the tables of both sides no longer agree, so the connection must end
/// (COMPRESSION_ERROR, RFC 9113 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable;
