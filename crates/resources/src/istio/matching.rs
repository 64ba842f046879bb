//! What an HTTP route of a `VirtualService` asks of a request.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decode::{Cursor, Decode, camel, spec};
use crate::node::Node;

spec! {
    /// Conditions that must all hold.
    #[derive(Eq, PartialOrd, Ord)]
    pub struct HttpMatch {
        /// Appended to the route's name.
        "name" => name: String,
        /// On the path.
        "uri" => uri: Option<StringMatch>,
        /// On `:scheme`.
        "scheme" => scheme: Option<StringMatch>,
        /// On `:method`.
        "method" => method: Option<StringMatch>,
        /// On `:authority`.
        "authority" => authority: Option<StringMatch>,
        /// On headers by name.
        "headers" => headers: BTreeMap<String, StringMatch>,
        /// On headers by name, inverted.
        "withoutHeaders" => without_headers: BTreeMap<String, StringMatch>,
        /// On query parameters by name.
        "queryParams" => query_params: BTreeMap<String, StringMatch>,
        /// Case does not count in `uri`, where that is exact or prefix.
        "ignoreUriCase" => ignore_uri_case: bool,
        /// The declared port of the server; 0: any.
        "port" => port: u32,
        /// Labels of the gateway workload.
        "sourceLabels" => source_labels: BTreeMap<String, String>,
        /// Namespace of the gateway workload.
        "sourceNamespace" => source_namespace: String,
        /// Restricts to these gateways.
        "gateways" => gateways: Vec<String>,
        /// A prefix for statistics.
        "statPrefix" => stat_prefix: String,
    }
}

/// A condition on a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// Written `{}`: it is there.
    #[default]
    Present,
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// The whole text matches the RE2 expression.
    Regex(String),
}

impl Decode for StringMatch {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> StringMatch {
        const WAYS: [&str; 3] = ["exact", "prefix", "regex"];
        if let Some(text) = node.text() {
            cursor.wrong(
                node,
                "a mapping with exact, prefix or regex",
                format!("write `exact: {text}` below it"),
            );
            return StringMatch::Present;
        }
        let entries = cursor.entries(node);
        if entries.len() > 1 && entries.iter().all(|entry| WAYS.contains(&&*entry.key)) {
            cursor.wrong(node, "one of exact, prefix, regex", "keep one of them");
            return StringMatch::Present;
        }
        let mut read = StringMatch::Present;
        for entry in entries {
            let mut text = String::new();
            match &*camel(&entry.key) {
                name if WAYS.contains(&name) => cursor.field(name, entry, &mut text),
                _ => cursor.unknown(entry, &WAYS),
            }
            read = match &*entry.key {
                "exact" => StringMatch::Exact(text),
                "prefix" => StringMatch::Prefix(text),
                "regex" => StringMatch::Regex(text),
                _ => StringMatch::Present,
            };
        }
        read
    }
}
