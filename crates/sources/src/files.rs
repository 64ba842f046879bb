//! Looks at the watch roots and the wanted files, and tells the [`Ledger`] what has changed. All decisions about time
//! (what has vanished may come back at once) are made here, with `now` as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use limen_resources::{Event, Problem, codes};

use crate::disk::{self, Fingerprint, Walk};
use crate::ledger::Ledger;
use crate::source::{Batch, Counts};
use crate::wanted::WantedFiles;
use crate::{Config, Document};

/// What has vanished as a whole (a root, all files of a root, the contents of a file) is kept for this time: volumes
/// are remounted, editors empty a file before they fill it.
const GRACE: Duration = Duration::from_secs(2);
/// When to look again at a file that changed while it was read.
const UNSTEADY: Duration = Duration::from_millis(10);

/// A file or folder that the user named.
#[derive(Debug, Clone)]
struct Root {
    /// As the user wrote it, for messages.
    given: PathBuf,
    /// Absolute.
    path: PathBuf,
    /// Since when it holds no files, though it did.
    empty_since: Option<Instant>,
}

/// A file as it was when it was last read.
#[derive(Debug, Clone, Copy)]
struct Seen {
    fingerprint: Option<Fingerprint>,
    digest: u64,
    /// Since when it is empty, though it held objects.
    blank_since: Option<Instant>,
}

/// The result of one look.
#[derive(Debug)]
pub(crate) struct Look {
    events: Vec<Event>,
    unused: BTreeMap<String, usize>,
    files: usize,
    first: bool,
    /// Was everything looked at?
    pub(crate) everything: bool,
    /// When to look again without being told, if before the next regular look.
    pub(crate) again: Option<Instant>,
}

impl Look {
    /// As a batch, unless there is nothing to tell. `began`: when the change was first heard of.
    pub(crate) fn batch(self, began: Instant) -> Option<Batch> {
        let Look { events, unused, files, first, .. } = self;
        let counts = Some(Counts { unused, files });
        (first || !events.is_empty()).then_some(Batch { counts, begun: first, ..Batch::of(began, events) })
    }
}

/// What is to be looked at.
#[derive(Debug)]
pub(crate) enum Where {
    /// Everything. Files of these names are read even if they look unchanged.
    All(BTreeSet<OsString>),
    /// What these notifications name, as far as that tells what has changed; the wanted files in any case.
    Only(BTreeSet<PathBuf>),
    /// Everything, if what was found by this walk is not what is known.
    Unless(Walk),
}

/// The state of the watched files.
#[derive(Debug)]
pub(crate) struct FileSource {
    roots: Vec<Root>,
    /// By path.
    seen: BTreeMap<OsString, Seen>,
    /// The folders of the last walk, and whether there was a link ([`Walk`]).
    folders: BTreeMap<PathBuf, bool>,
    links: bool,
    ledger: Ledger,
    wanted: WantedFiles,
    /// Problems with roots and folders, by the name that the user has for them.
    folder_problems: BTreeMap<Arc<str>, Problem>,
    looked: bool,
}

impl FileSource {
    /// Watches the roots. No file is read yet; the documents are.
    pub(crate) fn new(config: &Config) -> FileSource {
        let roots = config.roots.iter().chain(&config.mesh).map(|given| Root {
            given: given.clone(),
            path: absolute(given),
            empty_since: None,
        });
        let mut ledger = Ledger::new(&config.namespace, config.mesh.as_deref().map(absolute));
        for Document { name, text } in &config.documents {
            ledger.read(Path::new(&**name), name, text.as_bytes());
        }
        FileSource {
            roots: roots.collect(),
            seen: BTreeMap::new(),
            folders: BTreeMap::new(),
            links: false,
            ledger,
            wanted: WantedFiles::default(),
            folder_problems: BTreeMap::new(),
            looked: false,
        }
    }

    /// From now on these files, and no others, are read besides the roots.
    pub(crate) fn want(&mut self, files: BTreeSet<String>) {
        self.wanted.want(files);
    }

    /// Are these the files, and no others, that are read besides the roots?
    pub(crate) fn wants(&self, files: &BTreeSet<String>) -> bool {
        self.wanted.are(files)
    }

    /// Can what happened at `path` matter? Beside the roots, which are watched from the folders that they are in, others
    /// may write all the time.
    pub(crate) fn concerns(&self, path: &Path) -> bool {
        let of_root = |root: &Root| root.path.starts_with(path) || path.starts_with(&root.path);
        let known = path.parent().is_some_and(|folder| self.folders.contains_key(folder));
        // A file that is wanted may be a link, and what it leads to anywhere.
        self.links || !self.wanted.are_none() || known || self.roots.iter().any(of_root)
    }

