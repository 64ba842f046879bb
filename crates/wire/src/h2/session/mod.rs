//! The state of one connection: bytes in, requests and bytes out. No socket, no clock, no task.
//!
//! Everything that a peer can make us do costs it credit, and everything useful that is done for it earns some: a peer
//! that only makes work runs out and is sent away (ENHANCE_YOUR_CALM). What is waiting to be written is bounded too: a
//! stream gets room for data only while little waits, and nothing is read while much does.

mod frame;
mod receive;
mod send;
mod settings;
mod streams;
#[cfg(test)]
mod tests;
mod work;

use std::collections::VecDeque;
use std::task::Waker;

use super::hpack::{Decoder, Encoder};
use super::{H2Error, Limits, ResetReason};
use streams::Streams;

pub use work::{Tally, Work};

pub(super) use frame::{HEADER, MAX_PAYLOAD, is_data};

/// Both windows until settings and updates say otherwise (RFC 9113 6.9.2).
const DEFAULT_WINDOW: i64 = 65_535;
/// The largest a window may become.
const MAX_WINDOW: i64 = 0x7fff_ffff;
/// Less data than this in a frame earns nothing if a client could be the reason: it would pay with a byte for work.
const SMALL: usize = 256;

/// What things earn; what they cost is in [`Work`].
mod price {
    /// Earned: a frame of data, either way, unless it is small and comes from the client, or its window made it small.
    /// More than the updates of both windows and the ping that measures the way, which clients send for each.
    pub(super) const DATA: i32 = 4;
    /// Earned: the head of an answer.
    pub(super) const ANSWER: i32 = 4;
}

/// How far the end of the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    No,
    /// Told to open no more streams; those that are on their way are still taken until the client has heard of it.
    Announced,
    /// No stream later than the last that was taken is served.
    Final,
}

pub(super) struct Session {
    limits: Limits,
    decoder: Decoder,
    encoder: Encoder,
    /// Frames to be written; those before `written` have been.
    out: Vec<u8>,
    written: usize,
    /// The most that `out` held since time passed last.
    most_out: usize,
    /// More waited to be written than may when this was looked at last.
    choked: bool,
    streams: Streams,
    /// What the client's settings allow.
    peer_window: i64,
    peer_payload: usize,
    /// Room for data on the connection, out and in.
    send_window: i64,
    recv_window: i64,
    /// Received, done with, and not yet given back.
    owed: u32,
    /// Streams that wait for room for data, first come first served.
    waiting: VecDeque<u32>,
    /// A head whose CONTINUATION is still to come.
    open: Option<receive::OpenBlock>,
    block: Vec<u8>,
    cookie: Vec<u8>,
    /// The client's first frame, its settings, has come.
    greeted: bool,
    going: Going,
    tally: work::Kept,
    failure: Option<(ResetReason, bool)>,
    credit: i32,
    /// The task that reads and writes, to be woken when a stream has something to say, unless it has been.
    pub(super) driver: Option<Waker>,
}

impl Session {
    pub(super) fn new(limits: &Limits) -> Session {
        let mut session = Session {
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            out: Vec::new(),
            written: 0,
            most_out: 0,
            choked: false,
            streams: Streams::default(),
            peer_window: DEFAULT_WINDOW,
            peer_payload: MAX_PAYLOAD,
            send_window: DEFAULT_WINDOW,
            recv_window: i64::from(limits.initial_connection_window).max(DEFAULT_WINDOW),
            owed: 0,
            waiting: VecDeque::new(),
            open: None,
            block: Vec::new(),
            cookie: Vec::new(),
            greeted: false,
            going: Going::No,
            tally: work::Kept::default(),
            failure: None,
            credit: credit(limits),
            driver: None,
            limits: *limits,
        };
        session.greet();
        session
    }

    /// Bytes to be written.
    pub(super) fn pending(&self) -> &[u8] {
        self.out.get(self.written..).unwrap_or_default()
    }

    /// `n` of them have been.
    pub(super) fn wrote(&mut self, n: usize) {
        self.most_out = self.most_out.max(self.out.len());
        self.written += n;
        if self.written >= self.out.len() {
            self.out.clear();
            self.written = 0;
        } else if self.written >= self.full().max(self.pending().len()) {
            // A client that is slower than its origins never takes all of it. No more is moved than was written since.
            self.out.drain(..self.written);
            self.written = 0;
        }
        if self.pending().len() < self.full() {
            self.wake_first_waiting();
        }
    }

