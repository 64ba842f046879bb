//! What must hold of any bytes that an HTTP/2 client sends; the simulations and the fuzz targets share it.
//!
//! A small server stands behind the codec: what it does with each request is decided by the request, so that two runs
//! over the same bytes do the same. The bytes are known, so what is written can be judged against what a client that sent
//! them allows.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use limen_wire::h1::{self, HeadError, encode_request};
use limen_wire::h2::{Limits, ResetReason, ServerConnection, ServerStream};
use limen_wire::head::{BodyLength, Fields, MethodKind, RequestHead, ResponseHead, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::check::{Lines, Request, check_lines, lines};

/// What every client of HTTP/2 says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// A client that has said all it will say, and a place for what it is told. Before its end it is silent so often, that
/// what waits gets written.
struct Client<'a> {
    said: &'a [u8],
    piece: usize,
    silences: usize,
    told: Vec<u8>,
}

impl<'a> Client<'a> {
    fn new(said: &'a [u8], piece: usize, silences: usize) -> RefCell<Client<'a>> {
        RefCell::new(Client { said, piece, silences, told: Vec::new() })
    }
}

impl AsyncRead for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.said.is_empty() && self.silences > 0 {
            self.silences -= 1;
            return Poll::Pending;
        }
        let n = self.said.len().min(self.piece).min(into.remaining());
        let (now, later) = self.said.split_at(n);
        into.put_slice(now);
        self.said = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.told.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Lets the codec own the client, and us look at it.
struct Shared<'c, 'a>(&'c RefCell<Client<'a>>);

impl AsyncRead for Shared<'_, '_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, into)
    }
}

impl AsyncWrite for Shared<'_, '_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) verdict: Result<(), HeadError>,
    pub(crate) head: Request,
    /// The body that was taken, how it ended if it has, and what came after it.
    pub(crate) body: Vec<u8>,
    pub(crate) ended: Option<Result<(), Option<ResetReason>>>,
    pub(crate) trailers: Option<Lines>,
    /// Bytes of the answer's body that were sent.
    answered: usize,
}

/// All that one connection did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) served: Vec<Served>,
    /// Why it ended, if not because the client was done.
    pub(crate) end: Option<Option<ResetReason>>,
    pub(crate) told: Vec<u8>,
}

/// A request that is being served: where it stands in the list, and its stream.
struct Held {
    at: usize,
    stream: ServerStream,
    left: usize,
}

/// Serves the client that says these bytes, so many at a time, to its end.
pub(crate) fn serve(said: &[u8], piece: usize, limits: &Limits) -> Session {
    let client = Client::new(said, piece, 1);
    let mut cx = Context::from_waker(Waker::noop());
    let (mut served, mut held) = (Vec::new(), Vec::new());
    let end = match until_ready(pin!(ServerConnection::handshake(Shared(&client), limits)), &mut cx) {
        None => None,
        Some(Err(error)) => Some(error.reason()),
        Some(Ok(mut connection)) => drive(&mut connection, limits, &mut served, &mut held),
    };
    held.iter_mut().for_each(|held| go_on(held, &mut served));
    drop(held);
    let told = std::mem::take(&mut client.borrow_mut().told);
    Session { served, end, told }
}

fn until_ready<T>(mut future: Pin<&mut impl Future<Output = T>>, cx: &mut Context<'_>) -> Option<T> {
    (0..2).find_map(|_| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    })
}

fn drive(
    connection: &mut ServerConnection<Shared<'_, '_>>,
    limits: &Limits,
    served: &mut Vec<Served>,
    held: &mut Vec<Held>,
) -> Option<Option<ResetReason>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut head = RequestHead::default();
    let mut silent = false;
    loop {
        match connection.poll_accept(&mut head, &mut cx) {
            Poll::Ready(None) => return None,
            Poll::Ready(Some(Err(error))) => return Some(error.reason()),
            Poll::Pending => assert!(!std::mem::replace(&mut silent, true), "asks again for what was told"),
            Poll::Ready(Some(Ok(incoming))) => {
                check_limits(&head, limits);
                if head.path_and_query() == b"/goodbye" {
                    connection.graceful_shutdown();
                }
                served.push(Served {
                    verdict: incoming.verdict,
                    head: Request::from(&head),
                    body: Vec::new(),
                    ended: None,
                    trailers: None,
                    answered: 0,
                });
                held.iter_mut().for_each(|held| go_on(held, served));
                begin(incoming.stream, served, held);
                assert!(held.len() <= limits.max_concurrent_streams as usize * 2 + 2, "streams without end");
            }
        }
    }
}

