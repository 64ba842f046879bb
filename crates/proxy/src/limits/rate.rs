//! How many of the requests of a time may be retries. Counted for all workers together, in parts of that time: what is
//! counted is forgotten a part at a time. Two workers that ask at the same moment may both be the last that is let
//! through.

use std::sync::atomic::{AtomicU64, Ordering};

/// A share of the requests of a time, and so many of another that are let through in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryRate {
    /// In millionths.
    pub(crate) share: u32,
    /// Milliseconds of which requests and retries count.
    pub(crate) over_ms: u64,
    pub(crate) at_least: u32,
    /// Milliseconds in which so many are.
    pub(crate) per_ms: u64,
}

/// What has been counted.
#[derive(Debug)]
pub(crate) struct RateCounts {
    rate: RetryRate,
    requests: Window,
    retries: Window,
    /// The same in the other time.
    least: Window,
}

impl RateCounts {
    pub(crate) fn new(rate: RetryRate) -> RateCounts {
        RateCounts {
            rate,
            requests: Window::new(rate.over_ms),
            retries: Window::new(rate.over_ms),
            least: Window::new(rate.per_ms),
        }
    }

    /// A request begins. `now_ms`: as all workers have it, whatever the system's clock is set to.
    pub(crate) fn request(&self, now_ms: u64) {
        self.requests.add(now_ms);
    }

    /// May one be tried again? Then it counts.
    pub(crate) fn retry(&self, now_ms: u64) -> bool {
        let budget = self.requests.sum(now_ms) * u64::from(self.rate.share) / 1_000_000;
        let within =
            self.retries.sum(now_ms) < budget || self.least.sum(now_ms) < u64::from(self.rate.at_least);
        if within {
            self.retries.add(now_ms);
            self.least.add(now_ms);
        }
        within
    }
}

/// Parts that a time is counted in.
const PARTS: u64 = 10;

/// What has been counted in the last so many milliseconds.
#[derive(Debug)]
#[repr(align(128))]
struct Window {
    part_ms: u64,
    /// Each the number of its part of all time, modulo 2³², and a count.
    parts: [AtomicU64; PARTS as usize],
}

impl Window {
    fn new(ms: u64) -> Window {
        Window { part_ms: ms.div_ceil(PARTS).max(1), parts: [const { AtomicU64::new(0) }; PARTS as usize] }
    }

    fn add(&self, now_ms: u64) {
        let number = now_ms / self.part_ms;
        let Some(part) = self.parts.get((number % PARTS) as usize) else { return };
        let own = number << 32;
        let _ = part.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            let same = held & !u64::from(u32::MAX) == own;
            let counted = if same { (held as u32).saturating_add(1) } else { 1 };
            Some(own | u64::from(counted))
        });
    }

    fn sum(&self, now_ms: u64) -> u64 {
        let number = (now_ms / self.part_ms) as u32;
        let counted = self.parts.iter().map(|part| part.load(Ordering::Relaxed)).filter(|held| {
            let age = number.wrapping_sub((held >> 32) as u32);
            u64::from(age) < PARTS
        });
        counted.map(|held| held & u64::from(u32::MAX)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: RetryRate = RetryRate { share: 200_000, over_ms: 10_000, at_least: 2, per_ms: 1_000 };
    const START: u64 = 1_700_000_000_000;

    fn retries(counts: &RateCounts, now_ms: u64) -> usize {
        (0..100).take_while(|_| counts.retry(now_ms)).count()
    }

    #[test]
    fn a_share_of_the_requests_of_a_time_is_tried_again() {
        let counts = RateCounts::new(RATE);
        (0..50).for_each(|_| counts.request(START));
        assert_eq!(retries(&counts, START), 10, "20 % of 50");
        assert_eq!(retries(&counts, START + 500), 0);
        // What was let through counts for as long as the requests do.
        (0..5).for_each(|_| counts.request(START + 9_000));
        assert_eq!(
            retries(&counts, START + 9_500),
            2,
            "20 % of 55 are 11, but so many are always let through"
        );
        assert_eq!(retries(&counts, START + 20_000), 2, "all is forgotten");
    }

    #[test]
    fn so_many_are_always_let_through() {
        let counts = RateCounts::new(RATE);
        for second in 0..5 {
            assert_eq!(retries(&counts, START + second * 1_000), 2, "{second}");
        }
        let none = RateCounts::new(RetryRate { at_least: 0, ..RATE });
        assert_eq!(retries(&none, START), 0);
    }

    #[test]
    fn workers_count_together() {
        let counts = RateCounts::new(RetryRate { at_least: 0, ..RATE });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| counts.request(START)));
            }
        });
        assert_eq!(retries(&counts, START), 80);
    }
}
