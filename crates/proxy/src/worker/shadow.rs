//! Copies of requests, on their way to where they are mirrored. Whoever makes one only leaves it here, so that nothing
//! that becomes of it can be felt by the request that it was made of.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::Held;
use super::memory::Exchange;
use crate::observe::ListenerId;
use crate::table::listeners::ListenerSlot;
use crate::table::routes::Rule;

/// A longer body is not copied, and its request not mirrored.
const MAX_BODY: usize = 1 << 20;
/// Bytes of bodies that a worker holds for mirrors at one time.
const MAX_HELD: usize = 16 << 20;
/// Mirrored requests that a worker has under way at one time.
const MAX_UNDER_WAY: usize = 1024;

/// A copy.
pub(crate) struct Shadow {
    /// The tables of the request that it was made of.
    pub(crate) tables: Rc<Held>,
    /// Where it goes.
    pub(crate) rule: Arc<Rule>,
    /// With its head.
    pub(crate) exchange: Box<Exchange>,
    /// Its body.
    pub(crate) body: Rc<Copied>,
    /// Of the request that it was made of.
    pub(crate) listener: (ListenerSlot, ListenerId),
    /// Of the request that it was made of.
    pub(crate) local: SocketAddr,
    /// Of the request that it was made of.
    pub(crate) remote: SocketAddr,
    /// Of the request that it was made of.
    pub(crate) https: bool,
}

/// The copies of a worker.
#[derive(Default)]
pub(crate) struct Shadows {
    waiting: RefCell<VecDeque<Shadow>>,
    came: Notify,
    under_way: Rc<Cell<usize>>,
    held: Rc<Cell<usize>>,
}

impl Shadows {
    /// A body without a byte yet.
    pub(crate) fn body(&self) -> Copied {
        Copied { bytes: Vec::new(), held: self.held.clone() }
    }

    /// Leaves a copy; `false`: too many are under way.
    pub(crate) fn leave(&self, shadow: Shadow) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() + self.under_way.get() >= MAX_UNDER_WAY {
            return false;
        }
        waiting.push_back(shadow);
        self.came.notify_one();
        true
    }

    /// The next copy, with what counts it as under way.
    pub(crate) async fn next(&self) -> (Shadow, UnderWay) {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            if let Some(shadow) = next {
                self.under_way.set(self.under_way.get() + 1);
                return (shadow, UnderWay(self.under_way.clone()));
            }
            self.came.notified().await;
        }
    }
}

/// Counts a copy as under way for as long as it exists.
pub(crate) struct UnderWay(Rc<Cell<usize>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A copied body, counted against what a worker may hold for as long as it exists.
pub(crate) struct Copied {
    bytes: Vec<u8>,
    held: Rc<Cell<usize>>,
}

impl Copied {
    /// Copies a piece; `false`: there is no room for it.
    pub(crate) fn push(&mut self, piece: &[u8]) -> bool {
        if self.bytes.len() + piece.len() > MAX_BODY || self.held.get() + piece.len() > MAX_HELD {
            return false;
        }
        self.held.set(self.held.get() + piece.len());
        self.bytes.extend_from_slice(piece);
        true
    }

    /// What was copied.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.held.set(self.held.get().saturating_sub(self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_bounded_each_and_together() {
        let shadows = Shadows::default();
        let mut one = shadows.body();
        assert!(one.push(&[0; MAX_BODY]) && !one.push(&[0]));
        let others: Vec<_> = (1..MAX_HELD / MAX_BODY)
            .map(|_| {
                let mut other = shadows.body();
                assert!(other.push(&[0; MAX_BODY]));
                other
            })
            .collect();
        assert!(!shadows.body().push(&[0]));
        drop(one);
        assert!(shadows.body().push(&[0]));
        drop(others);
        assert_eq!(shadows.held.get(), 0);
    }
}
