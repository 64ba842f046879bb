//! Cross-origin rules.

use limen_ir::matcher::TextMatch;
use limen_ir::policy::cors::{Cors, UnmatchedPreflights};
use limen_resources::Problem;
use limen_resources::istio::{self as written, CorsPolicy, StringMatch};

use super::matching;
use crate::messages::{At, route};

/// The rules of a written policy. An origin whose expression is not valid lets nobody in.
pub(crate) fn cors(policy: &CorsPolicy, at: At<'_>, field: &str, problems: &mut Vec<Problem>) -> Cors {
    let origins = if policy.allow_origins.is_empty() {
        policy.allow_origin.iter().map(|origin| TextMatch::Exact(origin.clone())).collect()
    } else {
        let origins = (0..).zip(&policy.allow_origins);
        origins.filter_map(|(index, asked): (usize, _)| origin(asked, index, at, field, problems)).collect()
    };
    let joined = |names: &[String]| (!names.is_empty()).then(|| names.join(","));
    Cors {
        origins,
        allow_methods: joined(&policy.allow_methods),
        allow_headers: joined(&policy.allow_headers),
        expose_headers: joined(&policy.expose_headers),
        max_age: policy.max_age.map(|age| age.millis() / 1000),
        allow_credentials: policy.allow_credentials == Some(true),
        unmatched_preflights: match policy.unmatched_preflights {
            written::UnmatchedPreflights::Ignore => UnmatchedPreflights::Ignore,
            written::UnmatchedPreflights::Unspecified | written::UnmatchedPreflights::Forward => {
                UnmatchedPreflights::Forward
            }
        },
    }
}

fn origin(
    asked: &StringMatch,
    index: usize,
    at: At<'_>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> Option<TextMatch> {
    match asked {
        StringMatch::Present => None,
        StringMatch::Exact(text) => Some(TextMatch::Exact(text.clone())),
        StringMatch::Prefix(text) => Some(TextMatch::Prefix(text.clone())),
        StringMatch::Regex(source) => match matching::pattern(source) {
            Ok(pattern) => Some(TextMatch::Regex(pattern)),
            Err(error) => {
                let field = format!("{field}.allowOrigins[{index}].regex");
                let message = format!("the origin is left out, as its expression is not valid: {error}");
                let mend = "write it in RE2's syntax; it must match the whole origin";
                problems.push(route::invalid(at.field(&field), message, mend));
                None
            }
        },
    }
}
