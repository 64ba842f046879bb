//! The trace of an exchange: a span for the request as it came, one for each time that it is sent, and what origins are
//! told of them. Spans are made only of requests that are traced.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use limen_wire::head::{Known, RequestHead};

use crate::address::Address;
use crate::filter::trace::{self, Dialect, Place, Told};
use crate::observe::cluster_name::ClusterName;
use crate::observe::spans::{Segment, Span, TraceIds};
use crate::observe::{Counter, Record, TimeCache};
use crate::table::matcher::PathTest;
use crate::table::routes::{Action, Rule};
use crate::table::tracing::{Tag, Tracing};
use crate::worker::Worker;

/// Where in a request's id its trace is marked (Envoy packs it into a UUID), and how.
const MARK: usize = 14;
const MARK_SAMPLED: u8 = b'9';

/// An exchange's trace.
pub(crate) struct Trace<'t> {
    tracing: &'t Tracing,
    /// The port that the client was meant to reach.
    port: u16,
    /// The span of the request as it came.
    own: TraceIds,
    /// The client's span, if it is in the trace.
    parent: Option<u64>,
    pub(crate) sampled: bool,
    /// SkyWalking: what the spans of this request have in common.
    segment: Option<Arc<Segment>>,
    /// How often the request was sent.
    attempts: u32,
    /// The request as it was sent last.
    sent: Option<Sent>,
    spans: Vec<Span>,
}

/// A request that was sent.
struct Sent {
    span: u64,
    start_us: u64,
}

/// What is known of an attempt that has ended.
pub(crate) struct Ended<'a> {
    pub(crate) now_us: u64,
    pub(crate) host: Option<Address>,
    pub(crate) cluster: &'a str,
    pub(crate) local: SocketAddr,
}

/// The trace of a request, which the client may have begun. The decision is the client's, else chance's.
pub(crate) fn begin<'t>(
    tracing: &'t Tracing,
    port: u16,
    worker: &Worker,
    head: &mut RequestHead,
) -> Box<Trace<'t>> {
    let heard = trace::read(&head.fields, tracing.dialect);
    let drawn = || worker.random_u32() % 10_000 < tracing.sampling;
    let sampled = heard.sampled.unwrap_or_else(drawn);
    let span = worker.random_u64() | 1;
    // Datadog's ids have 64 bits in its fields.
    let short = tracing.dialect == Dialect::Datadog;
    let high = if short { 0 } else { worker.random_u64() };
    let fresh = || TraceIds { high, low: worker.random_u64() | 1, short, span };
    let own = heard.ids.map_or_else(fresh, |ids| TraceIds { span, ..ids });
    if sampled && tracing.mark_request_id {
        mark(head);
    }
    let parent = heard.ids.map(|ids| ids.span);
    let segment = (tracing.dialect == Dialect::SkyWalking).then(|| {
        let trace = heard.segment.as_ref().map_or_else(|| own.long(), |parent| parent.trace.clone());
        Arc::new(Segment { trace, id: format!("{:032x}", worker.random_u128()), parent: heard.segment })
    });
    Box::new(Trace {
        tracing,
        port,
        own,
        parent,
        sampled,
        segment,
        attempts: 0,
        sent: None,
        spans: Vec::new(),
    })
}

/// Writes into the request's id that it is traced.
fn mark(head: &mut RequestHead) {
    let Some(mut id) = head.fields.get_known(Known::XRequestId).and_then(|id| <[u8; 36]>::try_from(id).ok())
    else {
        return;
    };
    if let Some(mark) = id.get_mut(MARK).filter(|mark| **mark == b'4') {
        *mark = MARK_SAMPLED;
        head.fields.set_known(Known::XRequestId, b"x-request-id", &id);
    }
}

