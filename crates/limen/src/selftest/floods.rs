//! Frames that cost a client little and a server work: each connection has a budget for them, and is sent away when it is
//! used up.

use std::collections::BTreeSet;
use std::time::Duration;

use super::frames::{self, Block, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM};
use super::line::{End, Line};
use super::{Class, Did, MIB, Played, Target, say_h2, sent_away};

/// Connections that do the same one after the other.
const CONNECTIONS: usize = 4;
/// Frames, or groups of frames, on each.
const MANY: usize = 10_000;

const fn class(name: &'static str, sends: &'static str, play: fn(&Target) -> Played) -> Class {
    Class { name, sends, cpu: Duration::from_secs(2), memory: 8 * MIB, play }
}

pub(super) const CLASSES: &[Class] = &[
    class("rapid-reset", "4 connections of 10 000 requests, each given up at once", |target| {
        flood(target, rapid_reset(&target.host, &target.path))
    }),
    class(
        "rapid-reset-paid",
        "4 connections of 10 000 requests, each given up at once, between single bytes of a body",
        |target| flood(target, rapid_reset_paid(&target.host, &target.path)),
    ),
    class(
        "made-you-reset",
        "4 connections of 10 000 requests with a mistake each, for which the gateway must reset them",
        |target| flood(target, made_you_reset(&target.host, &target.path)),
    ),
    class("continuation-flood", "4 connections of a head in 10 000 empty CONTINUATION frames", |target| {
        flood(target, continuations(&target.host, &target.path, b"", MANY))
    }),
    class("continuation-bytes", "4 connections of a head of 16 MiB in CONTINUATION frames", |target| {
        flood(target, continuations(&target.host, &target.path, &[0; frames::MOST], 1_000))
    }),
    class("ping-flood", "4 connections of 10 000 PINGs", |target| {
        flood(target, repeated(&frames::frame(frames::PING, 0, 0, b"12345678")))
    }),
    class("settings-flood", "4 connections of 10 000 SETTINGS", |target| {
        flood(target, repeated(&frames::settings(&[(4, 65_535)])))
    }),
    class("settings-list", "4 connections of 10 000 SETTINGS frames of 100 windows each", |target| {
        flood(target, repeated(&frames::settings(&[(4, 65_535); 100])))
    }),
    class(
        "acknowledgement-flood",
        "4 connections of 10 000 unasked acknowledgements of SETTINGS and PING",
        |target| {
            let settings = frames::frame(frames::SETTINGS, frames::ACK, 0, b"");
            let ping = frames::frame(frames::PING, frames::ACK, 0, b"12345678");
            flood(target, repeated(&[settings, ping].concat()))
        },
    ),
    class("priority-flood", "4 connections of 10 000 PRIORITY frames", |target| {
        flood(target, repeated(&frames::frame(frames::PRIORITY, 0, 1, &[0, 0, 0, 3, 0])))
    }),
    class("window-update-flood", "4 connections of 10 000 WINDOW_UPDATEs of a byte", |target| {
        flood(target, repeated(&frames::window_update(0, 1)))
    }),
    class("empty-data-flood", "4 connections of a body in 10 000 empty DATA frames", |target| {
        let begun = Block::request("POST", &target.host, &target.path).head(1, 0);
        let data = frames::frame(frames::DATA, 0, 1, b"").repeat(MANY);
        flood(target, [frames::greeting(), begun, data].concat())
    }),
    class("empty-head-flood", "4 connections of 10 000 HEADERS without a line", |target| {
        let heads = streams().flat_map(|stream| Block::default().head(stream, END_STREAM));
        flood(target, frames::greeting().into_iter().chain(heads).collect())
    }),
    class("unknown-frame-flood", "4 connections of 10 000 frames of a type that nobody knows", |target| {
        flood(target, repeated(&frames::frame(frames::UNKNOWN, 0, 0, b"")))
    }),
    Class {
        name: "tiny-windows",
        sends: "1 connection that takes answers by 10 000 windows of a byte, 100 at a time, as they are used",
        cpu: Duration::from_secs(4),
        memory: 8 * MIB,
        play: tiny_windows,
    },
];

/// As many streams as a client may open.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2).take(MANY)
}

/// A greeting, and so many of the same.
fn repeated(frames: &[u8]) -> Vec<u8> {
    [frames::greeting(), frames.repeat(MANY)].concat()
}

/// Requests that are given up at once.
pub fn rapid_reset(host: &str, path: &str) -> Vec<u8> {
    let block = Block::get(host, path);
    let mut bytes = frames::greeting();
    for stream in streams() {
        bytes.extend(block.head(stream, END_STREAM));
        bytes.extend(frames::reset(stream, frames::CANCEL));
    }
    bytes
}

