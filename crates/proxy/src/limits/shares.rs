//! How many connections each listener and each client has, where that is limited. Workers share this, and ask it once
//! per connection; where nothing is limited there is none of it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts with a lock of their own, so that workers seldom meet.
const PARTS: usize = 64;

/// What is counted by key.
type Counts<K> = HashMap<K, u32>;

/// How many each key has, and how many it may.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    most: u32,
    parts: [Mutex<Counts<K>>; PARTS],
    /// Seeded by the system: nobody can choose keys that share a part.
    hasher: RandomState,
}

impl<K: Hash + Eq + Copy> Shares<K> {
    /// `None`: there is no limit.
    pub(crate) fn new(most: u32) -> Option<Arc<Shares<K>>> {
        (most != u32::MAX).then(|| {
            let parts = std::array::from_fn(|_| Mutex::default());
            Arc::new(Shares { most, parts, hasher: RandomState::new() })
        })
    }

    /// One more for this key, and how many it has then; `None`: it has as many as it may.
    pub(crate) fn take(self: &Arc<Self>, key: K) -> Option<(Share<K>, u32)> {
        let mut counts = self.part(&key);
        let count = counts.entry(key).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some((Share { of: self.clone(), key }, *count))
    }

    fn give(&self, key: &K) {
        let mut counts = self.part(key);
        let left = counts.get_mut(key).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            counts.remove(key);
        }
        // What a crowd has left behind.
        if counts.capacity() > 64 && counts.len() * 8 < counts.capacity() {
            counts.shrink_to_fit();
        }
    }

    fn part(&self, key: &K) -> MutexGuard<'_, Counts<K>> {
        let at = self.hasher.hash_one(key) as usize % PARTS;
        // Nothing in here panics while it holds the lock.
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a key's, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Hash + Eq + Copy> {
    of: Arc<Shares<K>>,
    key: K,
}

impl<K: Hash + Eq + Copy> Drop for Share<K> {
    fn drop(&mut self) {
        self.of.give(&self.key);
    }
}

/// Who a client is by its address: with IPv6 it has at least all of a /64, so it is one by that.
pub(crate) fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_as_many_as_it_may_and_gives_them_back() {
        let shares = Shares::new(2).unwrap();
        let (first, one) = shares.take("a").unwrap();
        let (_second, two) = shares.take("a").unwrap();
        assert_eq!((one, two), (1, 2));
        assert!(shares.take("a").is_none());
        assert!(shares.take("b").is_some(), "another one's");
        drop(first);
        assert!(shares.take("a").is_some());
        assert!(Shares::<u8>::new(u32::MAX).is_none(), "no limit, nothing to ask");
    }

    #[test]
    fn nothing_is_kept_of_who_has_gone() {
        let shares = Shares::new(1).unwrap();
        let held: Vec<_> = (0..100_000u32).map(|key| shares.take(key).unwrap()).collect();
        drop(held);
        let kept: usize = shares.parts.iter().map(|part| part.lock().unwrap().capacity()).sum();
        assert!(kept <= PARTS * 128, "room for {kept}");
    }

    #[test]
    fn a_client_is_its_address_or_its_network() {
        let of = |text: &str| client(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2::9"), of("2001:db8:1:2::8"));
    }
}
