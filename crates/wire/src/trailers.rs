//! Fields that come after a body (RFC 9110 6.5).

use crate::head::{Fields, Known};

/// Whether a field may stand there (RFC 9110 6.5.1): not one of framing, routing or authentication.
pub(crate) fn may_trail(known: Known, name: &[u8]) -> bool {
    !known.is_per_hop()
        && !matches!(name, b"authorization" | b"cookie" | b"set-cookie" | b"proxy-authorization")
        && !name.starts_with(b"x-forwarded-")
        && !name.starts_with(b"content-")
}

/// The fields of the lines that [`crate::h1::BodyDecoder`] found after the last chunk and checked; those that may not be
/// trailers are left out.
pub(crate) fn parse(lines: &[u8]) -> Fields {
    let mut fields = Fields::default();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = line[..colon].to_ascii_lowercase();
        if may_trail(Known::of(&name), &name) {
            fields.add(&name, line[colon + 1..].trim_ascii());
        }
    }
    fields
}
