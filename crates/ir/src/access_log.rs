//! What the access log looks like, where the configuration decides and not the process.

use serde::Serialize;

use crate::origin::Origin;

/// The form of the access log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    /// Text or JSON.
    pub form: AccessLogForm,
    /// Who said so.
    pub origin: Origin,
}

/// A line of the access log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AccessLogForm {
    /// A format with Envoy's command operators; `None`: Istio's.
    Text(Option<String>),
    /// A JSON object, as text, whose values are such formats; `None`: Istio's.
    Json(Option<String>),
}