impl Trace<'_> {
    /// The names that the access log prints; none for a trace whose name is no number.
    pub(crate) fn ids(&self) -> Option<TraceIds> {
        let foreign = self.segment.as_ref().is_some_and(|segment| segment.parent.is_some());
        (!foreign).then_some(self.own)
    }

    /// The request is about to be sent: its span begins, and the origin is told.
    pub(crate) fn attempt(
        &mut self,
        worker: &Worker,
        head: &mut RequestHead,
        rule: &Rule,
        before: &Ended<'_>,
    ) {
        self.end_attempt(before, None);
        let span = worker.random_u64() | 1;
        let first = self.attempts == 0;
        self.attempts += 1;
        self.sent = Some(Sent { span, start_us: before.now_us });
        let name = if first || self.segment.is_some() { operation(rule, self.port) } else { String::new() };
        if self.tracing.propagate {
            let collector = &self.tracing.collector;
            let place = |segment| Place {
                segment,
                number: self.attempts,
                service: &collector.service_name,
                instance: &collector.instance,
                endpoint: &name,
            };
            let told = Told {
                ids: TraceIds { span, ..self.own },
                parent: self.own.span,
                sampled: self.sampled,
                segment: self.segment.as_deref().map(place),
            };
            let target = head.authority_span();
            trace::write(&mut head.fields, &told, target, self.tracing.dialect);
        }
        if first {
            head.fields.set_known(Known::XEnvoy, b"x-envoy-decorator-operation", name.as_bytes());
        }
    }

    /// The span of what was sent last ends: with an answer, or for another attempt.
    fn end_attempt(&mut self, ended: &Ended<'_>, record: Option<&Record<'_>>) {
        let Some(Sent { span, start_us }) = self.sent.take().filter(|_| self.sampled) else { return };
        let mut tags: Vec<(Cow<'static, str>, String)> = vec![
            ("component".into(), "proxy".to_owned()),
            ("upstream_cluster".into(), ended.cluster.to_owned()),
            ("upstream_cluster.name".into(), ended.cluster.to_owned()),
        ];
        if let Some(host) = ended.host {
            tags.push(("upstream_address".into(), host.to_string()));
            tags.push(("peer.address".into(), host.to_string()));
        }
        let error = record.is_none_or(|record| record.code >= 500 || record.code == 0);
        if let Some(record) = record {
            tags.push(("http.status_code".into(), record.code.to_string()));
            tags.push(("response_flags".into(), record.flags.to_string()));
        }
        if error {
            tags.push(("error".into(), "true".to_owned()));
        }
        self.spans.push(Span {
            ids: TraceIds { span, ..self.own },
            parent: Some(self.own.span),
            name: format!("router {} egress", ended.cluster),
            client: true,
            start_us,
            duration_us: ended.now_us.saturating_sub(start_us),
            tags,
            error,
            local: ended.local,
            peer: ended.host,
            segment: self.segment.clone(),
        });
    }

    /// The exchange has ended: its spans are handed over. `start_us` and what is in `ended` are times of the epoch.
    pub(crate) fn finish(
        mut self,
        worker: &Worker,
        record: &Record<'_>,
        ended: &Ended<'_>,
        rule: Option<&Rule>,
    ) {
        if !self.sampled {
            return;
        }
        self.end_attempt(ended, Some(record));
        let error = record.code >= 500 || record.code == 0;
        let start_us = ended.now_us.saturating_sub(record.duration_us);
        let name = match rule {
            Some(rule) => operation(rule, self.port),
            None => String::from_utf8_lossy(record.authority).into_owned(),
        };
        self.spans.push(Span {
            ids: self.own,
            parent: self.parent,
            name,
            client: false,
            start_us,
            duration_us: record.duration_us,
            tags: tags(self.tracing, worker, record, error),
            error,
            local: ended.local,
            peer: Some(Address::Inet(record.downstream_direct_remote)),
            segment: self.segment,
        });
        let count = self.spans.len() as u64;
        if !worker.spans.send(&self.tracing.collector, self.spans) {
            worker.counters.add(Counter::SpansLost, count);
        }
    }
}

/// What is said of a request, by Envoy's names, then what the configuration adds.
fn tags(
    tracing: &Tracing,
    worker: &Worker,
    record: &Record<'_>,
    error: bool,
) -> Vec<(Cow<'static, str>, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let field = |name: &[u8]| record.request_fields.and_then(|fields| fields.get(name)).map(text);
    let scheme = field(b"x-forwarded-proto").unwrap_or_default();
    let path = text(record.original_path.unwrap_or(record.path));
    let mut url = format!("{scheme}://{}{path}", text(record.authority));
    let cut = (0..=tracing.longest_url.min(url.len())).rev().find(|at| url.is_char_boundary(*at));
    url.truncate(cut.unwrap_or_default());
    let cluster = if record.cluster.is_empty() { "-" } else { record.cluster };
    let mut tags: Vec<(Cow<'static, str>, String)> = vec![
        ("component".into(), "proxy".to_owned()),
        ("node_id".into(), worker.config.hostname.clone()),
        ("guid:x-request-id".into(), field(b"x-request-id").unwrap_or_default()),
        ("http.url".into(), url),
        ("http.method".into(), text(record.method)),
        ("http.protocol".into(), record.protocol.map_or("", |version| version.as_str()).to_owned()),
        ("http.status_code".into(), record.code.to_string()),
        ("downstream_cluster".into(), "-".to_owned()),
        ("user_agent".into(), field(b"user-agent").unwrap_or_else(|| "-".to_owned())),
        ("peer.address".into(), record.downstream_direct_remote.ip().to_string()),
        ("request_size".into(), record.bytes_received.to_string()),
        ("response_size".into(), record.bytes_sent.to_string()),
        ("response_flags".into(), record.flags.to_string()),
        ("upstream_cluster".into(), cluster.to_owned()),
        ("upstream_cluster.name".into(), cluster.to_owned()),
    ];
    if let Some(status) = record.grpc_status.filter(|_| record.grpc) {
        tags.push(("grpc.status_code".into(), status.to_string()));
    }
    if error {
        tags.push(("error".into(), "true".to_owned()));
    }
    for (name, tag) in &tracing.tags {
        let value = match tag {
            Tag::Fixed(value) => value.clone(),
            Tag::Header(name, default) => field(name).unwrap_or_else(|| default.clone()),
            Tag::Format(format) => {
                let mut line = Vec::new();
                format.format(record, &mut TimeCache::default(), &mut line);
                text(line.strip_suffix(b"\n").unwrap_or(&line))
            }
        };
        if !value.is_empty() {
            tags.push((name.to_string().into(), value));
        }
    }
    tags
}

/// What a rule's requests are called: the only destination, or the VirtualService, and the path.
fn operation(rule: &Rule, port: u16) -> String {
    let path = match &rule.matcher.path {
        PathTest::Exact(path) | PathTest::ExactIgnoreCase(path) => String::from_utf8_lossy(path),
        PathTest::Prefix(path) | PathTest::PrefixIgnoreCase(path) | PathTest::Segments(path) => {
            Cow::Owned(format!("{}*", String::from_utf8_lossy(path)))
        }
        PathTest::Regex(_) | PathTest::Never => Cow::Borrowed("/*"),
    };
    if let Action::Forward(forward) = &rule.action
        && let [only] = &*forward.destinations
    {
        return match ClusterName::parse(&only.cluster_name) {
            Some(ClusterName { port, host, .. }) => format!("{host}:{port}{path}"),
            None => format!("{}{path}", only.cluster_name),
        };
    }
    format!("{}:{port}{path}", rule.origin.name)
}
