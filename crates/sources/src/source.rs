//! What a source tells the task that owns the Store.

use std::collections::BTreeMap;
use std::time::Instant;

use limen_resources::Event;

/// What one look found.
#[derive(Debug)]
pub(crate) struct Batch {
    /// When the first change in it was heard of.
    pub(crate) began: Instant,
    /// What changed.
    pub(crate) events: Vec<Event>,
    /// What there is in files, if they were looked at.
    pub(crate) counts: Option<Counts>,
}

/// What there is in files besides objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// All objects of kinds that are of no use here, counted.
    pub(crate) unused: BTreeMap<String, usize>,
    /// How many files there are.
    pub(crate) files: usize,
}
