//! Protobuf: as much of its encoding as the messages need that the gateway sends and hears itself.

/// A message that is being written, field after field. What protobuf takes for granted (0, nothing) is left out.
#[derive(Debug, Default)]
pub struct Message {
    bytes: Vec<u8>,
}

/// What a field's bytes are, in the lowest three bits of its tag.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn tag(&mut self, field: u32, kind: u64) {
        self.varint(u64::from(field) << 3 | kind);
    }

    /// `int32`, `int64`, `bool` and enumerations; those below 0 have ten bytes, as their sign is extended.
    pub fn number(&mut self, field: u32, value: i64) -> &mut Message {
        if value != 0 {
            self.tag(field, VARINT);
            self.varint(value as u64);
        }
        self
    }

    /// `fixed64`.
    pub fn fixed64(&mut self, field: u32, value: u64) -> &mut Message {
        if value != 0 {
            self.tag(field, FIXED64);
            self.bytes.extend(value.to_le_bytes());
        }
        self
    }

    /// `bytes`.
    pub fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Message {
        if !value.is_empty() {
            self.present(field, value);
        }
        self
    }

    /// `string`.
    pub fn text(&mut self, field: u32, value: &str) -> &mut Message {
        self.bytes(field, value.as_bytes())
    }

    /// A message in this one; it is there even if it says nothing.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) -> &mut Message {
        let mut inner = Message::default();
        write(&mut inner);
        self.present(field, &inner.bytes);
        self
    }

    fn present(&mut self, field: u32, value: &[u8]) {
        self.tag(field, BYTES);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Adds it to `body` as a message of gRPC: not compressed, its length before it.
    pub fn frame(&self, body: &mut Vec<u8>) {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        body.push(0);
        body.extend(length.to_be_bytes());
        body.extend_from_slice(&self.bytes);
    }
}

/// A field's value as it is read.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Whatever is written as a varint.
    Number(u64),
    /// Whatever has a length: `bytes`, `string`, messages; and numbers of a fixed length.
    Bytes(&'a [u8]),
}

/// The first field of a message, and what follows it; `None`: there is none, or it is not written as it must be.
pub fn field(bytes: &[u8]) -> Option<(u64, Value<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    let (value, rest) = match tag & 7 {
        VARINT => {
            let (value, rest) = varint(rest)?;
            (Value::Number(value), rest)
        }
        FIXED64 => (Value::Bytes(rest.get(..8)?), rest.get(8..)?),
        BYTES => {
            let (length, rest) = varint(rest)?;
            let length = usize::try_from(length).ok()?;
            (Value::Bytes(rest.get(..length)?), rest.get(length..)?)
        }
        5 => (Value::Bytes(rest.get(..4)?), rest.get(4..)?),
        _ => return None,
    };
    Some((tag >> 3, value, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let (own, rest) = bytes.split_at_checked(end + 1)?;
    let value = own.iter().rev().fold(0, |value: u64, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, rest))
}
