//! Datadog's traces, version 0.4: in MessagePack, a list of lists of spans, one for each trace.

use std::collections::BTreeMap;
use std::convert::Infallible;

use rmp::encode::{
    ByteBuf, ValueWriteError, write_array_len, write_f64, write_map_len, write_sint, write_str, write_uint,
};

use super::{Collector, Span};

/// What Datadog calls every span of a proxy; what it is about is its resource.
const NAME: &str = "envoy.proxy";
/// The sampling priority of what was sampled without anybody asking for it.
const KEPT: f64 = 1.0;

/// The body, and how many traces it has.
pub(super) fn encode(collector: &Collector, spans: &[Span]) -> (Vec<u8>, usize) {
    let mut traces: BTreeMap<u64, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        traces.entry(span.ids.low).or_default().push(span);
    }
    let mut out = ByteBuf::new();
    // Writing into memory does not fail.
    let _ = write(&mut out, collector, &traces);
    (out.into_vec(), traces.len())
}

type Outcome = Result<(), ValueWriteError<Infallible>>;

fn write(out: &mut ByteBuf, collector: &Collector, traces: &BTreeMap<u64, Vec<&Span>>) -> Outcome {
    write_array_len(out, length(traces.len()))?;
    for spans in traces.values() {
        write_array_len(out, length(spans.len()))?;
        for span in spans {
            one(out, collector, span)?;
        }
    }
    Ok(())
}

fn one(out: &mut ByteBuf, collector: &Collector, span: &Span) -> Outcome {
    write_map_len(out, 12)?;
    for (name, text) in [
        ("service", &*collector.service_name),
        ("name", NAME),
        ("resource", &span.name),
        ("type", if span.client { "http" } else { "web" }),
    ] {
        write_str(out, name)?;
        write_str(out, text)?;
    }
    for (name, number) in [
        ("trace_id", span.ids.low),
        ("span_id", span.ids.span),
        ("parent_id", span.parent.unwrap_or_default()),
    ] {
        write_str(out, name)?;
        write_uint(out, number)?;
    }
    let nanoseconds = |us: u64| i64::try_from(us.saturating_mul(1000)).unwrap_or(i64::MAX);
    for (name, number) in [
        ("start", nanoseconds(span.start_us)),
        ("duration", nanoseconds(span.duration_us)),
        ("error", i64::from(span.error)),
    ] {
        write_str(out, name)?;
        write_sint(out, number)?;
    }
    write_str(out, "meta")?;
    write_map_len(out, length(span.tags.len() + 1))?;
    write_str(out, "span.kind")?;
    write_str(out, if span.client { "client" } else { "server" })?;
    for (name, value) in &span.tags {
        write_str(out, name)?;
        write_str(out, value)?;
    }
    write_str(out, "metrics")?;
    write_map_len(out, 1)?;
    write_str(out, "_sampling_priority_v1")?;
    write_f64(out, KEPT)
}

fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
