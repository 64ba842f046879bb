//! How long to wait after failures.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The wait after the first failure, before chance lengthens it.
const LEAST: Duration = Duration::from_millis(200);
/// The longest wait, before chance lengthens it.
const MOST: Duration = Duration::from_secs(30);

/// Waits that double with every failure in a row. Chance lengthens each by up to a half, so that many gateways do not
/// come back to a server in the same moment.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures: u32,
}

impl Pause {
    /// How many failures there were since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Something went well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// After one more failure; not before the time that the server asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = LEAST.saturating_mul(2_u32.saturating_pow(self.failures)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        lengthened(doubled.max(asked.unwrap_or_default().min(MOST)), chance())
    }
}

/// By `chance` / 65536 halves.
fn lengthened(wait: Duration, chance: u16) -> Duration {
    wait + wait.mul_f64(f64::from(chance) / 131_072.0)
}

/// Not for secrets.
fn chance() -> u16 {
    let [low, high, ..] = RandomState::new().hash_one(0_u8).to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut pause = Pause::default();
        let within = |wait: Duration, least: Duration| wait >= least && wait <= least.mul_f64(1.5);
        for doubled in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            let (least, wait) = (Duration::from_millis(doubled), pause.next(None));
            assert!(within(wait, least), "{wait:?} after {} failures", pause.failures());
        }
        pause.reset();
        assert!(within(pause.next(None), LEAST));
        let asked = Duration::from_secs(7);
        assert!(within(pause.next(Some(asked)), asked), "as long as the server asks for");
        assert!(pause.next(Some(Duration::from_secs(3600))) <= MOST.mul_f64(1.5));
    }

    #[test]
    fn chance_lengthens_by_a_half_at_most() {
        let second = Duration::from_secs(1);
        assert_eq!(lengthened(second, 0), second);
        assert!(lengthened(second, u16::MAX) > Duration::from_millis(1499));
        assert!(lengthened(second, u16::MAX) <= Duration::from_millis(1500));
    }
}
