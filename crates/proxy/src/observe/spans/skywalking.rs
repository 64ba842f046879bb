//! SkyWalking's segments, version 3: the call `TraceSegmentReportService/collect`, a message for each request.

use std::sync::Arc;

use limen_wire::protobuf::Message;

use super::{Collector, Segment, SegmentParent, Span};

/// `SpanType`
const ENTRY: i64 = 0;
const EXIT: i64 = 1;
/// `SpanLayer`
const HTTP: i64 = 3;
/// What SkyWalking's list of components calls a proxy like this one.
const COMPONENT: i64 = 9000;

/// The messages of a call.
pub(super) fn encode(collector: &Collector, spans: &[Span]) -> Vec<u8> {
    let mut body = Vec::new();
    let same = |a: &Span, b: &Span| match (&a.segment, &b.segment) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    for spans in spans.chunk_by(same) {
        let Some(segment) = spans.first().and_then(|span| span.segment.as_ref()) else { continue };
        object(collector, segment, spans).frame(&mut body);
    }
    body
}

/// `SegmentObject`. The request as it came is span 0, and those that were sent count from 1 in their order.
fn object(collector: &Collector, segment: &Segment, spans: &[Span]) -> Message {
    let mut object = Message::default();
    object.text(1, &segment.trace).text(2, &segment.id);
    let (sent, came): (Vec<&Span>, Vec<&Span>) = spans.iter().partition(|span| span.client);
    for (number, span) in came.into_iter().chain(sent).enumerate() {
        object.message(3, |made| self::span(made, number, span, segment));
    }
    object.text(4, &collector.service_name).text(5, &collector.instance);
    object
}

/// `SpanObject`
fn span(made: &mut Message, number: usize, span: &Span, segment: &Segment) {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let milliseconds = |us: u64| i64::try_from(us / 1000).unwrap_or(i64::MAX);
    let (parent, kind) = if span.client { (0, EXIT) } else { (-1, ENTRY) };
    made.number(1, number)
        .number(2, parent)
        .number(3, milliseconds(span.start_us))
        .number(4, milliseconds(span.start_us.saturating_add(span.duration_us)));
    if let Some(parent) = segment.parent.as_ref().filter(|_| !span.client) {
        made.message(5, |reference| refer(reference, parent));
    }
    made.text(6, &span.name);
    if let Some(peer) = span.peer {
        made.text(7, &peer.to_string());
    }
    made.number(8, kind).number(9, HTTP).number(10, COMPONENT).number(11, i64::from(span.error));
    for (name, value) in &span.tags {
        made.message(12, |pair| {
            pair.text(1, name).text(2, value);
        });
    }
}

/// `SegmentReference`, from another process.
fn refer(reference: &mut Message, parent: &SegmentParent) {
    let SegmentParent { trace, segment, span, service, instance, endpoint, target } = parent;
    reference.text(2, trace).text(3, segment).number(4, i64::from(*span)).text(5, service);
    reference.text(6, instance).text(7, endpoint).text(8, target);
}
