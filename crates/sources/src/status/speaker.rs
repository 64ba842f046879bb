//! Who speaks, and what of what is said in the cluster is its own.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use limen_resources::{Kind, ObjectKey, Verdicts};
use serde_json::Value;

use super::said::{GROUP, Layout, OWN, entries_of, text};

/// Who speaks.
#[derive(Debug)]
pub(super) struct Speaker {
    /// As entries for Gateways have it (`controllerName`).
    pub(super) controller: String,
    /// The group of instances.
    pub(super) group: String,
    /// `None`: all entries of the controller are its own.
    alone: Option<Alone>,
}

/// A group that serves one Gateway: other groups write entries of the same controller, for other Gateways.
#[derive(Debug)]
struct Alone {
    gateway: ObjectKey,
    /// The Gateway, and the ListenerSets that hang on it.
    own: RwLock<BTreeSet<ObjectKey>>,
}

impl Speaker {
    /// `gateway`: the only one that it speaks of, if so.
    pub(super) fn new(controller: String, group: String, gateway: Option<ObjectKey>) -> Speaker {
        let alone = gateway.map(|gateway| Alone { own: RwLock::new([gateway.clone()].into()), gateway });
        Speaker { controller, group, alone }
    }

    /// This is what it has to say from now on.
    pub(super) fn speaks_of(&self, verdicts: &Verdicts) {
        let Some(Alone { gateway, own }) = &self.alone else { return };
        let groups = verdicts.groups().iter().filter_map(|group| group.first());
        let sets = groups.map(|verdict| &verdict.on).filter(|on| on.kind == Kind::ListenerSet);
        let now: BTreeSet<ObjectKey> = sets.chain([gateway]).cloned().collect();
        *own.write().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Is a condition of this type its own, among those of a whole object?
    pub(super) fn has(&self, layout: Layout, name: &str) -> bool {
        match layout {
            Layout::Prefixed => name.strip_prefix(&*self.group).is_some_and(|rest| rest.starts_with('/')),
            _ => OWN.contains(&name),
        }
    }

    /// Is an entry of an object its own?
    pub(super) fn owns(&self, layout: Layout, object: &Value, entry: &Value) -> bool {
        let controllers = entry.get("controllerName").and_then(Value::as_str) == Some(&*self.controller);
        let Some(alone) = self.alone.as_ref().filter(|_| controllers) else { return controllers };
        let own = alone.own.read().unwrap_or_else(PoisonError::into_inner);
        parent(layout, object, entry).is_some_and(|parent| own.contains(&parent))
    }
}

/// The Gateway or ListenerSet that an entry is about.
pub(super) fn parent(layout: Layout, object: &Value, entry: &Value) -> Option<ObjectKey> {
    let (_, field) = entries_of(layout);
    let reference = entry.get(field)?;
    let or = |field: &str, usual: &str| match text(reference, field) {
        none if none.is_empty() => usual.to_owned(),
        written => written,
    };
    let kind = match (&*or("group", GROUP), &*or("kind", "Gateway")) {
        (GROUP, "Gateway") => Kind::ApiGateway,
        (GROUP, "ListenerSet") => Kind::ListenerSet,
        _ => return None,
    };
    let own = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    Some(ObjectKey::new(kind, or("namespace", own), text(reference, "name")))
}
