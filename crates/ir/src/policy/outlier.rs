//! When an endpoint is left out for a while because of what it answers.

use serde::Serialize;

use crate::atoms::Millis;

/// Outlier detection of a cluster. Counts are of answers in a row, over the whole process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct OutlierDetection {
    /// Errors in a row: answers of 5xx (or of `error_codes`), and failures of the connection unless these are told apart.
    /// `None`: not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_5xx: Option<u32>,
    /// Answers of 502, 503 or 504 in a row. `None`: not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_gateway: Option<u32>,
    /// Failures to connect or to answer in time, in a row, told apart from answers. `None`: not told apart, they count
    /// as 503 and 504. `Some(0)`: told apart and not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_local: Option<u32>,
    /// Statuses that count as errors instead of 5xx; empty: 5xx.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_codes: Vec<u16>,
    /// How often it is looked whether an endpoint may come back.
    pub interval: Millis,
    /// How long an endpoint is left out, times how often it was lately.
    pub base_ejection: Millis,
    /// Share of the endpoints that may be left out, in percent; one always may.
    pub max_ejection_percent: u32,
    /// With a smaller share of healthy endpoints, in percent, all are used. 0: never.
    pub min_health_percent: u32,
}

/// Istio's default of `consecutive5xxErrors`.
pub const DEFAULT_CONSECUTIVE: u32 = 5;
/// Istio's default of `interval`.
pub const DEFAULT_INTERVAL_MS: u64 = 10_000;
/// Istio's default of `baseEjectionTime`.
pub const DEFAULT_BASE_EJECTION_MS: u64 = 30_000;
/// Istio's default of `maxEjectionPercent`.
pub const DEFAULT_MAX_EJECTION_PERCENT: u32 = 10;
