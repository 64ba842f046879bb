//! What must hold of the smaller decoders; the simulations and the fuzz targets share it.

use limen_wire::grpc_web::{BadText, Form, TextDecoder, encode_text};
use limen_wire::protobuf::{Message, Value, field};

fn text(pieces: &[&[u8]]) -> Result<Vec<u8>, BadText> {
    let (mut decoder, mut bytes) = (TextDecoder::default(), Vec::new());
    for piece in pieces {
        decoder.decode(piece, &mut bytes)?;
    }
    decoder.finish().map(|()| bytes)
}

/// All that must hold of the text of a gRPC-Web call; `group` is another decoder, of four letters.
pub(crate) fn check_text(input: &[u8], group: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let whole = text(&[input]);
    for cut in 0..=input.len() {
        assert_eq!(text(&[&input[..cut], &input[cut..]]), whole, "cut at {cut}");
    }
    let groups: Option<Vec<_>> = input.chunks(4).map(group).collect();
    assert_eq!(whole.as_ref().ok(), groups.map(|groups| groups.concat()).as_ref());
    let Ok(bytes) = whole else { return };
    assert!(bytes.len() <= input.len() / 4 * 3);
    let mut again = Vec::new();
    encode_text(&bytes, &mut again);
    assert_eq!(text(&[&again]), Ok(bytes));
}

/// All that must hold of a media type.
pub(crate) fn check_media_type(input: &[u8]) {
    let Some((form, messages)) = Form::of(input) else { return };
    assert!(messages.is_empty() || messages.starts_with(b"+"));
    let call = Form::call_type(messages);
    let answer = form.answer_type(&call).expect("the answer to a call");
    let kind = if messages.is_empty() { b"+proto" } else { messages };
    assert_eq!(Form::of(&answer), Some((form, kind)), "what we answer is of the form that was asked for");
}

/// All that must hold of a message of protobuf.
pub(crate) fn check_message(input: &[u8]) {
    let mut rest = input;
    let mut written = Message::default();
    let mut read = Vec::new();
    while let Some((number, value, more)) = field(rest) {
        assert!(more.len() < rest.len(), "every field takes something");
        assert_eq!(
            plain_field(rest),
            Some((number, &value, more)).map(|(number, value, more)| match value {
                Value::Number(value) => (number, Some(*value), &b""[..], more),
                Value::Bytes(bytes) => (number, None, *bytes, more),
            })
        );
        for end in 0..rest.len() - more.len() {
            assert_eq!(field(&rest[..end]), None, "a field that is cut short");
        }
        if let Ok(number) = u32::try_from(number) {
            match &value {
                Value::Number(0) => {}
                Value::Number(value) => drop(written.number(number, *value as i64)),
                Value::Bytes([]) => {}
                Value::Bytes(bytes) => drop(written.bytes(number, bytes)),
            }
            if !matches!(value, Value::Number(0) | Value::Bytes([])) {
                read.push((u64::from(number), value));
            }
        }
        rest = more;
    }
    let mut framed = Vec::new();
    written.frame(&mut framed);
    let (mut again, mut at) = (&framed[5..], read.iter());
    assert_eq!(framed[1..5], u32::try_from(again.len()).expect("small").to_be_bytes());
    while let Some((number, value, more)) = field(again) {
        assert_eq!(at.next(), Some(&(number, value)), "what is written is read again");
        again = more;
    }
    assert!(again.is_empty() && at.next().is_none());
}

/// A field: its number, its value if it is one, its bytes if it is some, and the rest.
type PlainField<'b> = (u64, Option<u64>, &'b [u8], &'b [u8]);

/// Reads a field by the letter of the specification.
fn plain_field(bytes: &[u8]) -> Option<PlainField<'_>> {
    let varint = |bytes: &[u8]| -> Option<(u64, usize)> {
        let mut value = 0u128;
        for (at, byte) in bytes.iter().take(10).enumerate() {
            value |= u128::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                return Some((value as u64, at + 1));
            }
        }
        None
    };
    let (tag, taken) = varint(bytes)?;
    let rest = &bytes[taken..];
    let (skip, length) = match tag % 8 {
        0 => {
            let (value, taken) = varint(rest)?;
            return Some((tag / 8, Some(value), b"", &rest[taken..]));
        }
        1 => (0, 8),
        2 => {
            let (length, taken) = varint(rest)?;
            (taken, usize::try_from(length).ok()?)
        }
        5 => (0, 4),
        _ => return None,
    };
    let end = skip.checked_add(length)?;
    Some((tag / 8, None, rest.get(skip..end)?, &rest[end..]))
}
