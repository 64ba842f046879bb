//! A slot for the newest value, from one task to another. The reader takes its time; what is put in meanwhile
//! replaces what waits, so the reader never works on something old and nobody waits for a timer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    waiting: Option<T>,
    closed: bool,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end. Dropping it ends the reader once it has taken what waits.
#[derive(Debug)]
pub(crate) struct Giver<T>(Arc<Slot<T>>);

/// The reading end.
#[derive(Debug)]
pub(crate) struct Taker<T>(Arc<Slot<T>>);

/// An empty slot.
pub(crate) fn handoff<T>() -> (Giver<T>, Taker<T>) {
    let state = Mutex::new(State { waiting: None, closed: false });
    let slot = Arc::new(Slot { state, changed: Notify::new() });
    (Giver(Arc::clone(&slot)), Taker(slot))
}

impl<T> Giver<T> {
    /// Puts in the value that `make` makes from the one that still waits, if one does.
    pub(crate) fn give(&self, make: impl FnOnce(Option<T>) -> T) {
        let mut state = self.0.lock();
        let before = state.waiting.take();
        state.waiting = Some(make(before));
        drop(state);
        self.0.changed.notify_one();
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl<T> Taker<T> {
    /// Takes the value, waiting for one if need be. `None`: there will be no more. Safe to cancel.
    pub(crate) async fn take(&mut self) -> Option<T> {
        loop {
            {
                let mut state = self.0.lock();
                if let Some(value) = state.waiting.take() {
                    return Some(value);
                }
                if state.closed {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }
}
