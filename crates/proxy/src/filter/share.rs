//! Shares of requests, drawn at random.

/// A share in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share(u32);

impl Share {
    /// 1 000 000 and more are all requests.
    pub(crate) fn new(millionths: u32) -> Share {
        Share(millionths)
    }

    /// Whether the request for which this evenly distributed number was drawn is among them.
    pub(crate) fn holds(self, random: u32) -> bool {
        (u64::from(random) * 1_000_000) >> u32::BITS < u64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_hold_as_the_share_says() {
        // Evenly spread numbers, one for each millionth.
        let all = || (0..1_000_000_u64).map(|n| (((n << 32) + (1 << 31)) / 1_000_000) as u32);
        for share in [0, 1, 100_000, 999_999, 1_000_000] {
            let held = all().filter(|random| Share::new(share).holds(*random)).count();
            assert_eq!(held, share as usize);
        }
        assert!(Share::new(1_000_000).holds(u32::MAX) && !Share::new(0).holds(0));
    }
}
