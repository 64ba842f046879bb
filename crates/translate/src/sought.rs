//! Secrets and ConfigMaps are looked up here, and here only: a cluster tells only of those that are named.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use limen_resources::core::{ConfigMap, Secret};
use limen_resources::{Kind, Object, ObjectKey, Snapshot};

/// What was looked up, whether it is there or not.
#[derive(Debug, Default)]
pub(crate) struct Sought(RefCell<BTreeSet<ObjectKey>>);

impl Sought {
    /// The Secret with this name.
    pub(crate) fn secret<'s>(
        &self,
        snapshot: &'s Snapshot,
        namespace: &str,
        name: &str,
    ) -> Option<&'s Arc<Object<Secret>>> {
        self.note(Kind::Secret, namespace, name);
        snapshot.secrets().get(namespace, name)
    }

    /// The ConfigMap with this name.
    pub(crate) fn config_map<'s>(
        &self,
        snapshot: &'s Snapshot,
        namespace: &str,
        name: &str,
    ) -> Option<&'s Arc<Object<ConfigMap>>> {
        self.note(Kind::ConfigMap, namespace, name);
        snapshot.config_maps().get(namespace, name)
    }

    fn note(&self, kind: Kind, namespace: &str, name: &str) {
        self.0.borrow_mut().insert(ObjectKey::new(kind, namespace, name));
    }

    /// All of it.
    pub(crate) fn all(&self) -> BTreeSet<ObjectKey> {
        self.0.borrow().clone()
    }
}
