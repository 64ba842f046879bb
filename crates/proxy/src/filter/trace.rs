//! What clients say of a trace and what origins are told: B3 (several header fields), W3C's `traceparent`, Datadog's
//! fields and SkyWalking's `sw8`.

mod sw8;

use limen_wire::head::{Fields, Span};

use crate::observe::TraceIds;
use crate::observe::spans::{Segment, SegmentParent};

/// Which header fields speak of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `x-b3-*`
    B3 {
        /// `traceparent` as well.
        w3c: bool,
    },
    /// `traceparent`
    W3c,
    /// `x-datadog-*`
    Datadog,
    /// `sw8`
    SkyWalking,
}

/// What a client says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The trace and the client's span, if it is in one.
    pub(crate) ids: Option<TraceIds>,
    /// Whether it is traced, if that is decided.
    pub(crate) sampled: Option<bool>,
    /// The client's part of a trace of SkyWalking's, whose names are no numbers.
    pub(crate) segment: Option<SegmentParent>,
}

/// What the fields say. A trace that is not written as it must be is none.
pub(crate) fn read(fields: &Fields, dialect: Dialect) -> Heard {
    let w3c = || fields.get(b"traceparent").and_then(read_w3c);
    match dialect {
        Dialect::B3 { w3c: also } => {
            let heard = read_b3(fields);
            if heard.ids.is_none() && also { w3c().unwrap_or(heard) } else { heard }
        }
        Dialect::W3c => w3c().unwrap_or_default(),
        Dialect::Datadog => read_datadog(fields),
        Dialect::SkyWalking => fields.get(sw8::NAME).and_then(sw8::read).unwrap_or_default(),
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
    Heard { ids: ids(), sampled: if flags { Some(true) } else { sampled }, segment: None }
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
    let ids = TraceIds { high, low, short: false, span };
    Some(Heard { ids: Some(ids), sampled: Some(flags & 1 == 1), segment: None })
}

const DATADOG_TRACE: &[u8] = b"x-datadog-trace-id";
const DATADOG_PARENT: &[u8] = b"x-datadog-parent-id";
const DATADOG_PRIORITY: &[u8] = b"x-datadog-sampling-priority";

/// Ids are decimal, and a priority above 0 keeps a trace.
fn read_datadog(fields: &Fields) -> Heard {
    let number =
        |name| std::str::from_utf8(fields.get(name)?).ok()?.parse::<u64>().ok().filter(|id| *id != 0);
    let ids = || {
        let (low, span) = (number(DATADOG_TRACE)?, number(DATADOG_PARENT)?);
        Some(TraceIds { high: 0, low, short: true, span })
    };
    Heard { ids: ids(), sampled: kept(fields), segment: None }
}

fn kept(fields: &Fields) -> Option<bool> {
    let priority = std::str::from_utf8(fields.get(DATADOG_PRIORITY)?).ok()?.parse::<i8>().ok()?;
    Some(priority > 0)
}

/// A number of at most so many hexadecimal digits.
fn hex(digits: &[u8], most: usize) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| (1..=most).contains(&text.len()))?;
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, 16).ok())?
}

/// What the next one is told.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    /// The trace, and the span that the request is sent in.
    pub(crate) ids: TraceIds,
    /// The span that it is a part of.
    pub(crate) parent: u64,
    pub(crate) sampled: bool,
    /// SkyWalking: the request's segment, the number of the span in it, and who we are.
    pub(crate) segment: Option<Place<'a>>,
}

/// A span's place in what SkyWalking knows.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) number: u32,
    pub(crate) service: &'a str,
    pub(crate) instance: &'a str,
    /// What the request as it came is called.
    pub(crate) endpoint: &'a str,
}

/// Tells the next one of its span and the one that it is a part of. `target`: whom it is
/// sent to, as the fields hold it.
pub(crate) fn write(fields: &mut Fields, told: &Told<'_>, target: Span, dialect: Dialect) {
    let Told { ids, parent, sampled, segment } = told;
    if matches!(dialect, Dialect::B3 { .. }) {
        fields.set(b"x-b3-traceid", ids.trace().as_bytes());
        fields.set(b"x-b3-spanid", ids.own().as_bytes());
        fields.set(b"x-b3-parentspanid", format!("{parent:016x}").as_bytes());
        fields.set(b"x-b3-sampled", if *sampled { b"1" } else { b"0" });
    }
    if matches!(dialect, Dialect::W3c | Dialect::B3 { w3c: true }) {
        let text = format!("00-{}-{}-0{}", ids.long(), ids.own(), u8::from(*sampled));
        fields.set(b"traceparent", text.as_bytes());
    }
    if dialect == Dialect::Datadog {
        fields.set(DATADOG_TRACE, ids.low.to_string().as_bytes());
        fields.set(DATADOG_PARENT, ids.span.to_string().as_bytes());
        // The client's own word is kept as it is: it says who decided, too.
        if kept(fields) != Some(*sampled) {
            fields.set(DATADOG_PRIORITY, if *sampled { b"1" } else { b"0" });
        }
    }
    if let (Dialect::SkyWalking, Some(place)) = (dialect, segment) {
        let value = sw8::write(place, *sampled, fields.text(target));
        fields.set(sw8::NAME, value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B3: Dialect = Dialect::B3 { w3c: false };

    fn heard(lines: &[(&str, &str)], dialect: Dialect) -> Heard {
        let mut fields = Fields::default();
        lines.iter().for_each(|(name, value)| fields.add(name.as_bytes(), value.as_bytes()));
        read(&fields, dialect)
    }

    fn of(ids: Option<TraceIds>, sampled: Option<bool>) -> Heard {
        Heard { ids, sampled, segment: None }
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
        assert_eq!(heard(&[("traceparent", w3c)], Dialect::W3c), of(Some(long), Some(true)));
        assert_eq!(heard(&[("traceparent", w3c)], B3), Heard::default(), "not asked for");
        let b3 = [
            ("x-b3-traceid", "8448eb211c80319c"),
            ("x-b3-spanid", "b7ad6b7169203331"),
            ("x-b3-sampled", "0"),
        ];
        let short = TraceIds { high: 0, short: true, ..long };
        assert_eq!(heard(&b3, Dialect::B3 { w3c: true }), of(Some(short), Some(false)));
        assert_eq!(heard(&[("x-b3-flags", "1")], B3), of(None, Some(true)));
        for wrong in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        ] {
            assert_eq!(heard(&[("traceparent", wrong)], Dialect::W3c), Heard::default(), "{wrong}");
        }
        assert_eq!(heard(&[("x-b3-traceid", "+448eb211c80319c"), ("x-b3-spanid", "1")], B3).ids, None);
        let (trace, priority) = ("x-datadog-trace-id", "x-datadog-sampling-priority");
        let datadog = |trace_id, kept| {
            heard(&[(trace, trace_id), ("x-datadog-parent-id", "7"), (priority, kept)], Dialect::Datadog)
        };
        let ids = TraceIds { high: 0, low: u64::MAX, short: true, span: 7 };
        assert_eq!(datadog("18446744073709551615", "2"), of(Some(ids), Some(true)));
        assert_eq!(datadog("18446744073709551616", "-1"), of(None, Some(false)));
        assert_eq!(datadog("0", "much"), Heard::default());
    }
}
