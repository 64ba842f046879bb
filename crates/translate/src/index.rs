//! Who is there, in Istio's order, seen from the gateway workload.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use limen_ir::origin::Origin;
use limen_resources::istio::Gateway;
use limen_resources::{Change, Meta, Object, ObjectKey, Snapshot, Table};

use crate::gateway_api::backend_tls::BackendTls;
use crate::gateway_api::traffic::Traffic;
use crate::gateway_api::x_backends::XBackends;
use crate::istio::destination_rule::Rules;
use crate::services::{Registry, ServiceMemo};
use crate::settings::Settings;
use crate::sought::Sought;

/// What the stages look things up in.
pub(crate) struct Index<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) settings: &'a Settings,
    /// Oldest first.
    pub(crate) gateways: Vec<&'a Arc<Object<Gateway>>>,
    /// Services by host name.
    pub(crate) services: Arc<Registry>,
    /// DestinationRules by namespace and host.
    pub(crate) rules: Rules<'a>,
    /// BackendTLSPolicies by Service.
    pub(crate) backend_tls: BackendTls,
    /// XBackendTrafficPolicies by backend.
    pub(crate) traffic: Traffic,
    /// How XBackends are spoken to.
    pub(crate) x_backends: XBackends,
    /// Where Secrets and ConfigMaps are looked up.
    pub(crate) sought: Sought,
    /// The ports that the process itself may listen on, for advice.
    pub(crate) taken: BTreeSet<u16>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, settings: &'a Settings, memo: &mut ServiceMemo) -> Index<'a> {
        let alone = settings.gateway_api.only.is_some();
        let gateways = if alone { Vec::new() } else { oldest_first(snapshot.gateways()) };
        let sought = Sought::default();
        let x_backends = XBackends::new(snapshot, &sought);
        Index {
            taken: taken(&gateways, snapshot, settings),
            snapshot,
            settings,
            gateways,
            services: memo.registry(snapshot, settings),
            rules: Rules::new(oldest_first(snapshot.destination_rules()), settings),
            backend_tls: BackendTls::new(snapshot, settings, &sought),
            traffic: Traffic::new(snapshot, settings),
            x_backends,
            sought,
        }
    }
}

/// What Gateways declare, as it is bound; a port below 1024 may be bound 8000 higher where the system refuses it.
fn taken(gateways: &[&Arc<Object<Gateway>>], snapshot: &Snapshot, settings: &Settings) -> BTreeSet<u16> {
    let declared = gateways.iter().flat_map(|gateway| &gateway.spec.servers).map(|server| server.port.number);
    let api = snapshot.api_gateways().iter();
    let api = api.filter(|gateway| settings.gateway_api.may_serve(&gateway.key));
    let listeners = api.flat_map(|gateway| &gateway.spec.listeners);
    let declared = declared.chain(listeners.map(|listener| listener.port));
    let mut taken = BTreeSet::new();
    for port in declared {
        let bound = settings.port_map.get(&port).copied().unwrap_or(port);
        taken.insert(bound);
        if bound < 1024 {
            taken.insert(bound + 8000);
        }
    }
    taken
}

/// Seconds since 1970; `None`, which is not known, is older than all.
pub(crate) fn age(meta: &Meta) -> Option<i64> {
    meta.creation_timestamp.as_ref().map(|time| time.unix_seconds())
}

/// By creation, then name, then namespace.
pub(crate) fn oldest_first<S>(table: &Table<S>) -> Vec<&Arc<Object<S>>> {
    let mut objects: Vec<_> = table.iter().collect();
    objects.sort_by(|a, b| older(a, b));
    objects
}

fn older<S>(a: &Object<S>, b: &Object<S>) -> Ordering {
    let names =
        |a: &ObjectKey, b: &ObjectKey| a.name.cmp(&b.name).then_with(|| a.namespace.cmp(&b.namespace));
    age(&a.meta).cmp(&age(&b.meta)).then_with(|| names(&a.key, &b.key))
}

/// The objects of a table, oldest first, from one version to the next.
#[derive(Debug)]
pub(crate) struct OldestFirst<S> {
    table: Table<S>,
    list: Vec<Arc<Object<S>>>,
}

impl<S> Default for OldestFirst<S> {
    fn default() -> OldestFirst<S> {
        OldestFirst { table: Table::default(), list: Vec::new() }
    }
}

impl<S> OldestFirst<S> {
    /// Those of the next version.
    pub(crate) fn of(&mut self, table: &Table<S>) -> &[Arc<Object<S>>] {
        let changes = table.changed(&self.table);
        if changes.len() > self.list.len() / 8 {
            self.list = oldest_first(table).into_iter().cloned().collect();
        } else {
            for Change { before, after } in changes {
                if let Some(Ok(at)) = before.map(|old| self.list.binary_search_by(|known| older(known, old)))
                {
                    self.list.remove(at);
                }
                if let Some(new) = after {
                    let at = self.list.partition_point(|known| older(known, new).is_lt());
                    self.list.insert(at, Arc::clone(new));
                }
            }
        }
        self.table = table.clone();
        &self.list
    }
}

/// The part of a resource that made something.
pub(crate) fn origin(key: &ObjectKey, field: String) -> Origin {
    Origin {
        kind: key.kind.as_str(),
        namespace: Arc::clone(&key.namespace),
        name: Arc::clone(&key.name),
        // Thousands have none.
        field: if field.is_empty() { Arc::default() } else { field.into() },
    }
}