    /// What the connection has come to since this was asked last, if that has changed.
    pub(super) fn tally(&mut self) -> Option<Tally> {
        self.tally.take()
    }

    /// A stream gets no room for data while this much waits to be written.
    fn full(&self) -> usize {
        self.limits.max_unwritten / 4
    }

    /// Nothing is read while more than this waits to be written.
    pub(super) fn most_unwritten(&self) -> usize {
        self.limits.max_unwritten
    }

    /// Nothing is read while so much waits to be written: the answers to what would be read could only add to it.
    pub(super) fn is_choked(&mut self) -> bool {
        let waits = self.pending().len();
        self.tally.raise(|tally| &mut tally.unwritten, waits);
        let choked = waits > self.most_unwritten();
        if choked && !std::mem::replace(&mut self.choked, choked) {
            self.tally.count(|tally| &mut tally.choked);
        }
        self.choked = choked;
        choked
    }

    /// Gives up memory that only busy connections need. Call when no stream is open; the beginning of a head is kept.
    pub(super) fn rest(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        if self.open.is_none() {
            self.block = Vec::new();
        }
        self.cookie = Vec::new();
        self.streams.rest();
    }

    /// So many seconds have passed.
    pub(super) fn pass_time(&mut self, seconds: u32) {
        self.earn_time(seconds);
        // One that is never at rest would keep what its worst moment took for as long as it lives.
        let needed = std::mem::take(&mut self.most_out).max(MAX_PAYLOAD);
        if self.out.is_empty() && self.out.capacity() > 2 * needed {
            self.out.shrink_to(needed);
        }
    }

    fn earn_time(&mut self, seconds: u32) {
        // A connection that does nothing else has all of it again after 40.
        let each = (credit(&self.limits) / 40).max(1);
        self.earn(each.saturating_mul(seconds.min(60) as i32));
    }

    fn earn(&mut self, earned: i32) {
        self.credit = self.credit.saturating_add(earned).min(credit(&self.limits));
    }

    /// Takes credit; the connection ends when there is none left.
    fn charge(&mut self, work: Work) {
        self.charge_more(work, 0);
    }

    /// The same for work that costs so much more than its kind does.
    fn charge_more(&mut self, work: Work, more: i32) {
        self.credit = self.credit.saturating_sub(work.price() + more);
        let spent = credit(&self.limits) - self.credit;
        self.tally.raise(|tally| &mut tally.spent, u32::try_from(spent).unwrap_or_default());
        if self.credit < 0 && self.failure.is_none() {
            self.tally.send_away(work);
            self.fail(ResetReason::ENHANCE_YOUR_CALM);
        }
    }

    /// Ends the connection by our decision.
    pub(super) fn fail(&mut self, reason: ResetReason) {
        if self.failure.is_some() {
            return;
        }
        frame::write_goaway(self.streams.last(), reason.0, &mut self.out);
        self.end(reason, false);
    }

    /// The connection is over: every stream learns of it.
    pub(super) fn end(&mut self, reason: ResetReason, remote: bool) {
        self.failure.get_or_insert((reason, remote));
        self.streams.wake_all();
        self.wake_driver();
    }

    /// Why the connection ended.
    pub(super) fn failure(&self) -> Option<H2Error> {
        self.failure.map(|(reason, remote)| H2Error::GoAway { reason, remote })
    }

    /// No more requests are taken, and those that were have been answered.
    pub(super) fn is_done(&self) -> bool {
        self.going == Going::Final && !self.has_streams()
    }

    pub(super) fn has_streams(&self) -> bool {
        self.streams.held() > 0
    }

    /// Wakes whoever reads and writes, if it has not been woken since it last looked.
    fn wake_driver(&mut self) {
        if let Some(waker) = self.driver.take() {
            waker.wake();
        }
    }
}

/// The credit of a new connection, and the most that it can save up.
fn credit(limits: &Limits) -> i32 {
    i32::try_from(limits.credit).unwrap_or(i32::MAX)
}
