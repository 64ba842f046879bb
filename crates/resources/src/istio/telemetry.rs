//! `Telemetry`: what is told of traffic, and to whom.

use std::collections::BTreeMap;

use super::policy::TargetRef;
use crate::decode::{spec, words};
use crate::duration::GoDuration;

spec! {
    /// `telemetry.istio.io` `Telemetry`. Whatever it does not say is inherited from the wider ones.
    pub struct Telemetry {
        /// Workloads of its namespace; absent: all, and if that is the root namespace all of the mesh.
        "selector" => selector: Option<TelemetrySelector>,
        /// The one object that it applies to; an old spelling of a list of one.
        "targetRef" => target_ref: Option<TargetRef>,
        /// Objects that it applies to.
        "targetRefs" => target_refs: Vec<TargetRef>,
        /// Access logs.
        "accessLogging" => access_logging: Vec<AccessLogging>,
        /// Spans.
        "tracing" => tracing: Vec<Tracing>,
        /// Metrics.
        "metrics" => metrics: Vec<Metrics>,
    }
}

impl Telemetry {
    /// Every object that it applies to.
    pub fn targets(&self) -> impl Iterator<Item = &TargetRef> {
        self.target_ref.iter().chain(&self.target_refs)
    }

    /// Does it apply to everything in its namespace?
    pub fn is_wide(&self) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.match_labels.is_empty())
            && self.targets().next().is_none()
    }
}

spec! {
    /// Selects workloads by label.
    pub struct TelemetrySelector {
        /// All must be there.
        "matchLabels" => match_labels: BTreeMap<String, String>,
    }
}

spec! {
    /// A part of what is logged.
    pub struct AccessLogging {
        /// Which direction it is about.
        "match" => matching: Option<TelemetryMatch>,
        /// Who gets it, by the names of the mesh's extension providers; none: whoever got it before.
        "providers" => providers: Vec<ProviderRef>,
        /// Nothing is logged.
        "disabled" => disabled: Option<bool>,
        /// What is logged.
        "filter" => filter: Option<LogFilter>,
    }
}

spec! {
    /// A direction of traffic.
    pub struct TelemetryMatch {
        /// As seen from the workload.
        "mode" => mode: WorkloadMode,
    }
}

words! {
    /// A direction of traffic as seen from a workload. A gateway is a client.
    pub enum WorkloadMode {
        /// Either.
        Both = "CLIENT_AND_SERVER",
        /// From it.
        Client = "CLIENT",
        /// To it.
        Server = "SERVER",
    }
}

spec! {
    /// Names one of the mesh's extension providers.
    pub struct ProviderRef {
        /// Its name; case does not count.
        "name" => name: String,
    }
}

spec! {
    /// Chooses what is logged.
    pub struct LogFilter {
        /// In CEL; what makes it true is logged.
        "expression" => expression: String,
    }
}

spec! {
    /// How requests are traced.
    pub struct Tracing {
        /// Which direction it is about.
        "match" => matching: Option<TelemetryMatch>,
        /// Who gets the spans; the first counts.
        "providers" => providers: Vec<ProviderRef>,
        /// How many of a hundred requests are traced of which nobody has decided yet.
        "randomSamplingPercentage" => sampling: Option<f64>,
        /// No spans are sent.
        "disableSpanReporting" => disable_span_reporting: Option<bool>,
        /// Tags of spans; they replace inherited ones.
        "customTags" => custom_tags: Option<BTreeMap<String, CustomTag>>,
        /// The decision is written into `x-request-id`.
        "useRequestIdForTraceSampling" => use_request_id: Option<bool>,
        /// Spans have Istio's tags.
        "enableIstioTags" => enable_istio_tags: Option<bool>,
        /// Origins are not told of the trace.
        "disableContextPropagation" => disable_context_propagation: Option<bool>,
    }
}

spec! {
    /// Where the value of a tag comes from: one of the fields.
    pub struct CustomTag {
        /// The value itself.
        "literal" => literal: Option<TagValue>,
        /// A variable of the gateway's environment.
        "environment" => environment: Option<TagSource>,
        /// A header field of the request.
        "header" => header: Option<TagSource>,
        /// An access log format.
        "formatter" => formatter: Option<TagValue>,
    }
}

spec! {
    /// A tag's value.
    pub struct TagValue {
        /// Not empty.
        "value" => value: String,
    }
}

spec! {
    /// What has a tag's value.
    pub struct TagSource {
        /// Of the variable or header field.
        "name" => name: String,
        /// Where it has none; empty: there is no tag then.
        "defaultValue" => default_value: String,
    }
}

spec! {
    /// How requests are counted.
    pub struct Metrics {
        /// Who counts.
        "providers" => providers: Vec<ProviderRef>,
        /// Changes of metrics, in order.
        "overrides" => overrides: Vec<MetricsOverride>,
        /// How often open TCP connections are counted anew.
        "reportingInterval" => reporting_interval: Option<GoDuration>,
    }
}

spec! {
    /// A change of metrics.
    pub struct MetricsOverride {
        /// Of which; absent: of all.
        "match" => matching: Option<MetricSelector>,
        /// They are not counted.
        "disabled" => disabled: Option<bool>,
        /// Changes of labels.
        "tagOverrides" => tag_overrides: BTreeMap<String, TagOverride>,
    }
}

spec! {
    /// Metrics.
    pub struct MetricSelector {
        /// One of Istio's.
        "metric" => metric: Option<Metric>,
        /// Another one.
        "customMetric" => custom_metric: Option<String>,
        /// Which direction it is about.
        "mode" => mode: WorkloadMode,
    }
}

words! {
    /// Istio's metrics.
    pub enum Metric {
        /// All.
        All = "ALL_METRICS",
        /// `istio_requests_total`
        RequestCount = "REQUEST_COUNT",
        /// `istio_request_duration_milliseconds`
        RequestDuration = "REQUEST_DURATION",
        /// `istio_request_bytes`
        RequestSize = "REQUEST_SIZE",
        /// `istio_response_bytes`
        ResponseSize = "RESPONSE_SIZE",
        /// `istio_tcp_connections_opened_total`
        TcpOpened = "TCP_OPENED_CONNECTIONS",
        /// `istio_tcp_connections_closed_total`
        TcpClosed = "TCP_CLOSED_CONNECTIONS",
        /// `istio_tcp_sent_bytes_total`
        TcpSent = "TCP_SENT_BYTES",
        /// `istio_tcp_received_bytes_total`
        TcpReceived = "TCP_RECEIVED_BYTES",
        /// `istio_request_messages_total`
        GrpcRequestMessages = "GRPC_REQUEST_MESSAGES",
        /// `istio_response_messages_total`
        GrpcResponseMessages = "GRPC_RESPONSE_MESSAGES",
    }
}

spec! {
    /// A change of a label.
    pub struct TagOverride {
        /// What is done.
        "operation" => operation: TagOperation,
        /// Its value, in CEL.
        "value" => value: String,
    }
}

words! {
    /// What is done with a label.
    pub enum TagOperation {
        /// It gets a value.
        Upsert = "UPSERT",
        /// It goes.
        Remove = "REMOVE",
    }
}
