//! What is told of each gateway's traffic: Telemetry objects and the mesh's providers.
//!
//! Three levels count, the wider first: the root namespace's, the gateway's namespace's, those for the workload. A wide
//! object is the oldest of its namespace without selector; there is one for each namespace.

mod collectors;
mod logs;
mod tracing;

use std::sync::Arc;

use limen_ir::{Ir, Telemetry as Made};
use limen_resources::Object;
use limen_resources::istio::{DefaultProviders, ExtensionProvider, MeshConfig, Telemetry, WorkloadMode};
use limen_resources::istio::{ProviderRef, TelemetryMatch};

use crate::index::{Index, oldest_first};
use crate::istio::names;
use crate::memo::keep;
use crate::merge::WantedClusters;
use crate::mesh;
use crate::messages::{At, telemetry as messages};
use crate::report::Report;
use crate::settings::GatewayInstance;

/// The label of a workload that a Gateway of the Gateway API made.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// What is told, for each gateway; none: nothing is said for any. `last`: the run before, for sharing.
pub(crate) fn telemetry(
    index: &Index<'_>,
    last: &Ir,
    wanted: &mut WantedClusters,
    report: &mut Report,
) -> Vec<Arc<Made>> {
    let all = oldest_first(index.snapshot.telemetries());
    let config = mesh::chosen(index.snapshot, index.settings);
    let providers = Providers { config };
    say_extra(index, &all, report);
    let instances = index.settings.gateways.iter().enumerate();
    let mut made: Vec<Made> = instances
        .map(|(number, instance)| {
            let applied = applied(index, &all, instance);
            say_unserved(&applied, report);
            let mut logs = logs::Logs { index, providers: &providers, report };
            let access_logs = logs.of(&applied);
            let mut spans = tracing::Spans { index, providers: &providers, wanted, report };
            Made { access_logs, tracing: spans.of(&applied, (number, instance)) }
        })
        .collect();
    while made.last() == Some(&Made::default()) {
        made.pop();
    }
    let made = made.into_iter().enumerate();
    made.map(|(number, made)| keep(last.telemetry.get(number), made)).collect()
}

/// The objects that count for a gateway, the wider first.
fn applied<'a>(
    index: &Index<'a>,
    all: &[&'a Arc<Object<Telemetry>>],
    instance: &GatewayInstance,
) -> Vec<&'a Arc<Object<Telemetry>>> {
    let (root, own) = (&*index.settings.root_namespace, &*index.settings.workload_namespace);
    let wide = |namespace: &str| {
        let mut of = all.iter().copied().filter(|object| &*object.key.namespace == namespace);
        of.find(|object| object.spec.is_wide())
    };
    let wider = wide(root).into_iter().chain(wide(own).filter(|_| own != root));
    let narrow = all.iter().copied().filter(|object| {
        &*object.key.namespace == own && !object.spec.is_wide() && selects(&object.spec, instance)
    });
    wider.chain(narrow).collect()
}

/// Is this the workload that a Telemetry selects? Objects that are named are those of the Gateway API.
fn selects(telemetry: &Telemetry, instance: &GatewayInstance) -> bool {
    let mut targets = telemetry.targets().peekable();
    if targets.peek().is_none() {
        let selector = telemetry.selector.as_ref();
        return selector.is_some_and(|selector| names::selects(&selector.match_labels, &instance.labels));
    }
    let gateway = instance.labels.get(GATEWAY_NAME);
    targets.any(|target| {
        (&*target.group, &*target.kind) == ("gateway.networking.k8s.io", "Gateway")
            && gateway == Some(&target.name)
    })
}

/// A namespace has one wide object; the others of it do not count.
fn say_extra(index: &Index<'_>, all: &[&Arc<Object<Telemetry>>], report: &mut Report) {
    let (root, own) = (&*index.settings.root_namespace, &*index.settings.workload_namespace);
    for namespace in [own, root] {
        let mut wide =
            all.iter().filter(|object| &*object.key.namespace == namespace && object.spec.is_wide());
        let Some(first) = wide.next() else { continue };
        for other in wide {
            report.problem(messages::second(At::new(other, ""), &first.key));
        }
    }
}

fn say_unserved(applied: &[&Arc<Object<Telemetry>>], report: &mut Report) {
    for object in applied {
        if !object.spec.metrics.is_empty() {
            report.problem(messages::metrics(At::new(object, "spec.metrics")));
        }
    }
}

/// Does it concern a gateway, which is a client?
fn concerns(matching: Option<&TelemetryMatch>) -> bool {
    matching.is_none_or(|matching| matching.mode != WorkloadMode::Server)
}

/// Names as they are compared.
fn lower<'p>(providers: impl IntoIterator<Item = &'p ProviderRef>) -> Vec<String> {
    providers.into_iter().map(|provider| provider.name.to_ascii_lowercase()).collect()
}

/// Who can be told.
struct Providers<'a> {
    config: Option<&'a Arc<Object<MeshConfig>>>,
}

impl<'a> Providers<'a> {
    /// The mesh's provider of this name, and where it is written.
    fn find(&self, name: &str) -> Option<(&'a Arc<Object<MeshConfig>>, String, &'a ExtensionProvider)> {
        let config = self.config?;
        let mut all = config.spec.extension_providers.iter().enumerate();
        let (at, found) = all.find(|(_, provider)| provider.name.eq_ignore_ascii_case(name))?;
        Some((config, format!("extensionProviders[{at}]"), found))
    }

    /// Who is told where nothing else is said, in lower case.
    fn default(&self, of: impl Fn(&DefaultProviders) -> &Vec<String>) -> Vec<String> {
        let defaults = self.config.and_then(|config| config.spec.default_providers.as_ref());
        defaults.into_iter().flat_map(of).map(|name| name.to_ascii_lowercase()).collect()
    }
}
