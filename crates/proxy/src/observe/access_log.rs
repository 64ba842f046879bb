//! The access log line: Istio's text and JSON formats byte for byte, formats of the user's, ingress-nginx's line.

use super::direct::Direct;
use super::escape::{Literal, write_json_text, write_text};
use super::expression::Room;
use super::format::{self, FormatError, Parsed, Part};
use super::operator::{AddressPart, Endpoint, Operator, Plain, RequestPart, Value, WriteText};
use super::record::Record;
use super::time::TimeCache;

/// Istio's default text format.
pub const ISTIO_TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);

/// Istio's default JSON keys, in the order in which they print.
pub const ISTIO_JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// What the access log looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogConfig {
    /// No access log.
    Off,
    /// A format string of Envoy's. A line feed is appended if it has none at its end.
    Text {
        /// The format string; [`ISTIO_TEXT`] is Istio's own.
        format: String,
        /// Missing values print as nothing instead of `-`.
        omit_empty: bool,
    },
    /// One JSON object a line.
    Json {
        /// Members in the order in which they print.
        fields: Vec<JsonField>,
        /// Members without a value are left out instead of being null.
        omit_empty: bool,
    },
    /// The `upstreaminfo` line of ingress-nginx. The user of basic authentication prints as `-`, the time of the
    /// upstream is the time until its response began, and of several attempts only the last is told.
    NginxUpstreamInfo,
}

impl Default for AccessLogConfig {
    fn default() -> AccessLogConfig {
        AccessLogConfig::Text { format: ISTIO_TEXT.to_owned(), omit_empty: false }
    }
}

impl AccessLogConfig {
    /// Istio's default set of JSON keys.
    pub fn istio_json() -> AccessLogConfig {
        AccessLogConfig::Json { fields: AccessLogConfig::istio_fields(), omit_empty: false }
    }

    /// The members of Istio's default JSON object.
    pub(crate) fn istio_fields() -> Vec<JsonField> {
        let field = |(key, format): (&str, &str)| JsonField {
            key: key.to_owned(),
            value: JsonTemplate::Text(format.to_owned()),
        };
        ISTIO_JSON.into_iter().map(field).collect()
    }
}

/// A member of a JSON access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonField {
    /// The key.
    pub key: String,
    /// What its value is made of.
    pub value: JsonTemplate,
}

/// What a JSON value is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonTemplate {
    /// A format string. One operator alone keeps its type (a number, null if missing); anything else is a string.
    Text(String),
    /// A number, `true`, `false` or `null`, printed as it is.
    Scalar(String),
    /// An object.
    Object(Vec<JsonField>),
    /// An array.
    List(Vec<JsonTemplate>),
}

/// A compiled access log format; shared by all workers.
#[derive(Debug, Clone)]
pub struct AccessLog {
    pieces: Vec<Piece>,
    /// Behind the last piece.
    end: Vec<u8>,
    absent: Vec<String>,
    /// Does a line hold the bodies of answers that the gateway makes?
    bodies: bool,
    /// Does a line hold trailers?
    trailers: bool,
    /// What a missing value prints as within text.
    missing: Literal,
}

/// What a line is made of: literal text, then something computed.
#[derive(Debug, Clone)]
struct Piece {
    before: Literal,
    computed: Computed,
}

// With a tag of its own: finding the variant in the gaps of nested ones costs every piece of every line.
#[repr(u8)]
#[derive(Debug, Clone)]
enum Computed {
    /// An operator within a text line that is written the short way.
    Direct(Direct),
    Operator {
        operator: Operator,
        limit: Option<usize>,
        style: Style,
    },
    /// A comma, but not right behind an opening bracket: members before it may have been left out.
    Comma,
    /// A whole member of an object, left out if the operator has no value.
    Member {
        key: Vec<u8>,
        operator: Operator,
        limit: Option<usize>,
    },
}

