//! What a rule asks of a request: the only matcher there is.

use std::sync::Arc;

use limen_wire::head::RequestHead;

use super::pattern::{Pattern, PatternCaches};
use crate::filter::field::RequestField;

/// The conditions of one rule; all must hold.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// On the path without the query.
    pub(crate) path: PathTest,
    /// On `:method`.
    pub(crate) method: Option<Box<TextTest>>,
    /// On the scheme.
    pub(crate) scheme: Option<Box<TextTest>>,
    /// On the authority as received.
    pub(crate) authority: Option<Box<TextTest>>,
    /// On header fields.
    pub(crate) headers: Box<[HeaderTest]>,
    /// On query parameters.
    pub(crate) query: Box<[QueryTest]>,
}

/// A condition on the path.
#[derive(Debug)]
pub(crate) enum PathTest {
    /// Equal.
    Exact(Box<[u8]>),
    /// Equal but for the case of ASCII letters.
    ExactIgnoreCase(Box<[u8]>),
    /// Begins with, as a string.
    Prefix(Box<[u8]>),
    /// Begins with, but for the case of ASCII letters.
    PrefixIgnoreCase(Box<[u8]>),
    /// Is it, or begins with it and a slash.
    Segments(Box<[u8]>),
    /// The whole path matches.
    Regex(Arc<Pattern>),
    /// Nothing: the rule stands beside a request and is not sought.
    Never,
}

/// A condition on a text that is present.
#[derive(Debug)]
pub(crate) enum TextTest {
    /// Equal.
    Exact(Box<[u8]>),
    /// Begins with.
    Prefix(Box<[u8]>),
    /// The whole text matches.
    Regex(Arc<Pattern>),
}

/// A condition on a header; several lines of one name count as one, joined with commas.
#[derive(Debug)]
pub(crate) struct HeaderTest {
    /// Which.
    pub(crate) field: RequestField,
    /// What is asked; `None`: that it be present.
    pub(crate) value: Option<TextTest>,
    /// The condition must not hold; an absent header then counts as empty text, and where `value` is `None` it must
    /// be absent.
    pub(crate) invert: bool,
}

/// A condition on the first query parameter of a name; nothing is decoded.
#[derive(Debug)]
pub(crate) struct QueryTest {
    /// The key.
    pub(crate) name: Box<[u8]>,
    /// What is asked; `None`: that it be present.
    pub(crate) value: Option<TextTest>,
}

/// Which part of a rule did not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The path.
    Path,
    /// The method.
    Method,
    /// The scheme.
    Scheme,
    /// The authority.
    Authority,
    /// The header condition of this index.
    Header(usize),
    /// The query condition of this index.
    Query(usize),
}

/// A worker's memory for matching, so that no request allocates and tables need no cells.
#[derive(Debug, Default)]
pub(crate) struct MatchScratch {
    pub(crate) caches: PatternCaches,
    /// Where header lines are joined.
    pub(super) joined: Vec<u8>,
    /// Where paths are lower-cased.
    pub(super) lower: Vec<u8>,
}

/// A request as matching sees it.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) path: &'a [u8],
    pub(super) https: bool,
}

impl<'a> Request<'a> {
    pub(crate) fn new(head: &'a RequestHead, https: bool) -> Request<'a> {
        Request { head, path: head.path(), https }
    }

    fn scheme(&self) -> &'static [u8] {
        if self.https { b"https" } else { b"http" }
    }
}

impl Matcher {
    /// Does everything hold, and if not, what does not?
    pub(crate) fn check(&self, request: &Request<'_>, scratch: &mut MatchScratch) -> Result<(), Why> {
        let caches = &mut scratch.caches;
        let text = |test: &Option<Box<TextTest>>, text: &[u8], caches: &mut PatternCaches| {
            test.as_ref().is_none_or(|test| test.holds(text, caches))
        };
        if !self.path.holds(request.path, caches) {
            return Err(Why::Path);
        }
        if !text(&self.method, request.head.method(), caches) {
            return Err(Why::Method);
        }
        if !text(&self.scheme, request.scheme(), caches) {
            return Err(Why::Scheme);
        }
        if !text(&self.authority, request.head.authority(), caches) {
            return Err(Why::Authority);
        }
        if let Some(index) = self.headers.iter().position(|test| !test.holds(request, scratch)) {
            return Err(Why::Header(index));
        }
        match self.query.iter().position(|test| !test.holds(request.head, &mut scratch.caches)) {
            Some(index) => Err(Why::Query(index)),
            None => Ok(()),
        }
    }
}

impl PathTest {
    fn holds(&self, path: &[u8], caches: &mut PatternCaches) -> bool {
        match self {
            PathTest::Exact(own) => path == &**own,
            PathTest::ExactIgnoreCase(own) => path.eq_ignore_ascii_case(own),
            PathTest::Prefix(prefix) => path.starts_with(prefix),
            PathTest::PrefixIgnoreCase(prefix) => {
                path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            }
            PathTest::Segments(segments) => {
                path.strip_prefix(&**segments).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
            PathTest::Regex(pattern) => pattern.matches(path, caches),
            PathTest::Never => false,
        }
    }
}

impl TextTest {
    pub(super) fn holds(&self, text: &[u8], caches: &mut PatternCaches) -> bool {
        match self {
            TextTest::Exact(own) => text == &**own,
            TextTest::Prefix(prefix) => text.starts_with(prefix),
            TextTest::Regex(pattern) => pattern.matches(text, caches),
        }
    }
}

impl HeaderTest {
    fn holds(&self, request: &Request<'_>, scratch: &mut MatchScratch) -> bool {
        let found = self.field.joined(request.head, request.https, &mut scratch.joined);
        let holds = match (&self.value, found) {
            (None, found) => found.is_some(),
            (Some(test), Some(text)) => test.holds(text, &mut scratch.caches),
            (Some(test), None) => self.invert && test.holds(b"", &mut scratch.caches),
        };
        holds != self.invert
    }
}

impl QueryTest {
    fn holds(&self, head: &RequestHead, caches: &mut PatternCaches) -> bool {
        let first = head.query().and_then(|query| parameter(query, &self.name));
        match (&self.value, first) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(test), Some(text)) => test.holds(text, caches),
        }
    }
}

/// The raw value of the first parameter of that name; empty where it has no `=`.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|byte| *byte == b'&').find_map(|pair| match pair.strip_prefix(name)? {
        [] => Some(&[][..]),
        [b'=', value @ ..] => Some(value),
        _ => None,
    })
}
