//! Series of connections: opened, closed, and their bytes, counted as they pass.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::{ServiceId, WorkloadId};
use super::flags::Flags;
use super::histogram;

/// What tells two series apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TcpKey {
    pub(super) service: ServiceId,
    pub(super) workload: WorkloadId,
    pub(super) flags: Flags,
}

impl TcpKey {
    /// Where connections count whose own series would be one too many.
    pub(super) const OVERFLOW: TcpKey =
        TcpKey { service: ServiceId::OVERFLOW, workload: WorkloadId::UNKNOWN, flags: Flags::NONE };
}

/// The numbers of one series. One worker writes, anyone reads.
#[derive(Debug, Default)]
pub(super) struct TcpSlot {
    opened: AtomicU64,
    closed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// The numbers of one series, summed over workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TcpTotals {
    pub(super) opened: u64,
    pub(super) closed: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl TcpSlot {
    pub(super) fn read(&self, totals: &mut TcpTotals) {
        // In this order, so that what closes in between does not make more closed than opened.
        totals.closed += self.closed.load(Ordering::Acquire);
        totals.opened += self.opened.load(Ordering::Acquire);
        totals.sent += self.sent.load(Ordering::Relaxed);
        totals.received += self.received.load(Ordering::Relaxed);
    }
}

/// A worker's own index of its series.
pub(super) type TcpIndex = HashMap<TcpKey, Arc<TcpSlot>>;

/// A series to count one connection in. Only on the worker that it was asked from.
#[derive(Debug)]
pub struct TcpCounts(pub(super) Arc<TcpSlot>);

impl TcpCounts {
    /// A connection was opened.
    pub fn opened(&self) {
        self.0.opened.store(self.0.opened.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// A connection was closed; [`TcpCounts::opened`] counted it before.
    pub fn closed(&self) {
        self.0.closed.store(self.0.closed.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// Bytes went to the client.
    pub fn sent(&self, bytes: u64) {
        histogram::add(&self.0.sent, bytes);
    }

    /// Bytes came from the client.
    pub fn received(&self, bytes: u64) {
        histogram::add(&self.0.received, bytes);
    }
}
