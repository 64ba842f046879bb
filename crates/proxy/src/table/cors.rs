//! Cross-origin rules as the workers read them.

use super::matcher::{MatchScratch, TextTest};
use crate::filter::cors::CorsFields;

/// What scripts of other origins may do.
#[derive(Debug)]
pub(crate) struct Cors {
    /// Who may.
    pub(crate) origins: Origins,
    /// What is said in answers.
    pub(crate) fields: CorsFields,
    /// Preflights from other origins are answered by the gateway all the same.
    pub(crate) ignore_unmatched: bool,
}

/// Origins that are let in.
#[derive(Debug)]
pub(crate) enum Origins {
    /// All of them.
    Any,
    /// Those for which a test holds.
    These(Box<[TextTest]>),
}

impl Origins {
    /// An origin test that holds for `*` holds for all (Envoy).
    pub(crate) fn new(tests: Vec<TextTest>) -> Origins {
        let mut scratch = MatchScratch::default();
        match tests.iter().any(|test| test.holds(b"*", &mut scratch.caches)) {
            true => Origins::Any,
            false => Origins::These(tests.into()),
        }
    }

    /// May scripts of this origin?
    pub(crate) fn allow(&self, origin: &[u8], scratch: &mut MatchScratch) -> bool {
        match self {
            Origins::Any => true,
            Origins::These(tests) => tests.iter().any(|test| test.holds(origin, &mut scratch.caches)),
        }
    }
}
