//! The series of finished requests that one worker keeps: what tells them apart, and their numbers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::{ServiceId, WorkloadId};
use super::flags::Flags;
use super::histogram::{self, Histogram, HistogramTotals};
use super::record::Record;

/// What tells two series apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) service: ServiceId,
    pub(super) workload: WorkloadId,
    pub(super) code: u16,
    pub(super) flags: Flags,
    pub(super) protocol: Protocol,
}

/// The application protocol of a request, with the status of its own that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Http,
    /// gRPC, and its status if there was one.
    Grpc(Option<u8>),
}

/// The highest status that gRPC knows; a status above it counts as `UNKNOWN`.
const LAST_GRPC_STATUS: u32 = 16;
const GRPC_UNKNOWN: u8 = 2;

impl Protocol {
    fn of(record: &Record<'_>) -> Protocol {
        let known = |status: u32| if status <= LAST_GRPC_STATUS { status as u8 } else { GRPC_UNKNOWN };
        if record.grpc { Protocol::Grpc(record.grpc_status.map(known)) } else { Protocol::Http }
    }
}

impl Key {
    /// Where requests count whose own series would be one too many.
    pub(super) const OVERFLOW: Key = Key {
        service: ServiceId::OVERFLOW,
        workload: WorkloadId::UNKNOWN,
        code: 0,
        flags: Flags::NONE,
        protocol: Protocol::Http,
    };

    pub(super) fn of(service: ServiceId, workload: WorkloadId, record: &Record<'_>) -> Key {
        Key { service, workload, code: record.code, flags: record.flags, protocol: Protocol::of(record) }
    }
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let protocol = match self.protocol {
            Protocol::Http => 0,
            Protocol::Grpc(None) => 1,
            Protocol::Grpc(Some(status)) => u64::from(status) + 2,
        };
        let ids = u64::from(self.service.0) << 32 | u64::from(self.workload.0);
        state.write_u64(ids);
        state.write_u64(u64::from(self.flags.bits()) << 32 | u64::from(self.code) << 8 | protocol);
    }
}

/// Multiplies and folds: keys are ids that the control side allots and a few codes, so no client can choose collisions.
#[derive(Default)]
pub(super) struct FoldHasher(u64);

impl Hasher for FoldHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The numbers of one series. One worker writes, anyone reads.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// In microseconds. Its count is the count of requests.
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
    /// Of gRPC calls.
    request_messages: AtomicU64,
    response_messages: AtomicU64,
}

impl Slot {
    fn record(&self, record: &Record<'_>) {
        let bytes = |histogram: &Histogram, bytes: u64| histogram.record(bytes.saturating_mul(1_000), bytes);
        self.duration.record(record.duration_us, record.duration_us);
        bytes(&self.request_bytes, record.request_total_bytes);
        bytes(&self.response_bytes, record.response_total_bytes);
        if record.grpc {
            histogram::add(&self.request_messages, record.request_messages);
            histogram::add(&self.response_messages, record.response_messages);
        }
    }

    pub(super) fn read(&self, totals: &mut Totals) {
        self.duration.read(&mut totals.duration);
        self.request_bytes.read(&mut totals.request_bytes);
        self.response_bytes.read(&mut totals.response_bytes);
        totals.request_messages += self.request_messages.load(Ordering::Relaxed);
        totals.response_messages += self.response_messages.load(Ordering::Relaxed);
    }
}

/// The numbers of one series, summed over workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) duration: HistogramTotals,
    pub(super) request_bytes: HistogramTotals,
    pub(super) response_bytes: HistogramTotals,
    pub(super) request_messages: u64,
    pub(super) response_messages: u64,
}

/// A worker's own index of its series.
#[derive(Default)]
pub(super) struct SeriesIndex {
    slots: Vec<Arc<Slot>>,
    by_key: HashMap<Key, usize, BuildHasherDefault<FoldHasher>>,
    /// Most requests look like the one before.
    last: Option<(Key, usize)>,
}

/// What [`SeriesIndex::record`] did.
pub(super) enum Recorded {
    /// Counted in a series that was there.
    Known,
    /// Counted in a new series, which readers must be told of.
    New(Key, Arc<Slot>),
}

impl SeriesIndex {
    /// Takes over a series that another worker has left.
    pub(super) fn adopt(&mut self, key: Key, slot: Arc<Slot>) {
        self.by_key.insert(key, self.slots.len());
        self.slots.push(slot);
    }

    /// Whether a request of that key would make a series beyond the limit.
    pub(super) fn is_beyond(&mut self, key: Key, limit: usize) -> bool {
        self.slots.len() >= limit && self.find(key).is_none()
    }

    fn find(&mut self, key: Key) -> Option<usize> {
        if let Some((last, index)) = self.last
            && last == key
        {
            return Some(index);
        }
        let index = *self.by_key.get(&key)?;
        self.last = Some((key, index));
        Some(index)
    }

    pub(super) fn record(&mut self, key: Key, record: &Record<'_>) -> Recorded {
        if let Some(slot) = self.find(key).and_then(|index| self.slots.get(index)) {
            slot.record(record);
            return Recorded::Known;
        }
        let slot = Arc::new(Slot::default());
        slot.record(record);
        self.adopt(key, Arc::clone(&slot));
        Recorded::New(key, slot)
    }
}