impl Computed {
    /// The operator that is written the long way.
    fn operator(&self) -> Option<&Operator> {
        match self {
            Computed::Operator { operator, .. } | Computed::Member { operator, .. } => Some(operator),
            Computed::Direct(_) | Computed::Comma => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Within a text line.
    Text,
    /// Within a JSON string.
    JsonText,
    /// A JSON value of its own.
    JsonValue,
}

impl AccessLog {
    /// [`AccessLog::compile_in`] with room of its own.
    ///
    /// # Errors
    /// The same.
    pub fn compile(config: &AccessLogConfig, hostname: &str) -> Result<AccessLog, FormatError> {
        AccessLog::compile_in(config, hostname, &Room::default())
    }

    /// Compiles a configuration. `hostname` is what `%HOSTNAME%` prints; `%ENVIRONMENT(X)%` is read here, once.
    /// `room` is what its expressions have.
    ///
    /// # Errors
    /// The first operator that is unknown or has wrong arguments, and where it stands.
    pub fn compile_in(
        config: &AccessLogConfig,
        hostname: &str,
        room: &Room,
    ) -> Result<AccessLog, FormatError> {
        let mut compiler = Compiler { hostname, room: room.clone(), ..Compiler::default() };
        match config {
            AccessLogConfig::Off => {}
            AccessLogConfig::Text { format, omit_empty } => {
                compiler.omit_empty = *omit_empty;
                let parsed = format::parse(format, hostname, room)?;
                compiler.parts(parsed, Style::Text);
                if !format.is_empty() && !format.ends_with('\n') {
                    compiler.literal(b"\n");
                }
            }
            AccessLogConfig::Json { fields, omit_empty } => {
                compiler.omit_empty = *omit_empty;
                compiler.object(fields, "")?;
                compiler.literal(b"\n");
            }
            AccessLogConfig::NginxUpstreamInfo => compiler.nginx(),
        }
        let missing = Literal::new(if compiler.omit_empty { b"" } else { b"-" });
        let any = |wanted: fn(&Operator) -> bool| {
            compiler.pieces.iter().any(|piece| piece.computed.operator().is_some_and(wanted))
        };
        let bodies = any(|operator| *operator == Operator::Plain(Plain::LocalReplyBody));
        let trailers = any(|operator| matches!(operator, Operator::Trailer(..)));
        Ok(AccessLog {
            pieces: compiler.pieces,
            end: compiler.literal,
            absent: compiler.absent,
            bodies,
            trailers,
            missing,
        })
    }

    /// Whether nothing is logged.
    pub fn is_off(&self) -> bool {
        self.pieces.is_empty() && self.end.is_empty()
    }

    /// Whether records need [`Record::local_reply_body`].
    pub fn wants_bodies(&self) -> bool {
        self.bodies
    }

    /// Whether records need [`Record::response_trailers`].
    pub fn wants_trailers(&self) -> bool {
        self.trailers
    }

    /// Operators in the format that Envoy knows but for which this gateway keeps no value: they always print as
    /// missing. Worth a warning to whoever wrote the format.
    pub fn absent_operators(&self) -> &[String] {
        &self.absent
    }

    /// Appends the line of a record. Allocates only to grow `out`.
    pub fn format(&self, record: &Record<'_>, time: &mut TimeCache, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            piece.before.write(out);
            match &piece.computed {
                Computed::Direct(direct) => direct.write(record, &self.missing, time, out),
                Computed::Operator { operator: Operator::Composed(composed), limit, style } => {
                    let text = composed.text(record);
                    self.write(Value::maybe(text.as_deref().map(str::as_bytes)), *limit, *style, time, out);
                }
                Computed::Operator { operator, limit, style } => {
                    self.write(operator.value(record), *limit, *style, time, out);
                }
                Computed::Comma if out.ends_with(b"{") || out.ends_with(b"[") => {}
                Computed::Comma => out.push(b','),
                Computed::Member { key, operator, limit } => {
                    let text = match operator {
                        Operator::Composed(composed) => composed.text(record),
                        _ => None,
                    };
                    let value = match &text {
                        Some(text) => Value::Text(text.as_bytes()),
                        None => operator.value(record),
                    };
                    if !matches!(value, Value::Missing) {
                        if !out.ends_with(b"{") {
                            out.push(b',');
                        }
                        out.extend_from_slice(key);
                        self.write(value, *limit, Style::JsonValue, time, out);
                    }
                }
            }
        }
        out.extend_from_slice(&self.end);
    }

    #[inline]
    fn write(
        &self,
        value: Value<'_>,
        limit: Option<usize>,
        style: Style,
        time: &mut TimeCache,
        out: &mut Vec<u8>,
    ) {
        match (style, value) {
            (Style::JsonValue, Value::Missing) => out.extend_from_slice(b"null"),
            (_, Value::Missing) => self.missing.write(out),
            (Style::Text, value) => write_limited(value, limit, time, write_text, out),
            (Style::JsonText, value) => write_limited(value, limit, time, write_json_text, out),
            (Style::JsonValue, Value::Number(_)) if limit.is_none() => {
                value.write(time, write_json_text, out)
            }
            (Style::JsonValue, value) => {
                out.push(b'"');
                write_limited(value, limit, time, write_json_text, out);
                out.push(b'"');
            }
        }
    }
}

/// Writes at most `limit` bytes of the value, counted before escaping so that no escape is cut in two.
fn write_limited(
    value: Value<'_>,
    limit: Option<usize>,
    time: &mut TimeCache,
    write_text: impl WriteText,
    out: &mut Vec<u8>,
) {
    let Some(limit) = limit else { return value.write(time, write_text, out) };
    let start = out.len();
    value.cut(limit).write(time, write_text, out);
    if value.is_plain() {
        // A time format may hold characters of several bytes: half of one is none.
        let inside = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
        let mut end = start.saturating_add(limit);
        while end > start && out.get(end).is_some_and(inside) {
            end -= 1;
        }
        out.truncate(end);
    }
}

#[derive(Default)]
struct Compiler<'c> {
    hostname: &'c str,
    room: Room,
    omit_empty: bool,
    pieces: Vec<Piece>,
    /// Text behind the last piece.
    literal: Vec<u8>,
    absent: Vec<String>,
}

