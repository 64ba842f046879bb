//! From one object that an API server tells to a typed one. It has no text, and so no lines.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Parsed, document};
use crate::code::codes;
use crate::key::Kind;
use crate::node::{Entry, Node, Value};

/// Reads one object of this kind, as JSON says it. `source` is what problems and duplicates call the place it is from.
///
/// The same rules hold as for a file ([`parse`](super::parse)), but fields that a kind does not have and that do no harm
/// are not mentioned: the API server has checked them by a newer schema than ours.
pub fn parse_object(source: &Arc<str>, kind: Kind, object: &Json) -> Parsed {
    let mut parsed = Parsed::default();
    document::Reader::new(source, "", &mut parsed).told(&node(object), kind);
    parsed.problems.retain(|problem| problem.code != codes::IGNORED_FIELD.id);
    for problem in &mut parsed.problems {
        problem.at = problem.at.take().filter(|at| at.line > 0);
    }
    parsed
}

/// The same tree that YAML makes, at no place. How large it is only matters for aliases, of which JSON has none.
fn node(json: &Json) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Text { text: truth.to_string().into(), plain: true },
        Json::Number(number) => Value::Text { text: number.to_string().into(), plain: true },
        Json::String(text) => Value::Text { text: text.as_str().into(), plain: false },
        Json::Array(items) => Value::List(items.iter().map(|item| Rc::new(node(item))).collect()),
        Json::Object(fields) => Value::Map(
            fields
                .iter()
                // Long, and of no use to anyone but the API server.
                .filter(|(key, _)| *key != "managedFields")
                .map(|(key, value)| Entry {
                    key: key.as_str().into(),
                    line: 0,
                    column: 0,
                    value: Rc::new(node(value)),
                    merged: false,
                })
                .collect(),
        ),
    };
    Node { value, line: 0, column: 0, size: 1 }
}
