//! What clients say of a trace and what origins are told: B3 (several header fields) and W3C's `traceparent`.

use limen_wire::head::Fields;

use crate::observe::TraceIds;

/// Which header fields speak of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialects {
    /// `x-b3-*`
    pub(crate) b3: bool,
    /// `traceparent`
    pub(crate) w3c: bool,
}

/// What a client says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The trace and the client's span, if it is in one.
    pub(crate) ids: Option<TraceIds>,
    /// Whether it is traced, if that is decided.
    pub(crate) sampled: Option<bool>,
}

/// What the fields say. A trace that is not written as it must be is none.
pub(crate) fn read(fields: &Fields, dialects: Dialects) -> Heard {
    let b3 = if dialects.b3 { read_b3(fields) } else { Heard::default() };
    if b3.ids.is_some() || !dialects.w3c {
        return b3;
    }
    match fields.get(b"traceparent").and_then(read_w3c) {
        Some(heard) => heard,
        None => b3,
    }
}

fn read_b3(fields: &Fields) -> Heard {
    let flags = fields.get(b"x-b3-flags") == Some(b"1");
    let sampled = match fields.get(b"x-b3-sampled") {
        Some(b"1" | b"true") => Some(true),
        Some(b"0" | b"false") => Some(false),
        _ => None,
    };
    let ids = || {
        let trace = fields.get(b"x-b3-traceid")?;
        let span = hex(fields.get(b"x-b3-spanid")?, 16)?;
        let (high, low) = match trace.len() {
            32 => (hex(trace.get(..16)?, 16)?, hex(trace.get(16..)?, 16)?),
            _ => (0, hex(trace, 16)?),
        };
        (low != 0 || high != 0).then_some(TraceIds { high, low, short: trace.len() != 32, span })
    };
    Heard { ids: ids(), sampled: if flags { Some(true) } else { sampled } }
}

/// `version-trace-span-flags` (W3C Trace Context 3.2).
fn read_w3c(text: &[u8]) -> Option<Heard> {
    let mut parts = text.split(|byte| *byte == b'-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let known = version == b"00" && parts.next().is_none();
    if trace.len() != 32 || span.len() != 16 || flags.len() != 2 || version == b"ff" || version.len() != 2 {
        return None;
    }
    if !known && version == b"00" {
        return None;
    }
    let (high, low) = (hex(trace.get(..16)?, 16)?, hex(trace.get(16..)?, 16)?);
    let (span, flags) = (hex(span, 16)?, hex(flags, 2)?);
    if (high, low) == (0, 0) || span == 0 {
        return None;
    }
    Some(Heard { ids: Some(TraceIds { high, low, short: false, span }), sampled: Some(flags & 1 == 1) })
}

/// A number of at most so many hexadecimal digits.
fn hex(digits: &[u8], most: usize) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| (1..=most).contains(&text.len()))?;
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, 16).ok())?
}

/// Tells the next one of its span and the one that it is a part of.
pub(crate) fn write(fields: &mut Fields, ids: TraceIds, parent: u64, sampled: bool, dialects: Dialects) {
    if dialects.b3 {
        fields.set(b"x-b3-traceid", ids.trace().as_bytes());
        fields.set(b"x-b3-spanid", ids.own().as_bytes());
        fields.set(b"x-b3-parentspanid", format!("{parent:016x}").as_bytes());
        fields.set(b"x-b3-sampled", if sampled { b"1" } else { b"0" });
    }
    if dialects.w3c {
        let text = format!("00-{}-{}-0{}", ids.long(), ids.own(), u8::from(sampled));
        fields.set(b"traceparent", text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[(&str, &str)], b3: bool, w3c: bool) -> Heard {
        let mut fields = Fields::default();
        lines.iter().for_each(|(name, value)| fields.add(name.as_bytes(), value.as_bytes()));
        read(&fields, Dialects { b3, w3c })
    }

    #[test]
    fn what_clients_say_is_understood_or_is_nothing() {
        let long = TraceIds {
            high: 0x0af7651916cd43dd,
            low: 0x8448eb211c80319c,
            short: false,
            span: 0xb7ad6b7169203331,
        };
        let w3c = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(
            heard(&[("traceparent", w3c)], false, true),
            Heard { ids: Some(long), sampled: Some(true) }
        );
        assert_eq!(heard(&[("traceparent", w3c)], true, false), Heard::default(), "not asked for");
        let b3 = [
            ("x-b3-traceid", "8448eb211c80319c"),
            ("x-b3-spanid", "b7ad6b7169203331"),
            ("x-b3-sampled", "0"),
        ];
        let short = TraceIds { high: 0, short: true, ..long };
        assert_eq!(heard(&b3, true, true), Heard { ids: Some(short), sampled: Some(false) });
        assert_eq!(heard(&[("x-b3-flags", "1")], true, false), Heard { ids: None, sampled: Some(true) });
        for wrong in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        ] {
            assert_eq!(heard(&[("traceparent", wrong)], false, true), Heard::default(), "{wrong}");
        }
        assert_eq!(
            heard(&[("x-b3-traceid", "+448eb211c80319c"), ("x-b3-spanid", "1")], true, false).ids,
            None
        );
    }
}
