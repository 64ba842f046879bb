//! Matches of HTTP routes that have no effect, as an earlier route takes all that they ask for.

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};

use super::Check;
use super::path::SPEC;
use crate::code::codes;
use crate::istio::{HttpMatch, HttpRoute, StringMatch};

/// Says which routes are not reached, and which of a route's matches are useless. Routes without matches take
/// everything; what they make unreachable depends on other VirtualServices too and is said where routes are joined.
pub(super) fn check(check: &mut Check<'_>, routes: &[HttpRoute]) {
    let mut earlier = Earlier::default();
    for (index, route) in routes.iter().enumerate() {
        let matches: Vec<HttpMatch> = route.matches.iter().map(nameless).collect();
        let covered: Vec<Option<usize>> = matches.iter().map(|matching| earlier.covering(matching)).collect();
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
            matches.into_iter().for_each(|matching| earlier.add(matching, index));
        }
    }
}

/// Names do not change what is matched.
fn nameless(matching: &HttpMatch) -> HttpMatch {
    HttpMatch { name: String::new(), stat_prefix: String::new(), ..matching.clone() }
}

/// What the routes before one ask for. Of two matches the one takes all that the other asks for if they are the same, or
/// if it asks for nothing but a prefix of the other's path. There may be tens of thousands: none is compared with each.
#[derive(Default)]
struct Earlier {
    /// The first route that asks for the same.
    same: BTreeMap<HttpMatch, usize>,
    /// By prefix the first route that asks for nothing else. Of one that begins with another that was there before
    /// there is nothing to know; so the longest that a path begins with is the first.
    prefixes: BTreeMap<String, usize>,
}

impl Earlier {
    /// The first route that takes all that this one asks for.
    fn covering(&self, matching: &HttpMatch) -> Option<usize> {
        let path = match &matching.uri {
            Some(StringMatch::Prefix(path) | StringMatch::Exact(path)) if !matching.ignore_uri_case => path,
            _ => "",
        };
        let same = self.same.get(matching).copied();
        same.into_iter().chain(self.longest(path)).min()
    }

    /// The route of the longest prefix that the path begins with.
    fn longest(&self, mut path: &str) -> Option<usize> {
        loop {
            let (prefix, index) = self.prefixes.range::<str, _>((Unbounded, Included(path))).next_back()?;
            if path.starts_with(prefix.as_str()) {
                return Some(*index);
            }
            // Whatever else the path begins with, it has in common with this one.
            let differs = |((_, own), other): &((usize, char), char)| own != other;
            let (at, _) = path.char_indices().zip(prefix.chars()).find(differs)?.0;
            path = path.get(..at)?;
        }
    }

    fn add(&mut self, matching: HttpMatch, index: usize) {
        // An empty prefix is the beginning of everything and yet no catch-all in Istio.
        if let Some(StringMatch::Prefix(prefix)) = matching.uri.as_ref().filter(|_| asks_for_path(&matching))
            && !prefix.is_empty()
            && self.longest(prefix).is_none()
        {
            self.prefixes.insert(prefix.clone(), index);
        }
        self.same.entry(matching).or_insert(index);
    }
}

/// Does it ask for nothing but the path, as it is written?
fn asks_for_path(matching: &HttpMatch) -> bool {
    *matching == HttpMatch { uri: matching.uri.clone(), ..HttpMatch::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does `other` take all that `matching` asks for? As it is said, not as it is found.
    fn covers(other: &HttpMatch, matching: &HttpMatch) -> bool {
        let (Some(StringMatch::Prefix(prefix)), Some(StringMatch::Prefix(path) | StringMatch::Exact(path))) =
            (&other.uri, &matching.uri)
        else {
            return other == matching;
        };
        let begins = asks_for_path(other) && !prefix.is_empty() && path.starts_with(prefix.as_str());
        other == matching || begins && !matching.ignore_uri_case
    }

    #[test]
    fn what_is_found_is_the_first_that_covers() {
        let mut seed = 7_u64;
        let mut below = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % n
        };
        for _ in 0..300 {
            let (mut earlier, mut all) = (Earlier::default(), Vec::new());
            for index in 0..40 {
                let path: String =
                    (0..below(5)).map(|_| ["a", "b", "/", "\u{e9}"][below(4) as usize]).collect();
                let uri = match below(6) {
                    0 => None,
                    1 => Some(StringMatch::Exact(path)),
                    2 => Some(StringMatch::Regex(path)),
                    _ => Some(StringMatch::Prefix(path)),
                };
                let method = (below(4) == 0).then(|| StringMatch::Exact("GET".to_owned()));
                let ignore_uri_case = below(5) == 0;
                let matching = HttpMatch { uri, method, ignore_uri_case, ..HttpMatch::default() };
                let first = all.iter().position(|other| covers(other, &matching));
                assert_eq!(earlier.covering(&matching), first, "{matching:?} of {all:?}");
                earlier.add(matching.clone(), index);
                all.push(matching);
            }
        }
    }
}
