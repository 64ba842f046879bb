//! Frames from the client.

use super::frame::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, FrameHeader, GOAWAY, HEADER, HEADERS, MAX_PAYLOAD,
    PADDED, PING, PRIORITISED, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::{Going, MAX_WINDOW, SMALL, Session, Work, price};
use crate::h1::HeadError;
use crate::h2::ResetReason;
use crate::h2::head::{Flaw, HeadBuilder};
use crate::head::{BodyLength, Fields, RequestHead};
use crate::trailers::may_trail;

/// A head of which CONTINUATION frames are still to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenBlock {
    stream: u32,
    ended: bool,
    /// The stream depends on itself (RFC 9113 5.3.1).
    absurd: bool,
}

/// A request whose head is complete.
pub(in crate::h2) struct Arrived {
    pub(in crate::h2) index: u32,
    /// Whether it is to be served, or which error it is to be answered with.
    pub(in crate::h2) verdict: Result<(), HeadError>,
}

impl Session {
    /// The stream whose head is still to be completed by CONTINUATION frames.
    pub(in crate::h2) fn open_head(&self) -> Option<u32> {
        self.open.map(|open| open.stream)
    }

    /// Understands frames up to the next request; how many bytes they took, and the request, whose head is then in
    /// `head`.
    pub(in crate::h2) fn receive(
        &mut self,
        input: &[u8],
        head: &mut RequestHead,
    ) -> (usize, Option<Arrived>) {
        let mut used = 0;
        // What stands behind the end is nobody's, whether it has come yet or not.
        while self.failure.is_none() && !self.is_done() {
            let rest = input.get(used..).unwrap_or_default();
            let Some(header) = FrameHeader::read(rest) else { break };
            if header.length > MAX_PAYLOAD {
                self.fail(ResetReason::FRAME_SIZE_ERROR);
                break;
            }
            let Some(payload) = rest.get(HEADER..HEADER + header.length) else { break };
            used += HEADER + header.length;
            if let Some(arrived) = self.receive_frame(header, payload, head) {
                return (used, Some(arrived));
            }
        }
        (used, None)
    }

    fn receive_frame(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        head: &mut RequestHead,
    ) -> Option<Arrived> {
        let out_of_order = match self.open {
            // Nothing may stand between the pieces of a head (RFC 9113 6.10).
            Some(open) => header.kind != CONTINUATION || header.stream != open.stream,
            None => header.kind == CONTINUATION,
        };
        let greeting = header.kind == SETTINGS && !header.has(frame::ACK);
        if out_of_order || !(self.greeted || greeting) {
            self.fail(ResetReason::PROTOCOL_ERROR);
            return None;
        }
        self.greeted = true;
        match header.kind {
            DATA => self.receive_data(header, payload),
            HEADERS => return self.receive_headers(header, payload, head),
            CONTINUATION => return self.receive_continuation(header, payload, head),
            PRIORITY => self.receive_priority(header, payload),
            RST_STREAM => self.receive_reset(header, payload),
            SETTINGS => self.receive_settings(header, payload),
            PUSH_PROMISE => self.fail(ResetReason::PROTOCOL_ERROR),
            PING => self.receive_ping(header, payload),
            GOAWAY => self.receive_goaway(header, payload),
            WINDOW_UPDATE => self.receive_window_update(header, payload),
            // Frames of unknown types are ignored (RFC 9113 4.1).
            _ => self.charge(Work::Unknown),
        }
        None
    }

    fn receive_headers(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        head: &mut RequestHead,
    ) -> Option<Arrived> {
        let Some(mut fragment) = unpadded(header, payload) else {
            self.fail(ResetReason::PROTOCOL_ERROR);
            return None;
        };
        let mut absurd = false;
        if header.has(PRIORITISED) {
            let (Some(dependency), Some(rest)) = (frame::number(fragment, 0), fragment.get(5..)) else {
                self.fail(ResetReason::FRAME_SIZE_ERROR);
                return None;
            };
            absurd = dependency & MAX_WINDOW as u32 == header.stream;
            fragment = rest;
        }
        if header.stream.is_multiple_of(2) {
            self.fail(ResetReason::PROTOCOL_ERROR);
            return None;
        }
        let open = OpenBlock { stream: header.stream, ended: header.has(END_STREAM), absurd };
        if header.has(END_HEADERS) {
            return self.receive_block(open, fragment, head);
        }
        self.block.clear();
        self.block.extend_from_slice(fragment);
        self.open = Some(open);
        None
    }

