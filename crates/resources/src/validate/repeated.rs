//! Matches of HTTP routes that have no effect, as an earlier route takes all that they ask for.

use super::Check;
use super::path::SPEC;
use crate::code::codes;
use crate::istio::{HttpMatch, HttpRoute, StringMatch};

/// Says which routes are not reached, and which of a route's matches are useless. Routes without matches take
/// everything; what they make unreachable depends on other VirtualServices too and is said where routes are joined.
pub(super) fn check(check: &mut Check<'_>, routes: &[HttpRoute]) {
    let mut earlier: Vec<(usize, HttpMatch)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let matches: Vec<HttpMatch> = route.matches.iter().map(nameless).collect();
        let covering = |matching: &HttpMatch| {
            earlier.iter().find(|(_, other)| covers(other, matching)).map(|(index, _)| *index)
        };
        let covered: Vec<Option<usize>> = matches.iter().map(covering).collect();
        let list = SPEC.field("http");
        let at = list.item(index);
        match covered.iter().copied().collect::<Option<Vec<usize>>>() {
            Some(by) if !by.is_empty() => {
                let first = by.first().copied().unwrap_or_default();
                let message =
                    format!("no request reaches this rule: spec.http[{first}] takes what it asks for");
                check.report(codes::UNREACHABLE_RULE, at, message, "move it up, or remove it");
            }
            _ => {
                for (number, by) in covered.iter().enumerate().filter_map(|(n, by)| Some((n, (*by)?))) {
                    let message = format!("this match has no effect: spec.http[{by}] takes what it asks for");
                    let matches = at.field("match");
                    check.report(codes::INEFFECTIVE_MATCH, matches.item(number), message, "remove it");
                }
            }
        }
        // What a delegate leaves over goes on to the routes behind it.
        if route.delegate.is_none() {
            earlier.extend(matches.into_iter().map(|matching| (index, matching)));
        }
    }
}

/// Names do not change what is matched.
fn nameless(matching: &HttpMatch) -> HttpMatch {
    HttpMatch { name: String::new(), stat_prefix: String::new(), ..matching.clone() }
}

/// Does `other` take all that `matching` asks for? Only if it is the same, or asks for nothing but a prefix of the path.
fn covers(other: &HttpMatch, matching: &HttpMatch) -> bool {
    if other == matching {
        return true;
    }
    let only_path = HttpMatch { uri: other.uri.clone(), ..HttpMatch::default() };
    let Some(StringMatch::Prefix(prefix)) = &other.uri else { return false };
    let path = match &matching.uri {
        Some(StringMatch::Prefix(path) | StringMatch::Exact(path)) => path,
        _ => return false,
    };
    // An empty prefix is the beginning of everything and yet no catch-all in Istio.
    *other == only_path
        && !matching.ignore_uri_case
        && !prefix.is_empty()
        && path.starts_with(prefix.as_str())
}
