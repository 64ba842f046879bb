//! Rules for `Telemetry`.

use std::panic::catch_unwind;

use super::path::{Path, SPEC};
use super::syntax::check_duration;
use super::{Check, Validate};
use crate::istio::{
    CustomTag, LogFilter, Metrics, ProviderRef, TagOperation, TagOverride, Telemetry, Tracing,
};
use crate::object::Meta;

/// Bytes that an expression may have.
const LONGEST_EXPRESSION: usize = 4096;
/// How deep it may be nested.
const DEEPEST_EXPRESSION: u16 = 48;

impl Validate for Telemetry {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        selection(self, check);
        for (index, logging) in self.access_logging.iter().enumerate() {
            let list = SPEC.field("accessLogging");
            let at = list.item(index);
            providers(check, at, &logging.providers);
            if let Some(LogFilter { expression: text }) = &logging.filter {
                let filter = at.field("filter");
                expression(check, filter.field("expression"), text);
            }
        }
        if self.tracing.len() > 1 {
            let message =
                "only one entry is supported: which one counts for a field is the last that says it";
            check.warn(SPEC.field("tracing").item(1), message, "write one entry");
        }
        for (index, entry) in self.tracing.iter().enumerate() {
            let list = SPEC.field("tracing");
            tracing(check, list.item(index), entry);
        }
        for (index, entry) in self.metrics.iter().enumerate() {
            let list = SPEC.field("metrics");
            metrics(check, list.item(index), entry);
        }
    }
}

fn selection(telemetry: &Telemetry, check: &mut Check<'_>) {
    let written =
        [telemetry.selector.is_some(), telemetry.target_ref.is_some(), !telemetry.target_refs.is_empty()];
    if written.into_iter().filter(|written| *written).count() > 1 {
        let message = "only one of selector, targetRef and targetRefs may be written";
        check.error(
            SPEC.field("selector"),
            message,
            "write two objects, or remove all but one of the fields",
        );
    }
    let selector = SPEC.field("selector");
    let labels = selector.field("matchLabels");
    for (name, value) in telemetry.selector.iter().flat_map(|selector| &selector.match_labels) {
        if name.is_empty() {
            check.error(labels, "a label has a name", "write the label in full");
        } else if name.contains('*') || value.contains('*') {
            check.error(labels.field(name), "labels have no wildcards here", "write the label in full");
        }
    }
    let single = SPEC.field("targetRef");
    let list = SPEC.field("targetRefs");
    let items: Vec<_> = (0..telemetry.target_refs.len()).map(|index| list.item(index)).collect();
    let places = telemetry.target_ref.iter().map(|_| single).chain(items);
    for (target, at) in telemetry.targets().zip(places) {
        if target.kind.is_empty() || target.name.is_empty() {
            let mend = "write such as {group: gateway.networking.k8s.io, kind: Gateway, name: edge}";
            check.error(at, "expected the kind and the name of an object", mend);
        }
        if !target.namespace.is_empty() {
            let message = "an object of another namespace cannot be named";
            check.error(
                at.field("namespace"),
                message,
                "remove it, and write the Telemetry in that namespace",
            );
        }
    }
}

fn providers(check: &mut Check<'_>, at: Path<'_>, providers: &[ProviderRef]) {
    for (index, provider) in providers.iter().enumerate() {
        if provider.name.is_empty() {
            let list = at.field("providers");
            let at = list.item(index);
            let message = "expected the name of an extension provider, found nothing";
            check.error(at.field("name"), message, "write one of the mesh's extensionProviders, or `envoy`");
        }
    }
}

fn tracing(check: &mut Check<'_>, at: Path<'_>, tracing: &Tracing) {
    if tracing.providers.len() > 1 {
        let list = at.field("providers");
        check.warn(list.item(1), "only the first provider gets spans", "remove the others");
    }
    providers(check, at, &tracing.providers);
    if tracing.sampling.is_some_and(|share| !(0.0..=100.0).contains(&share)) {
        let message = "expected a number from 0 to 100";
        check.error(at.field("randomSamplingPercentage"), message, "write 100 to trace every request");
    }
    for (name, tag) in tracing.custom_tags.iter().flatten() {
        let tags = at.field("customTags");
        custom_tag(check, tags.field(name), name, tag);
    }
}

