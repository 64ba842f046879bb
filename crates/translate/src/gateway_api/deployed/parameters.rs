//! What classes and Gateways change of what is made.

use limen_resources::Object;
use limen_resources::gateway_api::{Gateway, GatewayClass};
use serde_json::Value;

use super::super::No;
use crate::index::Index;

/// Changes to what is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    /// To the Deployment.
    pub(super) deployment: Option<Value>,
    /// To the Service.
    pub(super) service: Option<Value>,
}

impl Parameters {
    /// Those of a class.
    pub(crate) fn of_class(_index: &Index<'_>, class: &Object<GatewayClass>) -> Result<Parameters, No> {
        match &class.spec.parameters_ref {
            None => Ok(Parameters::default()),
            Some(parameters) => Err(unknown(&parameters.kind)),
        }
    }

    /// Those of a Gateway.
    pub(crate) fn of_gateway(_index: &Index<'_>, gateway: &Object<Gateway>) -> Result<Parameters, No> {
        let asked = gateway.spec.infrastructure.as_ref();
        match asked.and_then(|asked| asked.parameters_ref.as_ref()) {
            None => Ok(Parameters::default()),
            Some(parameters) => Err(unknown(&parameters.kind)),
        }
    }
}

fn unknown(kind: &str) -> No {
    ("InvalidParameters", format!("no parameters of kind {kind} are known"))
}
