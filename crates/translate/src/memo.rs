//! Remembering what a stage made of the same inputs.
//!
//! Inputs are compared by identity: objects are immutable and held by the memo, so the same address is the same object.

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

impl<T: Same> Same for [T] {
    fn same(&self, other: &[T]) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(a, b)| a.same(b))
    }
}

impl<T: Same> Same for Vec<T> {
    fn same(&self, other: &Vec<T>) -> bool {
        self[..].same(&other[..])
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
///
/// Keys are best asked for in ascending order: then each is found where the one before it was.
#[derive(Debug)]
pub(crate) struct Memo<K, I, V> {
    /// Sorted by key, each once.
    known: Vec<(K, I, V)>,
    /// Which of them this run has asked for.
    asked: Vec<bool>,
    /// Where the next key is likely to be.
    at: usize,
    /// Those that no run before has asked for.
    new: Vec<(K, I, V)>,
}

impl<K, I, V> Default for Memo<K, I, V> {
    fn default() -> Memo<K, I, V> {
        Memo { known: Vec::new(), asked: Vec::new(), at: 0, new: Vec::new() }
    }
}

impl<K: Ord, I: Same, V: Clone> Memo<K, I, V> {
    /// What `make` makes of `inputs`. `key` only says which former result to compare with.
    pub(crate) fn get(&mut self, key: K, inputs: I, make: impl FnOnce(&I) -> V) -> V {
        self.get_if(key, inputs, |_| true, make)
    }

    /// The same, if the former result is still `good` as well.
    pub(crate) fn get_if(
        &mut self,
        key: K,
        inputs: I,
        good: impl FnOnce(&V) -> bool,
        make: impl FnOnce(&I) -> V,
    ) -> V {
        self.renew(key, inputs, good, |inputs, _| make(inputs))
    }

    /// The same, where `make` is shown the former inputs and result as well, of which it may take parts over.
    pub(crate) fn renew(
        &mut self,
        key: K,
        inputs: I,
        good: impl FnOnce(&V) -> bool,
        make: impl FnOnce(&I, Option<(&I, &V)>) -> V,
    ) -> V {
        let found = self.find(&key);
        let known = found.and_then(|at| Some((self.known.get_mut(at)?, self.asked.get_mut(at)?)));
        let Some(((_, before, made), asked)) = known else {
            let made = make(&inputs, None);
            self.new.push((key, inputs, made.clone()));
            return made;
        };
        if !(before.same(&inputs) && good(made)) {
            let new = make(&inputs, Some((before, made)));
            // Asked for again within one run, with other inputs: the first answer is the one that is kept.
            if !*asked {
                (*before, *made) = (inputs, new.clone());
            }
            *asked = true;
            return new;
        }
        *asked = true;
        made.clone()
    }

    /// The former result, if it is known to be `good`: what would be asked for with its inputs need not be put together.
    pub(crate) fn known(&mut self, key: &K, good: impl FnOnce(&I, &V) -> bool) -> Option<&V> {
        let at = self.find(key)?;
        let (_, inputs, made) = self.known.get(at)?;
        if !good(inputs, made) {
            // It is looked for once more.
            self.at = at;
            return None;
        }
        if let Some(asked) = self.asked.get_mut(at) {
            *asked = true;
        }
        Some(made)
    }

    /// How many results are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.known.len()
    }

    fn find(&mut self, key: &K) -> Option<usize> {
        let found = match self.known.get(self.at) {
            Some((known, ..)) if known == key => Ok(self.at),
            _ => self.known.binary_search_by(|(known, ..)| known.cmp(key)),
        };
        self.at = found.map_or_else(|place| place, |place| place + 1);
        found.ok()
    }

    /// Ends a run.
    pub(crate) fn turn(&mut self) {
        let mut asked = mem::take(&mut self.asked).into_iter();
        self.known.retain(|_| asked.next().unwrap_or_default());
        if !self.new.is_empty() {
            // There is room for those that are, and some more; what came at once takes no more than it needs.
            self.known.reserve_exact(self.new.len() + self.known.len() / 16);
            self.known.append(&mut self.new);
            self.known.sort_by(|a, b| a.0.cmp(&b.0));
            self.known.dedup_by(|a, b| a.0 == b.0);
            self.new = Vec::new();
        }
        self.asked = vec![false; self.known.len()];
        self.at = 0;
    }
}

/// `new`, but as the former object if that is equal: who compares addresses then sees that nothing changed.
pub(crate) fn keep<T: Eq>(old: Option<&Arc<T>>, new: T) -> Arc<T> {
    match old {
        Some(old) if **old == new => Arc::clone(old),
        _ => Arc::new(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a memo makes of each key with an input, and how often it had to make it.
    fn run(memo: &mut Memo<u8, ByValue<u8>, (u8, u8)>, asked: &[(u8, u8)]) -> usize {
        let mut made = 0;
        for (key, input) in asked {
            let answer = memo.get(*key, ByValue(*input), |input| {
                made += 1;
                (*key, input.0)
            });
            assert_eq!(answer, (*key, *input));
        }
        memo.turn();
        made
    }

    #[test]
    fn what_is_known_is_not_made_again_in_whatever_order_it_is_asked_for() {
        let mut memo = Memo::default();
        assert_eq!(run(&mut memo, &[(3, 0), (1, 0), (2, 0)]), 3);
        assert_eq!(run(&mut memo, &[(1, 0), (2, 0), (3, 0)]), 0);
        assert_eq!(run(&mut memo, &[(3, 0), (1, 0), (3, 0), (2, 0)]), 0, "one is asked for twice");
        assert_eq!(run(&mut memo, &[(0, 0), (1, 0), (2, 1), (3, 0), (4, 0)]), 3, "two are new, one is other");
        assert_eq!(run(&mut memo, &[(2, 1), (2, 0), (2, 1)]), 1, "of one key two inputs");
        assert_eq!(run(&mut memo, &[(1, 0), (2, 1)]), 1, "what was not asked for is forgotten");
    }

    #[test]
    fn what_no_longer_holds_is_made_again() {
        let mut memo: Memo<u8, ByValue<u8>, u8> = Memo::default();
        for (good, wanted) in [(true, 1), (true, 1), (false, 2), (true, 2)] {
            let made = memo.get_if(0, ByValue(0), |_| good, |_| wanted);
            assert_eq!(made, wanted);
            memo.turn();
        }
    }
}
