//! The access logs of a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::Origin;
use limen_ir::access_log::{AccessLog, AccessLogForm, AccessLogs, LogFilter};
use limen_resources::Object;
use limen_resources::istio::{AccessLogging, ExtensionProvider, FileAccessLog, LogFormat, Telemetry};

use super::{Providers, concerns, lower};
use crate::index::{Index, origin};
use crate::mesh;
use crate::messages::{At, telemetry as messages};
use crate::report::Report;

/// The provider that every mesh has: the log that the process would write by itself.
const BUILT_IN: &str = "envoy";

/// What becomes of a provider.
#[derive(Debug, Clone, Default)]
struct Fate {
    disabled: bool,
    filter: Option<LogFilter>,
    /// Who said so; `None`: the mesh's default.
    by: Option<Origin>,
}

/// Reads what is said of access logs.
pub(super) struct Logs<'a, 'r> {
    pub(super) index: &'a Index<'a>,
    pub(super) providers: &'a Providers<'a>,
    pub(super) report: &'r mut Report,
}

impl Logs<'_, '_> {
    /// The logs of a gateway for which these objects count.
    ///
    /// As in Istio, the mesh's own setting is replaced as soon as one provider is known, be it disabled.
    pub(super) fn of(&mut self, applied: &[&Arc<Object<Telemetry>>]) -> AccessLogs {
        let fates = self.fates(applied);
        let mut known = false;
        let mut logs = Vec::new();
        for (name, fate) in fates {
            let (made, disabled) = (self.log(&name, &fate), fate.disabled);
            known |= made.is_some();
            logs.extend(made.flatten().filter(|_| !disabled));
        }
        if known {
            return if logs.is_empty() { AccessLogs::Off } else { AccessLogs::Each(logs) };
        }
        self.say_useless(applied);
        let written = self.index.settings.mesh.access_log.clone();
        written.map_or(AccessLogs::Process, |log| AccessLogs::Each(vec![log]))
    }

    /// The providers that are told, by name in lower case.
    fn fates(&mut self, applied: &[&Arc<Object<Telemetry>>]) -> BTreeMap<String, Fate> {
        let defaults = self.providers.default(|defaults| &defaults.access_logging);
        if applied.iter().all(|object| object.spec.access_logging.is_empty()) {
            return defaults.into_iter().map(|name| (name, Fate::default())).collect();
        }
        let in_scope = in_scope(applied, &defaults);
        let filters = filters(applied);
        let mut inherited = defaults;
        let mut fates = BTreeMap::new();
        for (object, at, entry) in entries(applied) {
            self.say_unknown(object, &at, entry);
            if !entry.providers.is_empty() {
                inherited = lower(&entry.providers);
            }
            if !concerns(entry.matching.as_ref()) {
                continue;
            }
            let by = Some(origin(&object.key, at.clone()));
            for name in inherited.iter().filter(|name| in_scope.contains(*name)) {
                let disabled = entry.disabled == Some(true);
                let own = filter(object, &at, entry).filter(|_| entry.providers.is_empty());
                let filter = own.or_else(|| filters.get(name).cloned().flatten()).filter(|_| !disabled);
                fates.insert(name.clone(), Fate { disabled, filter, by: by.clone() });
            }
        }
        fates
    }

    /// What a provider is; `None`: there is none that could be told. `Some(None)`: one that is not served.
    fn log(&mut self, name: &str, fate: &Fate) -> Option<Option<AccessLog>> {
        let legacy = || self.index.settings.mesh.access_log.as_ref();
        let Some((config, at, provider)) = self.providers.find(name) else {
            let by = fate.by.clone().or_else(|| self.default_origin(name));
            let form = legacy().map(|log| log.form.clone()).unwrap_or_default();
            let log = AccessLog {
                target: mesh::target(""),
                form,
                omit_empty: false,
                own: false,
                filter: fate.filter.clone(),
                origin: by?,
            };
            return (name == BUILT_IN).then_some(Some(log));
        };
        let ExtensionProvider { file_access_log, .. } = provider;
        let Some(FileAccessLog { path, log_format, omit_empty_values }) = file_access_log else {
            let known =
                provider.http_als.is_some() || provider.tcp_als.is_some() || provider.otel_als.is_some();
            if known && !fate.disabled {
                let kind = provider.kind().unwrap_or_default();
                self.report.problem(messages::log_kind(At::new(config, &at), &provider.name, kind));
            }
            return known.then_some(None);
        };
        let mut form = log_format.as_ref().map_or(AccessLogForm::IstioText, form);
        let mut own = true;
        if name == BUILT_IN && log_format.is_none() && !omit_empty_values {
            form = legacy().map(|log| log.form.clone()).unwrap_or_default();
            own = false;
        }
        let field = if log_format.is_some() { format!("{at}.envoyFileAccessLog.logFormat") } else { at };
        Some(Some(AccessLog {
            target: mesh::target(path),
            form,
            omit_empty: *omit_empty_values,
            own,
            filter: fate.filter.clone(),
            origin: origin(&config.key, field),
        }))
    }

