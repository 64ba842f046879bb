//! Where resources come from: all file IO, and DNS.
//!
//! Files are watched by a thread of their own and names asked for by a task; both tell one task what has changed. That task owns the [`Store`]
//! (nobody else sees it) and hands on [`Update`]s with immutable snapshots. There is no hold-off timer: what arrives
//! while the reader works on one update forms the next.
#![forbid(unsafe_code)]

mod disk;
mod dns;
mod files;
mod handoff;
mod ledger;
mod source;
mod wanted;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use limen_resources::{Snapshot, Store};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use dns::{Asker, Rhythm, WantedNames};
use files::FileSource;
use handoff::{Giver, Taker, handoff};
use source::{Batch, Counts};
use watch::{Wake, Waker};

/// Where to read from.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Files and folders, which are watched.
    pub roots: Vec<PathBuf>,
    /// Texts that are given along and never change.
    pub documents: Vec<Document>,
    /// A file that is a mesh configuration and nothing else; watched as the roots are.
    pub mesh: Option<PathBuf>,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// The DNS servers to ask; none: those of the system.
    pub dns_servers: Vec<SocketAddr>,
}

/// A text with objects, as if it were a file.
#[derive(Debug, Clone)]
pub struct Document {
    /// What problems call it.
    pub name: Arc<str>,
    /// YAML or JSON.
    pub text: Arc<str>,
}

/// What there is to serve, as it is now.
#[derive(Debug, Clone)]
pub struct Update {
    /// Every object, every wanted file, and what is wrong with them.
    pub snapshot: Snapshot,
    /// Objects of kinds that are of no use here, by kind.
    pub unused: BTreeMap<String, usize>,
    /// How many files (and documents) were read.
    pub files: usize,
    /// When the first change in it was heard of.
    pub since: Instant,
}

/// The running sources. They end when this is dropped.
#[derive(Debug)]
pub struct Sources {
    waker: Waker,
    names: UnboundedSender<WantedNames>,
}

/// The way of the updates.
#[derive(Debug)]
pub struct Updates(Taker<Update>);

/// Starts reading and watching. The first update comes when everything has been read once.
///
/// # Errors
/// The watching thread could not be started.
pub fn start(config: &Config, runtime: &tokio::runtime::Handle) -> std::io::Result<(Sources, Updates)> {
    let (told, inbox) = unbounded_channel();
    let (giver, taker) = handoff();
    let (names, wanted) = unbounded_channel();
    let asker = Asker::new(config.dns_servers.clone());
    runtime.spawn(dns::ask_on(asker, Rhythm::default(), wanted, told.clone()));
    let waker = watch::start(FileSource::new(config), told)?;
    runtime.spawn(own_store(inbox, giver));
    Ok((Sources { waker, names }, Updates(taker)))
}

impl Sources {
    /// From now on these files are read and watched besides the roots (all that are wanted, not only new ones). Their
    /// contents, or that they are missing, come with a later update.
    pub fn want_files(&self, files: BTreeSet<String>) {
        self.waker.wake(Wake::Want(files));
    }

    /// From now on DNS is asked for these names (all that are wanted, not only new ones), again and again. The answers
    /// come with later updates. A name without answer is asked for after ever longer waits, `longest` (or a minute) at
    /// most.
    pub fn want_names(&self, names: BTreeSet<String>, longest: Option<Duration>) {
        // The task ends with the reader of the updates; then nobody needs an answer.
        let _ = self.names.send(WantedNames { names, longest });
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.waker.wake(Wake::Stop);
    }
}

impl Updates {
    /// The newest state, as soon as it differs from what was taken before. `None`: the sources have ended. Safe to
    /// cancel.
    pub async fn next(&mut self) -> Option<Update> {
        self.0.take().await
    }
}

/// Reads batches, owns the Store, hands on updates.
async fn own_store(mut inbox: UnboundedReceiver<Batch>, giver: Giver<Update>) {
    let mut store = Store::new();
    let mut first = true;
    let mut now = Counts::default();
    while let Some(batch) = inbox.recv().await {
        let Batch { began, events, counts } = batch;
        now = counts.unwrap_or(now);
        let mut matters = std::mem::take(&mut first);
        for event in events {
            matters |= store.apply(event);
        }
        if !matters {
            continue;
        }
        let Counts { unused, files } = now.clone();
        let update = Update { snapshot: store.snapshot(), unused, files, since: began };
        giver.give(|waiting| match waiting {
            Some(earlier) => Update { since: earlier.since.min(update.since), ..update },
            None => update,
        });
    }
}
