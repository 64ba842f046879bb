//! Bodies: by length, in chunks, or until the connection closes (RFC 9112 6 and 7).

use std::ops::Range;

use crate::head::{BodyLength, Fields};

use super::fields::is_token_byte;

/// Bytes of chunk extensions in one body.
pub const MAX_EXTENSION_BYTES: u32 = 16 * 1024;
/// Bytes of trailer lines in one body.
pub const MAX_TRAILER_BYTES: u32 = 8 * 1024;
/// Hexadecimal digits of a chunk size: 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;

/// Why a body was refused. The connection must be closed: nobody knows where the next message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Malformed chunked coding; names the rule.
    #[error("malformed chunked body: {0}")]
    Bad(&'static str),
    /// Chunk extensions of more than [`MAX_EXTENSION_BYTES`].
    #[error("chunk extensions too large")]
    ExtensionsTooLarge,
    /// Trailers of more than [`MAX_TRAILER_BYTES`], or of more fields than a head may have.
    #[error("trailers too large")]
    TrailersTooLarge,
    /// The connection closed before the end of the body.
    #[error("connection closed within the body")]
    Truncated,
}

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes of the input are dealt with.
    pub consumed: usize,
    /// Which of them are body data; may be empty.
    pub data: Range<usize>,
    /// Which of them are trailer lines, for [`parse_trailers`]; a later call may have more of them. Mostly empty.
    pub trailers: Range<usize>,
    /// The body is complete; what follows belongs to the next message.
    pub done: bool,
}

/// Finds the data in the bytes of one body. Small enough to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of extensions seen.
    extension_bytes: u32,
    /// Bytes of trailer lines seen.
    trailer_bytes: u32,
}

/// ```text
/// Length ───────────────────────────────────────────────► Done
/// UntilClose ── (closed) ───────────────────────────────► Done
/// Size ─► [Extension] ─► SizeLf ─► Data ─► DataCr ─► DataLf ─► Size
///                          │ (size 0)
///                          └─► TrailerStart ─► EndLf ───► Done
///                                 ▲   └─► TrailerName ─► TrailerValue ─► TrailerLf ─┐
///                                 └─────────────────────────────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    Length {
        left: u64,
    },
    UntilClose,
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    TrailerStart,
    /// So many bytes of a name, and which names of [`NEVER_LAST`] begin with them.
    TrailerName {
        length: u8,
        like: u8,
    },
    TrailerValue,
    TrailerLf,
    EndLf,
}

impl State {
    fn is_trailer(self) -> bool {
        matches!(
            self,
            State::TrailerStart | State::TrailerName { .. } | State::TrailerValue | State::TrailerLf
        )
    }
}

/// The fields of all trailer lines of one body; those that may not stand there (RFC 9110 6.5.1) are left out.
///
/// # Errors
/// [`BodyError::TrailersTooLarge`] if there are more lines than `max_fields`.
pub fn parse_trailers(lines: &[u8], max_fields: usize) -> Result<Fields, BodyError> {
    if memchr::memchr_iter(b'\n', lines).count() > max_fields {
        return Err(BodyError::TrailersTooLarge);
    }
    Ok(crate::trailers::parse(lines))
}

impl BodyDecoder {
    /// A decoder for a body that is delimited so.
    pub fn new(length: BodyLength) -> BodyDecoder {
        let state = match length {
            BodyLength::None | BodyLength::Known(0) => State::Done,
            BodyLength::Known(left) => State::Length { left },
            BodyLength::Marked => State::Size { size: 0, digits: 0 },
            BodyLength::UntilClose => State::UntilClose,
        };
        BodyDecoder { state, extension_bytes: 0, trailer_bytes: 0 }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes from the front of `input`: one contiguous piece of data at most, with the framing around it. Call again
    /// with the rest of the input while some of it was consumed and the body is not done. Trailers are
    /// checked and pointed out.
    ///
    /// # Errors
    /// See [`BodyError`]; later calls then fail or stay where they are.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, BodyError> {
        let mut at = 0;
        let mut data = 0..0;
        let mut trailers = 0..0;
        while at < input.len() {
            let rest = input.len() - at;
            let left = match &mut self.state {
                State::Done => break,
                State::UntilClose => {
                    return Ok(Decoded { consumed: at + rest, data: at..at + rest, trailers, done: false });
                }
                State::Length { left } | State::Data { left } => left,
                state => {
                    if state.is_trailer() && (input[at] != b'\r' || *state != State::TrailerStart) {
                        trailers = if trailers.is_empty() { at..at + 1 } else { trailers.start..at + 1 };
                    }
                    self.state = self.step(input[at])?;
                    at += 1;
                    continue;
                }
            };
            if !data.is_empty() {
                break;
            }
            let take = usize::try_from(*left).map_or(rest, |left| left.min(rest));
            *left -= take as u64;
            let complete = *left == 0;
            data = at..at + take;
            at += take;
            if complete {
                self.state =
                    if matches!(self.state, State::Data { .. }) { State::DataCr } else { State::Done };
            }
        }
        Ok(Decoded { consumed: at, data, trailers, done: self.is_done() })
    }

