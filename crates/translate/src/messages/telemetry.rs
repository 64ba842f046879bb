//! What is said of Telemetries and of the mesh's providers.

use super::*;

pub(crate) fn second(at: At<'_>, first: &ObjectKey) -> Problem {
    let message = format!("has no effect: {first} is for the whole namespace too, and older");
    at.say(MULTIPLE_TELEMETRIES, message, "write both into one object, or give one of them a selector")
}

pub(crate) fn unknown_provider(at: At<'_>, name: &str, done: &str) -> Problem {
    let message = format!("the mesh has no extension provider `{name}`: nothing is {done} through it");
    at.say(INVALID_PROVIDER, message, "write one of meshConfig.extensionProviders, or add it there")
}

pub(crate) fn no_log_provider(at: At<'_>, name: &str, kind: &str) -> Problem {
    let message = format!("the extension provider `{name}` takes no logs: it is one of {kind}");
    at.say(INVALID_PROVIDER, message, "write `envoy`, or a provider with envoyFileAccessLog")
}

pub(crate) fn log_kind(at: At<'_>, name: &str, kind: &str) -> Problem {
    let message = format!("{kind} is not served yet: nothing is logged through `{name}`");
    at.say(NOT_SERVED, message, "write envoyFileAccessLog")
}

pub(crate) fn no_provider(at: At<'_>) -> Problem {
    let message = "has no effect: it names no provider, and the mesh has no default for access logs";
    at.say(INVALID_PROVIDER, message, "write providers: [{name: envoy}]")
}

pub(crate) fn metrics(at: At<'_>) -> Problem {
    let message = "has no effect yet: metrics have Istio's labels, and all are counted";
    at.say(NO_EFFECT, message, "")
}

pub(crate) fn span_kind(at: At<'_>, name: &str, kind: &str) -> Problem {
    let message = format!("{kind} is not served yet: no spans are sent to `{name}`");
    at.say(NOT_SERVED, message, "write opentelemetry, zipkin, datadog or skywalking")
}

pub(crate) fn retired(at: At<'_>, name: &str, kind: &str) -> Problem {
    let message = format!("{kind} has no effect, in Istio neither: no spans are sent to `{name}`");
    at.say(NO_EFFECT, message, "write opentelemetry: its collector takes these spans on")
}

pub(crate) fn no_span_provider(at: At<'_>, name: &str, kind: &str) -> Problem {
    let message = format!("the extension provider `{name}` takes no spans: it is one of {kind}");
    at.say(INVALID_PROVIDER, message, "write a provider with opentelemetry, zipkin, datadog or skywalking")
}

pub(crate) fn span_service(at: At<'_>, service: &str, port: u32) -> Problem {
    let message = format!("there is no service `{service}` with port {port}: no spans are sent");
    at.say(codes::REFERENCE_NOT_FOUND, message, "write [namespace/]host of a Service or ServiceEntry")
}

pub(crate) fn retired_tracer(at: At<'_>, kind: &str) -> Problem {
    let message = format!("tracing.{kind} has no effect, in Istio neither: no spans are sent there");
    at.say(NO_EFFECT, message, "write an extension provider with opentelemetry")
}

pub(crate) fn unserved_tracer(at: At<'_>, kind: &str) -> Problem {
    let message = format!("tracing.{kind} is not served yet: no spans are sent");
    at.say(NOT_SERVED, message, "write zipkin or datadog, or an extension provider")
}

pub(crate) fn tracer_address(at: At<'_>, address: &str) -> Problem {
    let message = format!("expected host:port as tracing's address, found {address:?}: no spans are sent");
    at.say(codes::INVALID, message, "write it without variables, such as zipkin.istio-system:9411")
}

pub(crate) fn ignored(at: At<'_>) -> Problem {
    at.say(NO_EFFECT, "has no effect yet", "")
}
