//! `ConfigMap`: texts by key.

use std::collections::BTreeMap;

use crate::decode::spec;

spec! {
    /// `v1` `ConfigMap`.
    pub struct ConfigMap {
        /// Texts by key.
        "data" => data: BTreeMap<String, String>,
    }
    also ["apiVersion", "kind", "metadata", "binaryData", "immutable"]
}
