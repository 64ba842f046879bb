//! OTLP's request, in JSON over HTTP and in protobuf over gRPC.

use limen_wire::protobuf::{self, Message, Value};
use serde_json::json;

use super::{Collector, Span};

/// What says that it made the spans.
const SCOPE: &str = "limen";
/// `Span.SpanKind`
const SERVER: i64 = 2;
const CLIENT: i64 = 3;
/// `Status.StatusCode`
const ERROR: i64 = 2;

fn kind(span: &Span) -> i64 {
    if span.client { CLIENT } else { SERVER }
}

/// When a span begins and ends, in nanoseconds since the Unix epoch.
fn times(span: &Span) -> (u64, u64) {
    let end_us = span.start_us.saturating_add(span.duration_us);
    (span.start_us.saturating_mul(1000), end_us.saturating_mul(1000))
}

/// The JSON form, in which ids are hexadecimal and 64-bit numbers are texts.
pub(super) fn json(collector: &Collector, spans: &[Span]) -> Vec<u8> {
    let attribute = |name: &str, value: &str| json!({"key": name, "value": {"stringValue": value}});
    let one = |span: &Span| {
        let (start, end) = times(span);
        json!({
            "traceId": span.ids.long(),
            "spanId": span.ids.own(),
            "parentSpanId": span.parent.map(|parent| format!("{parent:016x}")).unwrap_or_default(),
            "name": span.name,
            "kind": kind(span),
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": end.to_string(),
            "attributes": span.tags.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
            "status": if span.error { json!({"code": ERROR}) } else { json!({}) },
        })
    };
    let request = json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", &collector.service_name)]},
        "scopeSpans": [{"scope": {"name": SCOPE}, "spans": spans.iter().map(one).collect::<Vec<_>>()}],
    }]});
    request.to_string().into_bytes()
}

/// `ExportTraceServiceRequest`, as the one message of a call.
pub(super) fn grpc(collector: &Collector, spans: &[Span]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |resource| {
            resource.message(1, |pair| attribute(pair, "service.name", &collector.service_name));
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.text(1, SCOPE);
            });
            for one in spans {
                scope_spans.message(2, |made| span(made, one));
            }
        });
    });
    let mut body = Vec::new();
    request.frame(&mut body);
    body
}

fn span(made: &mut Message, span: &Span) {
    let (start, end) = times(span);
    let trace = u128::from(span.ids.high) << 64 | u128::from(span.ids.low);
    made.bytes(1, &trace.to_be_bytes()).bytes(2, &span.ids.span.to_be_bytes());
    if let Some(parent) = span.parent {
        made.bytes(4, &parent.to_be_bytes());
    }
    made.text(5, &span.name).number(6, kind(span)).fixed64(7, start).fixed64(8, end);
    for (name, value) in &span.tags {
        made.message(9, |pair| attribute(pair, name, value));
    }
    if span.error {
        made.message(15, |status| {
            status.number(3, ERROR);
        });
    }
}

/// `KeyValue` of a text.
fn attribute(pair: &mut Message, name: &str, value: &str) {
    pair.text(1, name).message(2, |any| {
        any.text(1, value);
    });
}

/// How many spans an answer (`ExportTraceServiceResponse`, as a message of gRPC) says were refused.
pub(super) fn refused(answer: &[u8]) -> u64 {
    let find = |mut bytes, wanted| {
        while let Some((number, value, rest)) = protobuf::field(bytes) {
            if number == wanted {
                return Some(value);
            }
            bytes = rest;
        }
        None
    };
    match answer.get(5..).and_then(|response| find(response, 1)) {
        Some(Value::Bytes(partial)) => match find(partial, 1) {
            Some(Value::Number(refused)) => refused,
            _ => 0,
        },
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_an_answer_says_were_refused_are_counted() {
        let mut response = Message::default();
        response.message(1, |partial| {
            partial.number(1, 300).text(2, "too old");
        });
        let mut body = Vec::new();
        response.frame(&mut body);
        assert_eq!(refused(&body), 300);
        for nothing in
            [&b""[..], b"\0\0\0\0\0", b"\0\0\0\0\x02\x0a\x00", b"\0\0\0\0\x03\x0a\xff\xff", &body[..7]]
        {
            assert_eq!(refused(nothing), 0, "{nothing:?}");
        }
    }
}
