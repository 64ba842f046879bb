//! Candidates among many rules of one host: exact paths by hash, prefixes by binary search.
//!
//! The index only leaves out rules that cannot match: every candidate goes through the matcher and the lowest ordinal
//! wins, so that the answer is that of checking the rules one after the other. A regular expression stands under the
//! literal text it begins with, which may be empty, as a prefix does. Rules of one path that ask a header for an
//! exact value are told apart by that value.

use std::collections::HashMap;
use std::sync::Arc;

use super::matcher::{HeaderTest, MatchScratch, PathTest, Request, TextTest};
use super::routes::Rule;
use crate::filter::field::RequestField;

/// The candidates of a host.
#[derive(Debug)]
pub(super) struct RuleIndex {
    /// By the path as it stands.
    plain: PathIndex,
    /// By the path in lower case; absent where no rule ignores case.
    lower: Option<PathIndex>,
}

impl RuleIndex {
    pub(super) fn new(rules: &[Arc<Rule>]) -> RuleIndex {
        let (mut plain, mut lower) = (Keys::default(), Keys::default());
        for rule in rules {
            match &rule.matcher.path {
                PathTest::Exact(path) => plain.exact(path, rule),
                PathTest::Prefix(prefix) | PathTest::Segments(prefix) => plain.prefix(prefix, rule),
                PathTest::Regex(pattern) => plain.prefix(pattern.prefix(), rule),
                PathTest::ExactIgnoreCase(path) => lower.exact(&path.to_ascii_lowercase(), rule),
                PathTest::PrefixIgnoreCase(prefix) => lower.prefix(&prefix.to_ascii_lowercase(), rule),
                PathTest::Never => {}
            }
        }
        let any_lower = !(lower.exact.is_empty() && lower.prefixes.is_empty());
        RuleIndex { plain: PathIndex::new(plain), lower: any_lower.then(|| PathIndex::new(lower)) }
    }

    /// The rule of the lowest ordinal that matches.
    pub(super) fn find<'a>(
        &self,
        rules: &'a [Arc<Rule>],
        request: &Request<'_>,
        scratch: &mut MatchScratch,
    ) -> Option<&'a Arc<Rule>> {
        let mut search = Search { rules, request, scratch, best: None };
        self.plain.search(request.path, &mut search);
        if let Some(lower) = &self.lower {
            let mut path = std::mem::take(&mut search.scratch.lower);
            path.clear();
            path.extend(request.path.iter().map(u8::to_ascii_lowercase));
            lower.search(&path, &mut search);
            search.scratch.lower = path;
        }
        search.best
    }
}

/// A search under way.
struct Search<'a, 's> {
    rules: &'a [Arc<Rule>],
    request: &'s Request<'s>,
    scratch: &'s mut MatchScratch,
    best: Option<&'a Arc<Rule>>,
}

impl Search<'_, '_> {
    /// Checks candidates in ascending order as long as they come before the best match so far.
    fn check(&mut self, ordinals: &[u32]) {
        for ordinal in ordinals {
            if self.best.is_some_and(|best| best.ordinal <= *ordinal) {
                return;
            }
            let Some(rule) = self.rules.get(*ordinal as usize) else { return };
            if rule.matcher.check(self.request, self.scratch).is_ok() {
                self.best = Some(rule);
                return;
            }
        }
    }
}

/// Rules by path while an index is made.
#[derive(Default)]
struct Keys<'a> {
    exact: HashMap<Box<[u8]>, Vec<&'a Rule>>,
    prefixes: HashMap<Box<[u8]>, Vec<&'a Rule>>,
}

impl<'a> Keys<'a> {
    fn exact(&mut self, path: &[u8], rule: &'a Rule) {
        self.exact.entry(path.into()).or_default().push(rule);
    }

    fn prefix(&mut self, prefix: &[u8], rule: &'a Rule) {
        self.prefixes.entry(prefix.into()).or_default().push(rule);
    }
}

/// Candidates by path.
#[derive(Debug)]
struct PathIndex {
    exact: HashMap<Box<[u8]>, Bucket>,
    /// Sorted by prefix.
    prefixes: Box<[Prefix]>,
}

/// A prefix with its candidates.
#[derive(Debug)]
struct Prefix {
    text: Box<[u8]>,
    /// The longest other prefix that this one begins with; `NONE`: there is none.
    parent: u32,
    bucket: Bucket,
}

const NONE: u32 = u32::MAX;

