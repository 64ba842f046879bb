//! Which file says what, and the law by which the contents of files become events. No IO.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use limen_resources::{Event, ObjectKey, Problem, codes, parse, parse_mesh};

/// What one file was found to say.
#[derive(Debug, Default)]
struct Entry {
    /// The file as the user named it.
    name: Arc<str>,
    /// The objects that the store has from this file.
    keys: BTreeSet<ObjectKey>,
    /// Objects of kinds that nothing here has a use for, counted.
    unused: BTreeMap<String, usize>,
}

/// The contents of all files, and the events that follow from them.
///
/// - A file that is read: its good objects count. An object that is there but no longer valid keeps its last good
///   version. If part of the text cannot be parsed, no object of the file is taken for removed.
/// - A file that cannot be read keeps all of its objects.
/// - A file that is forgotten takes its objects along.
#[derive(Debug)]
pub(crate) struct Ledger {
    namespace: Arc<str>,
    /// The file that is a mesh configuration and nothing else.
    mesh: Option<PathBuf>,
    /// By path, which is compared as bytes.
    files: BTreeMap<OsString, Entry>,
    /// What is unused in all of them.
    unused: BTreeMap<String, usize>,
    events: Vec<Event>,
}

impl Ledger {
    /// Empty. Objects without a namespace are taken to be in `namespace`; the file `mesh` holds no objects but a mesh
    /// configuration.
    pub(crate) fn new(namespace: &str, mesh: Option<PathBuf>) -> Ledger {
        Ledger {
            namespace: namespace.into(),
            mesh,
            files: BTreeMap::new(),
            unused: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// The file was read; `name` is what the user calls it.
    pub(crate) fn read(&mut self, path: &Path, name: &str, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            let problem = Problem::new(codes::MALFORMED, "the file is not UTF-8 text", "save it as UTF-8");
            return self.keep(path, name, problem);
        };
        let name: Arc<str> = name.into();
        let parsed = if self.mesh.as_deref() == Some(path) {
            parse_mesh(&name, text)
        } else {
            parse(&name, text, &self.namespace)
        };
        let mut keys: BTreeSet<ObjectKey> =
            parsed.objects.iter().map(|object| object.key().clone()).collect();
        self.events.extend(parsed.objects.into_iter().map(Event::Apply));
        let before = self.take(path).unwrap_or_default().keys;
        for key in before {
            if keys.contains(&key) {
                continue;
            }
            if parsed.broken || parsed.invalid.contains(&key) {
                keys.insert(key);
            } else {
                self.events.push(Event::Delete { key, file: Arc::clone(&name) });
            }
        }
        self.events.push(Event::Problems { file: Arc::clone(&name), problems: parsed.problems });
        for (kind, count) in &parsed.ignored {
            *self.unused.entry(kind.clone()).or_default() += count;
        }
        self.files.insert(path.into(), Entry { name, keys, unused: parsed.ignored });
    }

    /// The file is there but cannot be read, for this reason.
    pub(crate) fn unreadable(&mut self, path: &Path, name: &str, reason: &str) {
        let message = format!("the file cannot be read: {reason}");
        let mend = "make it readable or remove it; what it held before is kept until then";
        self.keep(path, name, Problem::new(codes::UNREADABLE_FILE, message, mend));
    }

    fn keep(&mut self, path: &Path, name: &str, problem: Problem) {
        let name: Arc<str> = name.into();
        let problems = vec![problem.at(&name, 1, 1)];
        self.files.entry(path.into()).or_default().name = Arc::clone(&name);
        self.events.push(Event::Problems { file: name, problems });
    }

    /// The file is gone.
    pub(crate) fn forget(&mut self, path: &Path) {
        let Some(Entry { name, keys, .. }) = self.take(path) else { return };
        let deletes = keys.into_iter().map(|key| Event::Delete { key, file: Arc::clone(&name) });
        self.events.extend(deletes);
        self.events.push(Event::Problems { file: name, problems: Vec::new() });
    }

    /// Takes out what a file was found to say.
    fn take(&mut self, path: &Path) -> Option<Entry> {
        let entry = self.files.remove(path.as_os_str())?;
        for (kind, count) in &entry.unused {
            if let Some(all) = self.unused.get_mut(kind) {
                *all = all.saturating_sub(*count);
            }
        }
        self.unused.retain(|_, count| *count > 0);
        Some(entry)
    }

    /// Does the store have objects from this file?
    pub(crate) fn holds_objects(&self, path: &Path) -> bool {
        self.files.get(path.as_os_str()).is_some_and(|entry| !entry.keys.is_empty())
    }

    /// The events since the last call. Some may say what the store knows already.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// How many objects of which kinds are in the files without being of use here.
    pub(crate) fn unused(&self) -> BTreeMap<String, usize> {
        self.unused.clone()
    }

    /// How many files there are.
    pub(crate) fn file_count(&self) -> usize {
        self.files.len()
    }
}
