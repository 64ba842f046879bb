//! What streams send, and what they give back.

use std::task::{Context, Poll};

use super::frame::{self, DATA, END_HEADERS, END_STREAM, FrameHeader, HEADER, HEADERS};
use super::{MAX_PAYLOAD, SMALL, Session, price};
use crate::h2::{H2Error, ResetReason, head};
use crate::head::{Fields, ResponseHead};

impl Session {
    /// Why a stream can no longer be used.
    pub(in crate::h2) fn stream_error(&mut self, index: u32) -> Option<H2Error> {
        if let Some((reason, remote)) = self.streams.get(index).reset {
            return Some(H2Error::Reset { reason, remote });
        }
        self.failure()
    }

    pub(in crate::h2) fn send_head(
        &mut self,
        index: u32,
        head: &ResponseHead,
        end: bool,
    ) -> Result<(), H2Error> {
        self.check_sending(index)?;
        if self.streams.get(index).answered {
            return Err(H2Error::Misuse("a second head".to_owned()));
        }
        self.send_block(index, end, |encoder, out| head::encode_response(head, encoder, out))?;
        self.earn(price::ANSWER);
        let slot = self.streams.get(index);
        slot.answered = head.status >= 200;
        if end {
            slot.sent = true;
            self.settle(index);
        }
        Ok(())
    }

    pub(in crate::h2) fn send_trailers(&mut self, index: u32, trailers: &Fields) -> Result<(), H2Error> {
        self.check_sending(index)?;
        self.send_block(index, true, |encoder, out| head::encode_trailers(trailers, encoder, out))?;
        self.streams.get(index).sent = true;
        self.settle(index);
        Ok(())
    }

    fn check_sending(&mut self, index: u32) -> Result<(), H2Error> {
        match self.stream_error(index) {
            Some(error) => Err(error),
            None if self.streams.get(index).sent => Err(H2Error::Closed),
            None => Ok(()),
        }
    }

