//! Errors in a row, counted by all workers together: one shared cell an endpoint that a configuration wants watched.
//!
//! A worker only counts. Whether an endpoint is left out is decided once, on the control side, and comes back as mail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;

use crate::address::Address;

/// What the control side is told.
#[derive(Debug)]
pub(crate) enum Notice {
    /// An endpoint has reached a number of errors in a row.
    Errors {
        /// Whose.
        watch: Arc<Watch>,
        /// Which.
        why: Why,
    },
    /// There may be something new to look after.
    Look,
    /// The process ends.
    Stop,
}

/// Which errors an endpoint had too many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Answers of 5xx.
    FiveXx,
    /// Answers of 502, 503 and 504.
    Gateway,
    /// Failures to connect or to answer in time.
    Local,
}

/// How many errors in a row are too many; 0: they are not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// Of 5xx, or of `codes`.
    pub(crate) five_xx: u32,
    /// Of 502, 503 and 504.
    pub(crate) gateway: u32,
    /// Of failures without an answer; `None`: they count as 503 and 504.
    pub(crate) local: Option<u32>,
    /// Statuses that are errors instead of 5xx; empty: 5xx.
    pub(crate) codes: Box<[u16]>,
}

/// The errors in a row of one endpoint, on a cache line of their own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Watch {
    five_xx: AtomicU32,
    gateway: AtomicU32,
    local: AtomicU32,
    thresholds: Thresholds,
    /// The slot of its cluster.
    pub(crate) cluster: u32,
    /// Where the endpoint is.
    pub(crate) address: Address,
    control: Sender<Notice>,
}

impl Watch {
    /// Nothing has been seen.
    pub(crate) fn new(
        thresholds: Thresholds,
        (cluster, address): (u32, Address),
        control: Sender<Notice>,
    ) -> Arc<Watch> {
        let zero = || AtomicU32::new(0);
        let (five_xx, gateway, local) = (zero(), zero(), zero());
        Arc::new(Watch { five_xx, gateway, local, thresholds, cluster, address, control })
    }

    /// What it is measured by.
    pub(crate) fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// The endpoint has answered.
    pub(crate) fn answered(self: &Arc<Self>, status: u16) {
        let codes = &self.thresholds.codes;
        let error = if codes.is_empty() { status >= 500 } else { codes.contains(&status) };
        clear(&self.local);
        self.judge(error, matches!(status, 502..=504));
    }

    /// The endpoint could not be connected to, broke off or did not answer in time.
    pub(crate) fn failed(self: &Arc<Self>) {
        match self.thresholds.local {
            Some(most) => self.count(&self.local, most, Why::Local),
            None => self.judge(true, true),
        }
    }

    fn judge(self: &Arc<Self>, error: bool, gateway: bool) {
        if error && gateway {
            self.count(&self.gateway, self.thresholds.gateway, Why::Gateway);
        } else {
            clear(&self.gateway);
        }
        if error {
            self.count(&self.five_xx, self.thresholds.five_xx, Why::FiveXx);
        } else {
            clear(&self.five_xx);
        }
    }

    fn count(self: &Arc<Self>, counter: &AtomicU32, most: u32, why: Why) {
        if most > 0 && counter.fetch_add(1, Ordering::Relaxed) + 1 == most {
            // With the control side gone nobody is left out any more.
            let _ = self.control.send(Notice::Errors { watch: self.clone(), why });
        }
    }

    /// Counts anew: it was judged, or comes back.
    pub(crate) fn forget(&self) {
        [&self.five_xx, &self.gateway, &self.local].into_iter().for_each(clear);
    }
}

/// A success seldom finds an error to forget, and then writes nothing that other cores would have to fetch.
fn clear(counter: &AtomicU32) {
    if counter.load(Ordering::Relaxed) != 0 {
        counter.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "outlier_tests.rs"]
mod tests;
