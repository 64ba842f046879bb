//! Which objects a cluster has told of, and the events that follow from what it tells. No IO.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::sync::Arc;

use limen_resources::{Event, Kind, ObjectKey, Parsed, attempt};
use serde_json::Value;
use twox_hash::XxHash64;

use crate::status::{Mark, Marker};

/// What one list and watch tells of. Ordered by kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    pub(super) kind: Kind,
    /// One namespace, if not all.
    pub(super) namespace: Option<Arc<str>>,
    /// One object, if not all.
    pub(super) name: Option<Arc<str>>,
}

/// An object that was told, read.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) key: ObjectKey,
    /// What is kept of it for its status.
    pub(super) mark: Option<Mark>,
    /// What tells it apart from other versions of itself.
    version: u64,
    parsed: Parsed,
}

impl Told {
    /// Reads an object of this kind with `parse`, which is [`parse_object`](limen_resources::parse_object). `None`: it has
    /// no name.
    ///
    /// Whoever watches a kind goes on to watch it, whatever an object of that kind says: what panics is this object's
    /// loss.
    pub(super) fn read(
        parse: fn(&Arc<str>, Kind, &Value) -> Parsed,
        (source, kind): (&Arc<str>, Kind),
        object: &Value,
        marker: Option<&Marker>,
    ) -> Option<Told> {
        let key = key_of(kind, object)?;
        let mark = marker.and_then(|marker| attempt(|| marker.mark(kind, object)).ok().flatten());
        let parsed = attempt(|| parse(source, kind, object));
        let parsed = parsed.unwrap_or_else(|why| Parsed::failed(&key, source, &why));
        // One name for all who keep it.
        let key =
            parsed.objects.first().map(|own| own.key()).filter(|own| **own == key).cloned().unwrap_or(key);
        Some(Told { mark, version: version(&key, object), parsed, key })
    }
}

/// A digest of what an object is to be, without what becomes of it: equal in every instance that has read it.
fn version(key: &ObjectKey, object: &Value) -> u64 {
    // What these say changes all the time, and nothing that is said of other objects comes from it.
    if matches!(key.kind, Kind::Pod | Kind::EndpointSlice | Kind::Node) {
        return 0;
    }
    let mut hasher = XxHash64::with_seed(0);
    let text = |pointer: &str| object.pointer(pointer).map(Value::to_string).unwrap_or_default();
    hasher.write(key.to_string().as_bytes());
    for pointer in ["/metadata/uid", "/metadata/labels", "/metadata/annotations", "/metadata/generation"] {
        hasher.write(text(pointer).as_bytes());
        hasher.write_u8(0);
    }
    if object.pointer("/metadata/generation").is_none() {
        let content = object.as_object().into_iter().flatten();
        // Lists do not say of each object which kind it is of, watches do.
        let apart = |name: &str| matches!(name, "apiVersion" | "kind" | "metadata" | "status");
        for (name, value) in content.filter(|(name, _)| !apart(name)) {
            hasher.write(name.as_bytes());
            hasher.write(value.to_string().as_bytes());
        }
    }
    hasher.finish()
}

fn key_of(kind: Kind, object: &Value) -> Option<ObjectKey> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").filter(|name| !name.is_empty())?;
    let namespace = if kind.namespaced() { text("/metadata/namespace").unwrap_or_default() } else { "" };
    Some(ObjectKey::new(kind, namespace, name))
}

/// What the store has of one object of the cluster.
#[derive(Debug, Default)]
struct Entry {
    held: Held,
    /// Was anything wrong with it?
    troubled: bool,
    version: u64,
}

/// The objects that one object of the cluster is to the store.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    /// Itself, and nothing else.
    Itself,
    /// A ConfigMap may hold a mesh configuration besides.
    These(Box<[ObjectKey]>),
}

