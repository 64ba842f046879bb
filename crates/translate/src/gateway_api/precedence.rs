//! Which of two matches goes first: the order of the Gateway API over all rules of all routes under one host name.

use std::cmp::Reverse;

use super::status::Age;

/// The place of a match; the least goes first. The host name is not part of it, as each has rules of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Precedence {
    pub(crate) path: Reverse<PathRank>,
    /// Does it ask for a method?
    pub(crate) method: Reverse<bool>,
    /// Of how many header fields it asks something.
    pub(crate) headers: Reverse<usize>,
    /// Of how many query parameters.
    pub(crate) query: Reverse<usize>,
    /// Of the route.
    pub(crate) age: Age,
    /// Of the rule in the route, and of the match in the rule.
    pub(crate) place: (usize, usize),
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
