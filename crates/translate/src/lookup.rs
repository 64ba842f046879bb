//! A map that is only looked into.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// From long names to values. A name is hashed once instead of being compared at every step down a tree, and unlike
/// std's hash map its order is the same in every process, though nobody goes by it.
#[derive(Debug)]
pub(crate) struct Lookup<K, V> {
    /// By the hash of the key; keys of one hash are told apart by numbers from 0.
    entries: BTreeMap<(u64, u32), (K, V)>,
}

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Lookup<K, V> {
        Lookup { entries: BTreeMap::new() }
    }
}

/// A number that is the same for equal keys, in every process.
pub(crate) fn hash_of<Q: Hash + ?Sized>(key: &Q) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl<K: Eq + Hash, V> Lookup<K, V> {
    /// Where a key stands, or where it would.
    fn place<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> (u64, u32)
    where
        K: Borrow<Q>,
    {
        let mut place = (hash_of(key), 0);
        while self.entries.get(&place).is_some_and(|(known, _)| known.borrow() != key) {
            place.1 += 1;
        }
        place
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(&self.place(key)).map(|(_, value)| value)
    }

    /// All values. Their order means nothing: whoever takes them sorts them.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|(_, value)| value)
    }

    /// What the key has, made first if need be.
    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = self.place(&key);
        &mut self.entries.entry(place).or_insert_with(|| (key, make())).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All keys of this kind have the same hash.
    #[derive(Debug, PartialEq, Eq)]
    struct Colliding(u8);

    impl Hash for Colliding {
        fn hash<H: Hasher>(&self, state: &mut H) {
            0_u8.hash(state);
        }
    }

    #[test]
    fn keys_of_one_hash_stay_apart() {
        let mut lookup = Lookup::default();
        for key in 0..3 {
            lookup.get_or_insert_with(Colliding(key), || key);
        }
        *lookup.get_or_insert_with(Colliding(1), || 9) = 10;
        *lookup.get_or_insert_with(Colliding(2), || 7) += 1;
        assert_eq!(*lookup.get_or_insert_with(Colliding(9), || 9), 9);
        let found: Vec<_> = [0, 1, 2, 3, 9].map(|key| lookup.get(&Colliding(key)).copied()).into();
        assert_eq!(found, [Some(0), Some(10), Some(3), None, Some(9)]);
    }
}
