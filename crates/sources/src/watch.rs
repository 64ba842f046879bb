//! The file watcher's thread: it waits until something happened, lets it settle, and has the files looked at again.
//!
//! Notifications only say *when* to look; what changed is found by looking ([`crate::disk`]). So an event that is lost,
//! coalesced or misnamed costs time, never truth, and a look every ten seconds finds what no event told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::files::{FileSource, Where};
use crate::source::Batch;

/// Quiet time after the last event before the files are read.
const SETTLE: Duration = Duration::from_millis(5);
/// A folder that is never quiet is read after this time nevertheless.
const SETTLE_AT_MOST: Duration = Duration::from_millis(50);
/// How often everything is looked at without being told. Hardly ever in tests, so that they see events being missed.
const RESCAN: Duration = Duration::from_secs(if cfg!(test) { 3600 } else { 10 });
/// The same where the system gives no notifications.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(1);

/// What can wake the thread.
#[derive(Debug)]
pub(crate) enum Wake {
    /// Something happened at these paths; empty: at unknown ones.
    Changed(BTreeSet<PathBuf>),
    /// The files that translation wants to read, all of them.
    Want(BTreeSet<String>),
    /// End the thread.
    Stop,
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
    let Ok(event) = event else { return Some(Wake::Changed(BTreeSet::new())) };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return None,
        _ => {}
    }
    // Of what is lost, only that it was is known.
    let paths = if event.need_rescan() { Vec::new() } else { event.paths };
    Some(Wake::Changed(paths.into_iter().collect()))
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
/// when nobody reads `out` any more.
///
/// # Errors
/// The thread could not be started.
pub(crate) fn start(
    files: FileSource,
    out: tokio::sync::mpsc::UnboundedSender<Batch>,
) -> std::io::Result<Waker> {
    let (wake, inbox) = channel();
    let folders = Folders::new(wake.clone());
    std::thread::Builder::new()
        .name("limen-files".to_owned())
        .spawn(move || Watching { files, folders, inbox, out }.run())?;
    Ok(Waker(wake))
}

struct Watching {
    files: FileSource,
    folders: Folders,
    inbox: Receiver<Wake>,
    out: tokio::sync::mpsc::UnboundedSender<Batch>,
}

/// What has been told since the last look.
#[derive(Default)]
struct Told {
    first: Option<Instant>,
    paths: BTreeSet<PathBuf>,
    /// Something happened, nobody knows where.
    somewhere: bool,
    wants: Option<BTreeSet<String>>,
    stop: bool,
}

impl Told {
    fn add(&mut self, wake: Wake) {
        self.first.get_or_insert_with(Instant::now);
        match wake {
            Wake::Changed(paths) => {
                self.somewhere |= paths.is_empty();
                self.paths.extend(paths);
            }
            Wake::Want(files) => self.wants = Some(files),
            Wake::Stop => self.stop = true,
        }
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
        // When everything is to be looked at.
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            let began = told.first.unwrap_or(now);
            if let Some(wants) = told.wants.take() {
                self.files.want(wants);
            }
            let folders = &mut self.folders;
            let look = self.files.look(now, &told.at(now >= due), &mut |folder| folders.visit(folder));
            self.folders.forget_others(look.everything);
            let regular = now + if self.folders.watcher.is_some() { RESCAN } else { RESCAN_UNWATCHED };
            due = if look.everything { regular } else { due.min(regular) };
            due = look.again.map_or(due, |again| due.min(again));
            if let Some(batch) = look.batch(began)
                && self.out.send(batch).is_err()
            {
                return;
            }
            told = self.wait(due);
            if told.stop {
                return;
            }
        }
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
                Ok(Wake::Changed(paths)) if !paths.is_empty() && !self.concerned(&paths) => continue,
                Ok(wake) => told.add(wake),
                Err(RecvTimeoutError::Timeout) => return told,
                Err(RecvTimeoutError::Disconnected) => told.stop = true,
            }
            if told.stop {
                return told;
            }
            let at_most = told.first.unwrap_or(deadline) + SETTLE_AT_MOST;
            until = (Instant::now() + SETTLE).min(at_most);
        }
    }
}