impl Held {
    fn of(key: &ObjectKey, held: Vec<ObjectKey>) -> Held {
        match &*held {
            [] => Held::Nothing,
            [only] if only == key => Held::Itself,
            _ => Held::These(held.into()),
        }
    }

    /// Their names; `key`: of the object itself.
    fn keys(self, key: &ObjectKey) -> Vec<ObjectKey> {
        match self {
            Held::Nothing => Vec::new(),
            Held::Itself => vec![key.clone()],
            Held::These(held) => held.into(),
        }
    }
}

/// What the store has from the cluster.
///
/// - An object that is told: it counts if it is good; else its last good version stays.
/// - A complete list: what it does not hold is gone.
#[derive(Debug)]
pub(super) struct Ledger {
    source: Arc<str>,
    scopes: BTreeMap<Scope, BTreeMap<ObjectKey, Entry>>,
    /// The sum of all versions.
    digest: u64,
}

impl Ledger {
    /// Empty. `source`: what the objects say of where they are from.
    pub(super) fn new(source: Arc<str>) -> Ledger {
        Ledger { source, scopes: BTreeMap::new(), digest: 0 }
    }

    /// A digest of all that it holds: equal in two instances that were told the same, in whatever order.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// These are all objects of the scope.
    pub(super) fn all(&mut self, scope: &Scope, told: Vec<Told>, events: &mut Vec<Event>) {
        let now: BTreeSet<&ObjectKey> = told.iter().map(|told| &told.key).collect();
        let known = self.scopes.entry(scope.clone()).or_default();
        let gone: Vec<ObjectKey> = known.keys().filter(|key| !now.contains(key)).cloned().collect();
        for key in gone {
            self.gone(scope, &key, events);
        }
        for told in told {
            self.one(scope, told, events);
        }
    }

    /// An object of the scope is there, or is different now.
    pub(super) fn one(&mut self, scope: &Scope, told: Told, events: &mut Vec<Event>) {
        let Told { key, mark: _, version, parsed } = told;
        let Parsed { objects, invalid, problems, .. } = parsed;
        let entry = self.scopes.entry(scope.clone()).or_default().entry(key.clone()).or_default();
        let before = std::mem::replace(&mut entry.version, version);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(version);
        let mut held: Vec<ObjectKey> = objects.iter().map(|object| object.key().clone()).collect();
        events.extend(objects.into_iter().map(Event::Apply));
        for before in std::mem::take(&mut entry.held).keys(&key) {
            if held.contains(&before) {
                continue;
            }
            if invalid.contains(&before) {
                held.push(before);
            } else {
                events.push(Event::Delete { key: before, file: Arc::clone(&self.source) });
            }
        }
        entry.held = Held::of(&key, held);
        let troubled = !problems.is_empty();
        if std::mem::replace(&mut entry.troubled, troubled) || troubled {
            events.push(Event::Problems { file: self.problems_of(&key), problems });
        }
    }

    /// An object of the scope is not there any more.
    pub(super) fn gone(&mut self, scope: &Scope, key: &ObjectKey, events: &mut Vec<Event>) {
        let entry = self.scopes.get_mut(scope).and_then(|known| known.remove(key));
        let Some(Entry { held, troubled, version }) = entry else { return };
        self.digest = self.digest.wrapping_sub(version);
        events.extend(
            held.keys(key).into_iter().map(|key| Event::Delete { key, file: Arc::clone(&self.source) }),
        );
        if troubled {
            events.push(Event::Problems { file: self.problems_of(key), problems: Vec::new() });
        }
    }

    /// Nobody wants to know of this scope any more.
    pub(super) fn forget(&mut self, scope: &Scope, events: &mut Vec<Event>) {
        self.all(scope, Vec::new(), events);
        self.scopes.remove(scope);
    }

    /// Under which name the store has the problems of one object.
    fn problems_of(&self, key: &ObjectKey) -> Arc<str> {
        format!("{}: {key}", self.source).into()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
