//! How requests are traced.

use std::sync::Arc;

use limen_ir::ClusterKey;
use limen_ir::tracing::{
    Collector as IrCollector, HeaderSource, SpanProtocol as IrProtocol, TagSource, Tracing as Ir,
};

use super::problem;
use crate::applied::{ACCESS_LOG_FORMAT, AppliedProblem};
use crate::filter::trace::Dialects;
use crate::observe::{AccessLog, AccessLogConfig, Collector, SpanProtocol};
use crate::table::routes::ClusterSlot;
use crate::table::tracing::{Tag, Tracing};

/// The tracing of a gateway. Variables of the environment are read here, once.
pub(crate) fn tracing(
    ir: &Ir,
    clusters: &mut dyn FnMut(&ClusterKey) -> ClusterSlot,
    hostname: &str,
    problems: &mut Vec<AppliedProblem>,
) -> Tracing {
    let Ir { collector, sampling, mark_request_id, propagate, service_name, tags, longest_url, origin } = ir;
    let IrCollector { cluster, protocol, path, timeout, headers } = collector;
    let environment = |name: &String| std::env::var(name).unwrap_or_default();
    let header = |(name, source): &(String, HeaderSource)| {
        let value = match source {
            HeaderSource::Literal(value) => value.clone(),
            HeaderSource::Environment(name) => environment(name),
        };
        let sound = |text: &str| !text.is_empty() && !text.contains(char::is_control);
        (sound(name) && sound(&value)).then(|| (name.clone(), value))
    };
    let tag = |(name, source): &(String, TagSource)| {
        let tag = match source {
            TagSource::Literal(value) => Tag::Fixed(value.clone()),
            TagSource::Environment(name, default) => Tag::Fixed(
                Some(environment(name)).filter(|value| !value.is_empty()).unwrap_or_else(|| default.clone()),
            ),
            TagSource::Header(name, default) => Tag::Header(name.as_bytes().into(), default.clone()),
            TagSource::Format(format) => {
                let config = AccessLogConfig::Text { format: format.clone(), omit_empty: true };
                match AccessLog::compile(&config, hostname) {
                    Ok(format) => Tag::Format(format),
                    Err(error) => {
                        let mend = "write Envoy's command operators, such as %RESPONSE_CODE%";
                        let message = format!("tag `{name}`: {error}; spans do not have it");
                        problems.push(problem(ACCESS_LOG_FORMAT, origin, message, mend));
                        return None;
                    }
                }
            }
        };
        Some((name.as_str().into(), tag))
    };
    let (protocol, dialects) = match protocol {
        IrProtocol::Zipkin { w3c } => (SpanProtocol::Zipkin, Dialects { b3: true, w3c: *w3c }),
        IrProtocol::Otlp => (SpanProtocol::Otlp, Dialects { b3: false, w3c: true }),
    };
    let collector = Collector {
        place: clusters(cluster).0,
        host: format!("{}:{}", cluster.host, cluster.port),
        protocol,
        path: path.clone(),
        timeout: timeout.duration(),
        headers: headers.iter().filter_map(header).collect(),
        service_name: service_name.clone(),
    };
    Tracing {
        collector: Arc::new(collector),
        sampling: *sampling,
        mark_request_id: *mark_request_id,
        propagate: *propagate,
        dialects,
        tags: tags.iter().filter_map(tag).collect(),
        longest_url: *longest_url,
    }
}
