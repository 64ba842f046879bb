//! What may be anything that JSON can say.

use super::scalars::{truth, yaml_number};
use super::{Cursor, Decode};
use crate::node::{Node, Value};

/// Any value of JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Json(pub serde_json::Value);

impl Decode for Json {
    fn decode(node: &Node, _: &mut Cursor<'_>) -> Json {
        Json(json(node))
    }
}

/// As Kubernetes makes JSON of YAML.
pub(crate) fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Text { text, plain: false } => serde_json::Value::from(&**text),
        Value::Text { text, plain: true } => truth(text)
            .map(serde_json::Value::Bool)
            .or_else(|| yaml_number(text).map(serde_json::Value::Number))
            .unwrap_or_else(|| serde_json::Value::from(&**text)),
        Value::List(items) => items.iter().map(|item| json(item)).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.to_string(), json(&entry.value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}
