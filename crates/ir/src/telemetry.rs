//! What is told of a gateway's traffic, and to whom.

use serde::Serialize;

use crate::access_log::AccessLogs;
use crate::policy::http::is_default;
use crate::tracing::Tracing;

/// What is told of the traffic of one gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Telemetry {
    /// Every log that is written.
    #[serde(skip_serializing_if = "is_default")]
    pub access_logs: AccessLogs,
    /// How requests are traced; `None`: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
}
