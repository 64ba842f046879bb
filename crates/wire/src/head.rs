//! The one message that all versions share: heads as ranges over one owned buffer.
//!
//! A head owns its bytes and is reused from message to message: clearing keeps the allocation. Field names are always
//! stored in lower case (HTTP/2 demands it, matching becomes a byte comparison, and an HTTP/1 peer may not care).
//! Values are stored without leading and trailing white space.

use std::ops::Range;

use crate::spelling::Spelling;

/// A range of a head's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Field names that the gateway itself looks at, so that it need not compare text on the request path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Known {
    /// Any other name.
    Other,
    /// `host`
    Host,
    /// `connection`
    Connection,
    /// `content-length`
    ContentLength,
    /// `content-type`
    ContentType,
    /// `transfer-encoding`
    TransferEncoding,
    /// `te`
    Te,
    /// `trailer`
    Trailer,
    /// `upgrade`
    Upgrade,
    /// `keep-alive`
    KeepAlive,
    /// `proxy-connection`
    ProxyConnection,
    /// `expect`
    Expect,
    /// `date`
    Date,
    /// `server`
    Server,
    /// `user-agent`
    UserAgent,
    /// `x-forwarded-for`
    XForwardedFor,
    /// `x-forwarded-proto`
    XForwardedProto,
    /// `http2-settings`
    Http2Settings,
    /// `x-request-id`
    XRequestId,
    /// Any name that begins with `x-envoy-`
    XEnvoy,
}

impl Known {
    /// Classifies a name in any case.
    pub fn of(name: &[u8]) -> Known {
        let Some(first) = name.first() else { return Known::Other };
        let (known, lower, capitals): (Known, &[u8], &[u8]) = match (name.len(), first | 0x20) {
            (4, b'h') => (Known::Host, b"host", b"Host"),
            (10, b'c') => (Known::Connection, b"connection", b"Connection"),
            (14, b'c') => (Known::ContentLength, b"content-length", b"Content-Length"),
            (12, b'c') => (Known::ContentType, b"content-type", b"Content-Type"),
            (17, b't') => (Known::TransferEncoding, b"transfer-encoding", b"Transfer-Encoding"),
            (2, b't') => (Known::Te, b"te", b"TE"),
            (7, b't') => (Known::Trailer, b"trailer", b"Trailer"),
            (7, b'u') => (Known::Upgrade, b"upgrade", b"Upgrade"),
            (10, b'k') => (Known::KeepAlive, b"keep-alive", b"Keep-Alive"),
            (16, b'p') => (Known::ProxyConnection, b"proxy-connection", b"Proxy-Connection"),
            (6, b'e') => (Known::Expect, b"expect", b"Expect"),
            (4, b'd') => (Known::Date, b"date", b"Date"),
            (6, b's') => (Known::Server, b"server", b"Server"),
            (10, b'u') => (Known::UserAgent, b"user-agent", b"User-Agent"),
            (14, b'h') => (Known::Http2Settings, b"http2-settings", b"HTTP2-Settings"),
            (15, b'x') => (Known::XForwardedFor, b"x-forwarded-for", b"X-Forwarded-For"),
            (17, b'x') => (Known::XForwardedProto, b"x-forwarded-proto", b"X-Forwarded-Proto"),
            (12, b'x') => (Known::XRequestId, b"x-request-id", b"X-Request-ID"),
            _ => (Known::Other, b"", b""),
        };
        // Most senders write a name in one of two ways, and comparing whole texts is quicker than letter by letter.
        if known != Known::Other && (name == lower || name == capitals || name.eq_ignore_ascii_case(lower)) {
            return known;
        }
        match name.get(..8) {
            Some(start) if first | 0x20 == b'x' && start.eq_ignore_ascii_case(b"x-envoy-") => Known::XEnvoy,
            _ => Known::Other,
        }
    }

    /// Whether the field belongs to one connection, or is written anew by every encoder from the head itself: such a
    /// field is never copied from one side to the other (RFC 9110 7.6.1, RFC 9113 8.2.2).
    pub fn is_per_hop(self) -> bool {
        matches!(
            self,
            Known::Host
                | Known::Connection
                | Known::ContentLength
                | Known::TransferEncoding
                | Known::Te
                | Known::Trailer
                | Known::Upgrade
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::Expect
                | Known::Http2Settings
        )
    }
}