/// Decides by the request what becomes of it.
fn begin(mut stream: ServerStream, served: &mut [Served], held: &mut Vec<Held>) {
    let at = served.len() - 1;
    let request = &served[at];
    let mut answer = ResponseHead { status: 200, ..ResponseHead::default() };
    answer.fields.add(b"x-number", at.to_string().as_bytes());
    answer.fields.add(b"server", b"istio-envoy");
    let choice = request.head.path.len() + request.head.fields.len();
    match (request.verdict, choice % 5) {
        (Err(_), _) => {
            answer.status = 400;
            let _ = stream.send_head(&answer, true);
        }
        (_, 0) => drop(stream.send_head(&answer, true)),
        (_, 1) => stream.reset(ResetReason::REFUSED_STREAM),
        (_, 2) => {}
        (_, choice) => {
            let _ = stream.send_head(&answer, false);
            let left = if choice == 3 { 100 } else { 200_000 };
            held.push(Held { at, stream, left });
        }
    }
}

/// Takes what has come and sends what there is room for.
fn go_on(held: &mut Held, served: &mut [Served]) {
    let mut cx = Context::from_waker(Waker::noop());
    let Held { at, stream, left } = held;
    let served = &mut served[*at];
    let mut piece = Vec::new();
    while served.ended.is_none() {
        match stream.poll_data(&mut piece, &mut cx) {
            Poll::Pending => break,
            Poll::Ready(Ok(true)) => {
                assert!(!piece.is_empty());
                stream.release(piece.len());
                served.body.extend_from_slice(&piece);
            }
            Poll::Ready(Ok(false)) => {
                served.ended = Some(Ok(()));
                served.trailers = stream.take_trailers().map(|fields| lines(&fields));
            }
            Poll::Ready(Err(error)) => served.ended = Some(Err(error.reason())),
        }
    }
    while *left > 0 {
        let Poll::Ready(Ok(room)) = stream.poll_capacity(*left, &mut cx) else { return };
        assert!((1..=*left).contains(&room));
        if stream.send_data(&vec![b'x'; room], false).is_err() {
            return;
        }
        served.answered += room;
        *left -= room;
        if *left == 0 {
            let mut trailers = Fields::default();
            trailers.add(b"grpc-status", b"0");
            let _ = stream.send_trailers(&trailers);
        }
    }
}

fn check_limits(head: &RequestHead, limits: &Limits) {
    assert!(head.fields.len() <= limits.max_fields);
    let most = limits.max_header_list as usize;
    let size: usize = head.fields.iter().map(|(_, name, value)| name.len() + value.len()).sum();
    assert!(size + head.path_and_query().len() + head.authority().len() <= most, "more than the limit");
}

/// One frame, as it stands on the wire.
struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

/// The whole frames in these bytes.
fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut all = Vec::new();
    while let Some((&[a, b, c, kind, flags, d, e, f, g], rest)) = bytes.split_first_chunk::<9>() {
        let Some((payload, rest)) = rest.split_at_checked(u32::from_be_bytes([0, a, b, c]) as usize) else {
            break;
        };
        all.push(Frame { kind, flags, stream: u32::from_be_bytes([d & 0x7f, e, f, g]), payload });
        bytes = rest;
    }
    all
}

fn number(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(0, |bytes| u64::from(u32::from_be_bytes(*bytes) & 0x7fff_ffff))
}

/// All that must hold of a connection whose client says `said` after the preface.
pub(crate) fn check_session(said: &[u8], limits: &Limits) {
    let said = [PREFACE, said].concat();
    let whole = serve(&said, usize::MAX, limits);
    for piece in [1, 7, 300] {
        assert_eq!(serve(&said, piece, limits), whole, "in pieces of {piece}");
    }
    check_told(&said, &whole);
    let bodies: usize = whole.served.iter().map(|served| served.body.len()).sum();
    assert!(bodies <= said.len(), "data from nowhere");
    for served in whole.served.iter().filter(|served| served.verdict.is_ok()) {
        check_lines(&served.head.fields);
        served.trailers.iter().for_each(check_lines);
        if let (BodyLength::Known(length), Some(Ok(()))) = (served.head.body, &served.ended) {
            assert_eq!(served.body.len() as u64, length, "the length that was announced");
        }
    }
    agree_on_session(&said, &whole);
}

