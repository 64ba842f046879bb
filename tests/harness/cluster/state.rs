//! What the double holds: objects, their history, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use super::kinds::{ApiKind, KINDS};

/// Group, plural and verb of a request; a subresource is `plural/sub`.
pub type Right = (String, String, String);

/// One object: its kind's definition name, namespace, name.
pub(super) type Key = (String, String, String);

/// Why a request is refused: status, reason, message.
pub(super) type Refusal = (u16, &'static str, String);

/// What happened to an object, or (`BOOKMARK`) to none.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) sort: &'static str,
    pub(super) key: Key,
    pub(super) object: Value,
    /// As it was.
    pub(super) before: Option<Value>,
}

/// What is wrong with the server.
#[derive(Debug, Default, Clone)]
pub(super) struct Faults {
    /// Every request is answered so.
    pub(super) answer: Option<u16>,
    /// Every answer takes so long.
    pub(super) latency: Duration,
    /// Nothing is answered before this is over.
    pub(super) silent: bool,
    /// Whoever has another token is not known.
    pub(super) token: Option<String>,
    /// A watch ends after so many events; 0: at once.
    pub(super) watch_events: Option<usize>,
}

pub(super) struct State {
    pub(super) version: u64,
    pub(super) kinds: Vec<&'static ApiKind>,
    pub(super) objects: BTreeMap<Key, Value>,
    pub(super) history: Vec<Change>,
    /// What happened up to this version is forgotten.
    pub(super) forgotten: u64,
    pub(super) faults: Faults,
    /// The rights of who asks; `None`: all.
    pub(super) allowed: Option<BTreeSet<Right>>,
    pub(super) seen: BTreeSet<Right>,
    pub(super) selectors: BTreeSet<String>,
    /// `verb plural namespace/name` of every write that was done.
    pub(super) writes: Vec<String>,
    /// `METHOD path` of every request that is not looked at yet.
    pub(super) held: Vec<String>,
    pub(super) discoveries: usize,
    pub(super) watched_from: HashMap<String, u64>,
    /// Watches of a former age end.
    pub(super) age: u64,
    /// What is left of lists that were begun.
    pub(super) pages: HashMap<String, (u64, Vec<Value>)>,
}

impl State {
    pub(super) fn new(absent: &[&str]) -> State {
        let mut state = State {
            version: 100,
            kinds: Vec::new(),
            objects: BTreeMap::new(),
            history: Vec::new(),
            forgotten: 0,
            faults: Faults::default(),
            allowed: None,
            seen: BTreeSet::new(),
            selectors: BTreeSet::new(),
            writes: Vec::new(),
            held: Vec::new(),
            discoveries: 0,
            watched_from: HashMap::new(),
            age: 0,
            pages: HashMap::new(),
        };
        for kind in KINDS.iter().filter(|kind| !absent.contains(&kind.name().as_str())) {
            state.install(kind);
        }
        state
    }

    pub(super) fn install(&mut self, kind: &'static ApiKind) {
        self.kinds.push(kind);
        if !kind.built_in() {
            self.put(&kind.definition(), false).unwrap();
        }
    }

    pub(super) fn key(kind: &ApiKind, namespace: &str, name: &str) -> Key {
        (kind.name(), namespace.to_owned(), name.to_owned())
    }

    /// Creates or replaces an object. One that names another version than the newest is refused. With `status` only its
    /// status is replaced, without it all but its status.
    pub(super) fn put(&mut self, object: &Value, status: bool) -> Result<Value, Refusal> {
        let kind = super::kinds::kind_of(object);
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let namespace = match (kind.namespaced, text("namespace")) {
            (false, _) => String::new(),
            (true, none) if none.is_empty() => "default".to_owned(),
            (true, named) => named,
        };
        let key = State::key(kind, &namespace, &text("name"));
        let before = self.objects.get(&key).cloned();
        let given = text("resourceVersion");
        if !given.is_empty() && before.as_ref().is_none_or(|b| b["metadata"]["resourceVersion"] != *given) {
            let message = "the object has been modified; please apply your changes to the latest version";
            return Err((409, "Conflict", message.to_owned()));
        }
        let mut now = match (&before, status) {
            (Some(before), true) => {
                let mut now = before.clone();
                now["status"] = object["status"].clone();
                now
            }
            (None, true) => return Err((404, "NotFound", format!("there is no {key:?}"))),
            (Some(before), false) if object.get("status").is_none() => {
                let mut now = object.clone();
                if let Some(status) = before.get("status") {
                    now["status"] = status.clone();
                }
                now
            }
            _ => object.clone(),
        };
        if let Some(before) = before.as_ref().filter(|before| same(before, &now)) {
            return Ok(before.clone());
        }
        self.version += 1;
        let meta = |field: &str| before.as_ref().map(|before| before["metadata"][field].clone());
        if kind.namespaced {
            now["metadata"]["namespace"] = namespace.clone().into();
        }
        now["metadata"]["resourceVersion"] = self.version.to_string().into();
        now["metadata"]["uid"] = meta("uid").unwrap_or_else(|| format!("uid-{}", self.version).into());
        let changed = before.as_ref().is_none_or(|before| before.get("spec") != now.get("spec"));
        let generation = meta("generation").and_then(|g| g.as_u64()).unwrap_or(0) + u64::from(changed);
        now["metadata"]["generation"] = generation.into();
        if now["metadata"].get("creationTimestamp").is_none() {
            let made = format!("2026-01-01T00:{:02}:{:02}Z", self.version / 60 % 60, self.version % 60);
            now["metadata"]["creationTimestamp"] = meta("creationTimestamp").unwrap_or_else(|| made.into());
        }
        // As servers do, so that a reader that stumbles over it is found.
        now["metadata"]["managedFields"] = json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]);
        let sort = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.history.push(Change {
            version: self.version,
            sort,
            key: key.clone(),
            object: now.clone(),
            before: before.clone(),
        });
        self.objects.insert(key, now.clone());
        Ok(now)
    }

    pub(super) fn delete(&mut self, key: &Key) -> Option<Value> {
        let mut object = self.objects.remove(key)?;
        let before = Some(object.clone());
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let change = Change {
            version: self.version,
            sort: "DELETED",
            key: key.clone(),
            object: object.clone(),
            before,
        };
        self.history.push(change);
        Some(object)
    }

    /// Tells all watches how far they are.
    pub(super) fn bookmark(&mut self) {
        self.version += 1;
        let key = (String::new(), String::new(), String::new());
        self.history.push(Change {
            version: self.version,
            sort: "BOOKMARK",
            key,
            object: Value::Null,
            before: None,
        });
    }
}

/// Are they the same but for what the server itself writes?
fn same(before: &Value, now: &Value) -> bool {
    let own = |object: &Value| {
        let mut object = object.clone();
        object["apiVersion"] = Value::Null;
        for field in
            ["resourceVersion", "uid", "generation", "creationTimestamp", "managedFields", "namespace"]
        {
            object["metadata"].as_object_mut().unwrap().remove(field);
        }
        object
    };
    own(before) == own(now)
}

/// A JSON merge patch (RFC 7396).
pub(super) fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut into[name.as_str()], value);
        }
    }
}
