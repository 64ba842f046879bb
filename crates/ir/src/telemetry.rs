//! What is told of a gateway's traffic, and to whom.

use serde::Serialize;

use crate::access_log::AccessLogs;
use crate::policy::http::is_default;

/// What is told of the traffic of one gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Telemetry {
    /// Every log that is written.
    #[serde(skip_serializing_if = "is_default")]
    pub access_logs: AccessLogs,
}
