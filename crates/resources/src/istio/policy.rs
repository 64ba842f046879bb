//! Of the kinds that can deny and are not enforced yet: what they select.

use std::collections::BTreeMap;

use crate::decode::{Cursor, Decode, camel, spec};
use crate::node::Node;

/// What an `AuthorizationPolicy`, `RequestAuthentication`, `EnvoyFilter`, `WasmPlugin` or `TrafficExtension` selects.
///
/// What it does to that is not read. A policy whose selection cannot be read selects everything in its namespace: it
/// must not fail open.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Policy {
    /// Labels of workloads; empty together with `target_refs`: all in its namespace, or in all if that is the root.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// Objects that it applies to.
    #[serde(rename = "targetRefs", skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetRef>,
    /// `action` of an AuthorizationPolicy; empty: ALLOW.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
}

spec! {
    /// An object that a policy applies to.
    pub struct TargetRef {
        /// API group.
        "group" => group: String,
        /// Kind.
        "kind" => kind: String,
        /// Name.
        "name" => name: String,
        /// Namespace; empty: the policy's.
        "namespace" => namespace: String,
        /// Part of the object.
        "sectionName" => section_name: String,
    }
}

spec! {
    /// Both spellings of a selector.
    struct Selector {
        "matchLabels" => match_labels: BTreeMap<String, String>,
        "labels" => labels: BTreeMap<String, String>,
    }
}

impl Decode for Policy {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Policy {
        let mut read = Policy::default();
        let (mut selector, mut target) = (Selector::default(), None);
        for entry in cursor.entries(node) {
            match &*camel(&entry.key) {
                "selector" => cursor.field("selector", entry, &mut selector),
                "workloadSelector" => cursor.field("workloadSelector", entry, &mut selector),
                "targetRef" => cursor.field("targetRef", entry, &mut target),
                "targetRefs" => cursor.field("targetRefs", entry, &mut read.target_refs),
                "action" => cursor.field("action", entry, &mut read.action),
                _ => {}
            }
        }
        read.selector = selector.match_labels;
        read.selector.extend(selector.labels);
        read.target_refs.extend(target);
        if cursor.failed() { Policy::default() } else { read }
    }
}