impl PathIndex {
    fn new(keys: Keys<'_>) -> PathIndex {
        let exact = keys.exact.into_iter().map(|(path, rules)| (path, Bucket::new(&rules))).collect();
        let mut sorted: Vec<_> = keys.prefixes.into_iter().collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut prefixes: Vec<Prefix> = Vec::with_capacity(sorted.len());
        for (text, rules) in sorted {
            let before = (prefixes.len() as u32).checked_sub(1).unwrap_or(NONE);
            let parent = ancestor(&prefixes, before, &text);
            prefixes.push(Prefix { text, parent, bucket: Bucket::new(&rules) });
        }
        PathIndex { exact, prefixes: prefixes.into() }
    }

    /// From the most specific candidates to the least, as an early match saves looking at the others.
    fn search(&self, path: &[u8], search: &mut Search<'_, '_>) {
        if let Some(bucket) = self.exact.get(path) {
            bucket.search(search);
        }
        let after = self.prefixes.partition_point(|prefix| *prefix.text <= *path) as u32;
        let mut at = ancestor(&self.prefixes, after.checked_sub(1).unwrap_or(NONE), path);
        while let Some(prefix) = self.prefixes.get(at as usize) {
            prefix.bucket.search(search);
            at = prefix.parent;
        }
    }
}

/// The first of `at`, its parent, its parent's parent and so on that `path` begins with. If `at` is the greatest
/// prefix not after `path`, that is the longest prefix of `path`: whatever stands between that prefix and `path` in
/// the order begins with it, too.
fn ancestor(prefixes: &[Prefix], mut at: u32, path: &[u8]) -> u32 {
    while let Some(prefix) = prefixes.get(at as usize) {
        if path.starts_with(&prefix.text) {
            return at;
        }
        at = prefix.parent;
    }
    NONE
}

/// The rules under one path, by ordinal.
#[derive(Debug)]
struct Bucket {
    /// Those that no header value tells apart.
    rest: Box<[u32]>,
    by_header: Option<Box<ByHeader>>,
}

/// Rules that ask one header for an exact value.
#[derive(Debug)]
struct ByHeader {
    field: RequestField,
    values: HashMap<Box<[u8]>, Box<[u32]>>,
}

/// Up to this many rules of one path are checked one after the other.
const LINEAR: usize = 8;

impl Bucket {
    fn new(rules: &[&Rule]) -> Bucket {
        let field = (rules.len() > LINEAR).then(|| commonest_field(rules)).flatten();
        let mut rest = Vec::new();
        let mut values: HashMap<Box<[u8]>, Vec<u32>> = HashMap::new();
        for rule in rules {
            let mut tests = rule.matcher.headers.iter().filter_map(exact_value);
            match tests.find(|(own, _)| Some(*own) == field) {
                Some((_, value)) => values.entry(value.into()).or_default().push(rule.ordinal),
                None => rest.push(rule.ordinal),
            }
        }
        let values = values.into_iter().map(|(value, ordinals)| (value, ordinals.into())).collect();
        let by_header = field.map(|field| Box::new(ByHeader { field: field.clone(), values }));
        Bucket { rest: rest.into(), by_header }
    }

    fn search(&self, search: &mut Search<'_, '_>) {
        if let Some(ByHeader { field, values }) = self.by_header.as_deref() {
            let Request { head, https, .. } = *search.request;
            let text = field.joined(head, https, &mut search.scratch.joined);
            if let Some(ordinals) = text.and_then(|text| values.get(text)) {
                search.check(ordinals);
            }
        }
        search.check(&self.rest);
    }
}

/// The field and value of a test that holds for one value only.
fn exact_value(test: &HeaderTest) -> Option<(&RequestField, &[u8])> {
    match &test.value {
        Some(TextTest::Exact(value)) if !test.invert => Some((&test.field, value)),
        _ => None,
    }
}

/// The field that most of the rules ask for an exact value.
fn commonest_field<'a>(rules: &[&'a Rule]) -> Option<&'a RequestField> {
    let mut counts: HashMap<&RequestField, usize> = HashMap::new();
    for (field, _) in rules.iter().flat_map(|rule| rule.matcher.headers.iter().filter_map(exact_value)) {
        *counts.entry(field).or_default() += 1;
    }
    // Of two equally common fields either will do.
    counts.into_iter().filter(|(_, count)| *count > 1).max_by_key(|(_, count)| *count).map(|(field, _)| field)
}
