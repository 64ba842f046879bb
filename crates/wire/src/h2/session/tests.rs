//! Frames in, frames out: what a client may do, what it may not, and what it may not do without end.

use std::task::{Context, Poll, Waker};

use super::frame::*;
use super::receive::Arrived;
use super::*;
use crate::h1::HeadError;
use crate::head::{RequestHead, ResponseHead};

#[path = "credit_tests.rs"]
mod credit;

/// A header block of literals without indexing (RFC 7541 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    block
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHeader { length: payload.len(), kind, flags, stream }.write(&mut bytes);
    bytes.extend(payload);
    bytes
}

fn get(stream: u32) -> Vec<u8> {
    raw(HEADERS, END_STREAM | END_HEADERS, stream, &block(&GET))
}

fn post(stream: u32) -> Vec<u8> {
    raw(HEADERS, END_HEADERS, stream, &block(&POST))
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    raw(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    raw(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// A session whose client has greeted.
fn greeted(limits: Limits) -> Session {
    let mut session = Session::new(&limits);
    feed(&mut session, &raw(SETTINGS, 0, 0, &[]));
    written(&mut session);
    session
}

/// Gives the session bytes; the requests that arrive.
fn feed(session: &mut Session, input: &[u8]) -> Vec<Arrived> {
    let (mut head, mut rest, mut all) = (RequestHead::default(), input, Vec::new());
    loop {
        let (used, arrived) = session.receive(rest, &mut head);
        rest = &rest[used..];
        match arrived {
            Some(arrived) => all.push(arrived),
            None => break,
        }
    }
    assert!(rest.is_empty() || session.failure().is_some(), "{} bytes were not understood", rest.len());
    all
}

/// The frames that are to be written.
fn written(session: &mut Session) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    let out = session.pending().to_vec();
    session.wrote(out.len());
    let mut rest = &out[..];
    while let Some(header) = FrameHeader::read(rest) {
        let (payload, more) = rest[HEADER..].split_at(header.length);
        frames.push((header.kind, header.flags, header.stream, payload.to_vec()));
        rest = more;
    }
    assert!(rest.is_empty());
    frames
}

/// Frames of that kind, as stream and first number of the payload.
fn numbers(frames: &[(u8, u8, u32, Vec<u8>)], kind: u8) -> Vec<(u32, u32)> {
    let of_kind = frames.iter().filter(|frame| frame.0 == kind);
    of_kind.map(|frame| (frame.2, number(&frame.3, 0).unwrap_or_default())).collect()
}

fn answer(session: &mut Session, index: u32) {
    session.send_head(index, &ResponseHead { status: 200, ..ResponseHead::default() }, true).unwrap();
    session.drop_stream(index);
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let closed = [get(1), get(1)].concat();
    let too_long = [&[0, 0x40, 1, DATA, 0, 0, 0, 0, 1][..], &[0; 16_385]].concat();
    let cases: &[(&str, Vec<u8>, ResetReason)] = &[
        ("a frame longer than allowed", too_long, ResetReason::FRAME_SIZE_ERROR),
        ("a head between the pieces of another", [raw(HEADERS, 0, 1, b""), get(3)].concat(), PROTOCOL),
        ("the piece of no head", raw(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL),
        (
            "a piece of another stream",
            [raw(HEADERS, 0, 1, b""), raw(CONTINUATION, 4, 3, b"")].concat(),
            PROTOCOL,
        ),
        ("a stream of ours", get(2), PROTOCOL),
        ("a head on no stream", get(0), PROTOCOL),
        ("a head on a stream that ended", [get(3), get(1)].concat(), ResetReason::STREAM_CLOSED),
        ("a block that cannot be decoded", raw(HEADERS, 5, 1, &[0x80]), ResetReason::COMPRESSION_ERROR),
        ("padding longer than the head", raw(HEADERS, 5 | PADDED, 1, &[9, 0]), PROTOCOL),
        ("a priority cut short", raw(HEADERS, 5 | PRIORITISED, 1, &[0; 4]), ResetReason::FRAME_SIZE_ERROR),
        ("data on no stream", raw(DATA, 0, 0, b"x"), PROTOCOL),
        ("data before its head", raw(DATA, 0, 1, b"x"), PROTOCOL),
        ("padding longer than the data", [post(1), raw(DATA, PADDED, 1, &[2, 0])].concat(), PROTOCOL),
        ("a push", raw(PUSH_PROMISE, END_HEADERS, 1, &[0; 4]), PROTOCOL),
        ("a reset of what never was", raw(RST_STREAM, 0, 1, &[0; 4]), PROTOCOL),
        ("a reset of another length", [get(1), raw(RST_STREAM, 0, 1, &[0; 5])].concat(), FRAME_SIZE),
        ("a priority on no stream", raw(PRIORITY, 0, 0, &[0; 5]), PROTOCOL),
        ("a ping of another length", raw(PING, 0, 0, &[0; 7]), FRAME_SIZE),
        ("a ping on a stream", raw(PING, 0, 1, &[0; 8]), PROTOCOL),
        ("settings of another length", raw(SETTINGS, 0, 0, &[0; 5]), FRAME_SIZE),
        ("settings on a stream", raw(SETTINGS, 0, 1, &[]), PROTOCOL),
        ("an acknowledgement that says something", raw(SETTINGS, ACK, 0, &[0; 6]), FRAME_SIZE),
        ("push neither on nor off", setting(2, 2), PROTOCOL),
        ("a window beyond all windows", setting(4, 0x8000_0000), ResetReason::FLOW_CONTROL_ERROR),
        ("frames smaller than the smallest", setting(5, 16_383), PROTOCOL),
        ("frames larger than the largest", setting(5, 16_777_216), PROTOCOL),
        ("an update by nothing", update(0, 0), PROTOCOL),
        ("an update of another length", raw(WINDOW_UPDATE, 0, 0, &[0; 3]), FRAME_SIZE),
        ("an update that overflows", update(0, 0x7fff_ffff), ResetReason::FLOW_CONTROL_ERROR),
        ("an update of what never was", update(1, 1), PROTOCOL),
        ("a farewell on a stream", raw(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("a farewell cut short", raw(GOAWAY, 0, 0, &[0; 7]), FRAME_SIZE),
        (
            "a window that overflows with the settings",
            [get(1), update(1, 0x7fff_0000), setting(4, 0x7fff_ffff)].concat(),
            ResetReason::FLOW_CONTROL_ERROR,
        ),
    ];
    for (what, input, reason) in cases {
        let mut session = greeted(Limits::default());
        feed(&mut session, input);
        assert_eq!(session.failure().and_then(|error| error.reason()), Some(*reason), "{what}");
        assert!(numbers(&written(&mut session), GOAWAY).len() == 1, "{what}: the client is told");
    }
    let mut session = greeted(Limits::default());
    for arrived in feed(&mut session, &closed[..closed.len() / 2]) {
        answer(&mut session, arrived.index);
    }
    feed(&mut session, &closed[closed.len() / 2..]);
    assert_eq!(session.failure().and_then(|error| error.reason()), Some(ResetReason::STREAM_CLOSED));
}

const PROTOCOL: ResetReason = ResetReason::PROTOCOL_ERROR;
const FRAME_SIZE: ResetReason = ResetReason::FRAME_SIZE_ERROR;

#[test]
fn the_first_frame_is_settings() {
    for first in [get(1), raw(PING, 0, 0, &[0; 8]), raw(SETTINGS, ACK, 0, &[])] {
        let mut session = Session::new(&Limits::default());
        feed(&mut session, &first);
        assert_eq!(session.failure().and_then(|error| error.reason()), Some(PROTOCOL));
    }
}

#[test]
fn what_breaks_a_stream_ends_that_stream_only() {
    let long = [post(1), raw(DATA, 0, 1, &[0; 9])].concat();
    let twice = [post(1), raw(DATA, 0, 1, &[0; 5]), raw(DATA, 0, 1, &[0; 5])].concat();
    let after_end = [post(1), raw(DATA, END_STREAM, 1, b"x"), raw(DATA, 0, 1, b"y")].concat();
    let announced = block(&[POST[0], POST[1], POST[2], POST[3], ("content-length", "3")]);
    let announced = raw(HEADERS, END_HEADERS, 1, &announced);
    let trailers =
        |flags, fields: &[_]| [post(1), raw(HEADERS, flags | END_HEADERS, 1, &block(fields))].concat();
    let cases: &[(&str, Vec<u8>, ResetReason)] = &[
        ("more data than its window", long, ResetReason::FLOW_CONTROL_ERROR),
        ("more data than its window, in two", twice, ResetReason::FLOW_CONTROL_ERROR),
        ("data after its end", after_end, ResetReason::STREAM_CLOSED),
        ("a second head after its end", [get(1), get(1)].concat(), ResetReason::STREAM_CLOSED),
        ("more data than announced", [announced.clone(), raw(DATA, 0, 1, b"1234")].concat(), PROTOCOL),
        ("less data than announced", [announced, raw(DATA, END_STREAM, 1, b"12")].concat(), PROTOCOL),
        ("trailers that do not end", trailers(0, &[("x", "y")]), PROTOCOL),
        ("a method in trailers", trailers(END_STREAM, &[(":method", "GET")]), PROTOCOL),
        ("a malformed head", raw(HEADERS, 5, 1, &block(&[("X", "y")])), PROTOCOL),
        ("a stream that depends on itself", raw(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), PROTOCOL),
        ("a priority of another length", raw(PRIORITY, 0, 1, &[0; 4]), FRAME_SIZE),
        ("an update by nothing", [get(1), update(1, 0)].concat(), PROTOCOL),
        (
            "an update that overflows",
            [get(1), update(1, 0x7fff_ffff)].concat(),
            ResetReason::FLOW_CONTROL_ERROR,
        ),
    ];
    for (what, input, reason) in cases {
        let mut session = greeted(Limits { initial_stream_window: 8, ..Limits::default() });
        if what.contains("priority") || what.contains("depends") {
            // A stream that was never opened cannot be reset.
            for arrived in feed(&mut session, &get(1)) {
                answer(&mut session, arrived.index);
            }
            written(&mut session);
        }
        feed(&mut session, input);
        assert!(session.failure().is_none(), "{what}");
        assert_eq!(numbers(&written(&mut session), RST_STREAM), [(1, reason.0)], "{what}");
        assert_eq!(feed(&mut session, &get(3)).len(), 1, "{what}: the next one is served");
    }
}

#[test]
fn a_stream_too_many_is_refused_and_its_head_still_decoded() {
    let mut session = greeted(Limits { max_concurrent_streams: 1, ..Limits::default() });
    let arrived = feed(&mut session, &get(1));
    // The second puts a line into the table, the third refers to it.
    let mut second = block(&GET);
    second.extend([0x40, 1, b'x', 1, b'y']);
    feed(&mut session, &raw(HEADERS, 5, 3, &second));
    assert_eq!(numbers(&written(&mut session), RST_STREAM), [(3, ResetReason::REFUSED_STREAM.0)]);
    answer(&mut session, arrived[0].index);
    let mut third = block(&GET);
    third.push(0xbe);
    let mut head = RequestHead::default();
    let (_, arrived) = session.receive(&raw(HEADERS, 5, 5, &third), &mut head);
    assert!(arrived.is_some_and(|arrived| arrived.verdict.is_ok()));
    assert_eq!(head.fields.get(b"x"), Some(&b"y"[..]));
}

#[test]
fn heads_beyond_the_limits_are_answered_431() {
    let limits = Limits { max_header_list: 400, max_fields: 4, ..Limits::default() };
    let long = "v".repeat(120);
    let large: Vec<_> = GET.into_iter().chain([("a", &long[..]), ("b", &long), ("c", &long)]).collect();
    let many: Vec<_> = GET.into_iter().chain([("a", ""); 5]).collect();
    for (fields, error) in [(large, HeadError::TooLarge), (many, HeadError::TooManyFields)] {
        let mut session = greeted(limits);
        let arrived = feed(&mut session, &raw(HEADERS, 5, 1, &block(&fields)));
        assert_eq!(arrived[0].verdict, Err(error));
    }
}

/// A few bytes that stand for many: above the limit it is 431, far above it the end.
#[test]
fn a_head_that_grows_when_it_is_decoded_ends_the_connection() {
    let kept = [&[0x40, 1, b'a', 0x7f, 0x81, 0x0f][..], &[b'v'; 2048]].concat();
    for (times, limits, error) in [
        (40, Limits::default(), Some(HeadError::TooLarge)),
        (130, Limits::default(), None),
        (40, Limits { max_header_list: 16_384, ..Limits::default() }, None),
    ] {
        let mut session = greeted(limits);
        let block = [&block(&GET)[..], &kept, &vec![0xbe; times]].concat();
        let arrived = feed(&mut session, &raw(HEADERS, 5, 1, &block));
        assert_eq!(arrived.first().map(|arrived| arrived.verdict), error.map(Err), "{times}");
        let reason = session.failure().and_then(|failure| failure.reason());
        assert_eq!(reason, error.is_none().then_some(ResetReason::ENHANCE_YOUR_CALM), "{times}");
        assert_eq!(session.tally().unwrap().blocks_refused, (error.is_none().into(), 0), "{times}");
    }
    let mut session = greeted(Limits::default());
    let trailers = [&kept[..], &[0xbe; 200]].concat();
    feed(&mut session, &[post(1), raw(HEADERS, 5, 1, &trailers)].concat());
    let reason = session.failure().and_then(|failure| failure.reason());
    assert_eq!(reason, Some(ResetReason::ENHANCE_YOUR_CALM), "trailers");
    assert_eq!(session.tally().unwrap().blocks_refused, (1, 0), "trailers");
}

/// A hundred streams of large heads are more than one connection may hold, however few bytes they came in.
#[test]
fn heads_are_bounded_for_all_streams_together() {
    let limits = Limits { max_header_list: 8_192, ..Limits::default() };
    let mut session = greeted(limits);
    let kept = [&[0x40, 1, b'a', 0x7f, 0x81, 0x0f][..], &[b'v'; 2048]].concat();
    let large = |stream: u32, kept: &[u8], references: usize| {
        raw(HEADERS, 5, stream, &[&block(&GET)[..], kept, &vec![0xbe; references]].concat())
    };
    let mut arrived = feed(&mut session, &large(1, &kept, 2));
    // Each is of some 6 500 bytes.
    (1..40).for_each(|n| arrived.extend(feed(&mut session, &large(n * 2 + 1, &[], 3))));
    assert_eq!(arrived.len(), 20);
    let refused = numbers(&written(&mut session), RST_STREAM);
    assert_eq!((refused.len(), refused[0]), (20, (41, ResetReason::REFUSED_STREAM.0)));
    // What ends makes room.
    answer(&mut session, arrived[0].index);
    assert_eq!(feed(&mut session, &large(101, &[], 3)).len(), 1);
    assert_eq!(feed(&mut session, &large(103, &[], 3)).len(), 0);
    assert_eq!(feed(&mut session, &get(105)).len(), 1, "a small one has room");
}

/// Memory is given back while nothing is open, but not what a head has begun with.
#[test]
fn the_beginning_of_a_head_outlives_a_rest() {
    let mut session = greeted(Limits::default());
    let (first, last) = (block(&GET[..2]), block(&GET[2..]));
    feed(&mut session, &raw(HEADERS, END_STREAM, 1, &first));
    assert_eq!(session.open_head(), Some(1));
    session.rest();
    let arrived = feed(&mut session, &raw(CONTINUATION, END_HEADERS, 1, &last));
    assert_eq!((arrived.len(), session.open_head()), (1, None));
}

#[test]
fn a_head_without_end_is_not_gathered_for_ever() {
    let mut session = greeted(Limits { max_header_list: 16_384, ..Limits::default() });
    feed(&mut session, &raw(HEADERS, 0, 1, &[0; 16_000]));
    let mut pieces = 1;
    while session.failure().is_none() {
        feed(&mut session, &raw(CONTINUATION, 0, 1, &[0; 16_000]));
        pieces += 1;
    }
    assert_eq!(pieces, 5);
    assert!(session.block.capacity() <= 2 * 65_536);
}

#[test]
fn pings_and_settings_are_answered() {
    let mut session = greeted(Limits::default());
    feed(&mut session, &[raw(PING, 0, 0, b"12345678"), setting(1, 0), raw(PING, ACK, 0, &[0; 8])].concat());
    let frames = written(&mut session);
    assert_eq!(frames, [(PING, ACK, 0, b"12345678".to_vec()), (SETTINGS, ACK, 0, Vec::new())]);
}

#[test]
fn nobody_waits_for_room_for_ever() {
    let mut session = greeted(Limits::default());
    feed(&mut session, &setting(4, 1_000_000));
    let streams: Vec<u32> =
        feed(&mut session, &[get(1), get(3), get(5)].concat()).iter().map(|arrived| arrived.index).collect();
    let cx = context();
    let mut sent = [0usize; 3];
    for stream in &streams {
        let head = ResponseHead { status: 200, ..ResponseHead::default() };
        session.send_head(*stream, &head, false).unwrap();
    }
    for _ in 0..200 {
        // Always asked in the same order, as a loop over places does.
        for (at, stream) in streams.iter().enumerate() {
            if let Poll::Ready(room) = session.poll_room(*stream, 100_000, &cx) {
                let room = room.unwrap();
                session.send_data(*stream, &vec![0; room], false).unwrap();
                sent[at] += room;
            }
        }
        assert!(session.pending().len() < 2 * session.full());
        let frames = written(&mut session);
        let spent: usize = frames.iter().filter(|frame| frame.0 == DATA).map(|frame| frame.3.len()).sum();
        if spent > 0 {
            // Less than one of them would take.
            feed(&mut session, &update(0, spent.min(10_000) as u32));
        }
    }
    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
    assert!(*least * 2 > *most, "{sent:?}");
}

/// Sends as much as there is room for; how much that was.
fn fill(session: &mut Session, index: u32) -> usize {
    let mut sent = 0;
    session.send_head(index, &ResponseHead { status: 200, ..ResponseHead::default() }, false).unwrap();
    while let Poll::Ready(room) = session.poll_room(index, 100_000, &context()) {
        let room = room.unwrap();
        session.send_data(index, &vec![0; room], false).unwrap();
        written(session);
        sent += room;
    }
    sent
}

#[test]
fn no_more_is_sent_than_either_window_allows() {
    for (of_stream, one, other) in [(10, 10, 10), (1_000_000, 65_535, 0), (40_000, 40_000, 25_535)] {
        let mut session = greeted(Limits::default());
        feed(&mut session, &setting(4, of_stream));
        let arrived = feed(&mut session, &[get(1), get(3)].concat());
        assert_eq!(fill(&mut session, arrived[0].index), one, "a window of {of_stream}");
        assert_eq!(fill(&mut session, arrived[1].index), other, "a window of {of_stream}");
    }
}

#[test]
fn the_connections_window_comes_back_from_streams_that_nobody_reads() {
    let mut session = greeted(Limits { initial_connection_window: 65_535, ..Limits::default() });
    for round in 0..20 {
        let id = round * 2 + 1;
        let arrived = feed(&mut session, &[post(id), raw(DATA, 0, id, &[0; 16_000])].concat());
        session.drop_stream(arrived[0].index);
        feed(&mut session, &raw(DATA, END_STREAM, id, &[0; 1_000]));
        session.earn_time(1);
        written(&mut session);
        assert!(session.failure().is_none(), "after {round}");
    }
}

#[test]
fn what_was_sent_before_the_farewell_was_heard_is_served() {
    let mut session = greeted(Limits::default());
    session.say_goodbye();
    let frames = written(&mut session);
    assert_eq!(numbers(&frames, GOAWAY), [(0, 0x7fff_ffff)]);
    let ping = frames.iter().find(|frame| frame.0 == PING).unwrap().3.clone();
    let arrived = feed(&mut session, &get(1));
    assert_eq!(arrived.len(), 1);
    feed(&mut session, &raw(PING, ACK, 0, &ping));
    assert_eq!(numbers(&written(&mut session), GOAWAY), [(0, 1)]);
    assert!(feed(&mut session, &[post(3), raw(DATA, 0, 3, b"x")].concat()).is_empty());
    assert!(session.failure().is_none() && !session.is_done());
    answer(&mut session, arrived[0].index);
    assert!(session.is_done());
}

#[test]
fn a_tunnel_is_asked_for_by_its_protocol() {
    let connect = block(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "a"),
    ]);
    for allowed in [true, false] {
        let mut session = greeted(Limits { extended_connect: allowed, ..Limits::default() });
        let mut head = RequestHead::default();
        let (_, arrived) = session.receive(&raw(HEADERS, END_HEADERS, 1, &connect), &mut head);
        assert_eq!(arrived.is_some_and(|arrived| arrived.verdict.is_ok()), allowed);
        if allowed {
            assert_eq!(head.upgrade_protocol(), Some(&b"websocket"[..]));
            assert_eq!(head.path(), b"/chat");
        }
    }
}

#[test]
fn what_a_connection_has_come_to_is_told_when_it_changes() {
    let limits = Limits { max_concurrent_streams: 2, max_fields: 2, credit: 50, ..Limits::default() };
    let mut session = greeted(limits);
    session.tally();
    assert_eq!(session.tally(), None, "nothing has changed");
    feed(&mut session, &[post(1), get(3), get(5)].concat());
    let tally = session.tally().unwrap();
    assert_eq!((tally.streams, tally.streams_refused), (2, 1));
    feed(&mut session, &raw(DATA, 0, 1, &[0; 1_000]));
    let tally = session.tally().unwrap();
    assert_eq!((tally.ahead_on_stream, tally.ahead, tally.streams_refused), (1_000, 1_000, 0));
    let many = block(&[("a", "1"), ("b", "2"), ("c", "3")]);
    feed(&mut session, &raw(HEADERS, END_STREAM | END_HEADERS, 1, &many));
    assert_eq!(session.tally().unwrap().blocks_refused, (0, 1));
    assert_eq!(session.tally().map(|tally| tally.sent_away), None);
    while session.failure().is_none() {
        feed(&mut session, &raw(PRIORITY, 0, 7, &[0; 5]));
    }
    let tally = session.tally().unwrap();
    assert_eq!((tally.sent_away, tally.spent), (Some(Work::Priority), 51));
    assert_eq!(session.tally(), None);
}

#[test]
fn nothing_is_read_while_too_much_waits_to_be_written() {
    let mut session = greeted(Limits { max_unwritten: 1_000, credit: 1_000_000, ..Limits::default() });
    while !session.is_choked() {
        feed(&mut session, &raw(PING, 0, 0, &[0; 8]));
    }
    assert!(session.is_choked());
    let waits = session.pending().len();
    let tally = session.tally().unwrap();
    assert_eq!((tally.choked, tally.unwritten), (1, waits));
    assert!(waits > 1_000 && waits < 1_100, "{waits}");
    written(&mut session);
    assert!(!session.is_choked());
}

/// A session whose client takes as much as it is sent, and the stream of an answer that has begun.
fn answering() -> (Session, u32) {
    let mut session = greeted(Limits::default());
    feed(&mut session, &setting(4, MAX_WINDOW as u32));
    let arrived = feed(&mut session, &[get(1), update(0, MAX_WINDOW as u32 - 65_535)].concat());
    let index = arrived[0].index;
    session.send_head(index, &ResponseHead { status: 200, ..ResponseHead::default() }, false).unwrap();
    (session, index)
}

/// A client that reads steadily, and never all there is, is held no more for than waits.
#[test]
fn what_was_written_is_given_up_though_something_always_waits() {
    let (mut session, index) = answering();
    let (mut sent, mut seen) = (0usize, Vec::new());
    for _ in 0..1_000 {
        while let Poll::Ready(room) = session.poll_room(index, 100_000, &context()) {
            let room = room.unwrap();
            session.send_data(index, &vec![sent as u8; room], false).unwrap();
            sent += room;
        }
        let some = session.pending()[..16_384].to_vec();
        session.wrote(some.len());
        seen.extend(some);
        assert!(!session.pending().is_empty());
        assert!(session.out.len() <= 3 * session.full(), "{} bytes", session.out.len());
        assert!(session.out.capacity() <= 8 * session.full(), "{} bytes", session.out.capacity());
    }
    // And nothing is lost or said twice by it.
    seen.extend(session.pending());
    let (mut rest, mut data) = (&seen[..], 0);
    while let Some(header) = FrameHeader::read(rest) {
        data += if header.kind == DATA { header.length } else { 0 };
        rest = &rest[HEADER + header.length..];
    }
    assert_eq!((data, rest.len()), (sent, 0));
}

/// A connection that is never at rest keeps what its last second took, and not what its worst did.
#[test]
fn what_a_burst_took_is_given_back_when_a_second_has_passed_without_one() {
    let (mut session, index) = answering();
    let burst = |session: &mut Session| {
        let mut sent = 0;
        while let Poll::Ready(room) = session.poll_room(index, 100_000, &context()) {
            let room = room.unwrap();
            session.send_data(index, &vec![0; room], false).unwrap();
            sent += room;
        }
        written(session);
        sent
    };
    assert!(burst(&mut session) > 2 * MAX_PAYLOAD);
    let kept = session.out.capacity();
    for _ in 0..3 {
        session.pass_time(1);
        assert_eq!(session.out.capacity(), kept, "it was needed");
        assert!(burst(&mut session) > 2 * MAX_PAYLOAD);
    }
    session.pass_time(1);
    session.send_data(index, &[0; 100], false).unwrap();
    session.pass_time(1);
    assert_eq!(session.out.capacity(), kept, "nothing goes that waits to be written");
    written(&mut session);
    session.pass_time(1);
    assert!(session.out.capacity() <= 2 * MAX_PAYLOAD, "{}", session.out.capacity());
    let kept = session.out.capacity();
    session.pass_time(1);
    assert_eq!(session.out.capacity(), kept, "ordinary amounts stay");
}
