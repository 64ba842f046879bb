//! gRPC-Web: what a gRPC call looks like to a client that has no trailers ("gRPC Web", PROTOCOL-WEB). The messages are
//! those of gRPC; trailers come as a last frame of the body, and in the text form the body is base64, in segments that
//! may each be padded.

use crate::head::Fields;

/// How a client wants the bytes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Binary,
    /// As base64.
    Text,
}

/// The type of a call in HTTP/2.
const CALL: &[u8] = b"application/grpc";
const WEB: &[u8] = b"application/grpc-web";
/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

impl Form {
    /// What a media type says, with what follows it: nothing, or `+` and the kind of its messages. `None`: it is not
    /// that of gRPC-Web. Parameters are passed over.
    pub fn of(media_type: &[u8]) -> Option<(Form, &[u8])> {
        let end = memchr::memchr(b';', media_type).unwrap_or(media_type.len());
        let media_type = media_type.get(..end)?.trim_ascii_end();
        let rest = strip_prefix(media_type, WEB)?;
        let (form, messages) = match strip_prefix(rest, b"-text") {
            Some(messages) => (Form::Text, messages),
            None => (Form::Binary, rest),
        };
        matches!(messages.first(), None | Some(b'+')).then_some((form, messages))
    }

    /// The type of a call over HTTP/2 whose messages are of this kind (`+proto`, or nothing).
    pub fn call_type(messages: &[u8]) -> Vec<u8> {
        [CALL, messages].concat()
    }

    /// The type of the answer to a call whose type over HTTP/2 is this one; `None`: that is no call's. Clients want the
    /// kind of messages said.
    pub fn answer_type(self, call_type: &[u8]) -> Option<Vec<u8>> {
        let messages = match strip_prefix(call_type, CALL)? {
            b"" => &b"+proto"[..],
            messages if messages.starts_with(b"+") => messages,
            _ => return None,
        };
        let form: &[u8] = if self == Form::Text { b"-text" } else { b"" };
        Some([WEB, form, messages].concat())
    }
}

/// Without its beginning, whose letters may be large or small.
fn strip_prefix<'t>(text: &'t [u8], prefix: &[u8]) -> Option<&'t [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Appends the frame that says the trailers, which ends a body.
pub fn encode_trailers(trailers: Option<&Fields>, to: &mut Vec<u8>) {
    let head = to.len();
    to.extend_from_slice(&[TRAILERS, 0, 0, 0, 0]);
    for (_, name, value) in trailers.into_iter().flat_map(Fields::iter) {
        for part in [name, b":", value, b"\r\n"] {
            to.extend_from_slice(part);
        }
    }
    // Trailers are bounded far below 4 GiB.
    let length = u32::try_from(to.len() - head - 5).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = to.get_mut(head + 1..head + 5) {
        place.copy_from_slice(&length);
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends one padded segment.
pub fn encode_text(bytes: &[u8], to: &mut Vec<u8>) {
    to.reserve(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |index: usize| three.get(index).copied().unwrap_or(0);
        let bits = u32::from_be_bytes([0, at(0), at(1), at(2)]);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = ALPHABET.get((bits >> shift) as usize & 63).copied().unwrap_or(b'=');
            to.push(if index <= three.len() { letter } else { b'=' });
        }
    }
}

/// The bytes are not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadText;

/// Reads segments of base64, however they are cut.
#[derive(Debug, Default)]
pub struct TextDecoder {
    /// Bits of a group of four letters that is not complete.
    bits: u32,
    /// Its letters, and how many of them only pad.
    letters: u8,
    padding: u8,
}

impl TextDecoder {
    /// Appends what `text` goes on with.
    ///
    /// # Errors
    /// A letter that base64 has not, or padding where there can be none.
    pub fn decode(&mut self, text: &[u8], to: &mut Vec<u8>) -> Result<(), BadText> {
        to.reserve(text.len() / 4 * 3 + 3);
        for letter in text {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if self.letters >= 2 => {
                    self.padding += 1;
                    0
                }
                _ => return Err(BadText),
            };
            if self.padding > 0 && *letter != b'=' {
                return Err(BadText);
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.letters += 1;
            if self.letters == 4 {
                let [_, bytes @ ..] = self.bits.to_be_bytes();
                to.extend_from_slice(bytes.get(..3 - usize::from(self.padding)).unwrap_or_default());
                *self = TextDecoder::default();
            }
        }
        Ok(())
    }

    /// The text has ended.
    ///
    /// # Errors
    /// In the middle of a group.
    pub fn finish(&self) -> Result<(), BadText> {
        if self.letters == 0 { Ok(()) } else { Err(BadText) }
    }
}

#[cfg(test)]
#[path = "grpc_web_tests.rs"]
mod tests;
