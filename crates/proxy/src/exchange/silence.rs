//! The idle timeout of a stream: nothing has moved in either direction for too long.

use std::rc::Rc;
use std::task::Context;

use crate::clock::{Clock, Timer};

/// Watches a stream. There is one only where a timeout is configured.
pub(super) struct Silence {
    timer: Timer,
    allowed_ms: u64,
    /// Bytes that had moved when the timer was armed.
    moved: Option<u64>,
}

impl Silence {
    /// `None`: there is no timeout.
    pub(super) fn watch(clock: &Rc<Clock>, allowed_ms: Option<u64>) -> Option<Silence> {
        allowed_ms.map(|allowed_ms| Silence { timer: clock.timer(), allowed_ms, moved: None })
    }

    /// Whether it has lasted too long. `moved`: bytes in both directions so far; the time begins anew with each.
    pub(super) fn is_over(&mut self, moved: u64, cx: &Context<'_>) -> bool {
        if self.moved.replace(moved) != Some(moved) {
            self.timer.arm_in(self.allowed_ms);
        }
        self.timer.poll_fired(cx)
    }
}
