//! Frame headers (RFC 9113 4.1) and the frames that we send.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITISED: u8 = 0x20;

/// Bytes of a frame header.
pub(in crate::h2) const HEADER: usize = 9;
/// The longest payload that we take, and send unless the peer allows less: the smallest that the specification has.
pub(in crate::h2) const MAX_PAYLOAD: usize = 16_384;

/// A frame header.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHeader {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHeader {
    /// Reads one; `None`: more bytes are wanted.
    pub(super) fn read(input: &[u8]) -> Option<FrameHeader> {
        let [a, b, c, kind, flags, stream @ ..] = *input.first_chunk::<HEADER>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Some(FrameHeader { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn bytes(self) -> [u8; HEADER] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    /// Appends it.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    /// Writes it over the bytes at `at`.
    pub(super) fn write_at(self, out: &mut [u8], at: usize) {
        if let Some(place) = out.get_mut(at..at + HEADER) {
            place.copy_from_slice(&self.bytes());
        }
    }
}

/// Whether the beginning of a frame says that it is DATA.
pub(in crate::h2) fn is_data(input: &[u8]) -> bool {
    input.get(3) == Some(&DATA)
}

/// A 32-bit number at `at`, if the payload is long enough.
pub(super) fn number(payload: &[u8], at: usize) -> Option<u32> {
    payload.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

pub(super) fn write_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    FrameHeader { length: settings.len() * 6, kind: SETTINGS, flags: 0, stream: 0 }.write(out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn write_settings_ack(out: &mut Vec<u8>) {
    FrameHeader { length: 0, kind: SETTINGS, flags: ACK, stream: 0 }.write(out);
}

pub(super) fn write_ping(flags: u8, payload: [u8; 8], out: &mut Vec<u8>) {
    FrameHeader { length: 8, kind: PING, flags, stream: 0 }.write(out);
    out.extend_from_slice(&payload);
}

pub(super) fn write_reset(stream: u32, reason: u32, out: &mut Vec<u8>) {
    FrameHeader { length: 4, kind: RST_STREAM, flags: 0, stream }.write(out);
    out.extend_from_slice(&reason.to_be_bytes());
}

pub(super) fn write_window_update(stream: u32, increment: u32, out: &mut Vec<u8>) {
    FrameHeader { length: 4, kind: WINDOW_UPDATE, flags: 0, stream }.write(out);
    out.extend_from_slice(&increment.to_be_bytes());
}

pub(super) fn write_goaway(last: u32, reason: u32, out: &mut Vec<u8>) {
    FrameHeader { length: 8, kind: GOAWAY, flags: 0, stream: 0 }.write(out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&reason.to_be_bytes());
}
