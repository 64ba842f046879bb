//! Time for one worker: a coarse wheel of deadlines instead of a timer object a request.
//!
//! A [`Timer`] belongs to a task and lives as long as a connection or stream. Arming it is two stores: the deadline is
//! compared when the wheel comes to the slot, and a slot that was armed later in the meantime is put back. Only a
//! deadline earlier than the one the wheel already knows costs an insertion.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Deadlines are kept to this precision; none fires early.
const TICK_MS: u64 = 4;
const NEVER: u64 = u64::MAX;
/// By so many microseconds the system's clock may differ from ours.
const STEP_US: u64 = 20_000;

fn since_epoch_us(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_micros() as u64
}

/// A worker's clock.
pub(crate) struct Clock {
    /// What `now_us` counts from.
    base: Instant,
    /// What `now_us` said last.
    recent: Cell<u64>,
    /// Epoch time of `base` in microseconds, as the system had it then.
    began_epoch_us: u64,
    /// The same as it has it now.
    base_epoch_us: Cell<u64>,
    slots: RefCell<Vec<Rc<Slot>>>,
    free: RefCell<Vec<usize>>,
    /// tick number -> slots to look at then.
    wheel: RefCell<BTreeMap<u64, Vec<usize>>>,
    /// Wakes the driver when an earlier tick was added.
    earlier: tokio::sync::Notify,
    next: Cell<u64>,
}

