//! `warmup`: how new endpoints come to their full share.

use limen_ir::atoms::Millis;
use limen_ir::policy::warmup::{DEFAULT_MINIMUM_PERCENT, Warmup};
use limen_resources::istio::{LoadBalancer, SimpleLb};

/// `None`: none is written, or the way of balancing knows none.
pub(crate) fn warmup(written: &LoadBalancer) -> Option<Warmup> {
    let knows = !matches!(written.simple, Some(SimpleLb::Random | SimpleLb::Passthrough));
    if !knows || written.consistent_hash.is_some() {
        return None;
    }
    let block = written.warmup.as_ref();
    let duration = block.and_then(|block| block.duration).or(written.warmup_duration_secs)?;
    let minimum = block.and_then(|block| block.minimum_percent);
    let aggression = block.and_then(|block| block.aggression).unwrap_or(1.0);
    Some(Warmup {
        duration: Millis::new(duration.millis())?,
        minimum_percent: minimum.map_or(DEFAULT_MINIMUM_PERCENT, |percent| percent.clamp(0.0, 100.0) as u32),
        aggression: (aggression * 1000.0).round().max(1.0) as u32,
    })
}
