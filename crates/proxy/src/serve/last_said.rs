//! A client that has closed its half of the connection and may wait for its answer.

use std::task::Context;

use crate::clock::Timer;
use crate::observe::limits::Limit;
use crate::worker::Worker;

/// Whether it does, or has gone altogether, is seen only by what is sent to it: it is taken to have gone when that is nothing
/// for too long.
pub(super) struct LastSaid {
    timer: Timer,
    /// When it was sent something last, or said its last.
    since_ms: u64,
}

impl LastSaid {
    pub(super) fn now(worker: &Worker) -> LastSaid {
        let timer = worker.clock.timer();
        timer.arm_in(worker.config.limits.half_close_timeout_ms);
        LastSaid { timer, since_ms: worker.clock.now_ms() }
    }

    /// It is sent something.
    pub(super) fn answered(&mut self, worker: &Worker) {
        let now_ms = worker.clock.now_ms();
        worker.counters.limit_seen(Limit::HalfCloseTime, now_ms.saturating_sub(self.since_ms));
        self.since_ms = now_ms;
        self.timer.arm_in(worker.config.limits.half_close_timeout_ms);
    }

    /// Is it taken to have gone?
    pub(super) fn is_over(&self, worker: &Worker, cx: &Context<'_>) -> bool {
        let over = self.timer.poll_fired(cx);
        if over {
            worker.refused_for(Limit::HalfCloseTime);
        }
        over
    }
}