/// What is written keeps to the protocol, and to what the client allowed.
fn check_told(said: &[u8], session: &Session) {
    let told = frames(&session.told);
    let size: usize = told.iter().map(|frame| frame.payload.len() + 9).sum();
    assert_eq!(size, session.told.len(), "whole frames");
    let sent: usize = session.served.iter().map(|served| served.answered).sum();
    assert!(
        session.told.len() <= 2 * said.len() + sent + 150 * session.served.len() + 1000,
        "much for little"
    );
    let theirs = frames(said.get(PREFACE.len()..).unwrap_or_default());
    let mut room = Room::of(&theirs);
    let (mut ended, mut reset) = (BTreeSet::new(), BTreeSet::new());
    let mut open_block = None;
    let mut given = 0;
    for (at, frame) in told.iter().enumerate() {
        assert!(frame.payload.len() <= 16_384, "a frame longer than any peer must take");
        assert_eq!(at == 0, frame.kind == SETTINGS && frame.flags == 0, "settings first, and once");
        assert_eq!(open_block.is_some(), frame.kind == CONTINUATION, "a head is not interrupted");
        assert!(frame.stream == 0 || frame.stream % 2 == 1, "we push nothing");
        if matches!(frame.kind, DATA | HEADERS | CONTINUATION) {
            assert!(!ended.contains(&frame.stream) && !reset.contains(&frame.stream), "after the end");
        }
        match frame.kind {
            DATA => room.take(frame.stream, frame.payload.len() as u64),
            WINDOW_UPDATE => {
                assert!(number(frame.payload) > 0);
                given += if frame.stream == 0 { number(frame.payload) } else { 0 };
            }
            RST_STREAM => drop(reset.insert(frame.stream)),
            GOAWAY if frame.payload.get(4..8) != Some(&[0; 4]) => {
                assert_eq!(at + 1, told.len(), "nothing follows the last words");
            }
            _ => {}
        }
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            open_block = (frame.flags & 4 == 0).then_some(frame.stream);
        }
        if matches!(frame.kind, DATA | HEADERS) && frame.flags & 1 != 0 {
            ended.insert(frame.stream);
        }
    }
    let data: usize = theirs.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum();
    assert!(given <= (data + (1 << 20)) as u64, "no more is given back than was taken");
}

/// How much data a client lets us send at the very most.
struct Room {
    connection: u64,
    each: u64,
    more: BTreeMap<u32, u64>,
    taken: BTreeMap<u32, u64>,
}