/// The same, between bytes of a body that a useful client might send.
pub fn rapid_reset_paid(host: &str, path: &str) -> Vec<u8> {
    let block = Block::get(host, path);
    let mut bytes = frames::greeting();
    bytes.extend(Block::request("POST", host, path).head(1, 0));
    for stream in streams().skip(1) {
        bytes.extend(frames::frame(frames::DATA, 0, 1, b"x").repeat(4));
        bytes.extend(block.head(stream, END_STREAM));
        bytes.extend(frames::reset(stream, frames::CANCEL));
    }
    bytes
}

/// Requests that the gateway must give up, each for another reason.
pub fn made_you_reset(host: &str, path: &str) -> Vec<u8> {
    let open = Block::request("POST", host, path);
    let short = open.clone().line(b"content-length", b"1");
    let mut bytes = frames::greeting();
    for (n, stream) in streams().enumerate() {
        let (head, mistake) = match n % 5 {
            0 => (open.head(stream, 0), frames::window_update(stream, 0)),
            1 => (open.head(stream, 0), frames::window_update(stream, 0x7fff_ffff)),
            2 => (short.head(stream, 0), frames::frame(frames::DATA, 0, stream, b"more than one")),
            3 => (open.head(stream, END_STREAM), frames::frame(frames::DATA, 0, stream, b"late")),
            _ => {
                let [a, b, c, d] = stream.to_be_bytes();
                (open.head(stream, 0), frames::frame(frames::PRIORITY, 0, stream, &[a, b, c, d, 0]))
            }
        };
        bytes.extend(head);
        bytes.extend(mistake);
    }
    bytes
}

/// A head that does not end, in so many pieces more.
pub fn continuations(host: &str, path: &str, piece: &[u8], pieces: usize) -> Vec<u8> {
    let begin = frames::frame(frames::HEADERS, END_STREAM, 1, &Block::get(host, path).0);
    let more = frames::frame(frames::CONTINUATION, 0, 1, piece).repeat(pieces);
    let last = frames::frame(frames::CONTINUATION, END_HEADERS, 1, b"");
    [frames::greeting(), begin, more, last].concat()
}

/// Sends it on several connections; each must be sent away for it.
fn flood(target: &Target, bytes: Vec<u8>) -> Played {
    let mut did = Did::default();
    let (mut taken, mut answers, mut reasons) = (0, 0, BTreeSet::new());
    for _ in 0..CONNECTIONS {
        let (said, heard) = say_h2(target, &bytes)?;
        (taken, answers) = (taken + said.sent, answers + heard.answers.len());
        did.wrong.extend(sent_away(&said, &heard, ENHANCE_YOUR_CALM));
        reasons.insert(heard.goaway.map_or("no GOAWAY", frames::reason));
    }
    let all = bytes.len() * CONNECTIONS;
    let reasons = reasons.into_iter().collect::<Vec<_>>().join(", ");
    did.what = format!("took {taken} of {all} bytes, answered {answers} requests, then {reasons}");
    Ok(did)
}

/// Windows at a time: less than what a frame must hold to be of use.
const AT_A_TIME: usize = 100;
/// How long the bytes for them are waited for; after as many times that none come there is another request.
const BYTES: Duration = Duration::from_millis(100);
const PATIENCE: usize = 2;

/// Takes answers by windows of a byte, some more each time that some bytes have come.
fn tiny_windows(target: &Target) -> Played {
    let mut did = Did::default();
    let mut line = Line::connect(target, "h2").map_err(|error| format!("cannot connect: {error}"))?;
    let (mut heard, mut stream, mut silent, mut windows) = (Vec::new(), 1, PATIENCE, 0);
    let mut say = frames::greeting_with(&[(4, 0)]);
    let end = (0..MANY / AT_A_TIME).find_map(|_| {
        if silent >= PATIENCE {
            say.extend(Block::get(&target.host, &target.path).head(stream, END_STREAM));
            (stream, silent) = (stream + 2, 0);
        }
        say.extend(frames::window_update(stream - 2, 1).repeat(AT_A_TIME));
        let said = line.say(&std::mem::take(&mut say), BYTES, |heard| !heard.is_empty());
        silent = if said.heard.is_empty() { silent + 1 } else { 0 };
        windows += AT_A_TIME;
        heard.extend(&said.heard);
        (said.end == End::Closed).then_some(said)
    });
    let seen = frames::heard(&heard);
    match end {
        Some(said) => did.wrong.extend(sent_away(&said, &seen, ENHANCE_YOUR_CALM)),
        None => did.wrong.push(format!("{MANY} windows of a byte were obeyed")),
    }
    did.what = format!("sent {} bytes for {windows} windows", seen.body);
    Ok(did)
}
