//! The objects of one kind.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use crate::key::ObjectKey;
use crate::object::Object;

/// The objects of one kind, ordered by namespace, then name. A clone shares everything; a change copies one leaf and the
/// list of leaves. So what differs between two versions of a table is found without a look at what they share.
#[derive(Debug)]
pub struct Table<S> {
    leaves: Arc<Vec<Arc<Leaf<S>>>>,
}

/// Objects in order; none is empty, and of thousands of objects there are hundreds.
type Leaf<S> = Vec<Arc<Object<S>>>;

/// A leaf with more objects becomes two.
const LEAF: usize = 64;

impl<S> Clone for Table<S> {
    fn clone(&self) -> Table<S> {
        Table { leaves: Arc::clone(&self.leaves) }
    }
}

impl<S> Default for Table<S> {
    fn default() -> Table<S> {
        Table { leaves: Arc::default() }
    }
}

/// What two versions of a table hold under one name.
#[derive(Debug)]
pub struct Change<'t, S> {
    /// In the former; `None`: nothing.
    pub before: Option<&'t Arc<Object<S>>>,
    /// In the later; `None`: nothing.
    pub after: Option<&'t Arc<Object<S>>>,
}

fn order<S>(object: &Object<S>, namespace: &str, name: &str) -> Ordering {
    (&*object.key.namespace, &*object.key.name).cmp(&(namespace, name))
}

impl<S> Table<S> {
    /// The object with this namespace and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object<S>>> {
        let leaf = self.leaves.get(self.leaf_of(namespace, name))?;
        let place = leaf.binary_search_by(|object| order(object, namespace, name)).ok()?;
        leaf.get(place)
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object<S>>> {
        self.leaves.iter().flat_map(|leaf| leaf.iter())
    }

    /// Those of one namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Object<S>>> {
        // No name is less than the empty one.
        let rest = self.leaves.get(self.leaf_of(namespace, "")..).unwrap_or_default();
        let all = rest.iter().flat_map(|leaf| leaf.iter());
        all.skip_while(move |object| *object.key.namespace < *namespace)
            .take_while(move |object| *object.key.namespace == *namespace)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.len()).sum()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Do both hold the very same objects, without looking into them?
    pub fn same(&self, other: &Table<S>) -> bool {
        Arc::ptr_eq(&self.leaves, &other.leaves)
    }

    /// Where this differs from what it was before, in order.
    pub fn changed<'t>(&'t self, before: &'t Table<S>) -> Vec<Change<'t, S>> {
        if self.same(before) {
            return Vec::new();
        }
        let (mut old, mut new) = (before.besides(self).peekable(), self.besides(before).peekable());
        let mut changes = Vec::new();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return changes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
                (Some(a), Some(b)) => order(a, &b.key.namespace, &b.key.name),
            };
            let before = if order == Ordering::Greater { None } else { old.next() };
            let after = if order == Ordering::Less { None } else { new.next() };
            if !matches!((before, after), (Some(a), Some(b)) if Arc::ptr_eq(a, b)) {
                changes.push(Change { before, after });
            }
        }
    }

    /// The objects of leaves that the other does not have.
    fn besides<'t>(&'t self, other: &Table<S>) -> impl Iterator<Item = &'t Arc<Object<S>>> {
        let known: HashSet<*const Leaf<S>> = other.leaves.iter().map(Arc::as_ptr).collect();
        let own = self.leaves.iter().filter(move |leaf| !known.contains(&Arc::as_ptr(leaf)));
        own.flat_map(|leaf| leaf.iter())
    }

    /// The place of the first leaf that does not end before this name.
    fn leaf_of(&self, namespace: &str, name: &str) -> usize {
        let before =
            |leaf: &Arc<Leaf<S>>| leaf.last().is_some_and(|last| order(last, namespace, name).is_lt());
        self.leaves.partition_point(before)
    }

    pub(crate) fn insert(&mut self, object: Arc<Object<S>>) {
        let (namespace, name) = (&*object.key.namespace, &*object.key.name);
        // What comes behind all goes into the last leaf.
        let at = self.leaf_of(namespace, name).min(self.leaves.len().saturating_sub(1));
        let leaves = Arc::make_mut(&mut self.leaves);
        let Some(shared) = leaves.get_mut(at) else {
            leaves.push(Arc::new(vec![object]));
            return;
        };
        let leaf = Arc::make_mut(shared);
        match leaf.binary_search_by(|known| order(known, namespace, name)) {
            Ok(place) => {
                if let Some(known) = leaf.get_mut(place) {
                    *known = object;
                }
            }
            Err(place) => {
                leaf.insert(place, object);
                // Those that come in order leave full leaves behind them.
                let half = if place + 1 == leaf.len() { LEAF } else { LEAF / 2 };
                if leaf.len() > LEAF {
                    let rest = leaf.split_off(half);
                    leaves.insert(at + 1, Arc::new(rest));
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        let at = self.leaf_of(&key.namespace, &key.name);
        let found = |leaf: &Arc<Leaf<S>>| {
            leaf.binary_search_by(|object| order(object, &key.namespace, &key.name)).ok()
        };
        let Some(place) = self.leaves.get(at).and_then(found) else { return };
        let leaves = Arc::make_mut(&mut self.leaves);
        if let Some(leaf) = leaves.get_mut(at) {
            Arc::make_mut(leaf).remove(place);
        }
        // Small neighbours become one, so that there are never many more leaves than objects need.
        let size = |at: usize| leaves.get(at).map_or(LEAF, |leaf| leaf.len());
        let first = if size(at) + size(at + 1) <= LEAF / 2 {
            Some(at)
        } else {
            at.checked_sub(1).filter(|before| size(*before) + size(at) <= LEAF / 2)
        };
        if let Some(first) = first {
            let second = leaves.remove(first + 1);
            if let Some(leaf) = leaves.get_mut(first) {
                Arc::make_mut(leaf).extend(second.iter().cloned());
            }
        } else if size(at) == 0 {
            leaves.remove(at);
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
