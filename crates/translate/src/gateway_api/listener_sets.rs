//! ListenerSets: listeners that others add to a Gateway, if it lets them.

use std::sync::Arc;

use limen_resources::gateway_api::{GROUP, Gateway, ListenerSet, ListenersFrom};
use limen_resources::{Kind, Object, ObjectKey};

use super::No;
use super::attach;
use super::gateways::OwnGateway;
use super::status;
use crate::index::Index;

/// A ListenerSet of a Gateway of ours.
#[derive(Debug)]
pub(crate) struct OwnSet<'a> {
    pub(crate) object: &'a Arc<Object<ListenerSet>>,
    /// Its Gateway, by place.
    pub(crate) gateway: usize,
    /// May it add listeners?
    pub(crate) allowed: Result<(), No>,
}

/// Those of our Gateways, oldest first, then by namespace and name.
pub(crate) fn listener_sets<'a>(index: &Index<'a>, gateways: &[OwnGateway<'a>]) -> Vec<OwnSet<'a>> {
    let mut sets: Vec<_> = index.snapshot.listener_sets().iter().collect();
    sets.sort_by_key(|set| status::age(set));
    let own = |object: &'a Arc<Object<ListenerSet>>| {
        let parent = parent(object)?;
        let gateway = gateways.iter().position(|gateway| gateway.object.key == parent)?;
        let allowed = match gateways.get(gateway) {
            Some(own) if admits(&own.object.spec, &own.object.key, &object.key, index) => Ok(()),
            _ => {
                let why = format!("{parent} takes no listeners of namespace {}", object.key.namespace);
                Err(("NotAllowed", why))
            }
        };
        Some(OwnSet { object, gateway, allowed })
    };
    sets.into_iter().filter_map(own).collect()
}

fn parent(set: &Object<ListenerSet>) -> Option<ObjectKey> {
    let parent = &set.spec.parent_ref;
    let namespace = if parent.namespace.is_empty() { &*set.key.namespace } else { &parent.namespace };
    let is_gateway = parent.group() == GROUP && parent.kind() == "Gateway";
    is_gateway.then(|| ObjectKey::new(Kind::ApiGateway, namespace, &*parent.name))
}

fn admits(gateway: &Gateway, own: &ObjectKey, set: &ObjectKey, index: &Index<'_>) -> bool {
    let Some(allowed) = &gateway.allowed_listeners else { return false };
    match allowed.namespaces.from {
        ListenersFrom::None => false,
        ListenersFrom::Same => own.namespace == set.namespace,
        ListenersFrom::All => true,
        ListenersFrom::Selector => {
            let selector = allowed.namespaces.selector.as_ref();
            selector.is_some_and(|selector| attach::selects(selector, &set.namespace, index.snapshot))
        }
    }
}