    /// Looks, and says what has changed. `visit` is called with every folder on the way before it is listed.
    pub(crate) fn look(&mut self, now: Instant, at: &Where, visit: &mut dyn FnMut(&Path)) -> Look {
        let mut again = Again(None);
        let named: BTreeSet<OsString> = match at {
            Where::All(named) => named.clone(),
            Where::Only(paths) => {
                paths.iter().filter_map(|path| Some(path.file_name()?.to_owned())).collect()
            }
            Where::Unless(_) => BTreeSet::new(),
        };
        let changed = match at {
            Where::All(_) => None,
            Where::Only(paths) => self.changed(paths),
            Where::Unless(walk) => self.is_as_known(walk).then(Vec::new),
        };
        let mut events = match &changed {
            Some(changed) => self.look_at(changed, &named, now, &mut again),
            None => self.look_at_all(&named, now, &mut again, visit),
        };
        events.extend(self.wanted.look(&named, now, &mut again, visit));
        let everything = changed.is_none() || matches!(at, Where::Unless(_));
        let first = !std::mem::replace(&mut self.looked, true);
        let (unused, files) = (self.ledger.unused(), self.ledger.file_count());
        Look { events, unused, files, first, everything, again: again.0 }
    }

    /// The roots, as they are walked.
    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        self.roots.iter().map(|root| root.path.clone()).collect()
    }

    /// Did a walk find what is known, and nothing that has to be told again?
    fn is_as_known(&self, walk: &Walk) -> bool {
        let Walk { files, folders, links, unreadable, missing } = walk;
        let files = || files.iter().map(|(path, found)| (path, found.as_ref().ok().copied()));
        let known = || self.seen.iter().map(|(path, seen)| (path, seen.fingerprint));
        self.looked
            && unreadable.is_empty()
            && missing.is_empty()
            && self.folder_problems.is_empty()
            && (folders, *links) == (&self.folders, self.links)
            && files().eq(known())
            && files().all(|(_, found)| found.is_some())
    }

    fn look_at_all(
        &mut self,
        named: &BTreeSet<OsString>,
        now: Instant,
        again: &mut Again,
        visit: &mut dyn FnMut(&Path),
    ) -> Vec<Event> {
        let walk = disk::walk(&self.roots(), visit);
        self.forget_vanished(&walk, now, again);
        for (path, found) in &walk.files {
            match found {
                Ok(fingerprint) => self.read(Path::new(path), *fingerprint, named, now, again),
                Err(reason) => self.unreadable(Path::new(path), reason),
            }
        }
        let mut events = self.judge_folders(&walk);
        (self.folders, self.links) = (walk.folders, walk.links);
        events.extend(self.ledger.events());
        events.extend(self.folder_problems.iter().map(|(name, problem)| Event::Problems {
            file: Arc::clone(name),
            problems: vec![problem.clone()],
        }));
        events
    }

    /// The resource files among `paths`, which notifications name, with what lies there now; `None`: that does not tell
    /// all that may have changed.
    fn changed(&self, paths: &BTreeSet<PathBuf>) -> Option<Vec<(PathBuf, Option<Fingerprint>)>> {
        if self.links || !self.looked {
            return None;
        }
        let mut changed = Vec::new();
        for path in paths {
            let is_root = |root: &Root| root.path == *path;
            let of_root = |root: &Root| root.path.starts_with(path) || path.starts_with(&root.path);
            match path.parent().and_then(|folder| self.folders.get(folder)) {
                // Beside the roots: it may be a wanted file.
                None if !self.roots.iter().any(of_root) => continue,
                Some(true) if !self.folders.contains_key(path) => {}
                _ => return None,
            }
            match disk::place(path) {
                disk::Place::Other => return None,
                disk::Place::File(_) if !disk::is_resource_name(path) && !self.roots.iter().any(is_root) => {}
                disk::Place::File(found) => changed.push((path.clone(), Some(found))),
                disk::Place::Nothing if !self.seen.contains_key(path.as_os_str()) => {}
                disk::Place::Nothing => changed.push((path.clone(), None)),
            }
        }
        // That all files of a root are gone is looked at with more care.
        let stays =
            |path: &&OsString| !changed.iter().any(|(gone, now)| now.is_none() && gone.as_os_str() == **path);
        let emptied =
            |root: &Root| !self.seen.keys().filter(stays).any(|path| Path::new(path).starts_with(&root.path));
        let vanished = changed.iter().any(|(_, now)| now.is_none());
        (!vanished || !self.roots.iter().any(emptied)).then_some(changed)
    }

    fn look_at(
        &mut self,
        changed: &[(PathBuf, Option<Fingerprint>)],
        named: &BTreeSet<OsString>,
        now: Instant,
        again: &mut Again,
    ) -> Vec<Event> {
        for (path, found) in changed {
            match found {
                Some(fingerprint) => self.read(path, *fingerprint, named, now, again),
                None => {
                    self.seen.remove(path.as_os_str());
                    self.ledger.forget(path);
                }
            }
        }
        self.ledger.events()
    }

    /// Forgets files that are there no more, but not all files of a root at once.
    fn forget_vanished(&mut self, walk: &Walk, now: Instant, again: &mut Again) {
        let gone = self.seen.keys().filter(|path| !walk.files.contains_key(*path));
        let mut vanished: BTreeSet<PathBuf> = gone.map(PathBuf::from).collect();
        vanished.retain(|path| !walk.unreadable.keys().any(|folder| path.starts_with(folder)));
        for root in &mut self.roots {
            let had_files = self.seen.keys().any(|path| Path::new(path).starts_with(&root.path));
            let has_files = walk.files.keys().any(|path| Path::new(path).starts_with(&root.path));
            if !had_files || has_files {
                root.empty_since = None;
            } else if within_grace(&mut root.empty_since, now, again) {
                vanished.retain(|path| !path.starts_with(&root.path));
            }
        }
        for path in vanished {
            self.seen.remove(path.as_os_str());
            self.ledger.forget(&path);
        }
    }

    fn read(
        &mut self,
        path: &Path,
        fingerprint: Fingerprint,
        named: &BTreeSet<OsString>,
        now: Instant,
        again: &mut Again,
    ) {
        let before = self.seen.get(path.as_os_str()).copied();
        let told = path.file_name().is_some_and(|name| named.contains(name));
        let waiting = before.is_some_and(|seen| seen.blank_since.is_some());
        if !told && !waiting && before.is_some_and(|seen| seen.fingerprint == Some(fingerprint)) {
            return;
        }
        let bytes = match disk::read(path) {
            Ok(Some(bytes)) => bytes,
            // It went in this moment: the next look finds it gone.
            Ok(None) => return again.at(now + UNSTEADY),
            Err(reason) => return self.unreadable(path, &reason),
        };
        if disk::look_at(path) != Ok(Some(fingerprint)) {
            again.at(now + UNSTEADY);
        }
        let mut seen = Seen { fingerprint: Some(fingerprint), digest: digest(&bytes), blank_since: None };
        let blank = bytes.iter().all(u8::is_ascii_whitespace);
        if blank && self.ledger.holds_objects(path) {
            seen.blank_since = before.and_then(|seen| seen.blank_since);
            if within_grace(&mut seen.blank_since, now, again) {
                self.seen.insert(path.as_os_str().to_owned(), seen);
                return;
            }
            seen.blank_since = None;
        }
        let unchanged =
            before.is_some_and(|before| before.fingerprint.is_some() && before.digest == seen.digest);
        if !unchanged || waiting {
            self.ledger.read(path, &self.shown(path), &bytes);
        }
        self.seen.insert(path.as_os_str().to_owned(), seen);
    }

    fn unreadable(&mut self, path: &Path, reason: &str) {
        let unknown = Seen { fingerprint: None, digest: 0, blank_since: None };
        self.seen
            .entry(path.as_os_str().to_owned())
            .and_modify(|seen| seen.fingerprint = None)
            .or_insert(unknown);
        self.ledger.unreadable(path, &self.shown(path), reason);
    }

    /// Finds what is wrong with roots and folders, as opposed to files. Returns what is mended, to be told before
    /// anything else: a file may bear the name that a folder or a missing root had.
    fn judge_folders(&mut self, walk: &Walk) -> Vec<Event> {
        let unreadable = walk.unreadable.iter().map(|(folder, reason)| {
            let message = format!("the folder cannot be read: {reason}");
            let mend = "make it readable or remove it; what it held before is kept until then";
            (self.shown(folder), Problem::new(codes::UNREADABLE_FILE, message, mend))
        });
        let missing = self.roots.iter().filter(|root| walk.missing.contains(&root.path)).map(|root| {
            let mend = "create it: it is read as soon as it is there";
            let problem = Problem::new(codes::UNREADABLE_FILE, "no such file or folder", mend);
            (root.given.to_string_lossy().into_owned(), problem)
        });
        let mut now: BTreeMap<Arc<str>, Problem> = BTreeMap::new();
        for (name, problem) in unreadable.chain(missing) {
            let name: Arc<str> = name.into();
            now.insert(Arc::clone(&name), problem.at(&name, 1, 1));
        }
        let before = std::mem::replace(&mut self.folder_problems, now);
        let mended = before.into_keys().filter(|name| !self.folder_problems.contains_key(name));
        mended.map(|file| Event::Problems { file, problems: Vec::new() }).collect()
    }

    /// What the user calls this path: relative where the root was given so.
    fn shown(&self, path: &Path) -> String {
        let root = self.roots.iter().find(|root| path.starts_with(&root.path));
        let shown = root.and_then(|root| {
            let rest = path.strip_prefix(&root.path).ok()?;
            Some(match (rest.as_os_str().is_empty(), root.given == Path::new(".")) {
                (true, _) => root.given.clone(),
                (false, true) => rest.to_owned(),
                (false, false) => root.given.join(rest),
            })
        });
        shown.as_deref().unwrap_or(path).to_string_lossy().into_owned()
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The earliest time at which to look again.
#[derive(Debug)]
pub(crate) struct Again(Option<Instant>);

impl Again {
    pub(crate) fn at(&mut self, when: Instant) {
        self.0 = Some(self.0.map_or(when, |earlier| earlier.min(when)));
    }
}

/// Is what is gone since `since` still to be kept? Notes the beginning, and asks for a look at the end.
pub(crate) fn within_grace(since: &mut Option<Instant>, now: Instant, again: &mut Again) -> bool {
    let end = *since.get_or_insert(now) + GRACE;
    if now < end {
        again.at(end);
    }
    now < end
}

/// Tells contents apart; not for protection against forgery.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
