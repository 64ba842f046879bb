//! By when a client must have sent its request.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::clock::{Clock, Timer};
use crate::exchange::front::FrontFail;
use crate::worker::Worker;

/// A moment that never comes.
const NEVER: u64 = u64::MAX;

/// Runs out when all of the body should have come. Costs a timer only once a client is waited for that has a limit: by
/// default it has none, since a stream may rightly be silent for hours (gRPC).
pub(crate) struct Patience {
    clock: Rc<Clock>,
    /// When all of the body must have come.
    until_ms: u64,
    timer: Option<Timer>,
}

impl Patience {
    pub(crate) fn new(worker: &Worker) -> Patience {
        Patience { clock: worker.clock.clone(), until_ms: NEVER, timer: None }
    }

    /// All of the body must have come at this moment of the worker's clock.
    pub(crate) fn until(&mut self, at_ms: u64) {
        self.until_ms = at_ms;
    }

    /// Nothing has come: pending, until it is over.
    pub(crate) fn poll_over<T>(&mut self, cx: &Context<'_>) -> Poll<Result<T, FrontFail>> {
        if self.until_ms == NEVER {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| {
            let timer = self.clock.timer();
            timer.arm(self.until_ms);
            timer
        });
        if timer.poll_fired(cx) { Poll::Ready(Err(FrontFail::Late)) } else { Poll::Pending }
    }

    /// Something has come. It is an error if it came too late.
    pub(crate) fn check(&self) -> Result<(), FrontFail> {
        let late = self.until_ms != NEVER && self.clock.now_ms() >= self.until_ms;
        if late { Err(FrontFail::Late) } else { Ok(()) }
    }
}