impl Room {
    fn of(theirs: &[Frame<'_>]) -> Room {
        let mut room =
            Room { connection: 65_535, each: 65_535, more: BTreeMap::new(), taken: BTreeMap::new() };
        for frame in theirs {
            match (frame.kind, frame.stream) {
                (WINDOW_UPDATE, 0) => room.connection += number(frame.payload),
                (WINDOW_UPDATE, stream) => *room.more.entry(stream).or_default() += number(frame.payload),
                (SETTINGS, 0) => {
                    let windows =
                        frame.payload.chunks_exact(6).filter(|setting| setting.starts_with(&[0, 4]));
                    room.each = windows.map(|setting| number(&setting[2..])).fold(room.each, u64::max);
                }
                _ => {}
            }
        }
        room
    }

    fn take(&mut self, stream: u32, size: u64) {
        let taken = self.taken.entry(stream).or_default();
        *taken += size;
        let most = self.each + self.more.get(&stream).copied().unwrap_or_default();
        assert!(*taken <= most && size <= self.connection, "more data than the client has room for");
        self.connection -= size;
    }
}

/// The codec that we use as a client, as a server, must see the requests that we do.
fn agree_on_session(said: &[u8], ours: &Session) {
    let Some(theirs) = other_server(said) else { return };
    let mut theirs = theirs.iter();
    for served in ours.served.iter().filter(|served| served.verdict.is_ok()) {
        let head = &served.head;
        let readable = http::uri::PathAndQuery::try_from(&head.path[..]).is_ok()
            && http::uri::Authority::try_from(&head.authority[..]).is_ok();
        if !readable || head.method == b"CONNECT" {
            continue;
        }
        let found = theirs.any(|(method, path, fields)| {
            let known = |line: &(Vec<u8>, Vec<u8>)| line.0 == b"cookie" || fields.contains(line);
            *method == head.method && *path == head.path && head.fields.iter().all(known)
        });
        assert!(found, "a request that nobody else sees: {head:?}");
    }
}

type Seen = (Vec<u8>, Vec<u8>, Lines);

/// The requests that the `h2` crate sees in these bytes; `None` if it takes offence at anything.
fn other_server(said: &[u8]) -> Option<Vec<Seen>> {
    if frames(said.get(PREFACE.len()..)?).iter().any(|frame| frame.kind == RST_STREAM) {
        return None;
    }
    let client = Client::new(said, usize::MAX, usize::MAX);
    let mut cx = Context::from_waker(Waker::noop());
    let mut builder = h2::server::Builder::new();
    builder
        .max_header_list_size(1 << 20)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20);
    builder.enable_connect_protocol();
    let handshake = builder.handshake::<_, bytes::Bytes>(Shared(&client));
    let mut connection = until_ready(pin!(handshake), &mut cx)?.ok()?;
    let (mut seen, mut kept) = (Vec::new(), Vec::new());
    loop {
        match connection.poll_accept(&mut cx) {
            Poll::Ready(Some(Ok((request, answer)))) => {
                let path = request.uri().path_and_query().map_or("", |path| path.as_str());
                let fields = request.headers().iter();
                let fields = fields.map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec()));
                seen.push((request.method().as_str().into(), path.into(), fields.collect()));
                kept.push((request.into_body(), answer));
            }
            Poll::Ready(Some(Err(_))) => return None,
            // It is driven on for as long as it hands out requests.
            Poll::Ready(None) | Poll::Pending => break,
        }
    }
    let told = std::mem::take(&mut client.borrow_mut().told);
    let offended = frames(&told).iter().any(|frame| matches!(frame.kind, RST_STREAM | GOAWAY));
    (!offended).then_some(seen)
}

/// A client that says what `script` says, which is easier to vary than frames are: for each frame its kind, flags, stream,
/// how much of what follows is its payload, and that. Kinds beyond those of the protocol stand for frames that are hard to
/// come upon.
pub(crate) fn compose(mut script: &[u8]) -> Vec<u8> {
    const GET: &[u8] = b"\x82\x86\x84\x41\x01a";
    const POST: &[u8] = b"\x83\x86\x84\x41\x01a";
    const FAREWELL: &[u8] = b"\x82\x86\x41\x01a\x04\x08/goodbye";
    let mut said = Vec::new();
    frame(SETTINGS, 0, 0, &[], &mut said);
    while let Some((&[kind, flags, stream, length], rest)) = script.split_first_chunk::<4>() {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(length)));
        script = rest;
        let id = u32::from(stream);
        let mut head = |start: &[u8], flags| frame(HEADERS, flags, id, &[start, payload].concat(), &mut said);
        match kind {
            0x80 => head(GET, 5),
            0x81 => head(POST, 4),
            0x82 => head(FAREWELL, 5),
            0x83 => head(GET, flags),
            0x84 => frame(DATA, flags, id, &vec![b'd'; usize::from(length) * 64], &mut said),
            0x85 => frame(WINDOW_UPDATE, flags, id, &(u32::from(length) << 12).to_be_bytes(), &mut said),
            0x86 => (0..length).for_each(|_| frame(flags % 10, flags, id, payload, &mut said)),
            0x87 => frame(6, 1, 0, b"farewell", &mut said),
            kind => frame(kind % 11, flags, id, payload, &mut said),
        }
    }
    said
}

/// What the first byte of a script chooses.
pub(crate) fn limits(choice: u8) -> Limits {
    let mut limits = Limits { extended_connect: choice & 2 != 0, ..Limits::default() };
    if choice & 1 != 0 {
        limits.max_concurrent_streams = 3;
        limits.initial_stream_window = 1000;
        limits.initial_connection_window = 1000;
        limits.max_header_list = 1000;
        limits.max_fields = 8;
    }
    limits
}

