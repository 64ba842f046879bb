//! The file watcher's thread: it waits until something happened, lets it settle, and has the files looked at again.
//!
//! Notifications only say *when* to look; what changed is found by looking ([`crate::disk`]). So an event that is lost,
//! coalesced or misnamed costs time, never truth, and a walk every ten seconds finds what no event told. That is done beside
//! the thread, which looks at everything only if something differs: among thousands of files a change would wait for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::disk::{self, Walk};
use crate::files::{FileSource, Where};
use crate::source::Batch;

/// Quiet time after the last event before the files are read, while one of them is being written.
const SETTLE: Duration = Duration::from_millis(5);
/// The same where each was put in place, closed or removed, as whoever does that to one file may do it to the next.
const SETTLE_WHOLE: Duration = Duration::from_millis(1);
/// A folder that is never quiet is read after this time nevertheless.
const SETTLE_AT_MOST: Duration = Duration::from_millis(50);
/// Longer than any process lives; everything is looked at again when there is a reason.
const NEVER: Duration = Duration::from_secs(3600 * 24 * 365);
/// How often everything is looked at without being told. Hardly ever in tests, so that they see events being missed.
pub(crate) const RESCAN: Duration = Duration::from_secs(if cfg!(test) { 3600 } else { 10 });
/// A walk beside the thread pauses after so many entries,
const REST_AFTER: u32 = 64;
/// for this time.
const REST: Duration = Duration::from_millis(1);
/// Where files change all the time everything is looked at after so many walks that were of no use for that.
const STALE_AT_MOST: u32 = 6;
/// How often everything is looked at where the system gives no notifications.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(1);

/// What can wake the thread.
#[derive(Debug)]
pub(crate) enum Wake {
    /// Something happened at these paths; empty: at unknown ones. `whole`: nothing is being written there.
    Changed { paths: BTreeSet<PathBuf>, whole: bool },
    /// What a walk found.
    Walked(Walked),
    /// The files that translation wants to read, all of them.
    Want(BTreeSet<String>),
    /// End the thread.
    Stop,
}

/// A walk beside the thread.
#[derive(Debug)]
pub(crate) struct Walked {
    walk: Walk,
    /// The folders that it came by, to be watched.
    visited: Vec<PathBuf>,
    /// How many looks there had been when it began.
    looks: u64,
}

/// Watches folders for [`FileSource`].
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    visited: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(wake: Sender<Wake>) -> Folders {
        let watcher = notify::recommended_watcher(move |event| {
            if let Some(wake_up) = interpret(event) {
                // The thread may have ended already; then nobody needs to know.
                let _ = wake.send(wake_up);
            }
        });
        let watcher = watcher.inspect_err(warn_unwatched).ok();
        Folders { watcher, watched: BTreeSet::new(), visited: BTreeSet::new() }
    }

    /// Watches `folder` from now on. Called again for a known folder it renews the watch, since the folder may be
    /// another one of the same name.
    fn visit(&mut self, folder: &Path) {
        if !self.visited.insert(folder.to_owned()) {
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(folder.to_owned());
            }
            Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                warn_unwatched(&error);
                self.watcher = None;
            }
            Err(error) => tracing::debug!(%error, folder = %folder.display(), "a folder cannot be watched"),
        }
    }

    /// Ends the watches of folders that the last look did not come by, if that was a look at everything.
    fn forget_others(&mut self, everything: bool) {
        if !everything {
            return self.visited.clear();
        }
        let gone: Vec<PathBuf> = self.watched.difference(&self.visited).cloned().collect();
        for folder in gone {
            if let Some(watcher) = &mut self.watcher {
                // A folder that was deleted has lost its watch already.
                let _ = watcher.unwatch(&folder);
            }
            self.watched.remove(&folder);
        }
        self.visited.clear();
    }
}

fn warn_unwatched(error: &notify::Error) {
    tracing::warn!(%error, "the system gives no file notifications; files are looked at every second instead");
}

/// Which files an event speaks of. `None`: nothing was changed by it (our own reading makes events too).
fn interpret(event: notify::Result<notify::Event>) -> Option<Wake> {
    let Ok(event) = event else { return Some(Wake::Changed { paths: BTreeSet::new(), whole: false }) };
    let whole = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => return None,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => true,
        _ => false,
    };
    // Of what is lost, only that it was is known.
    let paths = if event.need_rescan() { Vec::new() } else { event.paths };
    Some(Wake::Changed { paths: paths.into_iter().collect(), whole })
}

/// The file watcher's end of the channel, for others.
#[derive(Debug, Clone)]
pub(crate) struct Waker(Sender<Wake>);

impl Waker {
    /// Wakes the thread, if it still lives.
    pub(crate) fn wake(&self, wake: Wake) {
        let _ = self.0.send(wake);
    }
}

/// Starts the thread. It reads everything once and sends that, then sends what changes. It ends on [`Wake::Stop`] or
/// when nobody reads `out` any more. `rescan`: how often everything is looked at without being told.
///
/// # Errors
/// The thread could not be started.
pub(crate) fn start(
    files: FileSource,
    out: tokio::sync::mpsc::UnboundedSender<Batch>,
    rescan: Duration,
) -> std::io::Result<Waker> {
    let (wake, inbox) = channel();
    let folders = Folders::new(wake.clone());
    let own = wake.clone();
    std::thread::Builder::new()
        .name("limen-files".to_owned())
        .spawn(move || Watching { files, folders, inbox, wake: own, out, rescan, looks: 0 }.run())?;
    Ok(Waker(wake))
}