    /// Sends a header block, in as many frames as it takes.
    fn send_block(
        &mut self,
        index: u32,
        end: bool,
        encode: impl FnOnce(&mut super::Encoder, &mut Vec<u8>) -> Result<(), H2Error>,
    ) -> Result<(), H2Error> {
        let stream = self.streams.get(index).id;
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEADER]);
        if let Err(error) = encode(&mut self.encoder, &mut self.out) {
            self.out.truncate(start);
            return Err(error);
        }
        let length = self.out.len() - start - HEADER;
        let end = if end { END_STREAM } else { 0 };
        if length <= MAX_PAYLOAD {
            let header = FrameHeader { length, kind: HEADERS, flags: end | END_HEADERS, stream };
            header.write_at(&mut self.out, start);
        } else {
            self.split_block(start, stream, end);
        }
        self.wake_driver();
        Ok(())
    }

    /// Cuts the block at the end of the output into a HEADERS frame and CONTINUATION frames.
    fn split_block(&mut self, start: usize, stream: u32, end: u8) {
        let block = self.out.split_off(start);
        let block = block.get(HEADER..).unwrap_or_default();
        let (mut kind, mut flags) = (HEADERS, end);
        let mut pieces = block.chunks(MAX_PAYLOAD).peekable();
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                flags |= END_HEADERS;
            }
            FrameHeader { length: piece.len(), kind, flags, stream }.write(&mut self.out);
            self.out.extend_from_slice(piece);
            (kind, flags) = (frame::CONTINUATION, 0);
        }
    }

    /// How many of `wanted` bytes may be sent now; at least 1, if any are wanted.
    pub(in crate::h2) fn poll_room(
        &mut self,
        index: u32,
        wanted: usize,
        cx: &Context<'_>,
    ) -> Poll<Result<usize, H2Error>> {
        if let Some(error) = self.stream_error(index) {
            return Poll::Ready(Err(error));
        }
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let slot = self.streams.get(index);
        if slot.send_window <= 0 {
            slot.watch(cx);
            self.stop_waiting(index);
            return Poll::Pending;
        }
        let of_stream = slot.send_window as usize;
        // Those who have waited longer come first.
        let first = self.waiting.front().is_none_or(|first| *first == index);
        let room = self.full().saturating_sub(self.pending().len()).min(self.send_window.max(0) as usize);
        if !first || room == 0 {
            let slot = self.streams.get(index);
            slot.watch(cx);
            if !std::mem::replace(&mut slot.waiting, true) {
                self.waiting.push_back(index);
            }
            return Poll::Pending;
        }
        self.stop_waiting(index);
        // Nobody takes all there is.
        Poll::Ready(Ok(wanted.min(room).min(of_stream).min(self.peer_payload).min(MAX_PAYLOAD)))
    }

    /// Sends data. No more than there is room for: what is beyond is an error.
    pub(in crate::h2) fn send_data(&mut self, index: u32, data: &[u8], end: bool) -> Result<(), H2Error> {
        self.check_sending(index)?;
        let slot = self.streams.get(index);
        let size = data.len() as i64;
        if size > 0 && size > slot.send_window.min(self.send_window) || data.len() > MAX_PAYLOAD {
            return Err(H2Error::Misuse("more data than there is room for".to_owned()));
        }
        slot.send_window -= size;
        slot.sent = end;
        let shut = slot.send_window <= 0 || self.send_window <= size;
        let flags = if end { END_STREAM } else { 0 };
        FrameHeader { length: data.len(), kind: DATA, flags, stream: slot.id }.write(&mut self.out);
        self.out.extend_from_slice(data);
        self.send_window -= size;
        if data.len() >= SMALL || !shut {
            self.earn(price::DATA);
        }
        self.wake_first_waiting();
        self.wake_driver();
        self.settle(index);
        Ok(())
    }

    fn stop_waiting(&mut self, index: u32) {
        if std::mem::take(&mut self.streams.get(index).waiting) {
            self.waiting.retain(|other| *other != index);
            self.wake_first_waiting();
        }
    }

    /// Wakes who is first in the queue for room, if there is any.
    pub(super) fn wake_first_waiting(&mut self) {
        if let Some(first) = self.waiting.front().copied()
            && self.send_window > 0
            && self.pending().len() < self.full()
        {
            self.streams.get(first).wake();
        }
    }

    /// Data that has come; true: some is in `into`, which is replaced. False: no more will come.
    pub(in crate::h2) fn poll_data(
        &mut self,
        index: u32,
        into: &mut Vec<u8>,
        cx: &Context<'_>,
    ) -> Poll<Result<bool, H2Error>> {
        let slot = self.streams.get(index);
        if !slot.data.is_empty() {
            into.clear();
            std::mem::swap(&mut slot.data, into);
            return Poll::Ready(Ok(true));
        }
        if slot.received && slot.reset.is_none() {
            return Poll::Ready(Ok(false));
        }
        slot.watch(cx);
        self.stream_error(index).map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    }

    pub(in crate::h2) fn take_trailers(&mut self, index: u32) -> Option<Fields> {
        self.streams.get(index).trailers.take()
    }

    /// Whether the client has given up; remembers whom to wake if it does.
    pub(in crate::h2) fn poll_reset(&mut self, index: u32, cx: &Context<'_>) -> Poll<ResetReason> {
        if let Some((reason, _)) = self.streams.get(index).reset.or(self.failure) {
            return Poll::Ready(reason);
        }
        self.streams.get(index).watch(cx);
        Poll::Pending
    }

    /// Why the peer has reset a stream, if it has.
    pub(in crate::h2) fn peer_reset(&mut self, index: u32) -> Option<ResetReason> {
        self.streams.get(index).reset.filter(|(_, by_peer)| *by_peer).map(|(reason, _)| reason)
    }

    /// `n` bytes of a stream's data are done with.
    pub(in crate::h2) fn release(&mut self, index: u32, n: usize) {
        let slot = self.streams.get(index);
        let n = n.min(slot.unreleased);
        slot.unreleased -= n;
        self.give_back(n);
        self.give_back_stream(index, n);
    }

    /// Lets the client send as much again on the connection; told to it in large steps.
    pub(super) fn give_back(&mut self, n: usize) {
        self.owed += n as u32;
        let whole = i64::from(self.limits.initial_connection_window).max(super::DEFAULT_WINDOW);
        if i64::from(self.owed) * 2 >= whole && self.failure.is_none() {
            frame::write_window_update(0, self.owed, &mut self.out);
            self.recv_window += i64::from(std::mem::take(&mut self.owed));
            self.wake_driver();
        }
    }

    pub(super) fn give_back_stream(&mut self, index: u32, n: usize) {
        let slot = self.streams.get(index);
        if slot.received || slot.reset.is_some() {
            return;
        }
        slot.owed += n as u32;
        if u64::from(slot.owed) * 2 >= u64::from(self.limits.initial_stream_window) && self.failure.is_none()
        {
            frame::write_window_update(slot.id, slot.owed, &mut self.out);
            slot.recv_window += i64::from(std::mem::take(&mut slot.owed));
            self.wake_driver();
        }
    }

    /// Ends a stream in both directions at once, unless it has ended.
    pub(in crate::h2) fn reset(&mut self, index: u32, reason: ResetReason) {
        let slot = self.streams.get(index);
        let id = slot.id;
        if slot.reset.is_some() || slot.received && slot.sent {
            return;
        }
        slot.reset = Some((reason, false));
        self.streams.close(id);
        if self.failure.is_none() {
            frame::write_reset(id, reason.0, &mut self.out);
            self.streams.remember_reset(id);
            self.wake_driver();
        }
    }

    /// Nobody is interested in the stream any more.
    pub(in crate::h2) fn drop_stream(&mut self, index: u32) {
        let slot = self.streams.get(index);
        let rest = std::mem::take(&mut slot.unreleased);
        // A whole answer makes the rest of its request unneeded (RFC 9113 8.1); anything else was broken off.
        let reason = if slot.sent { ResetReason::NO_ERROR } else { ResetReason::CANCEL };
        self.give_back(rest);
        self.reset(index, reason);
        self.stop_waiting(index);
        self.streams.free(index);
        self.wake_driver();
    }
}
