//! Who is there, in Istio's order, seen from the gateway workload.

use std::sync::Arc;

use limen_ir::origin::Origin;
use limen_resources::istio::{Gateway, VirtualService};
use limen_resources::{Object, ObjectKey, Snapshot, Table};

use crate::istio::destination_rule::Rules;
use crate::services::{Registry, ServiceMemo};
use crate::settings::Settings;

/// What the stages look things up in.
pub(crate) struct Index<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) settings: &'a Settings,
    /// Oldest first.
    pub(crate) gateways: Vec<&'a Arc<Object<Gateway>>>,
    /// Oldest first.
    pub(crate) virtual_services: Vec<&'a Arc<Object<VirtualService>>>,
    /// Services by host name.
    pub(crate) services: Registry,
    /// DestinationRules by namespace and host.
    pub(crate) rules: Rules<'a>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, settings: &'a Settings, memo: &mut ServiceMemo) -> Index<'a> {
        Index {
            snapshot,
            settings,
            gateways: oldest_first(snapshot.gateways()),
            virtual_services: oldest_first(snapshot.virtual_services()),
            services: Registry::new(snapshot, settings, memo),
            rules: Rules::new(oldest_first(snapshot.destination_rules()), settings),
        }
    }
}

/// By creation, then name, then namespace.
pub(crate) fn oldest_first<S>(table: &Table<S>) -> Vec<&Arc<Object<S>>> {
    let mut objects: Vec<_> = table.iter().collect();
    let age =
        |object: &Arc<Object<S>>| object.meta.creation_timestamp.as_ref().map(|time| time.unix_seconds());
    objects.sort_by(|a, b| {
        let names =
            |object: &Arc<Object<S>>| (Arc::clone(&object.key.name), Arc::clone(&object.key.namespace));
        age(a).cmp(&age(b)).then_with(|| names(a).cmp(&names(b)))
    });
    objects
}

/// The part of a resource that made something.
pub(crate) fn origin(key: &ObjectKey, field: String) -> Origin {
    Origin {
        kind: key.kind.as_str().to_owned(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        field,
    }
}
