//! The streams of a connection.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use super::{DEFAULT_WINDOW, Session};
use crate::h2::ResetReason;
use crate::head::Fields;

/// Streams that we reset lately: what the client sent before it knew is not held against it.
const REMEMBERED: usize = 128;

/// One stream, from its head until its handle is dropped.
pub(super) struct Slot {
    pub(super) id: u32,
    /// Data that has come and was not taken.
    pub(super) data: Vec<u8>,
    pub(super) trailers: Option<Fields>,
    /// Bytes of its head and trailers, as they are counted.
    head: usize,
    /// Nothing more will come.
    pub(super) received: bool,
    /// What of the announced length is still to come.
    pub(super) left: Option<u64>,
    /// Bytes that may still come, bytes that have come and are not done with, and bytes that are and have not been given
    /// back.
    pub(super) recv_window: i64,
    pub(super) unreleased: usize,
    pub(super) owed: u32,
    /// Room for data.
    pub(super) send_window: i64,
    /// The head of the answer has been sent, all of the answer has.
    pub(super) answered: bool,
    pub(super) sent: bool,
    pub(super) waiting: bool,
    pub(super) reset: Option<(ResetReason, bool)>,
    waker: Option<Waker>,
}

impl Slot {
    /// Remembers whom to wake.
    pub(super) fn watch(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    fn open(&mut self, id: u32, recv_window: i64, send_window: i64) {
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        *self = Slot { id, data, recv_window, send_window, ..Slot::vacant() };
    }

    fn vacant() -> Slot {
        Slot {
            id: 0,
            data: Vec::new(),
            trailers: None,
            head: 0,
            received: false,
            left: None,
            recv_window: DEFAULT_WINDOW,
            unreleased: 0,
            owed: 0,
            send_window: DEFAULT_WINDOW,
            answered: false,
            sent: false,
            waiting: false,
            reset: None,
            waker: None,
        }
    }
}

#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Streams that are open, or closed in one direction, by id: the client's ids only grow.
    open: Vec<(u32, u32)>,
    /// The last stream that the client opened.
    last: u32,
    /// Bytes of the heads of all streams that somebody holds.
    heads: usize,
    reset: VecDeque<u32>,
}

impl Streams {
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// The client has used this id, and all below it.
    pub(super) fn see(&mut self, id: u32) {
        self.last = id;
    }

    /// Streams that have not ended.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Streams that somebody holds.
    pub(super) fn held(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, id: u32, recv_window: i64, send_window: i64) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::vacant());
            self.slots.len() as u32 - 1
        });
        self.slots[index as usize].open(id, recv_window, send_window);
        self.open.push((id, index));
        index
    }

    /// Bytes of the heads and trailers of all streams that somebody holds, as they are counted.
    pub(super) fn heads(&self) -> usize {
        self.heads
    }

    /// Counts a head or trailers for as long as somebody holds the stream.
    pub(super) fn hold(&mut self, index: u32, size: usize) {
        self.slots[index as usize].head += size;
        self.heads += size;
    }

    pub(super) fn find(&self, id: u32) -> Option<u32> {
        let at = self.open.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.open.get(at).map(|(_, index)| *index)
    }

    pub(super) fn get(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    /// The stream has ended in both directions.
    pub(super) fn close(&mut self, id: u32) {
        if let Ok(at) = self.open.binary_search_by_key(&id, |(id, _)| *id) {
            self.open.remove(at);
        }
    }

    /// Nobody holds the slot any longer.
    pub(super) fn free(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        (slot.waker, slot.trailers) = (None, None);
        self.heads -= std::mem::take(&mut slot.head);
        if slot.data.capacity() > 16 * 1024 {
            slot.data = Vec::new();
        }
        self.free.push(index);
    }

    pub(super) fn remember_reset(&mut self, id: u32) {
        if self.reset.len() == REMEMBERED {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
    }

    pub(super) fn was_reset(&self, id: u32) -> bool {
        self.reset.contains(&id)
    }

    pub(super) fn wake_all(&self) {
        self.slots.iter().for_each(Slot::wake);
    }

    /// Changes the room of every open stream; false if one gets more than a window may have.
    pub(super) fn shift_windows(&mut self, by: i64, most: i64) -> bool {
        let mut fit = true;
        for (_, index) in &self.open {
            let slot = &mut self.slots[*index as usize];
            slot.send_window += by;
            fit &= slot.send_window <= most;
            if by > 0 {
                slot.wake();
            }
        }
        fit
    }

    pub(super) fn rest(&mut self) {
        if self.held() == 0 {
            (self.slots, self.free, self.open) = (Vec::new(), Vec::new(), Vec::new());
        }
    }
}

impl Session {
    /// Ends the stream in both directions if it has ended in each.
    pub(super) fn settle(&mut self, index: u32) {
        let slot = self.streams.get(index);
        if slot.received && slot.sent {
            let id = slot.id;
            self.streams.close(id);
        }
    }
}
