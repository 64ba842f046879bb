//! What must hold of any input whatever; the simulations and the fuzz targets share it.

use limen_wire::h1::{
    self, BodyDecoder, BodyError, CHUNK_END, HeadError, LAST_CHUNK, Limits, encode_chunk_header,
    encode_request, encode_response, parse_request, parse_response,
};
use limen_wire::head::{BodyLength, Fields, Known, MethodKind, RequestHead, ResponseHead, Version};

pub(crate) type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// Everything that a request head says, comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) authority: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) body: BodyLength,
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
    pub(crate) te_trailers: bool,
    pub(crate) upgrade: Option<Vec<u8>>,
    pub(crate) fields: Lines,
}

impl From<&RequestHead> for Request {
    fn from(head: &RequestHead) -> Request {
        Request {
            method: head.method().to_vec(),
            path: head.path_and_query().to_vec(),
            authority: head.authority().to_vec(),
            version: head.version,
            body: head.body,
            keep_alive: head.keep_alive,
            expect_continue: head.expect_continue,
            te_trailers: head.te_trailers,
            upgrade: head.upgrade_protocol().map(<[u8]>::to_vec),
            fields: lines(&head.fields),
        }
    }
}

/// Everything that a response head says, comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) body: BodyLength,
    pub(crate) keep_alive: bool,
    pub(crate) named_length: Option<u64>,
    pub(crate) fields: Lines,
}

impl From<&ResponseHead> for Response {
    fn from(head: &ResponseHead) -> Response {
        Response {
            status: head.status,
            version: head.version,
            body: head.body,
            keep_alive: head.keep_alive,
            named_length: head.named_length,
            fields: lines(&head.fields),
        }
    }
}

