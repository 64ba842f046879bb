//! Extension providers of the mesh: who is told of traffic, or asked about it.

use crate::decode::{Cursor, Decode, Json, spec, words};
use crate::duration::GoDuration;
use crate::node::Node;

spec! {
    /// An extension provider: a name, and one of the other fields.
    pub struct ExtensionProvider {
        /// What it is named by; case does not count.
        "name" => name: String,
        /// A file for the access log.
        "envoyFileAccessLog" => file_access_log: Option<FileAccessLog>,
        /// A collector of spans that speaks Zipkin.
        "zipkin" => zipkin: Option<ZipkinProvider>,
        /// A collector of spans that speaks OTLP.
        "opentelemetry" => opentelemetry: Option<OpenTelemetryProvider>,
        /// Another gateway's authorization over HTTP.
        "envoyExtAuthzHttp" => ext_authz_http: Option<Opaque>,
        /// The same over gRPC.
        "envoyExtAuthzGrpc" => ext_authz_grpc: Option<Opaque>,
        /// Metrics.
        "prometheus" => prometheus: Option<Opaque>,
        /// Google Cloud's.
        "stackdriver" => stackdriver: Option<Opaque>,
        /// Spans.
        "lightstep" => lightstep: Option<Opaque>,
        /// A Datadog agent.
        "datadog" => datadog: Option<DatadogProvider>,
        /// SkyWalking's backend.
        "skywalking" => skywalking: Option<SkyWalkingProvider>,
        /// Spans.
        "opencensus" => opencensus: Option<Opaque>,
        /// Access logs of HTTP over gRPC.
        "envoyHttpAls" => http_als: Option<Opaque>,
        /// Access logs of TCP over gRPC.
        "envoyTcpAls" => tcp_als: Option<Opaque>,
        /// Access logs over OTLP.
        "envoyOtelAls" => otel_als: Option<Opaque>,
        /// Credentials.
        "sds" => sds: Option<Opaque>,
    }
}

impl ExtensionProvider {
    /// The field that says what it is; `None`: none is written.
    pub fn kind(&self) -> Option<&'static str> {
        let opaque = [
            ("envoyExtAuthzHttp", &self.ext_authz_http),
            ("envoyExtAuthzGrpc", &self.ext_authz_grpc),
            ("prometheus", &self.prometheus),
            ("stackdriver", &self.stackdriver),
            ("lightstep", &self.lightstep),
            ("opencensus", &self.opencensus),
            ("envoyHttpAls", &self.http_als),
            ("envoyTcpAls", &self.tcp_als),
            ("envoyOtelAls", &self.otel_als),
            ("sds", &self.sds),
        ];
        let read = [
            ("envoyFileAccessLog", self.file_access_log.is_some()),
            ("zipkin", self.zipkin.is_some()),
            ("opentelemetry", self.opentelemetry.is_some()),
            ("datadog", self.datadog.is_some()),
            ("skywalking", self.skywalking.is_some()),
        ];
        let opaque = opaque.into_iter().map(|(field, written)| (field, written.is_some()));
        read.into_iter().chain(opaque).find(|(_, written)| *written).map(|(field, _)| field)
    }
}

/// Something that is not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Opaque {}

impl Decode for Opaque {
    fn decode(_: &Node, _: &mut Cursor<'_>) -> Opaque {
        Opaque {}
    }
}

spec! {
    /// A file for the access log.
    pub struct FileAccessLog {
        /// Its path; empty: standard output.
        "path" => path: String,
        /// What a line looks like; absent: the default one.
        "logFormat" => log_format: Option<LogFormat>,
        /// Values that there are not are left out instead of being `-` or null.
        "omitEmptyValues" => omit_empty_values: bool,
    }
}

spec! {
    /// What a line looks like: one of the fields.
    pub struct LogFormat {
        /// A line with command operators; empty: the default one.
        "text" => text: Option<String>,
        /// A JSON object with command operators; empty: the default one.
        "labels" => labels: Option<Json>,
    }
}

