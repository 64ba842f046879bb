//! Where resources come from: all file IO, a cluster's API server, and DNS.
//!
//! Files are watched by a thread of their own, a cluster by tasks, and names are asked for by a task; all tell one task
//! what has changed. That task owns the [`Store`]
//! (nobody else sees it) and hands on [`Update`]s with immutable snapshots. There is no hold-off timer: what arrives
//! while the reader works on one update forms the next.
#![forbid(unsafe_code)]

mod disk;
mod dns;
mod files;
mod handoff;
mod kube;
mod leader;
mod ledger;
mod source;
mod status;
mod wanted;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use limen_resources::{ObjectKey, Snapshot, Store};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use crate::kube::{Cluster, ClusterError};
use crate::status::Writer;
pub use crate::status::{Heir, Report, Writing};
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
    /// A cluster to read from besides.
    pub cluster: Option<Cluster>,
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
    /// The objects of [`Sources::want_objects`] that were looked for, whether they are there or not. `None`: nobody looks
    /// for objects by their names, all that there are are in the snapshot.
    pub looked_for: Option<Arc<BTreeSet<ObjectKey>>>,
    /// A digest of what the cluster has told: equal in all instances that have read the same. 0 without a cluster.
    pub digest: u64,
    /// When the first change in it was heard of.
    pub since: Instant,
}

/// Why the sources cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The thread that watches files could not be started.
    #[error("files cannot be watched: {0}")]
    Watch(std::io::Error),
    /// It is not known how to reach the cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// The running sources. They end when this is dropped.
#[derive(Debug)]
pub struct Sources {
    waker: Waker,
    names: UnboundedSender<WantedNames>,
    objects: Option<UnboundedSender<BTreeSet<ObjectKey>>>,
    writer: Option<Arc<Writer>>,
}

/// The way of the updates.
#[derive(Debug)]
pub struct Updates(Taker<Update>);

/// Starts reading and watching. The first update comes when everything has been read once.
///
/// # Errors
/// The watching thread could not be started, or it is not known how to reach the cluster.
pub fn start(config: &Config, runtime: &tokio::runtime::Handle) -> Result<(Sources, Updates), StartError> {
    let (told, inbox) = unbounded_channel();
    let (objects, writer) = match &config.cluster {
        Some(cluster) => {
            let (objects, writer) = kube::start(cluster, runtime, told.clone())?;
            (Some(objects), writer.map(Arc::new))
        }
        None => (None, None),
    };
    let beginnings = 1 + usize::from(objects.is_some());
    let (giver, taker) = handoff();
    let (names, wanted) = unbounded_channel();
    let asker = Asker::new(config.dns_servers.clone());
    runtime.spawn(dns::ask_on(asker, Rhythm::default(), wanted, told.clone()));
    let waker = watch::start(FileSource::new(config), told, watch::RESCAN).map_err(StartError::Watch)?;
    runtime.spawn(own_store(inbox, beginnings, giver));
    Ok((Sources { waker, names, objects, writer }, Updates(taker)))
}

impl Sources {
    /// From now on these files are read and watched besides the roots (all that are wanted, not only new ones). Their
    /// contents, or that they are missing, come with a later update.
    pub fn want_files(&self, files: BTreeSet<String>) {
        self.waker.wake(Wake::Want(files));
    }

    /// From now on these objects of the cluster (Secrets and ConfigMaps; all that are wanted, not only new ones) are
    /// followed, and no others of their kinds. Files are not concerned: what they hold is always read.
    pub fn want_objects(&self, objects: BTreeSet<ObjectKey>) {
        if let Some(cluster) = &self.objects {
            // The task ends with the reader of the updates.
            let _ = cluster.send(objects);
        }
    }

    /// The way of what is to be told to the cluster. `None`: nothing is to be told.
    pub fn reports(&self) -> Option<Reports> {
        self.writer.clone().map(Reports)
    }

    /// From now on DNS is asked for these names (all that are wanted, not only new ones), again and again. The answers
    /// come with later updates. A name without answer is asked for after ever longer waits, `longest` (or a minute) at
    /// most.
    pub fn want_names(&self, names: BTreeSet<String>, longest: Option<Duration>) {
        // The task ends with the reader of the updates; then nobody needs an answer.
        let _ = self.names.send(WantedNames { names, longest });
    }
}

/// The way of what is to be told to the cluster.
#[derive(Debug, Clone)]
pub struct Reports(Arc<Writer>);

impl Reports {
    /// This is so now: statuses and Events are written as it says, when its turn comes.
    pub fn tell(&self, report: Report) {
        self.0.report(report);
    }

    /// Nothing is written any more, and the others are told that this instance is gone. Returns when they are, or
    /// after a second.
    pub async fn end(&self) {
        self.0.end().await;
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

/// Reads batches, owns the Store, hands on updates: none before all sources have told what there was at the beginning.
async fn own_store(mut inbox: UnboundedReceiver<Batch>, mut beginnings: usize, giver: Giver<Update>) {
    let mut store = Store::new();
    let mut counted = Counts::default();
    let mut looked = None;
    let mut known = 0;
    while let Some(batch) = inbox.recv().await {
        let Batch { began, events, counts, looked_for, begun, digest } = batch;
        let digest = digest.unwrap_or(known);
        counted = counts.unwrap_or(counted);
        let mut matters = looked_for.is_some() || begun || std::mem::replace(&mut known, digest) != digest;
        looked = looked_for.or(looked);
        for event in events {
            matters |= store.apply(event);
        }
        beginnings -= usize::from(begun && beginnings > 0);
        if !matters || beginnings > 0 {
            continue;
        }
        let Counts { unused, files } = counted.clone();
        let (snapshot, looked_for) = (store.snapshot(), looked.clone());
        let update = Update { snapshot, unused, files, looked_for, digest, since: began };
        giver.give(|waiting| match waiting {
            Some(earlier) => Update { since: earlier.since.min(update.since), ..update },
            None => update,
        });
    }
}