struct Watching {
    files: FileSource,
    folders: Folders,
    inbox: Receiver<Wake>,
    /// For walks.
    wake: Sender<Wake>,
    out: tokio::sync::mpsc::UnboundedSender<Batch>,
    rescan: Duration,
    /// How often files were looked at.
    looks: u64,
}

/// What has been told since the last look.
#[derive(Default)]
struct Told {
    first: Option<Instant>,
    paths: BTreeSet<PathBuf>,
    /// Those of them that were being written when they were told of last.
    unfinished: BTreeSet<PathBuf>,
    /// Something happened, nobody knows where.
    somewhere: bool,
    wants: Option<BTreeSet<String>>,
    walked: Option<Walked>,
    stop: bool,
}

impl Told {
    fn add(&mut self, wake: Wake) {
        self.first.get_or_insert_with(Instant::now);
        match wake {
            Wake::Changed { paths, whole } => {
                self.somewhere |= paths.is_empty();
                for path in paths {
                    match whole {
                        true => self.unfinished.remove(&path),
                        false => self.unfinished.insert(path.clone()),
                    };
                    self.paths.insert(path);
                }
            }
            Wake::Want(files) => self.wants = Some(files),
            Wake::Walked(walked) => self.walked = Some(walked),
            Wake::Stop => self.stop = true,
        }
    }

    /// Is there anything besides what a walk found?
    fn is_something(&self) -> bool {
        self.somewhere || !self.paths.is_empty()
    }

    /// How long it is to be quiet before files are read.
    fn settle(&self) -> Duration {
        if self.somewhere || !self.unfinished.is_empty() { SETTLE } else { SETTLE_WHOLE }
    }

    /// Where to look, if it is time for a look at everything or not.
    fn at(&self, everything: bool) -> Where {
        if everything || self.somewhere {
            let names = self.paths.iter().filter_map(|path| Some(path.file_name()?.to_owned()));
            return Where::All(names.collect());
        }
        Where::Only(self.paths.clone())
    }
}

impl Watching {
    fn run(mut self) {
        let mut told = Told::default();
        // When everything is to be looked at, and when to walk beside this.
        let mut due = Instant::now();
        let mut walk = due + self.rescan;
        // Walks in a row whose findings were of no use.
        let mut stale = 0;
        loop {
            let now = Instant::now();
            let began = told.first.unwrap_or(now);
            if let Some(wants) = told.wants.take() {
                self.files.want(wants);
            }
            let at = match told.walked.take() {
                // It may have seen what changed meanwhile, or not.
                Some(walked) if walked.looks != self.looks || told.is_something() => {
                    stale += 1;
                    told.at(now >= due || stale >= STALE_AT_MOST)
                }
                Some(Walked { walk, visited, .. }) if now < due => {
                    visited.iter().for_each(|folder| self.folders.visit(folder));
                    Where::Unless(walk)
                }
                _ => told.at(now >= due),
            };
            self.looks += 1;
            let folders = &mut self.folders;
            let look = self.files.look(now, &at, &mut |folder| folders.visit(folder));
            self.folders.forget_others(look.everything);
            if look.everything {
                stale = 0;
                due = now + if self.folders.watcher.is_some() { NEVER } else { RESCAN_UNWATCHED };
            }
            due = look.again.map_or(due, |again| due.min(again));
            if let Some(batch) = look.batch(began)
                && self.out.send(batch).is_err()
            {
                return;
            }
            loop {
                told = self.wait(due.min(walk));
                if told.stop {
                    return;
                }
                let now = Instant::now();
                if now >= walk {
                    walk = now + self.rescan;
                    if self.folders.watcher.is_some() && !self.begin_walk() {
                        due = now;
                    }
                }
                if now >= due || told.first.is_some() {
                    break;
                }
            }
        }
    }

    /// Walks on a thread of its own; `false`: there is none to be had.
    fn begin_walk(&self) -> bool {
        let (roots, looks, wake) = (self.files.roots(), self.looks, self.wake.clone());
        let walk = move || {
            let (mut visited, mut passed) = (Vec::new(), 0);
            // Requests and changes need the processor more.
            let rest = &mut || {
                passed += 1;
                if passed % REST_AFTER == 0 {
                    std::thread::sleep(REST);
                }
            };
            let walk = disk::walk_at_ease(&roots, &mut |folder| visited.push(folder.to_owned()), rest);
            // Who waits for it may have ended.
            let _ = wake.send(Wake::Walked(Walked { walk, visited, looks }));
        };
        std::thread::Builder::new().name("limen-walk".to_owned()).spawn(walk).is_ok()
    }

    fn concerned(&self, paths: &BTreeSet<PathBuf>) -> bool {
        paths.iter().any(|path| self.files.concerns(path))
    }

    /// Waits until something has happened and settled, or until `deadline`.
    fn wait(&self, deadline: Instant) -> Told {
        let mut told = Told::default();
        let mut until = deadline;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left) {
                // Said after every translation.
                Ok(Wake::Want(files)) if self.files.wants(&files) => continue,
                Ok(Wake::Changed { paths, .. }) if !paths.is_empty() && !self.concerned(&paths) => continue,
                Ok(wake) => told.add(wake),
                Err(RecvTimeoutError::Timeout) => return told,
                Err(RecvTimeoutError::Disconnected) => told.stop = true,
            }
            if told.stop {
                return told;
            }
            let at_most = told.first.unwrap_or(deadline) + SETTLE_AT_MOST;
            until = (Instant::now() + told.settle()).min(at_most);
        }
    }
}
