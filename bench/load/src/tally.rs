//! What is counted: requests, what failed and why, and how long things took.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Steps between two powers of two.
const STEPS: usize = 16;

/// Durations by size, to 1/16 of themselves.
#[derive(Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    all: u64,
    longest: Duration,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { counts: vec![0; 64 * STEPS], all: 0, longest: Duration::ZERO }
    }
}

impl Latencies {
    /// Adds one.
    pub(crate) fn add(&mut self, took: Duration) {
        let us = (took.as_micros() as u64).max(STEPS as u64);
        let power = us.ilog2() as usize;
        let step = (us >> (power - 4)) as usize & (STEPS - 1);
        self.counts[power * STEPS + step] += 1;
        self.all += 1;
        self.longest = self.longest.max(took);
    }

    /// The duration that this part of them does not exceed, in milliseconds.
    pub(crate) fn quantile_ms(&self, part: f64) -> f64 {
        let wanted = (self.all as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                let (power, step) = (at / STEPS, at % STEPS);
                let upper = ((STEPS + step + 1) << (power - 4)) as f64 / 1000.0;
                return upper.min(self.longest.as_secs_f64() * 1000.0);
            }
        }
        0.0
    }

    /// `p50 … p99 … max …`.
    pub(crate) fn text(&self) -> String {
        let longest = self.longest.as_secs_f64() * 1000.0;
        let (half, most) = (self.quantile_ms(0.5), self.quantile_ms(0.99));
        format!("p50 {half:.1} ms, p99 {most:.1} ms, max {longest:.1} ms ({} of them)", self.all)
    }
}

/// Kinds of failure with how often each was seen.
#[derive(Debug, Default)]
pub(crate) struct Failures(RefCell<BTreeMap<String, u64>>);

impl Failures {
    /// Counts one.
    pub(crate) fn add(&self, why: String) {
        *self.0.borrow_mut().entry(why).or_default() += 1;
    }

    /// All of them.
    pub(crate) fn count(&self) -> u64 {
        self.0.borrow().values().sum()
    }

    /// The first few kinds.
    pub(crate) fn text(&self) -> String {
        let kinds = self.0.borrow();
        let lines: Vec<String> = kinds.iter().take(12).map(|(why, n)| format!("{n} × {why}")).collect();
        lines.join("; ")
    }
}

/// What the load saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: Cell<u64>,
    pub(crate) posts: Cell<u64>,
    /// Requests that were not answered as they must be.
    pub(crate) failed: Failures,
    /// Messages that came back over WebSockets and gRPC streams.
    pub(crate) messages: Cell<u64>,
    /// WebSockets and gRPC streams that ended before we ended them.
    pub(crate) cut: Failures,
    pub(crate) latencies: RefCell<Latencies>,
}

impl Tally {
    /// A request was answered as it must be.
    pub(crate) fn served(&self, begun: Instant, post: bool) {
        self.requests.set(self.requests.get() + 1);
        self.posts.set(self.posts.get() + u64::from(post));
        self.latencies.borrow_mut().add(begun.elapsed());
    }

    /// A message came back.
    pub(crate) fn heard(&self) {
        self.messages.set(self.messages.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_durations_does_not_exceed_the_quantile_by_more_than_a_step() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        for (part, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let told = latencies.quantile_ms(part);
            assert!((exact..=exact * 17.0 / 16.0 + 0.1).contains(&told), "{part}: {told}");
        }
    }
}
