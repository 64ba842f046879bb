//! The one mutable set of objects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use crate::code::codes;
use crate::core::{SecretBytes, check_pem};
use crate::key::ObjectKey;
use crate::object::AnyObject;
use crate::problem::Problem;
use crate::snapshot::{FileState, NameState, Snapshot};

/// What can happen.
#[derive(Debug, Clone)]
pub enum Event {
    /// An object is there, or says something else now. Replaces what the same file said about it before.
    Apply(AnyObject),
    /// This file does not have the object any more. An object that is still there but invalid is not deleted: nothing
    /// is said about it, and so the last good one stays.
    Delete {
        /// The object.
        key: ObjectKey,
        /// The file that had it ([`Source::file`](crate::Source::file)).
        file: Arc<str>,
    },
    /// A file that some object names was read, or could not be. If it cannot be read, or held PEM and now holds
    /// damaged PEM, its last good content stays beside the error.
    File {
        /// As the object names it.
        path: Arc<str>,
        /// What it holds, or why it cannot be read.
        content: Result<SecretBytes, String>,
    },
    /// Nobody names this file any more.
    Forget {
        /// As the object named it.
        path: Arc<str>,
    },
    /// A name that some object has was asked of DNS. A question without answer leaves the former addresses beside the
    /// error; an answer without addresses is an answer.
    Name {
        /// In lower case, without trailing dot.
        name: Arc<str>,
        /// Its addresses in the order of the answer, or why there is no answer.
        answer: Result<Vec<IpAddr>, String>,
    },
    /// Nobody asks for this name any more.
    ForgetName {
        /// The name.
        name: Arc<str>,
    },
    /// Which release of the Gateway API's definitions a cluster has.
    Bundle {
        /// As they say it (`gateway.networking.k8s.io/bundle-version`), such as `v1.6.1`; `None`: they do not.
        version: Option<Arc<str>>,
    },
    /// All problems of a file of resources; they replace its former ones.
    Problems {
        /// The file.
        file: Arc<str>,
        /// What is wrong with it now.
        problems: Vec<Problem>,
    },
}

/// The set of all objects. If two files write the same object, the file whose name is first in byte order counts, the
/// other one is kept to take its place, and a problem names both.
#[derive(Debug, Default)]
pub struct Store {
    now: Snapshot,
    /// Objects that another file writes too and that do not count, ordered by file.
    shadowed: BTreeMap<ObjectKey, Vec<AnyObject>>,
    /// What snapshots say of them, once one was asked for: there may be thousands, as after a folder was copied, and as many
    /// events between two snapshots.
    duplicates: OnceLock<Arc<Vec<Problem>>>,
}

impl Store {
    /// An empty store.
    pub fn new() -> Store {
        Store::default()
    }

    /// Takes an event in. Returns whether a snapshot now differs from one before.
    pub fn apply(&mut self, event: Event) -> bool {
        match event {
            Event::Apply(object) => self.put(object),
            Event::Delete { key, file } => self.delete(&key, &file),
            Event::File { path, content } => self.file(path, content),
            Event::Forget { path } => {
                self.now.files.contains_key(&path)
                    && Arc::make_mut(&mut self.now.files).remove(&path).is_some()
            }
            Event::Name { name, answer } => self.name(name, answer),
            Event::ForgetName { name } => {
                self.now.names.contains_key(&name)
                    && Arc::make_mut(&mut self.now.names).remove(&name).is_some()
            }
            Event::Bundle { version } => {
                let changed = self.now.bundle != version;
                self.now.bundle = version;
                changed
            }
            Event::Problems { file, problems } => self.problems(file, problems),
        }
    }

    /// What stands in it now.
    pub fn snapshot(&self) -> Snapshot {
        let duplicates = self.duplicates.get_or_init(|| {
            let each = self.shadowed.iter().flat_map(|(key, others)| {
                let winner = self.now.get(key);
                others.iter().filter_map(move |other| Some(duplicate(winner.as_ref()?, other)))
            });
            Arc::new(each.collect())
        });
        Snapshot { duplicates: Arc::clone(duplicates), ..self.now.clone() }
    }

