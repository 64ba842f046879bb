//! What a source tells the task that owns the Store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use limen_resources::{Event, ObjectKey};

/// What one look found.
#[derive(Debug)]
pub(crate) struct Batch {
    /// When the first change in it was heard of.
    pub(crate) began: Instant,
    /// What changed.
    pub(crate) events: Vec<Event>,
    /// What there is in files, if they were looked at.
    pub(crate) counts: Option<Counts>,
    /// The wanted objects that were looked for, whether they are there or not; `None`: the same as before.
    pub(crate) looked_for: Option<Arc<BTreeSet<ObjectKey>>>,
    /// Has the source with this told all that there was at the beginning? Once for each source that has a beginning.
    pub(crate) begun: bool,
    /// A digest of all that the cluster has told; `None`: the same as before.
    pub(crate) digest: Option<u64>,
}

impl Batch {
    /// Nothing but events.
    pub(crate) fn of(began: Instant, events: Vec<Event>) -> Batch {
        Batch { began, events, counts: None, looked_for: None, begun: false, digest: None }
    }
}

/// What there is in files besides objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// All objects of kinds that are of no use here, counted.
    pub(crate) unused: BTreeMap<String, usize>,
    /// How many files there are.
    pub(crate) files: usize,
}
