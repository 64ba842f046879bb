//! The one message that all versions share: heads as ranges over one owned buffer.
//!
//! A head owns its bytes and is reused from message to message: clearing keeps the allocation. Field names are always
//! stored in lower case (HTTP/2 demands it, matching becomes a byte comparison, and an HTTP/1 peer may not care).
//! Values are stored without leading and trailing white space.

use std::ops::Range;

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
    /// `x-request-id`
    XRequestId,
    /// Any name that begins with `x-envoy-`
    XEnvoy,
}

impl Known {
    /// Classifies a lower-case name.
    pub fn of(name: &[u8]) -> Known {
        match name {
            b"host" => Known::Host,
            b"connection" => Known::Connection,
            b"content-length" => Known::ContentLength,
            b"transfer-encoding" => Known::TransferEncoding,
            b"te" => Known::Te,
            b"trailer" => Known::Trailer,
            b"upgrade" => Known::Upgrade,
            b"keep-alive" => Known::KeepAlive,
            b"proxy-connection" => Known::ProxyConnection,
            b"expect" => Known::Expect,
            b"date" => Known::Date,
            b"server" => Known::Server,
            b"user-agent" => Known::UserAgent,
            b"x-forwarded-for" => Known::XForwardedFor,
            b"x-forwarded-proto" => Known::XForwardedProto,
            b"x-request-id" => Known::XRequestId,
            _ if name.starts_with(b"x-envoy-") => Known::XEnvoy,
            _ => Known::Other,
        }
    }
}

/// One field line.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// What the name is, if the gateway knows it.
    pub known: Known,
    name: Span,
    value: Span,
}

/// Field lines in the order received, over one buffer.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    list: Vec<Field>,
}

impl Fields {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
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

    /// The text of a span.
    pub fn text(&self, span: Span) -> &[u8] {
        &self.bytes[span.range()]
    }

    /// Appends a field line; lower-cases the name.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store_lower(name);
        let value = self.store(value);
        let known = Known::of(self.text(name));
        self.list.push(Field { known, name, value });
    }

    /// Replaces all lines of that (lower-case) name by one, at the end.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// Replaces all lines of a known name by one, at the end.
    pub fn set_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        self.remove_known(known);
        self.add(name, value);
    }

    /// Drops all lines of that (lower-case) name.
    pub fn remove(&mut self, name: &[u8]) {
        let Fields { bytes, list } = self;
        list.retain(|field| &bytes[field.name.range()] != name);
    }

    /// Drops all lines of a known name.
    pub fn remove_known(&mut self, known: Known) {
        self.list.retain(|field| field.known != known);
    }

    /// Keeps the lines for which `keep(known, name, value)` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Known, &[u8], &[u8]) -> bool) {
        let Fields { bytes, list } = self;
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

    /// Sets the method and its kind.
    pub fn set_method(&mut self, method: &[u8]) {
        self.method_kind = match method {
            b"HEAD" => MethodKind::Head,
            b"GET" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE" => MethodKind::Idempotent,
            b"CONNECT" => MethodKind::Connect,
            _ => MethodKind::Other,
        };
        self.method = self.fields.store(method);
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

/// The head of a response. As with requests, framing and hop-by-hop fields are not in `fields`.
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
