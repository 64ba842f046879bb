//! Which of two matches goes first: the order of the Gateway API over all rules of all routes under one host name.
//!
//! What two routes ask alike goes by the age of the routes, and within one route by the place.

use std::cmp::{Ordering, Reverse};

use super::status::Age;

/// How much a match asks, and where it stands in its route; the least goes first. The host name is not part of it, as each
/// has rules of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Precedence {
    pub(crate) path: Reverse<PathRank>,
    /// Does it ask for a method?
    pub(crate) method: Reverse<bool>,
    /// Of how many header fields it asks something.
    pub(crate) headers: Reverse<usize>,
    /// Of how many query parameters.
    pub(crate) query: Reverse<usize>,
    /// Of the rule in the route, and of the match in the rule.
    pub(crate) place: (usize, usize),
}

impl Precedence {
    /// Which of two matches goes first, each with the age of its route.
    pub(crate) fn among((a, age): (&Precedence, &Age), (b, other): (&Precedence, &Age)) -> Ordering {
        let asked = |of: &Precedence| (of.path, of.method, of.headers, of.query);
        asked(a).cmp(&asked(b)).then_with(|| age.cmp(other)).then_with(|| a.place.cmp(&b.place))
    }
}

/// How much of a path a match says; the greatest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathRank {
    pub(crate) sort: PathSort,
    /// Characters.
    pub(crate) length: usize,
    /// Of the method of a gRPC call, where the service is left open.
    pub(crate) method: usize,
}

/// Ways to match a path. The API leaves open where expressions stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathSort {
    Prefix,
    Expression,
    Exact,
}
