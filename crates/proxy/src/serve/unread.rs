//! Whether a client takes what waits for it.

use std::task::Context;

use crate::clock::Timer;
use crate::observe::limits::Limit;
use crate::worker::Worker;

/// Nothing while nothing waits to be written.
#[derive(Default)]
pub(crate) struct Unread(Option<Waiting>);

struct Waiting {
    /// What had been written when something was written last, and when that was.
    written: u64,
    since_ms: u64,
    timer: Timer,
}

impl Unread {
    /// `written`: bytes that have been, while more wait. True: the client has taken nothing for too long.
    pub(crate) fn poll_over(&mut self, written: Option<u64>, worker: &Worker, cx: &Context<'_>) -> bool {
        let Some(written) = written else {
            if let Some(Waiting { since_ms, .. }) = self.0.take() {
                note(worker, since_ms, worker.clock.now_ms());
            }
            return false;
        };
        if self.0.as_ref().is_none_or(|waiting| waiting.written != written) {
            let now_ms = worker.clock.now_ms();
            let fresh = || Waiting { written, since_ms: now_ms, timer: worker.clock.timer() };
            let waiting = self.0.get_or_insert_with(fresh);
            note(worker, waiting.since_ms, now_ms);
            (waiting.written, waiting.since_ms) = (written, now_ms);
            waiting.timer.arm_in(worker.config.limits.stall_timeout_ms);
        }
        self.0.as_ref().is_some_and(|waiting| waiting.timer.poll_fired(cx))
    }

    /// Whether something waited when this was looked at last.
    pub(crate) fn waits(&self) -> bool {
        self.0.is_some()
    }
}

/// The client takes something again.
fn note(worker: &Worker, since_ms: u64, now_ms: u64) {
    worker.counters.limit_seen(Limit::StallTime, now_ms.saturating_sub(since_ms));
}
