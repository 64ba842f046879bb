//! By when a client must have sent its request.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::clock::{Clock, Timer};
use crate::exchange::front::FrontFail;

/// Runs out when all of the body should have come. By default it never does, since a stream may rightly be silent for
/// hours (gRPC): then there is nothing here but an empty pointer.
#[derive(Default)]
pub(crate) struct Patience(Option<Box<Limited>>);

struct Limited {
    clock: Rc<Clock>,
    /// When all of the body must have come.
    until_ms: u64,
    /// There is one once the client is waited for.
    timer: Option<Timer>,
}

impl Patience {
    /// All of the body must have come at this moment of the worker's clock.
    pub(crate) fn until(&mut self, clock: &Rc<Clock>, at_ms: u64) {
        self.0 = Some(Box::new(Limited { clock: clock.clone(), until_ms: at_ms, timer: None }));
    }

    /// Nothing has come: pending, until it is over.
    pub(crate) fn poll_over<T>(&mut self, cx: &Context<'_>) -> Poll<Result<T, FrontFail>> {
        let Some(Limited { clock, until_ms, timer }) = self.0.as_deref_mut() else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| {
            let timer = clock.timer();
            timer.arm(*until_ms);
            timer
        });
        if timer.poll_fired(cx) { Poll::Ready(Err(FrontFail::Late)) } else { Poll::Pending }
    }

    /// Something has come. It is an error if it came too late.
    pub(crate) fn check(&self) -> Result<(), FrontFail> {
        let late = self.0.as_ref().is_some_and(|limited| limited.clock.now_ms() >= limited.until_ms);
        if late { Err(FrontFail::Late) } else { Ok(()) }
    }
}