/// One field line.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// What the name is, if the gateway knows it.
    pub known: Known,
    /// In the buffer the field stands as it does on the wire: `name: value`, line end and all.
    is_line: bool,
    name: Span,
    value: Span,
}

/// Field lines in the order received, over one buffer.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    list: Vec<Field>,
    /// Of names, as it was on the wire.
    pub(crate) spelling: Spelling,
}

impl Fields {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
        self.spelling.clear();
    }

    /// Whether heads that are read from HTTP/1 from now on remember how names were spelt, so that they are written so.
    pub fn keep_spelling(&mut self, keep: bool) {
        self.spelling.keep(keep);
    }

    /// How many field lines there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes of capacity held, so that an owner can give back what one large message grew.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes of names and values that have been stored since it was cleared, about what the head took on the wire.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Copies text into the buffer.
    pub fn store(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        Span { start, end: self.bytes.len() as u32 }
    }

    /// Copies text into the buffer, ASCII letters lower-cased.
    pub fn store_lower(&mut self, text: &[u8]) -> Span {
        let span = self.store(text);
        self.bytes[span.range()].make_ascii_lowercase();
        span
    }

    /// Copies several pieces into the buffer as one text.
    pub fn store_parts(&mut self, parts: &[&[u8]]) -> Span {
        let start = self.bytes.len() as u32;
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        Span { start, end: self.bytes.len() as u32 }
    }

    /// Replaces everything by the bytes of one received head, so that its parts can be named by [`Fields::part`].
    pub(crate) fn load(&mut self, raw: &[u8]) {
        self.clear();
        self.bytes.extend_from_slice(raw);
    }

    /// The span of `part`, a piece of the very slice that was given to [`Fields::load`]. Any other text is copied.
    pub(crate) fn part(&mut self, raw: &[u8], part: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(raw.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= raw.len() => Span { start: start as u32, end: end as u32 },
            _ => self.store(part),
        }
    }

    /// Appends a field line whose parts are in the buffer already; lower-cases the name in place.
    pub(crate) fn push(&mut self, known: Known, name: Span, value: Span) {
        self.bytes[name.range()].make_ascii_lowercase();
        let is_line = value.start == name.end + 2
            && self.bytes.get(name.end as usize..value.start as usize) == Some(b": ")
            && self.bytes.get(value.end as usize..value.end as usize + 2) == Some(b"\r\n");
        self.list.push(Field { known, is_line, name, value });
    }

    /// Bytes in the buffer: a good guess at the length of the encoded head.
    pub(crate) fn stored(&self) -> usize {
        self.bytes.len()
    }

    /// The text of a span.
    pub fn text(&self, span: Span) -> &[u8] {
        &self.bytes[span.range()]
    }

    /// Appends a field line; lower-cases the name.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        let (name, value) = self.store_line(name, value);
        self.bytes[name.range()].make_ascii_lowercase();
        let known = Known::of(self.text(name));
        self.list.push(Field { known, is_line: true, name, value });
    }

    /// Appends a field line of which it is known that the name is lower case and what [`Known`] it is.
    pub fn add_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        debug_assert!(known == Known::of(name) && !name.iter().any(u8::is_ascii_uppercase));
        let (name, value) = self.store_line(name, value);
        self.list.push(Field { known, is_line: true, name, value });
    }

    /// Inserts a field line, whose name is lower case, in front of the one at `at`.
    pub(crate) fn insert(&mut self, at: usize, name: &[u8], value: &[u8]) {
        self.add(name, value);
        let last = at.min(self.list.len() - 1);
        self.list[last..].rotate_right(1);
    }

    /// Copies a field into the buffer as it stands on the wire.
    fn store_line(&mut self, name: &[u8], value: &[u8]) -> (Span, Span) {
        self.bytes.reserve(name.len() + value.len() + 4);
        let name = self.store(name);
        self.bytes.extend_from_slice(b": ");
        let value = self.store(value);
        self.bytes.extend_from_slice(b"\r\n");
        (name, value)
    }

    /// Appends the fields that `keep` wants as lines of HTTP/1. Fields that stand side by side in the buffer as they do
    /// on the wire, nearly all of them, are copied together.
    pub(crate) fn write_lines(&self, keep: impl Fn(Known) -> bool, out: &mut Vec<u8>) {
        let mut run = 0..0;
        for field in self.list.iter().filter(|field| keep(field.known)) {
            let (start, end) = (field.name.start as usize, field.value.end as usize + 2);
            if field.is_line && start == run.end {
                run.end = end;
                continue;
            }
            out.extend_from_slice(self.bytes.get(run).unwrap_or_default());
            run = 0..0;
            if field.is_line {
                run = start..end;
            } else {
                out.extend_from_slice(self.text(field.name));
                out.extend_from_slice(b": ");
                out.extend_from_slice(self.text(field.value));
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(self.bytes.get(run).unwrap_or_default());
    }

    /// Replaces all lines of that (lower-case) name by one, at the end.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// Replaces all lines of a known name by one, at the end.
    pub fn set_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        self.remove_known(known);
        self.add_known(known, name, value);
    }

    /// Drops all lines of that (lower-case) name.
    pub fn remove(&mut self, name: &[u8]) {
        let Fields { bytes, list, .. } = self;
        list.retain(|field| &bytes[field.name.range()] != name);
    }

    /// Drops all lines of a known name.
    pub fn remove_known(&mut self, known: Known) {
        self.list.retain(|field| field.known != known);
    }

    /// Keeps the lines for which `keep(known, name, value)` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Known, &[u8], &[u8]) -> bool) {
        let Fields { bytes, list, .. } = self;
        list.retain(|f| keep(f.known, &bytes[f.name.range()], &bytes[f.value.range()]));
    }

    /// The value of the first line of that (lower-case) name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(_, n, _)| *n == name).map(|(_, _, value)| value)
    }

    /// The value of the first line of a known name.
    pub fn get_known(&self, known: Known) -> Option<&[u8]> {
        self.list.iter().find(|field| field.known == known).map(|field| self.text(field.value))
    }

    /// The values of all lines of that (lower-case) name.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(_, n, _)| *n == name).map(|(_, _, value)| value)
    }

    /// `(known, name, value)` of every line in order.
    pub fn iter(&self) -> impl Iterator<Item = (Known, &[u8], &[u8])> {
        self.list.iter().map(|f| (f.known, self.text(f.name), self.text(f.value)))
    }
}