    fn receive_continuation(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        head: &mut RequestHead,
    ) -> Option<Arrived> {
        self.charge(if payload.len() < MAX_PAYLOAD / 16 { Work::SmallFragment } else { Work::Fragment });
        if self.failure.is_some() {
            // The farewell does not name this stream: the client may send its request again elsewhere.
            return None;
        }
        // A head is answered 431 when it is too large, but that needs all of it, and there is an end to patience.
        if self.block.len() + payload.len() > self.limits.most_decoded() {
            self.end_for_block();
            return None;
        }
        self.block.extend_from_slice(payload);
        if !header.has(END_HEADERS) {
            return None;
        }
        let open = self.open.take()?;
        let block = std::mem::take(&mut self.block);
        let arrived = self.receive_block(open, &block, head);
        self.block = block;
        if self.block.capacity() > MAX_PAYLOAD {
            self.block = Vec::new();
        }
        arrived
    }

    /// A whole header block: of a request, of trailers, or of something that is not served but keeps the tables of both
    /// sides equal.
    fn receive_block(&mut self, open: OpenBlock, block: &[u8], head: &mut RequestHead) -> Option<Arrived> {
        if let Some(index) = self.streams.find(open.stream) {
            self.receive_trailers(index, open, block);
            return None;
        }
        let mut builder = HeadBuilder::new(head, &self.limits, &mut self.cookie);
        let most = self.limits.most_decoded();
        match self.decoder.decode(block, most, |line| builder.line(line)) {
            Ok(true) => {}
            Ok(false) => {
                self.end_for_block();
                return None;
            }
            Err(_) => {
                self.fail(ResetReason::COMPRESSION_ERROR);
                return None;
            }
        }
        let size = builder.size();
        let verdict = builder.finish(open.ended);
        if open.stream <= self.streams.last() {
            if self.streams.was_reset(open.stream) {
                self.charge(Work::Late);
            } else {
                self.fail(ResetReason::STREAM_CLOSED);
            }
            return None;
        }
        if self.going == Going::Final {
            // The client has been told that this one is not served.
            self.charge(Work::Late);
            return None;
        }
        self.streams.see(open.stream);
        // Small references become large heads, which last as long as their requests.
        let full = self.streams.heads() + size > self.limits.most_heads();
        if full || self.streams.open() >= self.limits.max_concurrent_streams as usize {
            self.tally.count(|tally| &mut tally.streams_refused);
            self.refuse(open.stream, ResetReason::REFUSED_STREAM);
            return None;
        }
        let verdict = match verdict {
            Err(Flaw::Malformed) => {
                self.refuse(open.stream, ResetReason::PROTOCOL_ERROR);
                return None;
            }
            _ if open.absurd => {
                self.refuse(open.stream, ResetReason::PROTOCOL_ERROR);
                return None;
            }
            Err(Flaw::Refused(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        let recv_window = i64::from(self.limits.initial_stream_window);
        let index = self.streams.insert(open.stream, recv_window, self.peer_window);
        self.streams.hold(index, size);
        self.tally.raise(|tally| &mut tally.streams, self.streams.open() as u32);
        let slot = self.streams.get(index);
        slot.received = open.ended;
        slot.left = match head.body {
            BodyLength::Known(length) => Some(length),
            BodyLength::None if !open.ended => Some(0),
            _ => None,
        };
        Some(Arrived { index, verdict })
    }

    /// Resets a stream that never was.
    fn refuse(&mut self, id: u32, reason: ResetReason) {
        frame::write_reset(id, reason.0, &mut self.out);
        self.streams.remember_reset(id);
        self.charge(Work::Broken);
    }

    /// The end for a header block that is too large to be read to its end.
    fn end_for_block(&mut self) {
        self.tally.count(|tally| &mut tally.blocks_refused.0);
        self.fail(ResetReason::ENHANCE_YOUR_CALM);
    }

    fn receive_trailers(&mut self, index: u32, open: OpenBlock, block: &[u8]) {
        let mut fields = Fields::default();
        let (mut sound, mut size, mut count) = (open.ended && !open.absurd, 0, 0);
        let (most, most_fields) = (self.limits.max_header_list as usize, self.limits.max_fields);
        let decoded = self.decoder.decode(block, self.limits.most_decoded(), |line| {
            size += line.name.len() + line.value.len() + 32;
            count += 1;
            sound &= line.sound && line.name.first() != Some(&b':') && size <= most && count <= most_fields;
            if sound && may_trail(line.known, line.name) {
                fields.add_known(line.known, line.name, line.value);
            }
        });
        match decoded {
            Ok(true) => {}
            Ok(false) => return self.end_for_block(),
            Err(_) => return self.fail(ResetReason::COMPRESSION_ERROR),
        }
        let full = self.streams.heads() + size > self.limits.most_heads();
        if size > most {
            self.tally.count(|tally| &mut tally.blocks_refused.0);
        } else if count > most_fields {
            self.tally.count(|tally| &mut tally.blocks_refused.1);
        }
        let slot = self.streams.get(index);
        if slot.received {
            return self.give_up(index, ResetReason::STREAM_CLOSED);
        }
        if full {
            return self.give_up(index, ResetReason::ENHANCE_YOUR_CALM);
        }
        if !sound || slot.left.is_some_and(|left| left > 0) {
            return self.give_up(index, ResetReason::PROTOCOL_ERROR);
        }
        slot.trailers = Some(fields);
        slot.received = true;
        slot.wake();
        self.streams.hold(index, size);
        self.settle(index);
    }

    fn receive_data(&mut self, header: FrameHeader, payload: &[u8]) {
        let size = header.length as i64;
        if header.stream == 0 || size > 0 && size > self.recv_window {
            let reason = if header.stream == 0 {
                ResetReason::PROTOCOL_ERROR
            } else {
                ResetReason::FLOW_CONTROL_ERROR
            };
            return self.fail(reason);
        }
        let Some(data) = unpadded(header, payload) else {
            return self.fail(ResetReason::PROTOCOL_ERROR);
        };
        self.recv_window -= size;
        let Some(index) = self.streams.find(header.stream) else {
            self.give_back(header.length);
            return self.receive_late(header.stream);
        };
        let ended = header.has(END_STREAM);
        let slot = self.streams.get(index);
        let flaw = if slot.received {
            Some(ResetReason::STREAM_CLOSED)
        } else if size > slot.recv_window {
            Some(ResetReason::FLOW_CONTROL_ERROR)
        } else {
            let left = slot.left.map(|left| left.checked_sub(data.len() as u64));
            match left {
                // More than the head announced, or less (RFC 9113 8.1.1).
                Some(None) => Some(ResetReason::PROTOCOL_ERROR),
                Some(Some(left)) if ended && left > 0 => Some(ResetReason::PROTOCOL_ERROR),
                _ => {
                    slot.left = left.flatten();
                    None
                }
            }
        };
        if let Some(reason) = flaw {
            self.give_back(header.length);
            return self.give_up(index, reason);
        }
        slot.recv_window -= size;
        slot.data.extend_from_slice(data);
        slot.unreleased += data.len();
        slot.received = ended;
        slot.wake();
        let ahead = i64::from(self.limits.initial_stream_window) - slot.recv_window - i64::from(slot.owed);
        self.tally.raise(|tally| &mut tally.ahead_on_stream, u32::try_from(ahead).unwrap_or_default());
        let whole = i64::from(self.limits.initial_connection_window).max(super::DEFAULT_WINDOW);
        let ahead = whole - self.recv_window - i64::from(self.owed);
        self.tally.raise(|tally| &mut tally.ahead, u32::try_from(ahead).unwrap_or_default());
        let padding = header.length - data.len();
        if padding > 0 {
            self.give_back(padding);
            self.give_back_stream(index, padding);
        }
        if data.is_empty() && !ended {
            self.charge(Work::EmptyData);
        } else if data.len() >= SMALL {
            self.earn(price::DATA);
        }
        self.settle(index);
    }

    /// A frame on a stream that is not open.
    fn receive_late(&mut self, id: u32) {
        if id == 0 || id.is_multiple_of(2) || id > self.streams.last() {
            if self.going == Going::Final && id % 2 == 1 {
                return self.charge(Work::Late);
            }
            return self.fail(ResetReason::PROTOCOL_ERROR);
        }
        if !self.streams.was_reset(id) {
            frame::write_reset(id, ResetReason::STREAM_CLOSED.0, &mut self.out);
            self.streams.remember_reset(id);
        }
        self.charge(Work::Late);
    }

    fn receive_priority(&mut self, header: FrameHeader, payload: &[u8]) {
        let Some(dependency) = frame::number(payload, 0).filter(|_| payload.len() == 5) else {
            return self.flaw(header.stream, ResetReason::FRAME_SIZE_ERROR);
        };
        if header.stream == 0 {
            self.fail(ResetReason::PROTOCOL_ERROR);
        } else if dependency & MAX_WINDOW as u32 == header.stream {
            self.flaw(header.stream, ResetReason::PROTOCOL_ERROR);
        } else {
            self.charge(Work::Priority);
        }
    }

    /// A stream error on a stream in whichever state.
    fn flaw(&mut self, id: u32, reason: ResetReason) {
        match self.streams.find(id) {
            Some(index) => self.give_up(index, reason),
            // A stream that was never opened cannot be reset (RFC 9113 6.4).
            None if id > self.streams.last() || id.is_multiple_of(2) => self.fail(reason),
            None => self.refuse(id, reason),
        }
    }

    fn receive_reset(&mut self, header: FrameHeader, payload: &[u8]) {
        if header.length != 4 {
            return self.fail(ResetReason::FRAME_SIZE_ERROR);
        }
        let Some(index) = self.streams.find(header.stream) else {
            if header.stream == 0 || header.stream > self.streams.last() && self.going != Going::Final {
                return self.fail(ResetReason::PROTOCOL_ERROR);
            }
            return self.charge(Work::Late);
        };
        let reason = ResetReason(frame::number(payload, 0).unwrap_or_default());
        let slot = self.streams.get(index);
        let wasted = !slot.answered;
        slot.reset = Some((reason, true));
        slot.wake();
        self.streams.close(header.stream);
        if wasted {
            self.charge(Work::GivenUp);
        }
    }

    fn receive_window_update(&mut self, header: FrameHeader, payload: &[u8]) {
        let Some(increment) = frame::number(payload, 0).filter(|_| payload.len() == 4) else {
            return self.fail(ResetReason::FRAME_SIZE_ERROR);
        };
        let increment = i64::from(increment) & MAX_WINDOW;
        self.charge(Work::WindowUpdate);
        if header.stream == 0 {
            self.send_window += increment;
            match (increment, self.send_window > MAX_WINDOW) {
                (0, _) => self.fail(ResetReason::PROTOCOL_ERROR),
                (_, true) => self.fail(ResetReason::FLOW_CONTROL_ERROR),
                _ => self.wake_first_waiting(),
            }
            return;
        }
        let Some(index) = self.streams.find(header.stream) else {
            if header.stream > self.streams.last() && self.going != Going::Final {
                self.fail(ResetReason::PROTOCOL_ERROR);
            }
            return;
        };
        let slot = self.streams.get(index);
        slot.send_window += increment;
        match (increment, slot.send_window > MAX_WINDOW) {
            (0, _) => self.give_up(index, ResetReason::PROTOCOL_ERROR),
            (_, true) => self.give_up(index, ResetReason::FLOW_CONTROL_ERROR),
            _ => slot.wake(),
        }
    }

    /// Resets a stream because of what the client did on it.
    fn give_up(&mut self, index: u32, reason: ResetReason) {
        self.reset(index, reason);
        self.streams.get(index).wake();
        self.charge(Work::Broken);
    }
}

/// A payload without its padding; `None` if there is more padding than payload (RFC 9113 6.1).
fn unpadded(header: FrameHeader, payload: &[u8]) -> Option<&[u8]> {
    if !header.has(PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}