spec! {
    /// A collector of spans that speaks Zipkin.
    pub struct ZipkinProvider {
        /// `[namespace/]host` of a service.
        "service" => service: String,
        /// Its port.
        "port" => port: u32,
        /// How long a path may be in a tag.
        "maxTagLength" => max_tag_length: u32,
        /// Trace ids are 128 bits long, which they are unless this says otherwise.
        "enable64bitTraceId" => short_trace_id: bool,
        /// The path of the collector; empty: `/api/v2/spans`.
        "path" => path: String,
        /// How long a sending may take.
        "timeout" => timeout: Option<GoDuration>,
        /// Header fields of sendings.
        "headers" => headers: Vec<ProviderHeader>,
        /// What origins are told of the trace in.
        "traceContextOption" => trace_context: TraceContext,
    }
}

words! {
    /// What origins are told of a trace in, besides the provider's own way.
    pub enum TraceContext {
        /// B3 only.
        B3 = "USE_B3",
        /// W3C's header fields as well.
        B3WithW3c = "USE_B3_WITH_W3C_PROPAGATION",
    }
}

spec! {
    /// A collector of spans that speaks OTLP.
    pub struct OpenTelemetryProvider {
        /// `[namespace/]host` of a service.
        "service" => service: String,
        /// Its port.
        "port" => port: u32,
        /// How long a path may be in a tag.
        "maxTagLength" => max_tag_length: u32,
        /// OTLP over HTTP; absent: over gRPC.
        "http" => http: Option<OtlpHttp>,
        /// Settings of gRPC.
        "grpc" => grpc: Option<OtlpGrpc>,
        /// What is found out of the gateway.
        "resourceDetectors" => resource_detectors: Option<Opaque>,
        /// A sampler of its own.
        "dynatraceSampler" => dynatrace_sampler: Option<Opaque>,
        /// How `service.name` is made.
        "serviceAttributeEnrichment" => service_attribute_enrichment: Option<Opaque>,
    }
}

spec! {
    /// OTLP over HTTP.
    pub struct OtlpHttp {
        /// The path of the collector, such as `/v1/traces`.
        "path" => path: String,
        /// How long a sending may take.
        "timeout" => timeout: Option<GoDuration>,
        /// Header fields of sendings.
        "headers" => headers: Vec<ProviderHeader>,
    }
}

spec! {
    /// OTLP over gRPC.
    pub struct OtlpGrpc {
        /// How long a sending may take.
        "timeout" => timeout: Option<GoDuration>,
        /// Header fields of sendings.
        "initialMetadata" => initial_metadata: Vec<ProviderHeader>,
    }
}

spec! {
    /// A Datadog agent.
    pub struct DatadogProvider {
        /// `[namespace/]host` of a service.
        "service" => service: String,
        /// Its port.
        "port" => port: u32,
        /// How long a path may be in a tag.
        "maxTagLength" => max_tag_length: u32,
    }
}

spec! {
    /// SkyWalking's backend.
    pub struct SkyWalkingProvider {
        /// `[namespace/]host` of a service.
        "service" => service: String,
        /// Its port.
        "port" => port: u32,
        /// What it lets a proxy in for.
        "accessToken" => access_token: String,
    }
}

spec! {
    /// A header field of sendings.
    pub struct ProviderHeader {
        /// Its name.
        "name" => name: String,
        /// Its value.
        "value" => value: String,
        /// The environment variable that has its value.
        "envName" => env_name: String,
    }
}

spec! {
    /// Who is told of traffic where nothing else is said, by name.
    pub struct DefaultProviders {
        /// Spans.
        "tracing" => tracing: Vec<String>,
        /// Metrics.
        "metrics" => metrics: Vec<String>,
        /// Access logs.
        "accessLogging" => access_logging: Vec<String>,
    }
}
