//! Which of Envoy's statistics are exposed: what the gateways of the process choose, together.

use std::collections::BTreeMap;

use limen_ir::statistics::Statistics;
use limen_resources::Problem;
use limen_resources::istio::{ProxyStatsMatcher, STATISTICS_ANNOTATIONS};

use super::matching::pattern;
use crate::messages::{At, mesh as messages};

/// Adds what one gateway chooses. An annotation stands for the field of its name; an expression that cannot be used is
/// said and left out.
pub(crate) fn add(
    matcher: Option<&ProxyStatsMatcher>,
    annotations: Option<&BTreeMap<String, String>>,
    all: &mut Option<Statistics>,
    (about, problems): (Option<At<'_>>, &mut Vec<Problem>),
) {
    let annotated = STATISTICS_ANNOTATIONS.map(|name| {
        let text = annotations?.get(name).filter(|text| !text.is_empty())?;
        Some(text.split(',').map(str::to_owned).collect::<Vec<String>>())
    });
    if matcher.is_none() && annotated.iter().all(Option::is_none) {
        return;
    }
    let written = matcher.cloned().unwrap_or_default();
    let [prefixes, suffixes, expressions] = annotated;
    let all = all.get_or_insert_default();
    all.prefixes.extend(prefixes.unwrap_or(written.inclusion_prefixes));
    all.suffixes.extend(suffixes.unwrap_or(written.inclusion_suffixes));
    for source in expressions.unwrap_or(written.inclusion_regexps) {
        match (pattern(&source), &about) {
            (Ok(pattern), _) => all.expressions.push(pattern),
            (Err(error), Some(about)) => problems.push(messages::no_expression(*about, &source, &error)),
            (Err(_), None) => {}
        }
    }
}
