//! Settings, pings and farewells.

use super::frame::{self, ACK, FrameHeader};
use super::{DEFAULT_WINDOW, Going, MAX_WINDOW, Session, Work};
use crate::h2::ResetReason;

/// The names of settings (RFC 9113 6.5.2, RFC 8441 3).
const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// So many settings cost as much as a hint.
const SETTINGS_FOR_A_HINT: usize = 4;

/// What the ping says that finds out whether the client has heard that no more streams are taken.
const FAREWELL: [u8; 8] = *b"farewell";

impl Session {
    /// Our settings, and the whole of the connection's window.
    pub(super) fn greet(&mut self) {
        let limits = &self.limits;
        let settings = [
            (MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams),
            (INITIAL_WINDOW_SIZE, limits.initial_stream_window),
            (MAX_HEADER_LIST_SIZE, limits.max_header_list),
            (ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let settings = settings.get(..3 + usize::from(limits.extended_connect)).unwrap_or_default();
        frame::write_settings(settings, &mut self.out);
        if self.recv_window > DEFAULT_WINDOW {
            frame::write_window_update(0, (self.recv_window - DEFAULT_WINDOW) as u32, &mut self.out);
        }
    }

    pub(super) fn receive_settings(&mut self, header: FrameHeader, payload: &[u8]) {
        if header.stream != 0 {
            return self.fail(ResetReason::PROTOCOL_ERROR);
        }
        if header.has(ACK) {
            if !payload.is_empty() {
                return self.fail(ResetReason::FRAME_SIZE_ERROR);
            }
            return self.charge(Work::Settings);
        }
        if !payload.len().is_multiple_of(6) {
            return self.fail(ResetReason::FRAME_SIZE_ERROR);
        }
        for setting in payload.chunks_exact(6) {
            let Ok([a, b, value @ ..]) = <[u8; 6]>::try_from(setting) else { continue };
            let (name, value) = (u16::from_be_bytes([a, b]), u32::from_be_bytes(value));
            if let Err(reason) = self.receive_setting(name, value) {
                return self.fail(reason);
            }
        }
        frame::write_settings_ack(&mut self.out);
        // There are some six settings; each of many may touch every stream.
        let more = (payload.len() / 6 / SETTINGS_FOR_A_HINT) as i32;
        self.charge_more(Work::Settings, more);
    }

    fn receive_setting(&mut self, name: u16, value: u32) -> Result<(), ResetReason> {
        match name {
            HEADER_TABLE_SIZE => self.encoder.set_max(value as usize),
            ENABLE_PUSH if value > 1 => return Err(ResetReason::PROTOCOL_ERROR),
            ENABLE_CONNECT_PROTOCOL if value > 1 => return Err(ResetReason::PROTOCOL_ERROR),
            INITIAL_WINDOW_SIZE => {
                let window = i64::from(value);
                let by = window - self.peer_window;
                if window > MAX_WINDOW || !self.streams.shift_windows(by, MAX_WINDOW) {
                    return Err(ResetReason::FLOW_CONTROL_ERROR);
                }
                self.peer_window = window;
                self.wake_first_waiting();
            }
            MAX_FRAME_SIZE => {
                if !(16_384..=16_777_215).contains(&value) {
                    return Err(ResetReason::PROTOCOL_ERROR);
                }
                self.peer_payload = value as usize;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn receive_ping(&mut self, header: FrameHeader, payload: &[u8]) {
        if header.stream != 0 {
            return self.fail(ResetReason::PROTOCOL_ERROR);
        }
        let Ok(payload) = payload.try_into() else { return self.fail(ResetReason::FRAME_SIZE_ERROR) };
        if header.has(ACK) {
            if payload == FAREWELL {
                self.say_last();
            }
            return self.charge(Work::Ping);
        }
        frame::write_ping(ACK, payload, &mut self.out);
        self.charge(Work::Ping);
    }

    /// Tells the client to open no more streams. Those that it opens before it can have heard are still served
    /// (RFC 9113 6.8).
    pub(in crate::h2) fn say_goodbye(&mut self) {
        if self.going == Going::No && self.failure.is_none() {
            self.going = Going::Announced;
            frame::write_goaway(MAX_WINDOW as u32, ResetReason::NO_ERROR.0, &mut self.out);
            frame::write_ping(0, FAREWELL, &mut self.out);
        }
    }

    /// Tells the client which of its streams was the last, if it was told to go and not this yet.
    pub(in crate::h2) fn say_last(&mut self) {
        if self.going == Going::Announced && self.failure.is_none() {
            self.going = Going::Final;
            frame::write_goaway(self.streams.last(), ResetReason::NO_ERROR.0, &mut self.out);
        }
    }

    pub(super) fn receive_goaway(&mut self, header: FrameHeader, payload: &[u8]) {
        // The client goes on with the streams that it has, and closes.
        if header.stream != 0 {
            self.fail(ResetReason::PROTOCOL_ERROR);
        } else if payload.len() < 8 {
            self.fail(ResetReason::FRAME_SIZE_ERROR);
        } else {
            self.charge(Work::Goaway);
        }
    }
}
