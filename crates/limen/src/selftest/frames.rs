//! HTTP/2 frames and header blocks as bytes, for what no client library would send (RFC 9113, RFC 7541).

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The type of a DATA frame.
pub const DATA: u8 = 0;
/// The type of a HEADERS frame.
pub const HEADERS: u8 = 1;
/// The type of a PRIORITY frame.
pub const PRIORITY: u8 = 2;
/// The type of a RST_STREAM frame.
pub const RESET: u8 = 3;
/// The type of a SETTINGS frame.
pub const SETTINGS: u8 = 4;
/// The type of a PING frame.
pub const PING: u8 = 6;
/// The type of a GOAWAY frame.
pub const GOAWAY: u8 = 7;
/// The type of a WINDOW_UPDATE frame.
pub const WINDOW_UPDATE: u8 = 8;
/// The type of a CONTINUATION frame.
pub const CONTINUATION: u8 = 9;
/// A type that nobody has given a meaning.
pub const UNKNOWN: u8 = 0xbe;

/// The flag of the last frame of a stream.
pub const END_STREAM: u8 = 0x1;
/// The flag of an answer to SETTINGS or PING.
pub const ACK: u8 = 0x1;
/// The flag of the last frame of a header block.
pub const END_HEADERS: u8 = 0x4;

/// The error code of a breach of the protocol (RFC 9113 section 7).
pub const PROTOCOL_ERROR: u32 = 1;
/// The error code of a stream that is not wanted any more.
pub const CANCEL: u32 = 8;
/// The error code of a peer that makes too much work.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// The most that a frame holds unless the peer allows more.
pub const MOST: usize = 16_384;

/// A whole frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Preface and empty settings.
pub fn greeting() -> Vec<u8> {
    greeting_with(&[])
}

/// Preface and settings, by their numbers.
pub fn greeting_with(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(self::settings(settings));
    bytes
}

/// A SETTINGS frame.
pub fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let pairs = settings.iter().flat_map(|(name, value)| {
        let (name, value) = (name.to_be_bytes(), value.to_be_bytes());
        name.into_iter().chain(value)
    });
    frame(SETTINGS, 0, 0, &pairs.collect::<Vec<u8>>())
}

/// A RST_STREAM frame.
pub fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RESET, 0, stream, &reason.to_be_bytes())
}

/// A WINDOW_UPDATE frame.
pub fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// A header block that is put together line by line.
#[derive(Debug, Clone, Default)]
pub struct Block(pub Vec<u8>);

impl Block {
    /// The pseudo-header fields of a GET.
    pub fn get(authority: &str, path: &str) -> Block {
        Block::request("GET", authority, path)
    }

    /// The pseudo-header fields of a request.
    pub fn request(method: &str, authority: &str, path: &str) -> Block {
        let mut block = Block::default();
        match method {
            "GET" => block.0.push(0x82),
            "POST" => block.0.push(0x83),
            other => block.literal(2, other.as_bytes()),
        }
        block.0.push(0x87);
        block.literal(4, path.as_bytes());
        block.literal(1, authority.as_bytes());
        block
    }

    /// A line, not kept in the table.
    pub fn line(mut self, name: &[u8], value: &[u8]) -> Block {
        self.0.push(0);
        self.string(name);
        self.string(value);
        self
    }

    /// A line that is kept in the table; the newest entry has index 62.
    pub fn kept(mut self, name: &[u8], value: &[u8]) -> Block {
        self.0.push(0x40);
        self.string(name);
        self.string(value);
        self
    }

    /// References to an entry of the table: a byte each, for indices below 127.
    pub fn again(mut self, index: u8, times: usize) -> Block {
        self.0.resize(self.0.len() + times, 0x80 | index);
        self
    }

    /// Lines with the name of an entry of the table (15 to 141) and an empty value: three bytes each.
    pub fn named_again(mut self, index: u8, times: usize) -> Block {
        for _ in 0..times {
            self.0.extend([0x0f, index.saturating_sub(15), 0]);
        }
        self
    }

    /// A HEADERS frame with all of it.
    pub fn head(&self, stream: u32, flags: u8) -> Vec<u8> {
        frame(HEADERS, flags | END_HEADERS, stream, &self.0)
    }

    /// A HEADERS frame and as many CONTINUATION frames as it takes.
    pub fn split(&self, stream: u32, flags: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let last = self.0.len().div_ceil(MOST).saturating_sub(1);
        for (n, piece) in self.0.chunks(MOST).enumerate() {
            let (kind, begun) = if n == 0 { (HEADERS, flags) } else { (CONTINUATION, 0) };
            let ended = if n == last { END_HEADERS } else { 0 };
            bytes.extend(frame(kind, begun | ended, stream, piece));
        }
        bytes
    }

    fn literal(&mut self, index: u8, value: &[u8]) {
        self.0.push(index);
        self.string(value);
    }

    fn string(&mut self, text: &[u8]) {
        self.integer(0, 7, text.len());
        self.0.extend(text);
    }

    /// An integer with a prefix of so many bits (RFC 7541 section 5.1).
    fn integer(&mut self, high: u8, prefix: u32, number: usize) {
        let most = (1_usize << prefix) - 1;
        if number < most {
            return self.0.push(high | number as u8);
        }
        self.0.push(high | most as u8);
        let mut rest = number - most;
        while rest >= 128 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }
}

/// The name of an error code (RFC 9113 section 7).
pub fn reason(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES.get(code as usize).copied().unwrap_or("an unknown reason")
}

/// A status, as far as it can be told without a table of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It is this one.
    Is(u16),
    /// It is none of those that have an entry of their own: 200, 204, 206, 304, 400, 404, 500.
    Rare,
}

impl Status {
    fn read(block: &[u8]) -> Status {
        const OWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        match block {
            [first @ 0x88..=0x8e, ..] => {
                OWN.get(usize::from(first - 0x88)).map_or(Status::Rare, |status| Status::Is(*status))
            }
            [0x08 | 0x18 | 0x48, 3, digits @ ..] => {
                let digits = digits.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
                digits.and_then(|digits| digits.parse().ok()).map_or(Status::Rare, Status::Is)
            }
            _ => Status::Rare,
        }
    }
}

/// What a server said, as far as it is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Heads of answers: their streams, and what the first line says.
    pub answers: Vec<(u32, Status)>,
    /// Streams that were reset, and why.
    pub resets: Vec<(u32, u32)>,
    /// Why the connection was given up.
    pub goaway: Option<u32>,
    /// Frames of other types.
    pub others: usize,
    /// Bytes of bodies.
    pub body: usize,
}

impl Heard {
    /// Streams that were answered or reset.
    pub fn done(&self) -> usize {
        self.answers.len() + self.resets.len()
    }
}

/// Reads what a server said.
pub fn heard(mut bytes: &[u8]) -> Heard {
    let mut heard = Heard::default();
    while let Some((&[a, b, c, kind, _, d, e, f, g], rest)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        bytes = rest;
        let stream = u32::from_be_bytes([d, e, f, g]);
        let word = |at: usize| payload.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word));
        match kind {
            HEADERS => heard.answers.push((stream, Status::read(payload))),
            RESET => heard.resets.push((stream, word(0).unwrap_or_default())),
            GOAWAY => heard.goaway = word(4),
            DATA => heard.body += length,
            _ => heard.others += 1,
        }
    }
    heard
}