    /// The peer closed the connection.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] if more was to come. Only a body that ends with the connection is then complete.
    pub fn finish_at_close(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }

    /// The state after one byte of chunked framing.
    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        let bad = |rule| Err(BodyError::Bad(rule));
        match (self.state, byte) {
            (State::Size { digits: 0, .. }, b'\r' | b';') => bad("empty chunk size"),
            (State::Size { size, .. }, b'\r') => Ok(State::SizeLf { size }),
            (State::Size { size, .. }, b';') => Ok(State::Extension { size }),
            (State::Size { size, digits }, _) => match char::from(byte).to_digit(16) {
                Some(_) if digits == MAX_SIZE_DIGITS => bad("chunk size of more than 16 digits"),
                Some(digit) => Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }),
                None => bad("chunk size"),
            },
            (State::Extension { size }, b'\r') => Ok(State::SizeLf { size }),
            (State::Extension { size }, _) if is_text(byte) => {
                self.extension_bytes += 1;
                if self.extension_bytes > MAX_EXTENSION_BYTES {
                    return Err(BodyError::ExtensionsTooLarge);
                }
                Ok(State::Extension { size })
            }
            (State::Extension { .. }, _) => bad("control byte in a chunk extension"),
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::TrailerStart),
            (State::SizeLf { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { size: 0, digits: 0 }),
            (State::DataCr | State::DataLf, _) => bad("chunk data not followed by a line end"),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::SizeLf { .. } | State::TrailerLf | State::EndLf, byte) if byte != b'\n' => {
                bad("carriage return without line feed")
            }
            _ => self.trailer(byte),
        }
    }

    /// The state after one byte of a trailer line.
    fn trailer(&mut self, byte: u8) -> Result<State, BodyError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MAX_TRAILER_BYTES {
            return Err(BodyError::TrailersTooLarge);
        }
        match (self.state, byte) {
            (State::TrailerStart, _) if is_token_byte(byte) => Ok(name_goes_on(0, u8::MAX, byte)),
            (State::TrailerName { length, like }, _) if is_token_byte(byte) => {
                Ok(name_goes_on(length, like, byte))
            }
            (State::TrailerName { length, like }, b':') => {
                let mut whole = NEVER_LAST.iter().enumerate();
                if whole.any(|(at, name)| like & 1 << at != 0 && name.len() == usize::from(length)) {
                    return Err(BodyError::Bad("framing or routing field in the trailers"));
                }
                Ok(State::TrailerValue)
            }
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_text(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            _ => Err(BodyError::Bad("trailer line")),
        }
    }
}

/// Where a message ends and whom it is for must be known before its body: whoever takes these from trailers reads another
/// message than we do. Other fields that may not stand there do no harm, and are left out.
const NEVER_LAST: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];

/// The state within a trailer's name after one byte more.
fn name_goes_on(length: u8, like: u8, byte: u8) -> State {
    let goes_on = |name: &[u8]| name.get(usize::from(length)) == Some(&byte.to_ascii_lowercase());
    let still = NEVER_LAST.iter().enumerate().filter(|(_, name)| goes_on(name)).map(|(at, _)| 1 << at);
    State::TrailerName {
        length: length.saturating_add(1),
        like: like & still.fold(0, |all, one: u8| all | one),
    }
}

/// Bytes of field values and of chunk extensions (RFC 9110 5.5): tab, visible ASCII, space, and whatever is not ASCII.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