struct Slot {
    deadline: Cell<u64>,
    /// The first tick in the wheel that leads to this slot, or `NEVER`.
    listed: Cell<u64>,
    /// The one behind it, if it is known: who waits for a moment and for an hour by turns is not listed anew for each hour.
    listed_next: Cell<u64>,
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Clock {
    pub(crate) fn new() -> Rc<Clock> {
        let began_epoch_us = since_epoch_us(SystemTime::now());
        Rc::new(Clock {
            base: Instant::now(),
            recent: Cell::new(0),
            began_epoch_us,
            base_epoch_us: Cell::new(began_epoch_us),
            slots: RefCell::default(),
            free: RefCell::default(),
            wheel: RefCell::default(),
            earlier: tokio::sync::Notify::new(),
            next: Cell::new(NEVER),
        })
    }

    /// Microseconds since the worker started; never goes back.
    pub(crate) fn now_us(&self) -> u64 {
        let now = self.base.elapsed().as_micros() as u64;
        self.recent.set(now);
        now
    }

    /// What [`Clock::now_us`] said last: for callers that run within the same poll as one who asked.
    pub(crate) fn recent_us(&self) -> u64 {
        self.recent.get()
    }

    /// [`Clock::recent_us`] in milliseconds.
    pub(crate) fn recent_ms(&self) -> u64 {
        self.recent_us() / 1000
    }

    /// Milliseconds since the worker started.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    /// The system says what time it is. Whoever sets its clock moves what [`Clock::epoch_us`] says, and nothing else:
    /// deadlines count from the start of the worker. Slow corrections are taken up in small steps.
    pub(crate) fn follow(&self, system: SystemTime) {
        let base = since_epoch_us(system).saturating_sub(self.now_us());
        if base.abs_diff(self.base_epoch_us.get()) >= STEP_US {
            self.base_epoch_us.set(base);
        }
    }

    /// Milliseconds of a moment of `now_us` that all workers count alike and that no clock that is set moves.
    pub(crate) fn common_ms(&self, us: u64) -> u64 {
        (self.began_epoch_us + us) / 1000
    }

    /// Milliseconds since the Unix epoch of a moment of `now_us`. For what is told to others only: the system's clock may
    /// be set, and then this moves with it.
    pub(crate) fn epoch_ms(&self, us: u64) -> u64 {
        self.epoch_us(us) / 1000
    }

    /// The same in microseconds.
    pub(crate) fn epoch_us(&self, us: u64) -> u64 {
        self.base_epoch_us.get() + us
    }

    /// A timer for the task that will poll it.
    pub(crate) fn timer(self: &Rc<Clock>) -> Timer {
        let mut slots = self.slots.borrow_mut();
        let index = match self.free.borrow_mut().pop() {
            Some(index) => index,
            None => {
                slots.push(Rc::new(Slot {
                    deadline: Cell::new(NEVER),
                    listed: Cell::new(NEVER),
                    listed_next: Cell::new(NEVER),
                    fired: Cell::new(false),
                    waker: RefCell::new(None),
                }));
                slots.len() - 1
            }
        };
        Timer { slot: slots[index].clone(), index, clock: self.clone() }
    }

    /// Sees to it that the slot is looked at in this tick or before it.
    #[inline]
    fn list(&self, index: usize, slot: &Slot, tick: u64) {
        if tick >= slot.listed.get() {
            return;
        }
        slot.listed_next.set(slot.listed.replace(tick));
        self.wheel.borrow_mut().entry(tick).or_default().push(index);
        if tick < self.next.get() {
            self.next.set(tick);
            self.earlier.notify_one();
        }
    }

    /// Wakes the tasks whose deadline has passed.
    fn turn(&self, now_ms: u64) {
        loop {
            let due = {
                let mut wheel = self.wheel.borrow_mut();
                match wheel.first_entry() {
                    Some(entry) if *entry.key() * TICK_MS <= now_ms => Some((*entry.key(), entry.remove())),
                    Some(entry) => {
                        self.next.set(*entry.key());
                        return;
                    }
                    None => {
                        self.next.set(NEVER);
                        return;
                    }
                }
            };
            let Some((tick, indices)) = due else { return };
            for index in indices {
                let Some(slot) = self.slots.borrow().get(index).cloned() else { continue };
                // A slot can be listed more than twice; those are the listings that it knows of.
                if slot.listed.get() != tick {
                    continue;
                }
                slot.listed.set(slot.listed_next.replace(NEVER));
                match slot.deadline.get() {
                    NEVER => {}
                    deadline if deadline <= now_ms => {
                        slot.deadline.set(NEVER);
                        slot.fired.set(true);
                        if let Some(waker) = slot.waker.borrow_mut().take() {
                            waker.wake();
                        }
                    }
                    deadline => self.list(index, &slot, deadline.div_ceil(TICK_MS)),
                }
            }
        }
    }

    /// Turns the wheel for as long as the worker lives; sleeps until the next listed tick.
    pub(crate) async fn drive(self: Rc<Clock>) {
        loop {
            let next = self.next.get();
            if next == NEVER {
                self.earlier.notified().await;
                continue;
            }
            let at = self.base + Duration::from_millis(next * TICK_MS);
            tokio::select! {
                biased;
                () = self.earlier.notified() => {}
                () = tokio::time::sleep_until(at.into()) => self.turn(self.now_ms()),
            }
        }
    }
}

/// One deadline of one task.
pub(crate) struct Timer {
    slot: Rc<Slot>,
    index: usize,
    clock: Rc<Clock>,
}

impl Timer {
    /// Sets the deadline, in milliseconds of [`Clock::now_ms`]; what fired before is forgotten.
    pub(crate) fn arm(&self, at_ms: u64) {
        self.slot.fired.set(false);
        self.slot.deadline.set(at_ms);
        if at_ms == NEVER {
            return;
        }
        self.clock.list(self.index, &self.slot, at_ms.div_ceil(TICK_MS));
    }

    /// Sets the deadline that far from now.
    pub(crate) fn arm_in(&self, ms: u64) {
        self.arm(self.clock.now_ms().saturating_add(ms));
    }

    /// No deadline.
    pub(crate) fn disarm(&self) {
        self.slot.fired.set(false);
        self.slot.deadline.set(NEVER);
    }

    /// No deadline, and nobody to wake: for a timer that is handed on to another task.
    pub(crate) fn release(&self) {
        self.disarm();
        self.slot.waker.borrow_mut().take();
    }

    /// Has the deadline passed? If not, the task is woken when it does.
    pub(crate) fn poll_fired(&self, cx: &Context<'_>) -> bool {
        if self.slot.fired.get() || self.slot.deadline.get() == NEVER {
            return self.slot.fired.get();
        }
        let mut waker = self.slot.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|own| own.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        false
    }

    /// Resolves when the deadline has passed.
    pub(crate) async fn expired(&self) {
        std::future::poll_fn(|cx| {
            if self.poll_fired(cx) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.release();
        self.clock.free.borrow_mut().push(self.index);
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
