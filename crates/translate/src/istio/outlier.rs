//! `outlierDetection`: when an endpoint is left out for a while.

use limen_ir::atoms::Millis;
use limen_ir::policy::outlier::{
    DEFAULT_BASE_EJECTION_MS, DEFAULT_CONSECUTIVE, DEFAULT_INTERVAL_MS, DEFAULT_MAX_EJECTION_PERCENT,
    OutlierDetection,
};
use limen_resources::istio::OutlierDetection as Written;

/// What a block means. Of errors in a row 0 turns a kind off; of the shares 0 is the default.
pub(crate) fn detection(written: &Written) -> OutlierDetection {
    let Written {
        consecutive_errors: _,
        split_external_local_origin_errors,
        consecutive_local_origin_failures,
        consecutive_gateway_errors,
        consecutive_5xx_errors,
        interval,
        base_ejection_time,
        max_ejection_percent,
        min_health_percent,
        outlier_detection_http_error_codes,
    } = written;
    let on = |count: &u32| *count > 0;
    let millis = |written: &Option<limen_resources::GoDuration>, default| {
        let written = written.and_then(|duration| Millis::new(duration.millis()));
        written.or_else(|| Millis::new(default)).unwrap_or_else(|| unreachable!())
    };
    let codes = outlier_detection_http_error_codes.iter();
    OutlierDetection {
        consecutive_5xx: Some(consecutive_5xx_errors.unwrap_or(DEFAULT_CONSECUTIVE)).filter(on),
        consecutive_gateway: consecutive_gateway_errors.filter(on),
        consecutive_local: split_external_local_origin_errors
            .then(|| consecutive_local_origin_failures.unwrap_or(DEFAULT_CONSECUTIVE)),
        error_codes: codes.filter_map(|code| u16::try_from(*code).ok()).collect(),
        interval: millis(interval, DEFAULT_INTERVAL_MS),
        base_ejection: millis(base_ejection_time, DEFAULT_BASE_EJECTION_MS),
        max_ejection_percent: match *max_ejection_percent {
            0 => DEFAULT_MAX_EJECTION_PERCENT,
            percent => percent.min(100),
        },
        min_health_percent: (*min_health_percent).min(100),
    }
}