    fn put(&mut self, object: AnyObject) -> bool {
        let key = object.key().clone();
        let Some(current) = self.now.get(&key) else {
            self.now.insert(object);
            return true;
        };
        let file = Arc::clone(&object.source().file);
        if current.source().file == file {
            // Of equal ones the first stays: what was made of it then needs not be made again.
            if current == object {
                return false;
            }
            self.now.insert(object);
            self.shadows_changed(&key)
        } else {
            let others = self.shadowed.entry(key.clone()).or_default();
            let known = others.iter().position(|other| other.source().file == file);
            let same = known.and_then(|at| others.get(at)).is_some_and(|other| *other == object);
            others.retain(|other| other.source().file != file);
            let loser = if file < current.source().file {
                self.now.insert(object);
                current
            } else {
                object
            };
            let at = others.partition_point(|other| other.source().file < loser.source().file);
            others.insert(at, loser);
            !same && self.shadows_changed(&key)
        }
    }

    fn delete(&mut self, key: &ObjectKey, file: &Arc<str>) -> bool {
        let Some(current) = self.now.get(key) else { return false };
        let others = self.shadowed.get_mut(key);
        if current.source().file != *file {
            let Some(others) = others else { return false };
            let before = others.len();
            others.retain(|other| other.source().file != *file);
            let changed = others.len() < before;
            return changed && self.shadows_changed(key);
        }
        match others.filter(|others| !others.is_empty()).map(|others| others.remove(0)) {
            Some(next) => self.now.insert(next),
            None => self.now.remove(key),
        }
        self.shadows_changed(key)
    }

    /// Says again which objects are written twice, if this one is or was. Always true, for the callers' convenience.
    fn shadows_changed(&mut self, key: &ObjectKey) -> bool {
        let Some(others) = self.shadowed.get(key) else { return true };
        if others.is_empty() {
            self.shadowed.remove(key);
        }
        self.duplicates = OnceLock::new();
        true
    }

    fn file(&mut self, path: Arc<str>, content: Result<SecretBytes, String>) -> bool {
        let before = self.now.files.get(&path);
        let last_good = before.and_then(|state| state.content.clone());
        let was_pem = last_good.as_ref().is_some_and(|bytes| check_pem(bytes.expose()).is_ok());
        let state = match content {
            Err(error) => FileState { content: last_good, error: Some(error) },
            Ok(bytes) => match check_pem(bytes.expose()) {
                Err(error) if was_pem => FileState { content: last_good, error: Some(error.to_string()) },
                _ => FileState { content: Some(bytes), error: None },
            },
        };
        let changed = before != Some(&state);
        if changed {
            Arc::make_mut(&mut self.now.files).insert(path, state);
        }
        changed
    }

    fn name(&mut self, name: Arc<str>, answer: Result<Vec<IpAddr>, String>) -> bool {
        let before = self.now.names.get(&name).map(|state| NameState::clone(state));
        let former = before.clone().unwrap_or_default();
        let state = match answer {
            Err(error) => NameState { error: Some(error), ..former },
            Ok(addresses) if addresses.is_empty() => NameState { addresses, error: None, ..former },
            Ok(addresses) => NameState { known: addresses.clone(), addresses, error: None },
        };
        let changed = before.as_ref() != Some(&state);
        if changed {
            Arc::make_mut(&mut self.now.names).insert(name, Arc::new(state));
        }
        changed
    }

    fn problems(&mut self, file: Arc<str>, problems: Vec<Problem>) -> bool {
        let before = self.now.problems.get(&file).map(Vec::as_slice).unwrap_or_default();
        if before == problems {
            return false;
        }
        let all = Arc::make_mut(&mut self.now.problems);
        if problems.is_empty() {
            all.remove(&file);
        } else {
            all.insert(file, problems);
        }
        true
    }
}

/// `loser` does not count because `winner` is the same object.
pub(crate) fn duplicate(winner: &AnyObject, loser: &AnyObject) -> Problem {
    let place = winner.source().locate("");
    let message = format!("is written twice; the one at {place} counts, this one does not");
    Problem::new(codes::DUPLICATE_OBJECT, message, "remove one of the two, or change the name of one").about(
        loser.key(),
        loser.source(),
        "",
    )
}
