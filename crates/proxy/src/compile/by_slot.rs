//! What stands in slots, from one generation to the next.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::ClusterKey;

/// The keys under which two maps hold different objects, or only one holds any.
pub(super) fn different<'m, T>(
    old: &'m BTreeMap<ClusterKey, Arc<T>>,
    new: &'m BTreeMap<ClusterKey, Arc<T>>,
) -> Vec<&'m ClusterKey> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut keys = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return keys,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let was = if order == Ordering::Greater { None } else { old.next() };
        let is = if order == Ordering::Less { None } else { new.next() };
        let same = matches!((was, is), (Some((_, was)), Some((_, is))) if Arc::ptr_eq(was, is));
        keys.extend(was.or(is).filter(|_| !same).map(|(key, _)| key));
    }
}

/// A list by slot, with the copy that workers have as long as it is the same.
pub(super) struct Made<T> {
    pub(super) list: Vec<T>,
    shared: Option<Arc<[T]>>,
}

impl<T> Default for Made<T> {
    fn default() -> Made<T> {
        Made { list: Vec::new(), shared: None }
    }
}

impl<T: Clone> Made<T> {
    pub(super) fn push(&mut self, value: T) {
        self.list.push(value);
        self.shared = None;
    }

    pub(super) fn put(&mut self, index: u32, value: T) {
        if let Some(place) = self.list.get_mut(index as usize) {
            *place = value;
            self.shared = None;
        }
    }

    pub(super) fn share(&mut self) -> Arc<[T]> {
        self.shared.get_or_insert_with(|| self.list.as_slice().into()).clone()
    }
}