fn custom_tag(check: &mut Check<'_>, at: Path<'_>, name: &str, tag: &CustomTag) {
    let CustomTag { literal, environment, header, formatter } = tag;
    if name.is_empty() {
        check.error(at, "a tag has a name", "write it before the colon");
    }
    let written = [literal.is_some(), environment.is_some(), header.is_some(), formatter.is_some()];
    if written.into_iter().filter(|written| *written).count() > 1 {
        check.error(at, "a tag has one source, and here are several", "remove all but one");
    }
    for (field, value) in [("literal", literal), ("formatter", formatter)] {
        if value.as_ref().is_some_and(|value| value.value.is_empty()) {
            let source = at.field(field);
            check.error(
                source.field("value"),
                "expected a value, found nothing",
                "write it, or remove the tag",
            );
        }
    }
    for (field, source) in [("environment", environment), ("header", header)] {
        if source.as_ref().is_some_and(|source| source.name.is_empty()) {
            let source = at.field(field);
            check.error(
                source.field("name"),
                "expected a name, found nothing",
                "write it, or remove the tag",
            );
        }
    }
}

fn metrics(check: &mut Check<'_>, at: Path<'_>, metrics: &Metrics) {
    providers(check, at, &metrics.providers);
    check_duration(check, at.field("reportingInterval"), metrics.reporting_interval);
    for (index, change) in metrics.overrides.iter().enumerate() {
        let list = at.field("overrides");
        let at = list.item(index);
        if let Some(selector) = &change.matching {
            let at = at.field("match");
            if selector.metric.is_some() && selector.custom_metric.is_some() {
                check.error(at, "only one of metric and customMetric may be written", "remove one");
            }
            if selector.custom_metric.as_deref() == Some("") {
                let message = "expected the name of a metric, found nothing";
                check.error(at.field("customMetric"), message, "write it, or remove the field");
            }
        }
        for (name, TagOverride { operation, value }) in &change.tag_overrides {
            let tags = at.field("tagOverrides");
            let tag = tags.field(name);
            let at = tag.field("value");
            match (operation, &**value) {
                (TagOperation::Upsert, "") => {
                    check.error(
                        at,
                        "expected a value in CEL, found nothing",
                        "write it, such as request.host",
                    );
                }
                (TagOperation::Upsert, text) => expression(check, at, text),
                (TagOperation::Remove, "") => {}
                (TagOperation::Remove, _) => {
                    check.error(
                        at,
                        "a label that is removed has no value",
                        "remove it, or write operation: UPSERT",
                    );
                }
            }
        }
    }
}

/// Is it written in CEL?
fn expression(check: &mut Check<'_>, at: Path<'_>, text: &str) {
    const MEND: &str = "write such as response.code >= 400";
    if text.len() > LONGEST_EXPRESSION {
        check.error(at, format!("expected at most {LONGEST_EXPRESSION} bytes of CEL"), "write less");
        return;
    }
    let parse = || {
        let parser = cel::parser::Parser::new().max_recursion_depth(DEEPEST_EXPRESSION);
        parser.parse(text).map(drop).map_err(|errors| fault(&errors.to_string()))
    };
    // A parser that gives up is one that does not understand.
    match catch_unwind(parse) {
        Ok(Ok(())) => {}
        Ok(Err(why)) => check.error(at, format!("{text:?} is no CEL expression: {why}"), MEND),
        Err(_) => check.error(at, format!("{text:?} is no CEL expression"), MEND),
    }
}

/// The first reason that the parser gives, in one line.
fn fault(said: &str) -> String {
    if said.contains("Recursion limit") {
        return format!("it is nested deeper than {DEEPEST_EXPRESSION} levels");
    }
    let line = said.lines().next().unwrap_or_default();
    let line = line.strip_prefix("ERROR: ").unwrap_or(line);
    line.strip_prefix("<input>:").map_or_else(|| line.to_owned(), |rest| format!("at {rest}"))
}
