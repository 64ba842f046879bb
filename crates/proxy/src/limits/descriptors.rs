//! How many file descriptors the process may have open, and when they are too few for more connections.

use super::used::Used;

/// Left for what is not a client's connection: files, probes, the admin port, connections to origins.
const LEAST_RESERVE: u64 = 32;

/// A limit on file descriptors.
#[derive(Debug, Clone)]
pub struct DescriptorLimit {
    /// As many as the process may have open.
    pub max: u64,
    /// How many are open now.
    pub used: Used,
}

impl DescriptorLimit {
    /// Of so many, those that clients' connections leave to others: a twentieth, at least 32, but no more than a quarter.
    pub fn reserve(max: u64) -> u64 {
        (max / 20).max(LEAST_RESERVE).min(max / 4)
    }

    /// Connections of clients that so many descriptors are enough for, if each needs one to an origin, too.
    pub fn connections(max: u64) -> u32 {
        let each = (max - DescriptorLimit::reserve(max)) / 2;
        u32::try_from(each).unwrap_or(u32::MAX).max(1)
    }

    /// Whether a client's connection of this number leaves the reserve to others. Numbers are given out lowest first: with
    /// this one, all below it are in use.
    pub(crate) fn leaves_reserve(&self, descriptor: u64) -> bool {
        descriptor < self.max.saturating_sub(DescriptorLimit::reserve(self.max))
    }

    /// Whether connections are refused from now on, if they were (`short`) or were not until now. Refused once the reserve
    /// is touched, taken again when half as much more is free.
    pub(crate) fn is_short(&self, short: bool, used: u64) -> bool {
        let reserve = DescriptorLimit::reserve(self.max);
        let least = if short { reserve + reserve / 2 } else { reserve };
        self.max.saturating_sub(used) < least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_not_touched_by_connections_and_they_return_later_than_they_went() {
        let limit = DescriptorLimit { max: 1000, used: Used::new(|| None) };
        let steps = [(0, false), (950, false), (951, true), (926, true), (925, false), (950, false)];
        let mut short = false;
        for (used, expected) in steps {
            short = limit.is_short(short, used);
            assert_eq!(short, expected, "{used} of 1000");
        }
        assert!(limit.is_short(false, u64::MAX), "more than there may be");
    }

    #[test]
    fn a_burst_does_not_come_to_the_reserve() {
        let limit = DescriptorLimit { max: 1000, used: Used::new(|| None) };
        assert!(limit.leaves_reserve(949) && !limit.leaves_reserve(950));
    }

    #[test]
    fn a_connection_and_the_one_behind_it_leave_the_reserve() {
        for (max, expected) in [(1_048_576, 498_074), (1024, 486), (100, 37), (4, 1), (1, 1)] {
            assert_eq!(DescriptorLimit::connections(max), expected, "of {max}");
        }
        assert_eq!(DescriptorLimit::connections(u64::MAX), u32::MAX);
    }
}