impl Compiler<'_> {
    fn literal(&mut self, text: &[u8]) {
        self.literal.extend_from_slice(text);
    }

    fn computed(&mut self, computed: Computed) {
        self.pieces.push(Piece { before: Literal::new(&self.literal), computed });
        self.literal.clear();
    }

    fn operator(&mut self, operator: Operator, limit: Option<usize>, style: Style) {
        let direct = Direct::of(&operator).filter(|_| style == Style::Text && limit.is_none());
        self.computed(match direct {
            Some(direct) => Computed::Direct(direct),
            None => Computed::Operator { operator, limit, style },
        });
    }

    fn parts(&mut self, parsed: Parsed, style: Style) {
        self.absent.extend(parsed.absent);
        for part in parsed.parts {
            match part {
                Part::Literal(text) if style == Style::Text => self.literal(text.as_bytes()),
                Part::Literal(text) => self.json_literal(&text),
                Part::Operator { operator, limit } => self.operator(operator, limit, style),
            }
        }
    }

    fn json_literal(&mut self, text: &str) {
        let mut escaped = Vec::new();
        write_json_text(text.as_bytes(), &mut escaped);
        self.literal(&escaped);
    }

    fn comma(&mut self, index: usize) {
        match (index, self.omit_empty) {
            (0, false) => {}
            (_, false) => self.literal(b","),
            (_, true) => self.computed(Computed::Comma),
        }
    }

    fn object(&mut self, fields: &[JsonField], path: &str) -> Result<(), FormatError> {
        self.literal(b"{");
        for (index, field) in fields.iter().enumerate() {
            let path = if path.is_empty() { field.key.clone() } else { format!("{path}.{}", field.key) };
            let mut key = vec![b'"'];
            write_json_text(field.key.as_bytes(), &mut key);
            key.extend_from_slice(b"\":");
            if let Some((operator, limit)) =
                self.lone_operator(&field.value, &path)?.filter(|_| self.omit_empty)
            {
                self.computed(Computed::Member { key, operator, limit });
                continue;
            }
            self.comma(index);
            self.literal(&key);
            self.value(&field.value, &path)?;
        }
        self.literal(b"}");
        Ok(())
    }

    /// The operator of a format string that consists of nothing else.
    fn lone_operator(
        &self,
        value: &JsonTemplate,
        path: &str,
    ) -> Result<Option<(Operator, Option<usize>)>, FormatError> {
        let JsonTemplate::Text(format) = value else { return Ok(None) };
        let mut parts = self.parse(format, path)?.parts;
        match (parts.pop(), parts.is_empty()) {
            (Some(Part::Operator { operator, limit }), true) => Ok(Some((operator, limit))),
            _ => Ok(None),
        }
    }

    fn parse(&self, format: &str, path: &str) -> Result<Parsed, FormatError> {
        let parsed = format::parse(format, self.hostname, &self.room);
        parsed.map_err(|error| FormatError { key: path.to_owned(), ..error })
    }

    fn value(&mut self, value: &JsonTemplate, path: &str) -> Result<(), FormatError> {
        match value {
            JsonTemplate::Text(format) => {
                let parsed = self.parse(format, path)?;
                if let [Part::Operator { .. }] = parsed.parts[..] {
                    self.parts(parsed, Style::JsonValue);
                } else {
                    self.literal(b"\"");
                    self.parts(parsed, Style::JsonText);
                    self.literal(b"\"");
                }
            }
            JsonTemplate::Scalar(text) if is_json_scalar(text) => self.literal(text.as_bytes()),
            JsonTemplate::Scalar(text) => {
                return Err(FormatError {
                    key: path.to_owned(),
                    operator: text.clone(),
                    position: 0,
                    reason: "expected a JSON number, true, false or null".to_owned(),
                });
            }
            JsonTemplate::Object(fields) => self.object(fields, path)?,
            JsonTemplate::List(values) => {
                self.literal(b"[");
                for (index, value) in values.iter().enumerate() {
                    self.comma(index);
                    self.value(value, path)?;
                }
                self.literal(b"]");
            }
        }
        Ok(())
    }

    /// `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer"
    /// "$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name]
    /// $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id`.
    fn nginx(&mut self) {
        let plain = Operator::Plain;
        let field = |name| Operator::Request(RequestPart::of(name), None);
        let path = Operator::Request(RequestPart::OriginalPath, Some(RequestPart::Path));
        let line: [(Operator, &str); 16] = [
            (Operator::Address(Endpoint::DownstreamRemote, AddressPart::WithoutPort), " - - ["),
            (plain(Plain::NginxTime), "] \""),
            (field(":method"), " "),
            (path, " "),
            (plain(Plain::NginxProtocol), "\" "),
            (plain(Plain::ResponseCode), " "),
            (plain(Plain::BytesSent), " \""),
            (field("referer"), "\" \""),
            (field("user-agent"), "\" "),
            (plain(Plain::NginxRequestLength), " "),
            (plain(Plain::NginxRequestTime), " ["),
            (plain(Plain::NginxUpstreamName), "] [] "),
            (Operator::Address(Endpoint::UpstreamRemote, AddressPart::Whole), " "),
            (plain(Plain::NginxUpstreamLength), " "),
            (plain(Plain::NginxUpstreamTime), " "),
            (plain(Plain::NginxUpstreamStatus), " "),
        ];
        for (operator, then) in line {
            self.operator(operator, None, Style::Text);
            self.literal(then.as_bytes());
        }
        self.operator(field("x-request-id"), None, Style::Text);
        self.literal(b"\n");
    }
}

/// Whether the text is a JSON scalar other than a string (RFC 8259 sections 3 and 6).
fn is_json_scalar(text: &str) -> bool {
    if matches!(text, "true" | "false" | "null") {
        return true;
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
