//! What is logged of requests, where the configuration decides and not the process.

use serde::Serialize;

use crate::origin::Origin;
use crate::policy::http::is_default;

/// Every log of a gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AccessLogs {
    /// One, as the process was started.
    #[default]
    Process,
    /// None.
    Off,
    /// These.
    Each(Vec<AccessLog>),
}

/// A log of requests and connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    /// Where its lines go.
    #[serde(skip_serializing_if = "is_default")]
    pub target: LogTarget,
    /// What they look like.
    #[serde(skip_serializing_if = "is_default")]
    pub form: AccessLogForm,
    /// Values that there are not are left out instead of being `-` or null.
    #[serde(skip_serializing_if = "is_default")]
    pub omit_empty: bool,
    /// Target and form are a provider's own: what the process was started with does not overrule them.
    #[serde(skip_serializing_if = "is_default")]
    pub own: bool,
    /// What is logged; `None`: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<LogFilter>,
    /// Who said so.
    pub origin: Origin,
}

/// Where the lines of a log go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LogTarget {
    /// Where the process was told to write its log; standard output, if nowhere.
    #[default]
    Process,
    /// Into the file of this path.
    File(String),
}

/// A line of the access log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AccessLogForm {
    /// As the process was started.
    #[default]
    Process,
    /// Istio's line.
    IstioText,
    /// Istio's JSON object.
    IstioJson,
    /// A format with Envoy's command operators.
    Text(String),
    /// A JSON object, as text, whose values are such formats.
    Json(String),
}

/// Chooses what is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogFilter {
    /// In CEL over Envoy's attributes; what makes it true is logged.
    pub expression: String,
    /// Who said so.
    pub origin: Origin,
}
