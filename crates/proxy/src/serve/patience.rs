//! How long a client may keep the gateway waiting for its request's body.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::clock::{Clock, Timer};
use crate::exchange::front::FrontFail;
use crate::worker::Worker;

/// A moment that never comes.
const NEVER: u64 = u64::MAX;

/// Runs out when no byte has come for as long as the limits allow. Costs a timer only once a client is waited for.
pub(crate) struct Patience {
    clock: Rc<Clock>,
    allowed_ms: u64,
    /// When all of the body must have come.
    until_ms: u64,
    timer: Option<Timer>,
    waiting: bool,
}

impl Patience {
    pub(crate) fn new(worker: &Worker) -> Patience {
        let allowed_ms = worker.config.limits.stall_timeout_ms;
        Patience { clock: worker.clock.clone(), allowed_ms, until_ms: NEVER, timer: None, waiting: false }
    }

    /// All of the body must have come at this moment of the worker's clock.
    pub(crate) fn until(&mut self, at_ms: u64) {
        self.until_ms = at_ms;
    }

    /// Nothing has come: pending, until it is over.
    pub(crate) fn poll_over<T>(&mut self, cx: &Context<'_>) -> Poll<Result<T, FrontFail>> {
        let timer = self.timer.get_or_insert_with(|| self.clock.timer());
        if !std::mem::replace(&mut self.waiting, true) {
            timer.arm(self.clock.now_ms().saturating_add(self.allowed_ms).min(self.until_ms));
        }
        if !timer.poll_fired(cx) {
            return Poll::Pending;
        }
        Poll::Ready(Err(if self.clock.now_ms() >= self.until_ms {
            FrontFail::Late
        } else {
            FrontFail::Stalled
        }))
    }

    /// Something has come. It is an error if it came too late.
    pub(crate) fn renew(&mut self) -> Result<(), FrontFail> {
        if std::mem::take(&mut self.waiting)
            && let Some(timer) = &self.timer
        {
            timer.disarm();
        }
        let late = self.until_ms != NEVER && self.clock.now_ms() >= self.until_ms;
        if late { Err(FrontFail::Late) } else { Ok(()) }
    }
}
