//! How the requests to a gateway are traced.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::tracing::{TagSource, Tracing as Made};
use limen_resources::Object;
use limen_resources::istio::{CustomTag, ProxyTracing, Telemetry, Tracing};

use super::collectors::{Collectors, Traced};
use super::{Providers, concerns};
use crate::index::{Index, origin};
use crate::merge::WantedClusters;
use crate::messages::{At, telemetry as messages};
use crate::report::Report;
use crate::settings::GatewayInstance;

/// Of ten thousand requests, if nobody says how many: Istio's 1 %.
const DEFAULT_SAMPLING: u32 = 100;
/// Bytes of a URL in a tag, if the provider does not say.
const LONGEST_URL: usize = 256;

/// What is said of tracing, the last word of each field.
#[derive(Default)]
struct Said<'a> {
    sampling: Option<f64>,
    disabled: bool,
    tags: Option<&'a BTreeMap<String, CustomTag>>,
    unmarked: bool,
    without_istio_tags: bool,
    without_propagation: bool,
}

/// Reads what is said of spans.
pub(super) struct Spans<'a, 'r> {
    pub(super) index: &'a Index<'a>,
    pub(super) providers: &'a Providers<'a>,
    /// The collectors' services are added.
    pub(super) wanted: &'r mut WantedClusters,
    pub(super) report: &'r mut Report,
}

impl Spans<'_, '_> {
    /// How the gateway of this number is traced for which these objects count; `None`: not at all.
    pub(super) fn of(
        &mut self,
        applied: &[&Arc<Object<Telemetry>>],
        (number, instance): (usize, &GatewayInstance),
    ) -> Option<Made> {
        let mut provider = self.providers.default(|defaults| &defaults.tracing).into_iter().next();
        let traced = self.index.settings.mesh.traced(number);
        let mut said = Said::of_proxy(traced.map(|traced| &traced.said));
        let mut spoken = provider.is_some();
        for object in applied {
            for (at, entry) in object.spec.tracing.iter().enumerate() {
                if !concerns(entry.matching.as_ref()) {
                    continue;
                }
                if let Some(first) = entry.providers.first() {
                    let field = format!("spec.tracing[{at}].providers[0].name");
                    if self.providers.find(&first.name).is_none() {
                        let at = At::new(object, &field);
                        self.report.problem(messages::unknown_provider(at, &first.name, "traced"));
                    }
                    provider = Some(first.name.clone());
                }
                said.take(entry);
                spoken = true;
            }
        }
        if said.disabled {
            return None;
        }
        let mut collectors = Collectors { index: self.index, wanted: self.wanted, report: self.report };
        let (collector, longest, origin) = match provider {
            Some(name) => {
                let (config, at, provider) = self.providers.find(&name)?;
                let (collector, longest) = collectors.of_provider(config, &at, provider, number)?;
                (collector, longest, origin(&config.key, at))
            }
            // Without a word about providers it is the one that the proxy itself was told of.
            None => {
                let config = self.providers.config;
                if !spoken && config.is_some_and(|config| config.spec.enable_tracing == Some(false)) {
                    return None;
                }
                let (collector, origin) = collectors.of_proxy(&Traced::new(traced?, config)?, number)?;
                (collector, 0, origin)
            }
        };
        let length = |said: u32| usize::try_from(said).ok().filter(|said| *said > 0);
        let of_proxy = || length(traced?.said.max_path_tag_length);
        let sampling = said.sampling.map(|share| (share * 100.0).round() as u32);
        let (namespace, name) = (&self.index.settings.workload_namespace, &instance.name);
        let app = instance.labels.get("app").unwrap_or(name);
        Some(Made {
            collector,
            sampling: sampling.or_else(|| traced?.sampling()).unwrap_or(DEFAULT_SAMPLING),
            mark_request_id: !said.unmarked,
            propagate: !said.without_propagation,
            service_name: format!("{app}.{namespace}"),
            tags: self.tags(&said, instance),
            longest_url: length(longest).or_else(of_proxy).unwrap_or(LONGEST_URL),
            origin,
        })
    }

    fn tags(&self, said: &Said<'_>, instance: &GatewayInstance) -> Vec<(String, TagSource)> {
        let mut tags = Vec::new();
        if !said.without_istio_tags {
            let settings = self.index.settings;
            let said = self.providers.config.map(|config| config.spec.trust_domain.clone());
            let mesh_id =
                said.filter(|domain| !domain.is_empty()).unwrap_or_else(|| settings.cluster_domain.clone());
            let label = |names: &[&str]| names.iter().find_map(|name| instance.labels.get(*name)).cloned();
            let service = label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
            let revision =
                label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
            for (name, value) in [
                ("istio.canonical_revision", revision.unwrap_or_else(|| "latest".to_owned())),
                ("istio.canonical_service", service.unwrap_or_else(|| instance.name.clone())),
                ("istio.cluster_id", settings.cluster_id.clone()),
                ("istio.mesh_id", mesh_id),
                ("istio.namespace", settings.workload_namespace.clone()),
            ] {
                tags.push((name.to_owned(), TagSource::Literal(value)));
            }
        }
        for (name, CustomTag { literal, environment, header, formatter }) in said.tags.into_iter().flatten() {
            let source = if let Some(literal) = literal {
                TagSource::Literal(literal.value.clone())
            } else if let Some(from) = environment {
                TagSource::Environment(from.name.clone(), from.default_value.clone())
            } else if let Some(from) = header {
                TagSource::Header(from.name.to_ascii_lowercase(), from.default_value.clone())
            } else if let Some(formatter) = formatter {
                TagSource::Format(formatter.value.clone())
            } else {
                continue;
            };
            tags.push((name.clone(), source));
        }
        tags
    }
}

impl<'a> Said<'a> {
    /// What is inherited by all that Telemetries say.
    fn of_proxy(said: Option<&'a ProxyTracing>) -> Said<'a> {
        Said {
            tags: said.and_then(|said| said.custom_tags.as_ref()),
            without_istio_tags: said.and_then(|said| said.enable_istio_tags) == Some(false),
            ..Said::default()
        }
    }

    /// Fields that are written count from here on.
    fn take(&mut self, entry: &'a Tracing) {
        let Tracing {
            matching: _,
            providers: _,
            sampling,
            disable_span_reporting,
            custom_tags,
            use_request_id,
            enable_istio_tags,
            disable_context_propagation,
        } = entry;
        self.sampling = sampling.or(self.sampling);
        self.tags = custom_tags.as_ref().or(self.tags);
        self.disabled = disable_span_reporting.unwrap_or(self.disabled);
        self.unmarked = use_request_id.map_or(self.unmarked, |used| !used);
        self.without_istio_tags = enable_istio_tags.map_or(self.without_istio_tags, |enabled| !enabled);
        self.without_propagation = disable_context_propagation.unwrap_or(self.without_propagation);
    }
}
