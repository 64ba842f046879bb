//! How requests are traced.

use std::sync::Arc;

use limen_ir::tracing::{
    Collector as IrCollector, HeaderSource, SpanProtocol as IrProtocol, TagSource, Tracing as Ir,
};
use rustls_pki_types::ServerName;

use super::problem;
use crate::applied::{ACCESS_LOG_FORMAT, AppliedProblem, SPANS_NOT_SENT};
use crate::filter::trace::Dialect;
use crate::observe::spans::CollectorTls;
use crate::observe::{AccessLog, AccessLogConfig, Collector, SpanProtocol};
use crate::table::clusters::{Cluster, OriginTls, Protocol, Speaks};
use crate::table::routes::ClusterSlot;
use crate::table::tracing::{Tag, Tracing};

/// The tracing of a gateway, whose collector is at `place`; `None`: not at all, as none can be spoken to. Variables of
/// the environment are read here, once.
pub(crate) fn tracing(
    ir: &Ir,
    (ClusterSlot(place), cluster): (ClusterSlot, &Cluster),
    hostname: &str,
    problems: &mut Vec<AppliedProblem>,
) -> Option<Tracing> {
    let Ir { collector, sampling, mark_request_id, propagate, service_name, tags, longest_url, origin } = ir;
    let IrCollector { cluster: _, authority, protocol, path, timeout, headers } = collector;
    let environment = |name: &String| std::env::var(name).unwrap_or_default();
    let header = |(name, source): &(String, HeaderSource)| {
        let value = match source {
            HeaderSource::Literal(value) => value.clone(),
            HeaderSource::Environment(name) => environment(name),
        };
        let sound = |text: &str| !text.is_empty() && !text.contains(char::is_control);
        (sound(name) && sound(&value)).then(|| (name.to_ascii_lowercase(), value))
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
    let (protocol, dialect) = match protocol {
        IrProtocol::Zipkin { w3c } => (SpanProtocol::Zipkin, Dialect::B3 { w3c: *w3c }),
        IrProtocol::Otlp => (SpanProtocol::Otlp, Dialect::W3c),
        IrProtocol::OtlpGrpc => (SpanProtocol::OtlpGrpc, Dialect::W3c),
        IrProtocol::Datadog => (SpanProtocol::Datadog, Dialect::Datadog),
        IrProtocol::SkyWalking => (SpanProtocol::SkyWalking, Dialect::SkyWalking),
    };
    let http2 = protocol.is_grpc() || matches!(cluster.protocol, Speaks::Only(Protocol::Http2));
    let tls = match cluster.tls.as_ref().map(|tls| self::tls(tls, authority, http2)).transpose() {
        Ok(tls) => tls,
        Err(why) => {
            let message = format!("no connection is made to the collector: {why}");
            let mend = "mend the TLS settings of its service";
            problems.push(problem(SPANS_NOT_SENT, origin, message, mend));
            return None;
        }
    };
    let collector = Collector {
        place,
        authority: authority.clone(),
        protocol,
        http2,
        tls,
        path: path.clone(),
        timeout: timeout.duration(),
        headers: headers.iter().filter_map(header).collect(),
        service_name: service_name.clone(),
        instance: hostname.to_owned(),
    };
    Some(Tracing {
        collector: Arc::new(collector),
        sampling: *sampling,
        mark_request_id: *mark_request_id,
        propagate: *propagate,
        dialect,
        tags: tags.iter().filter_map(tag).collect(),
        longest_url: *longest_url,
    })
}

/// The handshake with a collector. Where no name is said, the certificate is for the one that it is called by.
fn tls(tls: &OriginTls, authority: &str, http2: bool) -> Result<CollectorTls, String> {
    let OriginTls { name, configs, speakers_only } = tls;
    let configs = configs.as_ref().map_err(|why| why.to_string())?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let own = || ServerName::try_from(host.to_owned()).map_err(|error| format!("`{host}`: {error}"));
    let name = name.clone().map_or_else(own, Ok)?;
    let config = if http2 { &configs.http2 } else { &configs.http1 };
    Ok(CollectorTls { config: config.clone(), name, speakers_only: *speakers_only })
}
