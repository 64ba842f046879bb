//! Endpoints that DNS names no more, and whose connections are used for as long as they last: where a name has many
//! addresses, of which each answer names another one first, connections would otherwise live no longer than an answer.

use std::cell::RefCell;
use std::rc::Rc;

use super::EndpointState;
use crate::address::Address;

/// As many former endpoints of a cluster are kept by a worker; the oldest goes.
const MOST: usize = 64;

/// Former endpoints of one cluster, the oldest first. Empty in most clusters, always.
#[derive(Default)]
pub(super) struct Former(RefCell<Vec<Rc<EndpointState>>>);

impl Former {
    /// These are no endpoints any more.
    pub(super) fn keep(&self, gone: impl Iterator<Item = Rc<EndpointState>>) {
        let mut all = self.0.borrow_mut();
        all.extend(gone);
        let over = all.len().saturating_sub(MOST);
        all.drain(..over).for_each(|oldest| oldest.retire());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The one with this address is an endpoint again.
    pub(super) fn come_back(&self, address: Address) -> Option<Rc<EndpointState>> {
        let mut all = self.0.borrow_mut();
        let at = all.iter().position(|endpoint| endpoint.address == address)?;
        Some(all.remove(at))
    }

    /// One that can take a request on a connection that there is, and that the request has not tried.
    pub(super) fn with_connection(&self, tried: &[Address]) -> Option<Rc<EndpointState>> {
        let all = self.0.borrow();
        let free =
            |endpoint: &&Rc<EndpointState>| !tried.contains(&endpoint.address) && endpoint.has_connection();
        all.iter().rev().find(free).cloned()
    }

    /// Closes one connection that is not used, if there is one.
    pub(super) fn close_unused(&self) {
        let all = self.0.borrow();
        let _closed = all.iter().any(|endpoint| endpoint.close_unused());
    }

    /// Lets go of idle connections as of any endpoint's, and of those that have none left. Returns how many are left.
    pub(super) fn sweep(&self, oldest: Option<u64>, now_ms: u64) -> usize {
        let mut left = 0;
        self.0.borrow_mut().retain(|endpoint| {
            let own = endpoint.sweep(oldest, now_ms);
            left += own;
            own > 0 || endpoint.active.get() > 0
        });
        left
    }

    /// None of them is used any more.
    pub(super) fn retire(&self) {
        self.0.borrow_mut().drain(..).for_each(|endpoint| endpoint.retire());
    }
}