pub(crate) fn lines(fields: &Fields) -> Lines {
    fields.iter().map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// What one call made of the input.
pub(crate) type Outcome<T> = Result<Option<(usize, T)>, HeadError>;

/// Parses a request out of bytes that are all there.
pub(crate) fn request(input: &[u8]) -> Outcome<Request> {
    request_within(&Limits::default(), input)
}

fn request_within(limits: &Limits, input: &[u8]) -> Outcome<Request> {
    let mut head = dirty_request();
    let parsed = parse_request(input, &mut 0, limits, &mut head)?;
    Ok(parsed.map(|length| (length, Request::from(&head))))
}

/// Parses a response out of bytes that are all there.
pub(crate) fn response(input: &[u8], kind: MethodKind) -> Outcome<Response> {
    response_within(&Limits::default(), input, kind)
}

fn response_within(limits: &Limits, input: &[u8], kind: MethodKind) -> Outcome<Response> {
    let mut head = ResponseHead::default();
    head.fields.add(b"left", b"over");
    head.named_length = Some(9);
    let parsed = parse_response(input, &mut 0, limits, kind, &mut head)?;
    Ok(parsed.map(|length| (length, Response::from(&head))))
}

/// For what we write: a head that has as many fields as it may have gets one for its framing and one for the connection.
fn written() -> Limits {
    let read = Limits::default();
    Limits { max_head_bytes: read.max_head_bytes + 200, max_fields: read.max_fields + 2 }
}

/// A head as it is after use, since that is how it comes to the parser.
fn dirty_request() -> RequestHead {
    let mut head = RequestHead::default();
    head.set_method(b"CONNECT");
    head.set_authority(b"left");
    head.set_path(b"/over");
    head.fields.add(b"left", b"over");
    head.expect_continue = true;
    head.te_trailers = true;
    head.upgrade = Some(head.fields.store(b"left"));
    head.body = BodyLength::Marked;
    head
}

/// Feeds a parser one byte more at a time; the first outcome that is not "more" must be the one that `whole` is, and a
/// complete head must come out exactly at its last byte.
fn trickle<T: PartialEq + std::fmt::Debug>(
    input: &[u8],
    whole: &Outcome<T>,
    mut parse: impl FnMut(&[u8], &mut usize) -> Outcome<T>,
) {
    let mut scanned = 0;
    for end in 0..=input.len() {
        let outcome = parse(&input[..end], &mut scanned);
        assert!(scanned <= end);
        match outcome {
            Ok(None) => {}
            Ok(Some((length, _))) => {
                assert_eq!((length, scanned), (end, 0), "complete at its last byte, ready for the next");
                return assert_eq!(&outcome, whole);
            }
            Err(_) => return assert_eq!(&outcome, whole),
        }
    }
    assert_eq!(whole, &Ok(None));
}

/// All that must hold of a request parsed from any input.
pub(crate) fn check_request(input: &[u8]) {
    let whole = request(input);
    trickle(input, &whole, |part, scanned| {
        let mut head = dirty_request();
        let parsed = parse_request(part, scanned, &Limits::default(), &mut head)?;
        Ok(parsed.map(|length| (length, Request::from(&head))))
    });
    let Ok(Some((length, seen))) = whole else { return };
    check_lines(&seen.fields);
    agree_on_request(&input[..length], &seen);

    if seen.authority.is_empty() {
        assert_eq!(seen.version, Version::H10);
        return;
    }
    let mut head = RequestHead::default();
    parse_request(input, &mut 0, &Limits::default(), &mut head).unwrap();
    let mut bytes = Vec::new();
    encode_request(&head, &mut bytes);
    let (again_length, again) =
        request_within(&written(), &bytes).unwrap().expect("an encoded head is complete");
    assert_eq!(again_length, bytes.len(), "nothing is left over");
    // What concerns the client's connection only is not passed on.
    let expected = Request {
        version: Version::H11,
        keep_alive: true,
        expect_continue: seen.expect_continue && seen.body != BodyLength::None,
        te_trailers: false,
        ..seen
    };
    assert_eq!(again, expected);
}

/// Another parser must see the same start line, and every line that was kept, in the same order.
fn agree_on_request(input: &[u8], seen: &Request) {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut other = httparse::Request::new(&mut headers);
    assert_eq!(other.parse(input), Ok(httparse::Status::Complete(input.len())));
    assert_eq!(other.method.unwrap().as_bytes(), seen.method);
    assert_eq!(other.version == Some(1), seen.version == Version::H11);
    let target = other.path.unwrap().as_bytes();
    if target.starts_with(b"/") {
        assert_eq!(target, seen.path);
    }
    agree_on_lines(other.headers, &seen.fields);
}

fn agree_on_lines(theirs: &[httparse::Header<'_>], ours: &Lines) {
    let mut theirs = theirs.iter();
    for (name, value) in ours {
        let found = theirs.any(|line| line.name.as_bytes().eq_ignore_ascii_case(name) && line.value == value);
        assert!(found, "{} is not theirs", String::from_utf8_lossy(name));
    }
}

/// No kept line may frame, route, or be read as two.
pub(crate) fn check_lines(fields: &Lines) {
    for (name, value) in fields {
        assert!(
            !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && !b":\"(),/".contains(byte))
        );
        assert!(!name.iter().any(u8::is_ascii_uppercase));
        assert!(!value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
        let edges = [value.first(), value.last()];
        assert!(!edges.iter().flatten().any(|byte| byte.is_ascii_whitespace()), "trimmed");
        assert!(!Known::of(name).is_per_hop() || name == b"upgrade");
    }
}

/// All that must hold of a response parsed from any input.
pub(crate) fn check_response(input: &[u8], kind: MethodKind) {
    let whole = response(input, kind);
    trickle(input, &whole, |part, scanned| {
        let mut head = ResponseHead::default();
        let parsed = parse_response(part, scanned, &Limits::default(), kind, &mut head)?;
        Ok(parsed.map(|length| (length, Response::from(&head))))
    });
    let Ok(Some((length, seen))) = whole else { return };
    check_lines(&seen.fields);
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut other = httparse::Response::new(&mut headers);
    assert_eq!(other.parse(&input[..length]), Ok(httparse::Status::Complete(length)));
    assert_eq!(other.code, Some(seen.status));
    agree_on_lines(other.headers, &seen.fields);

    let mut head = ResponseHead::default();
    parse_response(input, &mut 0, &Limits::default(), kind, &mut head).unwrap();
    for client in [Version::H10, Version::H11] {
        let mut bytes = Vec::new();
        encode_response(&head, client, kind, head.keep_alive, &mut bytes);
        let (again_length, again) =
            response_within(&written(), &bytes, kind).unwrap().expect("an encoded head is complete");
        assert_eq!(again_length, bytes.len(), "nothing is left over");
        let chunked = h1::chunked_response(&head, client, kind);
        let body = match seen.body {
            BodyLength::Marked | BodyLength::UntilClose if client == Version::H11 => BodyLength::Marked,
            BodyLength::Marked => BodyLength::UntilClose,
            other => other,
        };
        assert_eq!(chunked, body == BodyLength::Marked);
        let tunnel = seen.status == 101 || (kind == MethodKind::Connect && seen.status / 100 == 2);
        let interim = seen.status < 200;
        let keep_alive = !tunnel && (interim || (seen.keep_alive && body != BodyLength::UntilClose));
        assert_eq!(again, Response { version: Version::H11, body, keep_alive, ..seen.clone() });
    }
}

/// What became of a body: its data, and how many bytes it took if it is complete.
pub(crate) type BodyOutcome = Result<(Vec<u8>, Option<usize>), BodyError>;

/// Decodes a body that arrives in pieces of so many bytes.
pub(crate) fn body(length: BodyLength, input: &[u8], piece: usize) -> BodyOutcome {
    let mut decoder = BodyDecoder::new(length);
    let mut data = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        let part = &input[start..end];
        let decoded = decoder.decode(part)?;
        assert!(decoded.data.end <= decoded.consumed && decoded.consumed <= part.len());
        assert_eq!(decoded.done, decoder.is_done());
        data.extend_from_slice(&part[decoded.data.clone()]);
        start += decoded.consumed;
        if decoded.done {
            assert_eq!(decoder.finish_at_close(), Ok(()));
            return Ok((data, Some(start)));
        }
        if decoded.consumed < part.len() {
            assert!(!decoded.data.is_empty(), "stops early only for the sake of one contiguous piece");
            continue;
        }
        if end == input.len() {
            let complete = decoder.finish_at_close().is_ok();
            assert_eq!(complete, length == BodyLength::UntilClose);
            return Ok((data, complete.then_some(start)));
        }
        end = (end + piece).min(input.len());
    }
}

/// All that must hold of a chunked body decoded from any input.
pub(crate) fn check_chunked(input: &[u8]) {
    let whole = body(BodyLength::Marked, input, input.len().max(1));
    for piece in [1, 2, 3, 7] {
        assert_eq!(body(BodyLength::Marked, input, piece), whole, "in pieces of {piece}");
    }
    let reference = reference_chunked(input);
    match &whole {
        Ok((data, Some(length))) => assert_eq!(reference.as_ref(), Some(&(data.clone(), *length))),
        Err(BodyError::ExtensionsTooLarge | BodyError::TrailersTooLarge) => {}
        _ => assert_eq!(reference, None),
    }
    let Ok((data, Some(_))) = whole else { return };
    let mut bytes = Vec::new();
    for chunk in data.chunks(1000) {
        encode_chunk_header(chunk.len(), &mut bytes);
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(CHUNK_END);
    }
    bytes.extend_from_slice(LAST_CHUNK);
    let length = bytes.len();
    assert_eq!(body(BodyLength::Marked, &bytes, length), Ok((data, Some(length))));
}

/// The grammar of RFC 9112 7.1 said once more, plainly: data and length of a complete body, else `None`.
fn reference_chunked(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line_at = |at: usize| {
        let end = at + input[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let text = &input[at..end];
        let clean = text.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
        clean.then_some((text, end + 2))
    };
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let (line, next) = line_at(at)?;
        let digits = line.split(|byte| *byte == b';').next()?;
        if !(1..=16).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        data.extend_from_slice(input.get(at..end)?);
        at = end.checked_add(2)?;
        if input.get(end..at)? != b"\r\n" {
            return None;
        }
    }
    loop {
        let (line, next) = line_at(at)?;
        at = next;
        if line.is_empty() {
            return Some((data, at));
        }
        let name = &line[..line.iter().position(|byte| *byte == b':')?];
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let never = ["content-length", "transfer-encoding", "host"];
        if name.is_empty() || !name.iter().all(token) {
            return None;
        }
        if never.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes())) {
            return None;
        }
    }
}
