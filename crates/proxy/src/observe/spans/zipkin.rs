//! Zipkin's list of spans, version 2.

use serde_json::{Value, json};

use super::{Collector, Span};

pub(super) fn encode(collector: &Collector, spans: &[Span]) -> Vec<u8> {
    let one = |span: &Span| {
        let tags: serde_json::Map<_, _> =
            span.tags.iter().map(|(name, value)| (name.to_string(), Value::from(&**value))).collect();
        let family = if span.local.is_ipv4() { "ipv4" } else { "ipv6" };
        let mut made = json!({
            "traceId": span.ids.trace(),
            "id": span.ids.own(),
            "name": span.name,
            "kind": if span.client { "CLIENT" } else { "SERVER" },
            "timestamp": span.start_us,
            "duration": span.duration_us.max(1),
            "localEndpoint": {
                "serviceName": collector.service_name,
                family: span.local.ip().to_string(),
                "port": span.local.port(),
            },
            "tags": tags,
        });
        if let Some(parent) = span.parent {
            made["parentId"] = Value::from(format!("{parent:016x}"));
        }
        made
    };
    spans.iter().map(one).collect::<Value>().to_string().into_bytes()
}
