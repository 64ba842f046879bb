//! Values that get a number each, for the life of the process.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values that got a number; the number of a value never changes.
pub(super) struct Interner<T> {
    pub(super) list: Vec<Arc<T>>,
    ids: HashMap<Arc<T>, u32>,
}

impl<T: Hash + Eq> Interner<T> {
    /// With the values that hold the first numbers.
    pub(super) fn starting_with(first: Vec<T>) -> Interner<T> {
        let mut interner = Interner { list: Vec::new(), ids: HashMap::new() };
        for value in first {
            interner.id(value);
        }
        interner
    }

    /// The number of a value.
    pub(super) fn id(&mut self, value: T) -> u32 {
        if let Some(id) = self.ids.get(&value) {
            return *id;
        }
        let (id, value) = (self.list.len() as u32, Arc::new(value));
        self.list.push(Arc::clone(&value));
        self.ids.insert(value, id);
        id
    }

    /// The number of a value that has one.
    pub(super) fn known(&self, value: &T) -> Option<u32> {
        self.ids.get(value).copied()
    }
}

/// A lock whose holder panicked still guards good data: every change under one is a single push or insertion.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
