//! What a rule asks of a request. All parts must hold.

use serde::Serialize;

use crate::atoms::Pattern;

/// The conditions of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    /// On the path, without the query.
    pub path: PathMatch,
    /// On `:method`.
    pub method: Option<Box<TextMatch>>,
    /// On the scheme, `http` or `https`.
    pub scheme: Option<Box<TextMatch>>,
    /// On the authority as received, port included.
    pub authority: Option<Box<TextMatch>>,
    /// On header fields.
    pub headers: Vec<HeaderMatch>,
    /// On query parameters.
    pub query: Vec<QueryMatch>,
}

impl Match {
    /// Matches every request.
    pub fn any() -> Match {
        Match {
            path: PathMatch::Prefix { prefix: "/".to_owned(), ignore_case: false },
            method: None,
            scheme: None,
            authority: None,
            headers: Vec::new(),
            query: Vec::new(),
        }
    }
}

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    /// The whole path.
    Exact {
        /// Compared with the path.
        path: String,
        /// ASCII case does not count.
        ignore_case: bool,
    },
    /// A string prefix: `/foo` also matches `/foobar` (Istio).
    Prefix {
        /// May be empty, which matches every path.
        prefix: String,
        /// ASCII case does not count.
        ignore_case: bool,
    },
    /// Whole segments: `/foo` also matches `/foo/` and `/foo/bar`, but not `/foobar` (Ingress, Gateway API). Without a
    /// slash at the end; empty, it matches every path that begins with one.
    Segments(String),
    /// The whole path matches the expression.
    Regex(Pattern),
}

/// A condition on a text that is present.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TextMatch {
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// The whole text matches.
    Regex(Pattern),
}

/// A condition on a header. Several fields of one name are compared joined with commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderMatch {
    /// Lower-case field name, or `:method`, `:authority`, `:scheme`, `:path`.
    pub name: String,
    /// What is asked; `None`: that it be present.
    pub value: Option<TextMatch>,
    /// The condition must not hold. A missing header then counts as empty text (Istio `withoutHeaders`), and a
    /// presence match asks for its absence.
    pub invert: bool,
}

/// A condition on a query parameter. The first parameter of that name counts; keys and values are not decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueryMatch {
    /// The key.
    pub name: String,
    /// What is asked; `None`: that it be present.
    pub value: Option<TextMatch>,
}