/// The version a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    H10,
    /// HTTP/1.1
    H11,
    /// HTTP/2
    H2,
}

impl Version {
    /// As the access log prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::H10 => "HTTP/1.0",
            Version::H11 => "HTTP/1.1",
            Version::H2 => "HTTP/2",
        }
    }
}

/// How the body of a message is delimited, as its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// This many bytes, at least 1.
    Known(u64),
    /// Until its end is marked (chunked coding, or an HTTP/2 stream without content-length).
    Marked,
    /// Until the connection closes (HTTP/1 responses only).
    UntilClose,
}

/// The longest method that is taken, in bytes: longer than any registered one.
pub(crate) const MAX_METHOD_BYTES: usize = 64;

/// Methods that the gateway treats apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// Safe to send twice, with or without an answer: GET, HEAD, OPTIONS, TRACE, PUT, DELETE (RFC 9110 9.2.2).
    /// HEAD is told apart because its answers have no body.
    Head,
    /// Idempotent, not HEAD.
    Idempotent,
    /// CONNECT.
    Connect,
    /// Everything else.
    Other,
}

impl MethodKind {
    /// Classifies a method (case-sensitive, RFC 9110 9.1).
    pub fn of(method: &[u8]) -> MethodKind {
        match method {
            b"HEAD" => MethodKind::Head,
            b"GET" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE" => MethodKind::Idempotent,
            b"CONNECT" => MethodKind::Connect,
            _ => MethodKind::Other,
        }
    }
}

/// The head of a request. Framing fields (`content-length`, `transfer-encoding`) and the `host` field are not in
/// `fields`: they stand in `body` and `authority`, and encoders write them anew from there. Hop-by-hop fields and those
/// that `Connection` nominates are not in `fields` either.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The field lines, and the memory of everything else.
    pub fields: Fields,
    method: Span,
    path: Span,
    authority: Span,
    /// What the method is.
    pub method_kind: MethodKind,
    /// The version it came in.
    pub version: Version,
    /// The body that follows.
    pub body: BodyLength,
    /// The connection may carry another request after this one (HTTP/1).
    pub keep_alive: bool,
    /// `Expect: 100-continue` was there.
    pub expect_continue: bool,
    /// `TE: trailers` was there (kept, because gRPC needs it; other TE values are dropped).
    pub te_trailers: bool,
    /// The value of `Upgrade`, if the request asked for one that may be forwarded (never `h2c`).
    pub upgrade: Option<Span>,
    /// What it took as it was received.
    pub weight: Weight,
}