/// A header block of literals without indexing (RFC 7541 6.2.2).
pub(crate) fn literals(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// A length with a prefix of seven bits (RFC 7541 5.1).
fn length(length: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(0x7f) else { return block.push(length as u8) };
    block.push(0x7f);
    while rest > 0x7f {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// Appends one frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// All that must hold of a request whose head is these lines, in this order; `ended`: no body follows.
pub(crate) fn check_head(fields: &[(&[u8], &[u8])], ended: bool, limits: &Limits) {
    let mut said = PREFACE.to_vec();
    frame(SETTINGS, 0, 0, &[], &mut said);
    let block = literals(fields);
    let mut pieces = block.chunks(16_384);
    frame(HEADERS, u8::from(ended), 1, pieces.next().unwrap_or_default(), &mut said);
    pieces.for_each(|piece| frame(CONTINUATION, 0, 1, piece, &mut said));
    frame(CONTINUATION, 4, 1, &[], &mut said);
    let client = Client::new(&said, usize::MAX, 1);
    let mut cx = Context::from_waker(Waker::noop());
    let handshake = until_ready(pin!(ServerConnection::handshake(Shared(&client), limits)), &mut cx);
    let mut connection = handshake.expect("a preface").expect("the preface");
    let mut head = RequestHead::default();
    let accepted = (0..2).find_map(|_| match connection.poll_accept(&mut head, &mut cx) {
        Poll::Ready(accepted) => accepted,
        Poll::Pending => None,
    });
    match accepted {
        Some(Ok(incoming)) if incoming.verdict.is_ok() => check_accepted(fields, ended, &head),
        _ => {}
    }
}

fn check_accepted(fields: &[(&[u8], &[u8])], ended: bool, head: &RequestHead) {
    let seen = Request::from(head);
    check_lines(&seen.fields);
    assert_eq!(seen.version, Version::H2);
    let said = |name: &[u8]| -> Vec<&[u8]> {
        fields.iter().filter(|line| line.0 == name).map(|line| line.1).collect()
    };
    for (name, value) in &seen.fields {
        assert!(name == b"cookie" || said(name).contains(&&value[..]), "a line that nobody sent");
    }
    let crumbs = said(b"cookie");
    let cookie = seen.fields.iter().find(|(name, _)| name == b"cookie").map(|(_, value)| value.clone());
    // One that holds nothing adds nothing.
    let full: Vec<&[u8]> = crumbs.iter().copied().filter(|crumb| !crumb.is_empty()).collect();
    assert_eq!(cookie, (!crumbs.is_empty()).then(|| full.join(&b"; "[..])), "every crumb, in order");
    for (part, name) in [(&seen.method, &b":method"[..]), (&seen.path, b":path")] {
        assert!(said(name).len() <= 1, "said once");
        assert_eq!(part, said(name).first().copied().unwrap_or_default());
    }
    let authority = [said(b":authority"), said(b"host")]
        .concat()
        .into_iter()
        .all(|said| seen.authority.eq_ignore_ascii_case(said));
    assert!(authority && !seen.authority.is_empty(), "one authority");
    let nothing = said(b"content-length").iter().any(|length| length.iter().all(|digit| *digit == b'0'));
    assert_eq!(seen.body == BodyLength::None, ended || nothing);
    check_downgrade(head, seen);
}

/// Written for an HTTP/1 origin, the request is the same one, and nothing is left over.
fn check_downgrade(head: &RequestHead, seen: Request) {
    if head.method_kind == MethodKind::Connect {
        return;
    }
    let mut bytes = Vec::new();
    encode_request(head, &mut bytes);
    let limits = h1::Limits { max_head_bytes: 1 << 20, max_fields: h1::MAX_FIELDS };
    let mut again = RequestHead::default();
    let parsed = h1::parse_request(&bytes, &mut 0, &limits, &mut again);
    assert_eq!(parsed, Ok(Some(bytes.len())), "{}", String::from_utf8_lossy(&bytes));
    let expected = Request {
        version: Version::H11,
        keep_alive: true,
        expect_continue: seen.expect_continue && seen.body != BodyLength::None,
        te_trailers: false,
        ..seen
    };
    assert_eq!(Request::from(&again), expected);
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut other = httparse::Request::new(&mut headers);
    assert_eq!(other.parse(&bytes), Ok(httparse::Status::Complete(bytes.len())));
}
