//! Files that objects name, such as certificates: known only after translation, read like the roots.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use limen_resources::{Event, core::SecretBytes};

use crate::disk::{self, Fingerprint};
use crate::files::{Again, digest, within_grace};

/// A wanted file as it was last told of.
#[derive(Debug, Default)]
struct Known {
    fingerprint: Option<Fingerprint>,
    told: Option<Told>,
    /// Since when it is gone, though it was there.
    gone_since: Option<Instant>,
}

/// What was told, without keeping a secret longer than needed.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Content(u64),
    Error(String),
}

/// The files that are wanted now.
#[derive(Debug, Default)]
pub(crate) struct WantedFiles {
    files: BTreeMap<Arc<str>, Known>,
    forgotten: Vec<Arc<str>>,
}

impl WantedFiles {
    /// From now on these and no others.
    pub(crate) fn want(&mut self, files: BTreeSet<String>) {
        let gone: Vec<Arc<str>> =
            self.files.keys().filter(|path| !files.contains(&***path)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
            self.forgotten.push(path);
        }
        for path in files {
            self.files.entry(path.into()).or_default();
        }
    }

    /// Is none wanted?
    pub(crate) fn are_none(&self) -> bool {
        self.files.is_empty()
    }

    /// Are these wanted, and no others?
    pub(crate) fn are(&self, files: &BTreeSet<String>) -> bool {
        self.files.len() == files.len() && self.files.keys().zip(files).all(|(known, file)| **known == **file)
    }

    /// Looks at each of them and says what changed. Files in `named` are read even if they look unchanged.
    pub(crate) fn look(
        &mut self,
        named: &BTreeSet<OsString>,
        now: Instant,
        again: &mut Again,
        visit: &mut dyn FnMut(&Path),
    ) -> Vec<Event> {
        let forgotten = std::mem::take(&mut self.forgotten).into_iter().map(|path| Event::Forget { path });
        let mut events: Vec<Event> = forgotten.collect();
        for (path, known) in &mut self.files {
            watch_folders(Path::new(&**path), visit);
            let told = Path::new(&**path).file_name().is_some_and(|name| named.contains(name));
            if let Some(content) = known.read(Path::new(&**path), told, now, again) {
                events.push(Event::File { path: Arc::clone(path), content });
            }
        }
        events
    }
}

impl Known {
    /// What is to be told of the file, if anything.
    fn read(
        &mut self,
        path: &Path,
        named: bool,
        now: Instant,
        again: &mut Again,
    ) -> Option<Result<SecretBytes, String>> {
        let fingerprint = match disk::look_at(path) {
            Ok(Some(fingerprint)) => fingerprint,
            Ok(None) => return self.missing(now, again),
            Err(error) => return self.tell_error(error),
        };
        self.gone_since = None;
        if !named && self.fingerprint == Some(fingerprint) {
            return None;
        }
        match disk::read(path) {
            Ok(Some(bytes)) => {
                self.fingerprint = Some(fingerprint);
                let told = Told::Content(digest(&bytes));
                if self.told.as_ref() == Some(&told) {
                    return None;
                }
                self.told = Some(told);
                Some(Ok(SecretBytes::new(bytes)))
            }
            Ok(None) => self.missing(now, again),
            Err(error) => self.tell_error(error),
        }
    }

    fn missing(&mut self, now: Instant, again: &mut Again) -> Option<Result<SecretBytes, String>> {
        self.fingerprint = None;
        let was_there = matches!(self.told, Some(Told::Content(_)));
        if was_there && within_grace(&mut self.gone_since, now, again) {
            return None;
        }
        self.tell_error("no such file".to_owned())
    }

    fn tell_error(&mut self, error: String) -> Option<Result<SecretBytes, String>> {
        self.fingerprint = None;
        let told = Told::Error(error.clone());
        let news = self.told.as_ref() != Some(&told);
        self.told = Some(told);
        news.then_some(Err(error))
    }
}

/// The folder that the file is in, the one that a link leads to, or the nearest one that exists.
fn watch_folders(path: &Path, visit: &mut dyn FnMut(&Path)) {
    disk::visit_target(path, visit);
    let Ok(path) = std::path::absolute(path) else { return };
    if let Some(folder) = path.ancestors().skip(1).find(|folder| folder.is_dir()) {
        visit(folder);
    }
}
