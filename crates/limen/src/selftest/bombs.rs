//! Few bytes that become many: heads that grow when they are decoded, and streams that hold such heads.

use std::time::Duration;

use super::frames::{self, Block, END_STREAM, ENHANCE_YOUR_CALM, Status};
use super::line::Line;
use super::{Class, Did, MIB, Played, QUIET, Target, say_h2, sent_away};

/// A value that fills most of a table of headers, which is of 4 096 bytes.
const LONG: [u8; 3_900] = [b'v'; 3_900];
/// The newest entry of the table.
const NEWEST: u8 = 62;

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "hpack-bomb",
        sends: "100 connections of one head of 16 KiB that decodes to 47 MiB",
        cpu: Duration::from_secs(4),
        memory: 16 * MIB,
        play: |target| bomb(target, 100, &hpack_bomb(&target.host, &target.path)),
    },
    Class {
        name: "hpack-names",
        sends: "100 connections of one head of 16 KiB that decodes to 20 MiB of names",
        cpu: Duration::from_secs(4),
        memory: 16 * MIB,
        play: |target| bomb(target, 100, &hpack_names(&target.host, &target.path)),
    },
    Class {
        name: "hpack-held",
        sends: "20 connections of 90 requests that wait, each of some 100 bytes that decode to 46 KiB",
        cpu: Duration::from_secs(8),
        memory: 96 * MIB,
        play: hpack_held,
    },
    Class {
        name: "cookie-bomb",
        sends: "4 connections of 100 requests, each with 5 000 crumbs of a cookie, of a byte each",
        cpu: Duration::from_secs(4),
        memory: 16 * MIB,
        play: |target| refused(target, &cookie_bomb(&target.host, &target.path)),
    },
];

/// A block with an entry that fills the table.
fn primed(method: &str, host: &str, path: &str) -> Block {
    Block::request(method, host, path).kept(b"x-long", &LONG)
}

/// One entry, many times.
pub fn hpack_bomb(host: &str, path: &str) -> Vec<u8> {
    let block = primed("GET", host, path).again(NEWEST, 12_000);
    [frames::greeting(), block.split(1, END_STREAM)].concat()
}

/// The name of one entry, many times with empty values.
pub fn hpack_names(host: &str, path: &str) -> Vec<u8> {
    let block = Block::get(host, path).kept(&[b'n'; 3_900], b"").named_again(NEWEST, 5_000);
    [frames::greeting(), block.split(1, END_STREAM)].concat()
}

/// Requests that wait for bodies which do not come, with heads that are large only when they are decoded.
pub fn held(host: &str, path: &str) -> Vec<u8> {
    let mut bytes = frames::greeting();
    bytes.extend(primed("POST", host, path).head(1, 0));
    for stream in (3..).step_by(2).take(89) {
        bytes.extend(Block::request("POST", host, path).again(NEWEST, 12).head(stream, 0));
    }
    bytes
}

/// Requests with more crumbs than a head may have lines.
pub fn cookie_bomb(host: &str, path: &str) -> Vec<u8> {
    let mut bytes = frames::greeting();
    for stream in (1..).step_by(2).take(100) {
        // By then it is the newest entry.
        let block = Block::get(host, path).kept(b"cookie", b"a").again(NEWEST, 4_999);
        bytes.extend(block.split(stream, END_STREAM));
    }
    bytes
}

/// Each connection must be given up for it.
fn bomb(target: &Target, connections: usize, bytes: &[u8]) -> Played {
    let mut did = Did::default();
    for _ in 0..connections {
        let (said, heard) = say_h2(target, bytes)?;
        did.wrong.extend(sent_away(&said, &heard, ENHANCE_YOUR_CALM));
    }
    did.wrong.dedup();
    did.what = format!("gave up each of {connections} connections");
    Ok(did)
}

/// Requests on one connection, each of which must be answered 431 or refused, or the connection given up.
fn refused(target: &Target, bytes: &[u8]) -> Played {
    let mut did = Did::default();
    let (mut answered, mut bytes_heard) = (0, 0);
    for _ in 0..4 {
        let mut line = Line::connect(target, "h2").map_err(|error| format!("cannot connect: {error}"))?;
        let said = line.say(bytes, QUIET, |heard| frames::heard(heard).done() >= 100);
        let heard = frames::heard(&said.heard);
        answered += heard.answers.len();
        bytes_heard += heard.body;
        if heard.done() < 100 && heard.goaway.is_none() {
            did.wrong.push(format!("{} of 100 requests were refused", heard.done()));
        }
        let passed = heard.answers.iter().any(|(_, status)| *status == Status::Is(200));
        did.wrong.extend(passed.then(|| "a request was answered 200".to_owned()));
    }
    did.what = format!("answered {answered} of 400 requests, with {bytes_heard} bytes of bodies");
    Ok(did)
}

/// Heads that are held: what they take is bounded for each connection, whatever they came in.
fn hpack_held(target: &Target) -> Played {
    let bytes = held(&target.host, &target.path);
    let mut lines = Vec::new();
    let (mut refused, mut sent) = (0, 0);
    for _ in 0..20 {
        let mut line = Line::connect(target, "h2").map_err(|error| format!("cannot connect: {error}"))?;
        let said = line.say(&bytes, Duration::from_millis(200), |_| false);
        refused += frames::heard(&said.heard).resets.len();
        sent += said.sent;
        lines.push(line);
    }
    let what = format!("took {sent} bytes, refused {refused} of 1 800 requests");
    Ok(Did { what, wrong: Vec::new() })
}
