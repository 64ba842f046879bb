//! The ends of a stream that are only a matter of time: nothing has moved in either direction for too long, or it has
//! lived for as long as it may.

use std::rc::Rc;
use std::task::Context;

use super::error::Error;
use crate::clock::{Clock, Timer};
use crate::filter::policy::HttpPolicy;
use crate::observe::WorkerCounters;
use crate::observe::limits::Limit;
use crate::worker::Worker;

/// A moment that never comes.
const NEVER: u64 = u64::MAX;

/// Watches a stream. There is one only where a limit is configured.
pub(super) struct Silence {
    timer: Timer,
    clock: Rc<Clock>,
    counters: Rc<WorkerCounters>,
    allowed_ms: u64,
    /// When the stream has lived for as long as it may.
    until_ms: u64,
    /// Bytes that had moved when the timer was armed, and when that was.
    moved: Option<u64>,
    since_ms: u64,
}

impl Silence {
    /// Of a stream that began at this moment of the clock; `None`: there is no limit.
    pub(super) fn watch(worker: &Worker, http: &HttpPolicy, start_us: u64) -> Option<Box<Silence>> {
        let idle_ms = http.stream_idle_ms.or(worker.config.limits.stream_idle_timeout_ms);
        if idle_ms.is_none() && http.stream_ms.is_none() {
            return None;
        }
        Some(Silence::begin(worker, idle_ms.unwrap_or(NEVER), end_of_life(http, start_us)))
    }

    #[cold]
    fn begin(worker: &Worker, allowed_ms: u64, until_ms: u64) -> Box<Silence> {
        Box::new(Silence {
            timer: worker.clock.timer(),
            clock: worker.clock.clone(),
            counters: worker.counters.clone(),
            allowed_ms,
            until_ms,
            moved: None,
            since_ms: worker.clock.recent_ms(),
        })
    }

    /// Why it is over, if it is. `moved`: bytes in both directions so far; silence begins anew with each. `received`: the
    /// request has come to its end.
    pub(super) fn is_over(&mut self, moved: u64, received: bool, cx: &Context<'_>) -> Option<Error> {
        if self.moved.replace(moved) != Some(moved) {
            let now = self.clock.now_ms();
            self.counters.limit_seen(Limit::StreamIdleTime, now.saturating_sub(self.since_ms));
            self.since_ms = now;
            self.timer.arm(now.saturating_add(self.allowed_ms).min(self.until_ms));
        }
        self.timer.poll_fired(cx).then(|| {
            if self.clock.now_ms() >= self.until_ms {
                Error::too_long()
            } else {
                Error::stream_idle(received)
            }
        })
    }
}

/// When a stream that began then has lived for as long as it may.
pub(super) fn end_of_life(http: &HttpPolicy, start_us: u64) -> u64 {
    http.stream_ms.map_or(NEVER, |age| (start_us / 1000).saturating_add(age))
}
