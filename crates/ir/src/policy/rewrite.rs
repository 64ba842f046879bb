//! Path rewrites.

use serde::Serialize;

/// What becomes of the path; the query is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathRewrite {
    /// What the rule's path condition matched is replaced: the prefix of a prefix match, the whole path of an exact or
    /// regex match.
    Matched(String),
}
