//! Slow start: since when endpoints are known, and what weight that gives them. Time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use limen_ir::policy::warmup::Warmup;

use crate::address::Address;

/// Weights are told anew so many times while an endpoint warms up.
const STEPS: u32 = 50;
/// But not more often than this.
const SHORTEST_STEP: Duration = Duration::from_millis(20);
/// What a weight of 1 is while somebody warms up, so that there is something to take parts of.
const SCALE: f64 = 1000.0;

/// The ages of one cluster's endpoints.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    since: BTreeMap<Address, Instant>,
    next_look: Option<Instant>,
}

/// Who warms up, at one moment.
pub(crate) struct Warmth<'a> {
    ages: &'a Ages,
    policy: Option<Warmup>,
    now: Instant,
}

impl Ages {
    /// Notes who is new.
    pub(crate) fn reconcile(
        &mut self,
        policy: Option<Warmup>,
        addresses: impl Iterator<Item = Address>,
        now: Instant,
    ) {
        if policy.is_none() {
            *self = Ages::default();
            return;
        }
        let old = std::mem::take(&mut self.since);
        self.since = addresses.map(|address| (address, old.get(&address).copied().unwrap_or(now))).collect();
    }

    /// The weights of now; plans when they are to be looked at again.
    pub(crate) fn at(&mut self, policy: Option<Warmup>, now: Instant) -> Warmth<'_> {
        let step = policy.map(|policy| (policy.duration.duration() / STEPS).max(SHORTEST_STEP));
        let warming = policy.is_some_and(|policy| {
            self.since.values().any(|since| now.duration_since(*since) < policy.duration.duration())
        });
        self.next_look = step.filter(|_| warming).map(|step| now + step);
        Warmth { ages: self, policy: policy.filter(|_| warming), now }
    }

    /// When weights are to be told anew; `None`: all have their full share.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }
}

impl Warmth<'_> {
    /// The weight of an endpoint now.
    pub(crate) fn weight(&self, address: Address, written: u32) -> u32 {
        let Some(policy) = &self.policy else { return written };
        let age =
            self.ages.since.get(&address).map_or(Duration::MAX, |since| self.now.duration_since(*since));
        let time = (age.as_secs_f64() / policy.duration.duration().as_secs_f64()).min(1.0);
        let part = time.powf(1000.0 / f64::from(policy.aggression));
        let part = part.max(f64::from(policy.minimum_percent) / 100.0);
        // Casting a float cuts it off at the type's ends.
        ((f64::from(written) * SCALE * part) as u32).max(1)
    }
}

#[cfg(test)]
#[path = "warmup_tests.rs"]
mod tests;
