//! Remembering what a stage made of the same inputs.
//!
//! Inputs are compared by identity: objects are immutable and held by the memo, so the same address is the same object.

use std::collections::{BTreeMap, btree_map};
use std::hash::Hash;
use std::iter::Peekable;
use std::mem;
use std::sync::Arc;

use crate::lookup::Lookup;

/// Are these the very same inputs? May say no of equal ones, never yes of different ones.
pub(crate) trait Same {
    fn same(&self, other: &Self) -> bool;
}

impl<T: ?Sized> Same for Arc<T> {
    fn same(&self, other: &Arc<T>) -> bool {
        Arc::ptr_eq(self, other)
    }
}

impl<T: Same> Same for Vec<T> {
    fn same(&self, other: &Vec<T>) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(a, b)| a.same(b))
    }
}

impl<T: Same> Same for Option<T> {
    fn same(&self, other: &Option<T>) -> bool {
        match (self, other) {
            (Some(a), Some(b)) => a.same(b),
            (None, None) => true,
            _ => false,
        }
    }
}

impl<A: Same, B: Same> Same for (A, B) {
    fn same(&self, other: &(A, B)) -> bool {
        self.0.same(&other.0) && self.1.same(&other.1)
    }
}

/// An input that is compared by value.
#[derive(Debug, Clone)]
pub(crate) struct ByValue<T>(pub(crate) T);

impl<T: PartialEq> Same for ByValue<T> {
    fn same(&self, other: &ByValue<T>) -> bool {
        self.0 == other.0
    }
}

/// Results of one stage by name, with the inputs that they were made from. What one run does not ask for is forgotten
/// at its end.
#[derive(Debug)]
pub(crate) struct Memo<K, I, V> {
    last: Lookup<K, (I, V)>,
    next: Lookup<K, (I, V)>,
}

impl<K, I, V> Default for Memo<K, I, V> {
    fn default() -> Memo<K, I, V> {
        Memo { last: Lookup::default(), next: Lookup::default() }
    }
}

impl<K: Eq + Hash, I: Same, V: Clone> Memo<K, I, V> {
    /// What `make` makes of `inputs`. `key` only says which former result to compare with.
    pub(crate) fn get(&mut self, key: K, inputs: I, make: impl FnOnce(&I) -> V) -> V {
        let known = self.next.get(&key).or_else(|| self.last.get(&key));
        let made = match known {
            Some((before, made)) if before.same(&inputs) => made.clone(),
            _ => make(&inputs),
        };
        self.next.insert(key, (inputs, made.clone()));
        made
    }

    /// Ends a run.
    pub(crate) fn turn(&mut self) {
        self.last = mem::take(&mut self.next);
    }
}

/// Finds keys that come in ascending order in a map, going along it once.
pub(crate) struct Walk<'m, K, V> {
    rest: Peekable<btree_map::Iter<'m, K, V>>,
}

impl<'m, K: Ord, V> Walk<'m, K, V> {
    pub(crate) fn along(map: &'m BTreeMap<K, V>) -> Walk<'m, K, V> {
        Walk { rest: map.iter().peekable() }
    }

    /// What the map has for `key`, which must not be less than the one asked for before.
    pub(crate) fn find(&mut self, key: &K) -> Option<&'m V> {
        while self.rest.next_if(|(known, _)| *known < key).is_some() {}
        self.rest.peek().filter(|(known, _)| *known == key).map(|(_, value)| *value)
    }
}

/// `new`, but as the former object if that is equal: who compares addresses then sees that nothing changed.
pub(crate) fn keep<T: Eq>(old: Option<&Arc<T>>, new: T) -> Arc<T> {
    match old {
        Some(old) if **old == new => Arc::clone(old),
        _ => Arc::new(new),
    }
}
