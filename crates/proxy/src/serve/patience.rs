//! How long a client may keep the gateway waiting for its request's body.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::clock::{Clock, Timer};
use crate::exchange::front::FrontFail;
use crate::worker::Worker;

/// Runs out when no byte has come for as long as the limits allow. Costs a timer only once a client is waited for.
pub(crate) struct Patience {
    clock: Rc<Clock>,
    allowed_ms: u64,
    timer: Option<Timer>,
    waiting: bool,
}

impl Patience {
    pub(crate) fn new(worker: &Worker) -> Patience {
        let allowed_ms = worker.config.limits.stall_timeout_ms;
        Patience { clock: worker.clock.clone(), allowed_ms, timer: None, waiting: false }
    }

    /// Nothing has come: pending, until it is over.
    pub(crate) fn poll_over<T>(&mut self, cx: &Context<'_>) -> Poll<Result<T, FrontFail>> {
        let timer = self.timer.get_or_insert_with(|| self.clock.timer());
        if !std::mem::replace(&mut self.waiting, true) {
            timer.arm_in(self.allowed_ms);
        }
        if timer.poll_fired(cx) { Poll::Ready(Err(FrontFail::Stalled)) } else { Poll::Pending }
    }

    /// Something has come.
    pub(crate) fn renew(&mut self) {
        if std::mem::take(&mut self.waiting)
            && let Some(timer) = &self.timer
        {
            timer.disarm();
        }
    }
}
