//! What is to be written, and when: at most once a second for each object. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use limen_resources::ObjectKey;

/// An object is not written more often than this.
const REST: Duration = Duration::from_secs(1);
/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(60);

/// A digest of what is said of an object.
pub(super) type Digest = u64;

#[derive(Debug, Default)]
struct Entry {
    uid: Box<str>,
    /// What it says in the cluster. `None`: it was not seen there.
    stored: Option<Digest>,
    /// What it is to say. `None`: it is left as it is.
    wanted: Option<Digest>,
    /// What was written last, and what of it the server kept.
    kept: Option<(Digest, Digest)>,
    /// Not to be written before this time.
    rest: Option<Instant>,
    failures: u32,
    /// It is being written.
    busy: bool,
}

impl Entry {
    fn differs(&self) -> bool {
        match (self.stored, self.wanted) {
            (Some(stored), Some(wanted)) => stored != wanted && self.kept != Some((wanted, stored)),
            _ => false,
        }
    }
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// The object says this now; it was asked to say `wanted`.
    Says { wanted: Digest, kept: Digest },
    /// It is not there any more.
    Gone,
    /// It is newer than what is said of it.
    Stale,
    /// The server did not take it.
    Failed,
}

/// Every object that has a status of ours or could have one.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: BTreeMap<ObjectKey, Entry>,
    /// Those that may have to be written.
    dirty: BTreeSet<ObjectKey>,
}

impl Book {
    /// The object was seen in the cluster, saying this.
    pub(super) fn see(&mut self, key: &ObjectKey, uid: &str, stored: Digest) {
        let entry = self.entries.entry(key.clone()).or_default();
        if *entry.uid != *uid {
            // Another object of the same name: what was written into the former one is not in it.
            (entry.uid, entry.kept, entry.failures) = (uid.into(), None, 0);
        }
        entry.stored = Some(stored);
        if entry.differs() {
            self.dirty.insert(key.clone());
        }
    }

    /// The object is not there any more.
    pub(super) fn gone(&mut self, key: &ObjectKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.stored, entry.kept) = (None, None);
            if entry.wanted.is_none() {
                self.entries.remove(key);
            }
        }
        self.dirty.remove(key);
    }

    /// The object is to say this. `None`: it is left as it is.
    pub(super) fn want(&mut self, key: &ObjectKey, wanted: Option<Digest>) {
        if wanted.is_none() && !self.entries.contains_key(key) {
            return;
        }
        let entry = self.entries.entry(key.clone()).or_default();
        entry.wanted = wanted;
        if entry.differs() {
            self.dirty.insert(key.clone());
        }
        if wanted.is_none() && entry.stored.is_none() {
            self.entries.remove(key);
        }
    }

    /// Those of whom nothing is wanted although they say something of us.
    pub(super) fn unspoken(&self, silent: Digest) -> Vec<ObjectKey> {
        let speaks =
            |entry: &Entry| entry.wanted.is_none() && entry.stored.is_some_and(|stored| stored != silent);
        self.entries.iter().filter(|(_, entry)| speaks(entry)).map(|(key, _)| key.clone()).collect()
    }

    /// The object's `metadata.uid`, if it is in the cluster.
    pub(super) fn uid(&self, key: &ObjectKey) -> Option<&str> {
        self.entries.get(key).filter(|entry| entry.stored.is_some()).map(|entry| &*entry.uid)
    }

    /// Which objects to begin to write now, at most so many.
    pub(super) fn begin(&mut self, most: usize, now: Instant) -> Vec<ObjectKey> {
        let (mut due, mut clean) = (Vec::new(), Vec::new());
        // With thousands of them only those are looked at that come first.
        for key in self.dirty.iter() {
            if due.len() == most {
                break;
            }
            match self.entries.get(key) {
                Some(entry) if entry.busy => {}
                Some(entry) if entry.differs() => {
                    if entry.rest.is_none_or(|rest| rest <= now) {
                        due.push(key.clone());
                    }
                }
                _ => clean.push(key.clone()),
            }
        }
        for key in &clean {
            self.dirty.remove(key);
        }
        for key in &due {
            if let Some(entry) = self.entries.get_mut(key) {
                (entry.busy, entry.rest) = (true, Some(now + REST));
            }
        }
        due
    }

    /// A write has ended.
    pub(super) fn end(&mut self, key: &ObjectKey, written: Written, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.busy = false;
        match written {
            Written::Says { wanted, kept } => {
                entry.failures = 0;
                entry.kept = Some((wanted, kept));
                entry.stored = entry.stored.map(|_| kept);
            }
            Written::Gone => self.gone(key),
            Written::Stale | Written::Failed => {
                entry.failures = entry.failures.saturating_add(1);
                let wait = REST.saturating_mul(2_u32.saturating_pow(entry.failures - 1)).min(LONGEST);
                entry.rest = Some(now + wait);
            }
        }
    }

    /// When the next one may be written.
    pub(super) fn next(&self) -> Option<Instant> {
        let rest = |key| self.entries.get(key).filter(|entry| !entry.busy).and_then(|entry| entry.rest);
        self.dirty.iter().filter_map(rest).min()
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
