//! Tells the cluster what became of its objects: their status, and Events where something is wrong.
//!
//! One task owns the [`Book`](book::Book) of what objects say and are to say. Every instance of a group says in a Lease of its own
//! what it serves; the one that leads writes what is said of a state as soon as all of them serve it. A state that
//! some do not come to serve is told with their number, and *Programmed* is false there.

mod book;
mod elsewhere;
mod events;
mod failures;
mod keep;
mod lease;
mod members;
mod object;
mod orphans;
mod said;
mod speaker;
mod task;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::core::ApiResource;
use limen_resources::{Kind, Made, ObjectKey, Problem, Verdicts};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use crate::source::Batch;
use said::Layout;
use speaker::Speaker;

/// The longest that an answer to a write takes.
const ANSWER: Duration = Duration::from_secs(30);

/// As whom a gateway writes into its cluster.
#[derive(Debug, Clone)]
pub struct Writing {
    /// What entries for Gateways say of who wrote them (`controllerName`).
    pub controller: String,
    /// The only Gateway of the Gateway API that is served, and written of; `None`: all.
    pub only: Option<ObjectKey>,
    /// For whose instances it speaks where those do not; `None`: for nobody's.
    pub heir: Option<Heir>,
    /// Instances of one group share a leader. Named like objects are.
    pub group: String,
    /// The name of this instance, which no other of the group has.
    pub instance: String,
    /// Where the Leases are; none: where the Pod is, or the namespace of the context.
    pub namespace: Option<String>,
}

/// Somebody who makes other instances, and speaks of their Gateways where they do not.
#[derive(Debug, Clone)]
pub struct Heir {
    /// What entries of theirs say of who wrote them.
    pub controller: String,
    /// The namespaces whose Gateways are seen; none: all.
    pub namespaces: BTreeSet<String>,
}

/// What a gateway has to say at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    /// The digest of the newest snapshot ([`Update::digest`](crate::Update::digest)).
    pub snapshot: u64,
    /// The digest of what every worker serves.
    pub applied: u64,
    /// What is to be said of each object once `applied` is served everywhere, sorted.
    pub verdicts: Arc<Verdicts>,
    /// What is wrong there.
    pub problems: Arc<Vec<Problem>>,
    /// What is to be changed of the objects that are kept in the cluster for Gateways.
    pub made: Arc<Vec<Made>>,
    /// Which group of instances serves those Gateways, and ListenerSets of them, that this one makes instances for.
    pub elsewhere: Arc<BTreeMap<ObjectKey, String>>,
    /// Does it take traffic? Who does not is not waited for.
    pub ready: bool,
    /// The Pods that the cluster calls not ready, by name, where the instances are: they are not waited for either.
    pub unready: Arc<BTreeSet<String>>,
}

/// What the reader of the cluster tells the writer.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The server has this kind so.
    Kind(Kind, ApiResource),
    /// An object, and what it says of us.
    Object(ObjectKey, Mark),
    /// It is not there any more.
    Gone(ObjectKey),
}

/// What is kept of an object for its status.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    uid: Box<str>,
    stored: u64,
    /// What entries of instances are about that we made, or somebody before us.
    about: Option<Box<About>>,
}

/// The Gateways and ListenerSets that entries are about.
#[derive(Debug, Clone)]
pub(crate) struct About(Vec<ObjectKey>);

/// Makes marks.
#[derive(Debug, Clone)]
pub(crate) struct Marker(Arc<Speaker>);

impl Marker {
    pub(crate) fn new(writing: &Writing) -> Marker {
        let Writing { controller, only, heir, group, .. } = writing.clone();
        Marker(Arc::new(Speaker::new(controller, group, only).with(heir)))
    }

    /// `None`: nothing is written into objects of this kind.
    pub(crate) fn mark(&self, kind: Kind, object: &Value) -> Option<Mark> {
        let layout = Layout::of(kind)?;
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let about = self.0.heir.as_ref().and_then(|heir| heir.about(layout, object));
        Some(Mark { uid: uid.into(), about, stored: object::digest(&said::stored(layout, object, &self.0)) })
    }
}

/// The ways to the writer.
#[derive(Debug)]
pub(crate) struct Writer {
    reports: watch::Sender<Option<Arc<Report>>>,
    end: UnboundedSender<oneshot::Sender<()>>,
}

impl Writer {
    /// The newest report; those before it that were not taken up are forgotten.
    pub(crate) fn report(&self, report: Report) {
        self.reports.send_replace(Some(Arc::new(report)));
    }

    /// Lets go of the Leases. Returns when that is done, or cannot be.
    pub(crate) async fn end(&self) {
        let (done, ended) = oneshot::channel();
        if self.end.send(done).is_ok() {
            // An error says that the task is gone.
            let _ = ended.await;
        }
    }
}

/// Starts the writer, who speaks as the marker does. Returns the ways to it.
pub(crate) fn start(
    client: Client,
    writing: Writing,
    Marker(by): Marker,
    runtime: &Handle,
    out: UnboundedSender<Batch>,
) -> (Writer, UnboundedSender<Seen>) {
    let (reports, news) = watch::channel(None);
    let (seen, inbox) = unbounded_channel();
    let (end, ends) = unbounded_channel();
    runtime.spawn(task::run(client, (writing, by), task::Inboxes { news, inbox, ends }, out));
    (Writer { reports, end }, seen)
}