/// What a head took as it was received, by the measure of the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Bytes: in HTTP/1 as they came; in HTTP/2 decoded, 32 more per field (RFC 9113 6.5.2).
    pub bytes: u32,
    /// Field lines, each crumb of a cookie counted.
    pub fields: u32,
}

impl Default for RequestHead {
    fn default() -> RequestHead {
        RequestHead {
            fields: Fields::default(),
            method: Span::default(),
            path: Span::default(),
            authority: Span::default(),
            method_kind: MethodKind::Other,
            version: Version::H11,
            body: BodyLength::None,
            keep_alive: true,
            expect_continue: false,
            te_trailers: false,
            upgrade: None,
            weight: Weight::default(),
        }
    }
}

impl RequestHead {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = RequestHead { fields, ..RequestHead::default() };
    }

    /// `:method`.
    pub fn method(&self) -> &[u8] {
        self.fields.text(self.method)
    }

    /// Path with query, in origin form (or `*` for OPTIONS).
    pub fn path_and_query(&self) -> &[u8] {
        self.fields.text(self.path)
    }

    /// Path without query.
    pub fn path(&self) -> &[u8] {
        let whole = self.path_and_query();
        &whole[..memchr::memchr(b'?', whole).unwrap_or(whole.len())]
    }

    /// Query without the question mark; `None` where there is no question mark.
    pub fn query(&self) -> Option<&[u8]> {
        let whole = self.path_and_query();
        memchr::memchr(b'?', whole).map(|at| &whole[at + 1..])
    }

    /// Host as received, port included, case kept; empty if an HTTP/1.0 request named none.
    pub fn authority(&self) -> &[u8] {
        self.fields.text(self.authority)
    }

    /// Where path and query stand; stays readable through [`Fields::text`] after they are replaced.
    pub fn path_span(&self) -> Span {
        self.path
    }

    /// Where the authority stands; stays readable through [`Fields::text`] after it is replaced.
    pub fn authority_span(&self) -> Span {
        self.authority
    }

    /// Sets the method and its kind.
    pub fn set_method(&mut self, method: &[u8]) {
        self.method_kind = MethodKind::of(method);
        self.method = self.fields.store(method);
    }

    /// Sets the method to a span of the buffer.
    pub(crate) fn place_method(&mut self, method: Span) {
        self.method_kind = MethodKind::of(self.fields.text(method));
        self.method = method;
    }

    /// Sets path and query to a span of the buffer.
    pub(crate) fn place_path(&mut self, path_and_query: Span) {
        self.path = path_and_query;
    }

    /// Sets the authority to a span of the buffer.
    pub(crate) fn place_authority(&mut self, authority: Span) {
        self.authority = authority;
    }

    /// The protocol that the request asks to change to, such as `websocket`.
    pub fn upgrade_protocol(&self) -> Option<&[u8]> {
        self.upgrade.map(|span| self.fields.text(span))
    }

    /// Sets path and query.
    pub fn set_path(&mut self, path_and_query: &[u8]) {
        self.path = self.fields.store(path_and_query);
    }

    /// Sets the authority.
    pub fn set_authority(&mut self, authority: &[u8]) {
        self.authority = self.fields.store(authority);
    }
}

/// The head of a response. As with requests, framing and hop-by-hop fields are not in `fields`; only a 101 keeps its
/// `upgrade`, because that is what it is about.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The field lines.
    pub fields: Fields,
    /// 100 to 999.
    pub status: u16,
    /// The version it came in.
    pub version: Version,
    /// The body that follows.
    pub body: BodyLength,
    /// The connection may be used again after this response (HTTP/1).
    pub keep_alive: bool,
    /// The length that a HEAD or 304 response names without having a body, so that it can be passed on.
    pub named_length: Option<u64>,
    /// What it took as it was received.
    pub weight: Weight,
}

impl Default for ResponseHead {
    fn default() -> ResponseHead {
        ResponseHead {
            fields: Fields::default(),
            status: 0,
            version: Version::H11,
            body: BodyLength::None,
            keep_alive: true,
            named_length: None,
            weight: Weight::default(),
        }
    }
}

impl ResponseHead {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = ResponseHead { fields, ..ResponseHead::default() };
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
