//! How new endpoints come to their full share.

use serde::Serialize;

use crate::atoms::Millis;

/// Slow start: for a while the weight of an endpoint that has just appeared is
/// `max(minimum, (age / duration) ^ (1 / aggression))` of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Warmup {
    /// How long.
    pub duration: Millis,
    /// The smallest share, in percent.
    pub minimum_percent: u32,
    /// In thousandths, at least 1; 1000 is a straight line.
    pub aggression: u32,
}

/// Istio's default of `minimumPercent`.
pub const DEFAULT_MINIMUM_PERCENT: u32 = 10;
