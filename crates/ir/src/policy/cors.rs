//! Cross-origin rules (the Fetch standard, "HTTP extensions").

use serde::Serialize;

use crate::matcher::TextMatch;

/// What scripts of other origins may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// The origins that may; one that matches `*` lets all. None: nobody.
    pub origins: Vec<TextMatch>,
    /// For preflights: methods joined by commas; `*` stands for the one that is asked for.
    pub allow_methods: Option<String>,
    /// For preflights: header names joined by commas; `*` stands for those that are asked for.
    pub allow_headers: Option<String>,
    /// Names of response headers that scripts may see, joined by commas.
    pub expose_headers: Option<String>,
    /// Seconds for which a preflight may be remembered.
    pub max_age: Option<u64>,
    /// Credentials may be sent.
    pub allow_credentials: bool,
    /// What becomes of preflights from other origins.
    pub unmatched_preflights: UnmatchedPreflights,
}

/// What becomes of preflights from origins that may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UnmatchedPreflights {
    /// The rule's action decides.
    Forward,
    /// Answered 200 without `access-control-allow-origin`.
    Ignore,
}
