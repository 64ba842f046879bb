//! Clients that begin much, go on with nothing, and hold what they were given.

use std::thread;
use std::time::Duration;

use super::frames::{self, Block, END_STREAM};
use super::line::Line;
use super::{Class, Did, MIB, Played, Target};

/// How long they hold it, while others must be served.
const HELD: Duration = Duration::from_millis(1_500);
/// What is not taken within this time is not taken.
const QUIET: Duration = Duration::from_millis(200);

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "slow-heads",
        sends: "200 connections of HTTP/1 that stop after 30 KiB of a head, and 50 of HTTP/2 that stop after 200 KiB",
        cpu: Duration::from_secs(4),
        memory: 64 * MIB,
        play: slow_heads,
    },
    Class {
        name: "slow-bodies",
        sends: "200 connections of HTTP/1 and 20 of HTTP/2 with 90 requests each, which stop after a byte of a body",
        cpu: Duration::from_secs(8),
        memory: 96 * MIB,
        play: slow_bodies,
    },
    Class {
        name: "unread-answers",
        sends: "100 connections of HTTP/1 with 200 requests each and 20 of HTTP/2 with 90, whose answers nobody reads",
        cpu: Duration::from_secs(8),
        memory: 96 * MIB,
        play: unread_answers,
    },
    Class {
        name: "unread-pings",
        sends: "20 connections of 3 000 requests for nothing and PINGs, whose answers nobody reads",
        cpu: Duration::from_secs(4),
        memory: 16 * MIB,
        play: unread_pings,
    },
    Class {
        name: "slow-handshakes",
        sends: "400 sockets that say the first bytes of a hello, or of HTTP/2, or nothing",
        cpu: Duration::from_secs(2),
        memory: 16 * MIB,
        play: slow_handshakes,
    },
];

/// Connections that say the same.
#[derive(Default)]
struct Held {
    lines: Vec<Line>,
    /// Bytes that were taken.
    taken: usize,
}

impl Held {
    fn begin(target: &Target, alpn: &str, times: usize, bytes: &[u8]) -> Result<Held, String> {
        let mut held = Held::default();
        for _ in 0..times {
            let mut line = Line::connect(target, alpn).map_err(|error| format!("cannot connect: {error}"))?;
            held.taken += line.shout(bytes, QUIET);
            held.lines.push(line);
        }
        Ok(held)
    }

    /// How many of them are as they were. A gateway may end them: it need not hold what nobody goes on with.
    fn are(&self, so: fn(&Line) -> bool) -> String {
        format!("{} of {}", self.lines.iter().filter(|line| so(line)).count(), self.lines.len())
    }
}

/// Holds both while others ask.
fn held(h1: &Held, h2: &Held) -> Played {
    thread::sleep(HELD);
    let what = format!(
        "held {} connections of HTTP/1 and {} of HTTP/2, took {} and {} bytes, and served others",
        h1.are(Line::stands),
        h2.are(Line::stands),
        h1.taken,
        h2.taken
    );
    Ok(Did { what, wrong: Vec::new() })
}

fn slow_heads(target: &Target) -> Played {
    let head = format!("GET / HTTP/1.1\r\nhost: {}\r\nx-long: {}", target.host, "v".repeat(30 * 1024));
    let h1 = Held::begin(target, "http/1.1", 200, head.as_bytes())?;
    let mut bytes = frames::greeting();
    bytes.extend(frames::frame(frames::HEADERS, END_STREAM, 1, &Block::get(&target.host, &target.path).0));
    bytes.extend(frames::frame(frames::CONTINUATION, 0, 1, &[0; frames::MOST]).repeat(12));
    held(&h1, &Held::begin(target, "h2", 50, &bytes)?)
}

fn slow_bodies(target: &Target) -> Played {
    let (host, path) = (&target.host, &target.path);
    let head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000000\r\n\r\nx");
    let h1 = Held::begin(target, "http/1.1", 200, head.as_bytes())?;
    let mut bytes = frames::greeting();
    for stream in (1..).step_by(2).take(90) {
        bytes.extend(Block::request("POST", host, path).head(stream, 0));
        bytes.extend(frames::frame(frames::DATA, 0, stream, b"x"));
    }
    held(&h1, &Held::begin(target, "h2", 20, &bytes)?)
}

fn unread_answers(target: &Target) -> Played {
    let (host, path) = (&target.host, &target.path);
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").repeat(200);
    let h1 = Held::begin(target, "http/1.1", 100, head.as_bytes())?;
    let mut bytes = frames::greeting_with(&[(4, 0)]);
    for stream in (1..).step_by(2).take(90) {
        bytes.extend(Block::get(host, path).head(stream, END_STREAM));
    }
    held(&h1, &Held::begin(target, "h2", 20, &bytes)?)
}

/// The answers to these need no window.
fn unread_pings(target: &Target) -> Played {
    let mut bytes = frames::greeting();
    for stream in (1..).step_by(2).take(3_000) {
        bytes.extend(Block::request("OPTIONS", &target.host, "*").head(stream, END_STREAM));
        bytes.extend(frames::frame(frames::PING, 0, 0, b"12345678"));
    }
    held(&Held::default(), &Held::begin(target, "h2", 20, &bytes)?)
}

/// Nothing of this is a whole hello, so it is the same whether the gateway speaks TLS or not.
fn slow_handshakes(target: &Target) -> Played {
    let starts: [&[u8]; 4] = [b"", b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r", &[0x16; 1]];
    let mut held = Held::default();
    for n in 0..400 {
        let mut line = Line::raw(target).map_err(|error| format!("cannot connect: {error}"))?;
        line.shout(starts.get(n % starts.len()).copied().unwrap_or_default(), QUIET);
        held.lines.push(line);
    }
    thread::sleep(HELD);
    Ok(Did { what: format!("held {} sockets, and served others", held.are(Line::waits)), wrong: Vec::new() })
}
