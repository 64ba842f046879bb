//! How requests are traced, and who gets the spans.

use serde::{Serialize, Serializer};

use crate::atoms::Millis;
use crate::cluster::ClusterKey;
use crate::origin::Origin;
use crate::policy::http::is_default;

/// How the requests to a gateway are traced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tracing {
    /// Who gets the spans.
    pub collector: Collector,
    /// How many of ten thousand requests are traced of which nobody has decided yet.
    pub sampling: u32,
    /// The decision is written into the request's id.
    pub mark_request_id: bool,
    /// Origins are told of the trace.
    pub propagate: bool,
    /// What spans call this gateway.
    pub service_name: String,
    /// Tags that every span has, by name.
    pub tags: Vec<(String, TagSource)>,
    /// Bytes of a URL that a tag may hold.
    pub longest_url: usize,
    /// Who said so.
    pub origin: Origin,
}

/// Where the value of a tag comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TagSource {
    /// The value itself.
    Literal(String),
    /// A variable of the environment, and what is said without it; empty: there is no tag then.
    Environment(String, String),
    /// A header field of the request, and what is said without it; empty: there is no tag then.
    Header(String, String),
    /// An access log format.
    Format(String),
}

/// Who gets spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Collector {
    /// Where it is.
    pub cluster: ClusterKey,
    /// Its name and port, as its requests say them.
    pub authority: String,
    /// What it speaks.
    pub protocol: SpanProtocol,
    /// The path of its requests.
    pub path: String,
    /// How long a sending may take.
    pub timeout: Millis,
    /// Header fields of its requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, HeaderSource)>,
}

/// Where the value of a header field of sendings comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HeaderSource {
    /// The value itself, which may be a secret and is not printed.
    #[serde(serialize_with = "not_shown")]
    Literal(String),
    /// A variable of the environment.
    Environment(String),
}

fn not_shown<S: Serializer>(_: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("(not shown)")
}

/// What a collector speaks, and with it what origins are told of a trace in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SpanProtocol {
    /// Zipkin's JSON, version 2; B3.
    Zipkin {
        /// Origins are told in W3C's fields as well.
        #[serde(skip_serializing_if = "is_default")]
        w3c: bool,
    },
    /// OTLP in JSON over HTTP; W3C.
    Otlp,
    /// OTLP over gRPC; W3C.
    OtlpGrpc,
    /// Datadog's traces, version 0.4; Datadog's fields.
    Datadog,
    /// SkyWalking's segments, version 3, over gRPC; `sw8`.
    SkyWalking,
}
