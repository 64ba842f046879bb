//! Path rewrites.

use serde::Serialize;

use crate::atoms::Pattern;

/// What becomes of the path; the query is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathRewrite {
    /// What the rule's path condition matched is replaced: the prefix of a prefix match, the whole path of an exact or
    /// regex match.
    Matched(String),
    /// The whole path is replaced, whatever the rule matched of it.
    Whole(String),
    /// Every match of an expression is replaced. Here the expression is searched for; it need not match the whole path.
    Found {
        /// What is searched for.
        pattern: Pattern,
        /// What is written for each match.
        with: Vec<SubstitutionPart>,
    },
}

/// A piece of what is written for a match: RE2's `\1`, parsed once by translation (`\\` is a literal `\`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SubstitutionPart {
    /// As it stands.
    Literal(String),
    /// What that group found, 0 to 9; 0 is the whole match. The expression has it.
    Group(u8),
}
