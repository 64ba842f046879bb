//! Who speaks, and what of what is said in the cluster is its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use limen_resources::{Kind, ObjectKey, Verdicts};
use serde_json::Value;

use super::said::{GROUP, Layout, OWN, entries_of, list, text};
use super::{About, Heir};

/// Who speaks.
#[derive(Debug)]
pub(super) struct Speaker {
    /// As entries for Gateways have it (`controllerName`).
    pub(super) controller: String,
    /// The group of instances.
    pub(super) group: String,
    /// `None`: all entries of the controller are its own.
    alone: Option<Alone>,
    /// Whose entries it clears away when nobody else does.
    pub(super) heir: Option<Heir>,
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
        Speaker { controller, group, alone, heir: None }
    }

    /// The same as the heir of others.
    pub(super) fn with(self, heir: Option<Heir>) -> Speaker {
        Speaker { heir, ..self }
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

impl Heir {
    /// What the entries are about that instances have written which we make.
    pub(super) fn about(&self, layout: Layout, object: &Value) -> Option<Box<About>> {
        let entries = self.entries(layout, object).filter_map(|entry| parent(layout, object, entry));
        let about: Vec<ObjectKey> = entries.collect();
        (!about.is_empty()).then(|| Box::new(About(about)))
    }

    fn entries<'v>(&self, layout: Layout, object: &'v Value) -> impl Iterator<Item = &'v Value> {
        let theirs = |entry: &&Value| self.wrote(entry);
        let all = matches!(layout, Layout::Parents | Layout::Ancestors).then(|| {
            let (field, _) = entries_of(layout);
            list(object.get("status").and_then(|status| status.get(field)))
        });
        all.into_iter().flatten().filter(theirs)
    }

    fn wrote(&self, entry: &Value) -> bool {
        entry.get("controllerName").and_then(Value::as_str) == Some(&*self.controller)
    }

    /// Is nobody there who could write of this? `living`: those who are spoken of.
    pub(super) fn orphaned(&self, about: &ObjectKey, living: &BTreeMap<ObjectKey, String>) -> bool {
        let seen = self.namespaces.is_empty() || self.namespaces.contains(&*about.namespace);
        seen && !living.contains_key(about)
    }

    /// The status without entries that nobody minds any more; `None`: it has none such.
    pub(super) fn cleared(
        &self,
        layout: Layout,
        object: &Value,
        living: &BTreeMap<ObjectKey, String>,
    ) -> Option<Value> {
        let (field, _) = entries_of(layout);
        let orphan = |entry: &Value| {
            self.wrote(entry)
                && parent(layout, object, entry).is_some_and(|about| self.orphaned(&about, living))
        };
        let mut status = object.get("status")?.clone();
        let entries = status.get_mut(field)?.as_array_mut()?;
        let before = entries.len();
        entries.retain(|entry| !orphan(entry));
        (entries.len() < before).then_some(status)
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

#[cfg(test)]
#[path = "speaker_tests.rs"]
mod tests;
