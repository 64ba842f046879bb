//! Remembering what a stage made of the same inputs.
//!
//! Inputs are compared by identity: objects are immutable and held by the memo, so the same address is the same object.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

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
    last: BTreeMap<K, (I, V)>,
    next: BTreeMap<K, (I, V)>,
}

impl<K, I, V> Default for Memo<K, I, V> {
    fn default() -> Memo<K, I, V> {
        Memo { last: BTreeMap::new(), next: BTreeMap::new() }
    }
}

impl<K: Ord, I: Same, V: Clone> Memo<K, I, V> {
    /// What `make` makes of `inputs`. `key` only says which former result to compare with.
    pub(crate) fn get(&mut self, key: K, inputs: I, make: impl FnOnce(&I) -> V) -> V {
        if let Some((before, made)) = self.next.get(&key)
            && before.same(&inputs)
        {
            return made.clone();
        }
        let made = match self.last.remove(&key) {
            Some((before, made)) if before.same(&inputs) => made,
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

/// `new`, but as the former object if that is equal: who compares addresses then sees that nothing changed.
pub(crate) fn keep<T: Eq>(old: Option<&Arc<T>>, new: T) -> Arc<T> {
    match old {
        Some(old) if **old == new => Arc::clone(old),
        _ => Arc::new(new),
    }
}