    /// Where the mesh names a default.
    fn default_origin(&self, name: &str) -> Option<Origin> {
        let config = self.providers.config?;
        let defaults = self.providers.default(|defaults| &defaults.access_logging);
        let at = defaults.iter().position(|default| default == name)?;
        Some(origin(&config.key, format!("defaultProviders.accessLogging[{at}]")))
    }

    fn say_unknown(&mut self, object: &Arc<Object<Telemetry>>, at: &str, entry: &AccessLogging) {
        for (index, provider) in entry.providers.iter().enumerate() {
            let field = format!("{at}.providers[{index}].name");
            let at = At::new(object, &field);
            match self.providers.find(&provider.name) {
                None if provider.name.eq_ignore_ascii_case(BUILT_IN) => {}
                None => self.report.problem(messages::unknown_provider(at, &provider.name, "logged")),
                Some((_, _, found)) => {
                    let logs = ["envoyFileAccessLog", "envoyHttpAls", "envoyTcpAls", "envoyOtelAls"];
                    let kind = found.kind().unwrap_or("nothing");
                    if !logs.contains(&kind) {
                        self.report.problem(messages::no_log_provider(at, &provider.name, kind));
                    }
                }
            }
        }
    }

    /// Of entries that change nothing because no provider is named anywhere.
    fn say_useless(&mut self, applied: &[&Arc<Object<Telemetry>>]) {
        for (object, at, entry) in entries(applied) {
            let written = entry.disabled == Some(true) || entry.filter.is_some();
            if written && entry.providers.is_empty() && concerns(entry.matching.as_ref()) {
                self.report.problem(messages::no_provider(At::new(object, &at)));
            }
        }
    }
}

/// Every entry in order, and where it is written.
fn entries<'a>(
    applied: &[&'a Arc<Object<Telemetry>>],
) -> impl Iterator<Item = (&'a Arc<Object<Telemetry>>, String, &'a AccessLogging)> {
    applied.iter().copied().flat_map(|object| {
        let entries = object.spec.access_logging.iter().enumerate();
        entries.map(move |(at, entry)| (object, format!("spec.accessLogging[{at}]"), entry))
    })
}

/// The providers that the most specific level names, or the mesh's default.
fn in_scope(applied: &[&Arc<Object<Telemetry>>], defaults: &[String]) -> BTreeSet<String> {
    let named = |object: &&Arc<Object<Telemetry>>| {
        let entries = object.spec.access_logging.iter().filter(|entry| concerns(entry.matching.as_ref()));
        entries.flat_map(|entry| lower(&entry.providers)).collect::<BTreeSet<_>>()
    };
    let mut levels = applied.iter().map(named).filter(|names| !names.is_empty());
    levels.next_back().unwrap_or_else(|| defaults.iter().cloned().collect())
}

/// The filter that was said last for each provider by name.
fn filters(applied: &[&Arc<Object<Telemetry>>]) -> BTreeMap<String, Option<LogFilter>> {
    let mut filters = BTreeMap::new();
    for (object, at, entry) in entries(applied).filter(|(_, _, entry)| concerns(entry.matching.as_ref())) {
        for name in lower(&entry.providers) {
            filters.insert(name, filter(object, &at, entry));
        }
    }
    filters
}

fn filter(object: &Arc<Object<Telemetry>>, at: &str, entry: &AccessLogging) -> Option<LogFilter> {
    let expression = entry.filter.as_ref()?.expression.clone();
    Some(LogFilter { expression, origin: origin(&object.key, format!("{at}.filter.expression")) })
}

fn form(format: &LogFormat) -> AccessLogForm {
    let LogFormat { text, labels } = format;
    match (text, labels) {
        (_, Some(labels)) => {
            let empty = labels.0.as_object().is_none_or(serde_json::Map::is_empty);
            if empty { AccessLogForm::IstioJson } else { AccessLogForm::Json(labels.0.to_string()) }
        }
        (Some(text), None) if !text.is_empty() => AccessLogForm::Text(text.clone()),
        (_, None) => AccessLogForm::IstioText,
    }
}
