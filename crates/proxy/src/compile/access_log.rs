//! The access log's form, where the configuration decides.

use limen_ir::access_log::{AccessLog as Ir, AccessLogForm};
use serde_json::Value;

use super::problem;
use crate::applied::{ACCESS_LOG_FORMAT, AppliedProblem};
use crate::observe::{AccessLog, AccessLogConfig, JsonField, JsonTemplate};

/// `None`: it cannot be used, and what the process was started with holds.
pub(crate) fn compile(ir: &Ir, hostname: &str, problems: &mut Vec<AppliedProblem>) -> Option<AccessLog> {
    let Ir { form, origin } = ir;
    let config = match form {
        AccessLogForm::Text(None) => AccessLogConfig::default(),
        AccessLogForm::Text(Some(format)) => {
            AccessLogConfig::Text { format: format.clone(), omit_empty: false }
        }
        AccessLogForm::Json(written) => match written.as_deref().and_then(fields) {
            Some(fields) => AccessLogConfig::Json { fields, omit_empty: false },
            None => AccessLogConfig::istio_json(),
        },
    };
    match AccessLog::compile(&config, hostname) {
        Ok(log) => Some(log),
        Err(error) => {
            let mend = "write Envoy's command operators, such as %RESPONSE_CODE%";
            problems.push(problem(
                ACCESS_LOG_FORMAT,
                origin,
                format!("{error}; the process's own format is used"),
                mend,
            ));
            None
        }
    }
}

/// The members of an object.
fn fields(text: &str) -> Option<Vec<JsonField>> {
    match template(serde_json::from_str(text).ok()?) {
        JsonTemplate::Object(fields) => Some(fields),
        _ => None,
    }
}

fn template(value: Value) -> JsonTemplate {
    match value {
        Value::String(text) => JsonTemplate::Text(text),
        Value::Array(items) => JsonTemplate::List(items.into_iter().map(template).collect()),
        Value::Object(members) => {
            let members = members.into_iter();
            JsonTemplate::Object(
                members.map(|(key, value)| JsonField { key, value: template(value) }).collect(),
            )
        }
        scalar => JsonTemplate::Scalar(scalar.to_string()),
    }
}
