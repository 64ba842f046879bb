//! Parser of Envoy's access log format strings: literals and `%OPERATOR(arguments):length%`.

use super::composed::Composed;
use super::expression::{Expression, Room};
use super::operator::{AddressPart, Endpoint, GrpcStatusForm, Operator, Plain, RequestPart, ResponsePart};
use super::peer::PeerPart;
use super::time::TimeFormat;

/// What is wrong with an access log format, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("access log format{}, byte {position}, `{operator}`: {reason}", in_key(key))]
pub struct FormatError {
    /// The JSON key whose value is wrong, with dots between levels; empty for text formats.
    pub key: String,
    /// The operator as it was written.
    pub operator: String,
    /// Where it begins, in bytes from the start of the format string (of the key's value, for JSON).
    pub position: usize,
    /// What was expected.
    pub reason: String,
}

fn in_key(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(", key `{key}`") }
}

/// A piece of a parsed format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Operator {
        operator: Operator,
        /// At most this many bytes of the value.
        limit: Option<usize>,
    },
}

/// A format string taken apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Parsed {
    pub(super) parts: Vec<Part>,
    /// Operators that Envoy knows and for which this gateway keeps no value.
    pub(super) absent: Vec<String>,
}

/// Takes a format string apart. `hostname` is what `%HOSTNAME%` prints, `room` what expressions have.
pub(super) fn parse(format: &str, hostname: &str, room: &Room) -> Result<Parsed, FormatError> {
    let mut parsed = Parsed::default();
    let mut position = 0;
    while let Some(offset) = format[position..].find('%') {
        let start = position + offset;
        parsed.literal(&format[position..start]);
        if format[start + 1..].starts_with('%') {
            parsed.literal("%");
            position = start + 2;
            continue;
        }
        let error = |length: usize, reason: String| FormatError {
            key: String::new(),
            operator: format[start..].chars().take(length).collect(),
            position: start,
            reason,
        };
        let Some(written) = Written::take(&format[start..]) else {
            let reason =
                "expected %NAME%, %NAME(arguments)% or %NAME(arguments):length%; write %% for a percent sign";
            return Err(error(20, reason.to_owned()));
        };
        let operator = operator(&written, hostname, room).map_err(|reason| error(written.length, reason))?;
        if operator == Operator::Absent {
            parsed.absent.push(written.name.to_owned());
        }
        parsed.parts.push(Part::Operator { operator, limit: written.limit });
        position = start + written.length;
    }
    parsed.literal(&format[position..]);
    Ok(parsed)
}

impl Parsed {
    fn literal(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Literal(before)) => before.push_str(text),
            _ => self.parts.push(Part::Literal(text.to_owned())),
        }
    }
}

/// An operator as written.
struct Written<'f> {
    name: &'f str,
    arguments: Option<&'f str>,
    limit: Option<usize>,
    /// Bytes from percent sign to percent sign.
    length: usize,
}

impl<'f> Written<'f> {
    /// Takes the operator at the beginning of `text`, which is a percent sign.
    fn take(text: &'f str) -> Option<Written<'f>> {
        let rest = &text[1..];
        let name_length = rest
            .find(|char: char| !(char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_'))
            .filter(|length| *length > 0)?;
        let (name, rest) = rest.split_at(name_length);
        let at = |rest: &str| text.len() - rest.len();
        if let Some(inside) = rest.strip_prefix('(') {
            // The first closing parenthesis that ends the operator: arguments may hold parentheses of their own.
            let (arguments, limit, rest) = inside.match_indices(')').find_map(|(end, _)| {
                take_end(&inside[end + 1..]).map(|(limit, rest)| (&inside[..end], limit, rest))
            })?;
            return Some(Written { name, arguments: Some(arguments), limit, length: at(rest) });
        }
        let (limit, rest) = take_end(rest)?;
        Some(Written { name, arguments: None, limit, length: at(rest) })
    }
}

/// Takes `:length%` or `%`; returns the length and what follows.
fn take_end(text: &str) -> Option<(Option<usize>, &str)> {
    if let Some(rest) = text.strip_prefix('%') {
        return Some((None, rest));
    }
    let (digits, rest) = text.strip_prefix(':')?.split_once('%')?;
    let limit = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((Some(limit), rest))
}

/// Names that take no argument.
const PLAIN: [(&str, Plain); 21] = [
    ("PROTOCOL", Plain::Protocol),
    ("RESPONSE_CODE", Plain::ResponseCode),
    ("RESPONSE_CODE_DETAILS", Plain::ResponseCodeDetails),
    ("RESPONSE_FLAGS", Plain::ResponseFlags),
    ("RESPONSE_FLAGS_LONG", Plain::ResponseFlagsLong),
    ("CONNECTION_TERMINATION_DETAILS", Plain::ConnectionTerminationDetails),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Plain::UpstreamTransportFailure),
    ("BYTES_RECEIVED", Plain::BytesReceived),
    ("BYTES_SENT", Plain::BytesSent),
    ("DURATION", Plain::Duration),
    ("REQUEST_DURATION", Plain::RequestDuration),
    ("RESPONSE_DURATION", Plain::ResponseDuration),
    ("RESPONSE_TX_DURATION", Plain::ResponseTxDuration),
    ("UPSTREAM_CLUSTER", Plain::UpstreamCluster),
    ("UPSTREAM_CLUSTER_RAW", Plain::UpstreamCluster),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Plain::UpstreamAttempts),
    ("REQUESTED_SERVER_NAME", Plain::ServerName),
    ("ROUTE_NAME", Plain::RouteName),
    ("DOWNSTREAM_TLS_VERSION", Plain::TlsVersion),
    ("DOWNSTREAM_TLS_CIPHER", Plain::TlsCipher),
    ("LOCAL_REPLY_BODY", Plain::LocalReplyBody),
];

const ADDRESSES: [(&str, Endpoint); 6] = [
    ("UPSTREAM_HOST", Endpoint::UpstreamRemote),
    ("UPSTREAM_REMOTE_ADDRESS", Endpoint::UpstreamRemote),
    ("UPSTREAM_LOCAL_ADDRESS", Endpoint::UpstreamLocal),
    ("DOWNSTREAM_LOCAL_ADDRESS", Endpoint::DownstreamLocal),
    ("DOWNSTREAM_REMOTE_ADDRESS", Endpoint::DownstreamRemote),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Endpoint::DownstreamDirectRemote),
];

const PEER: [(&str, PeerPart); 10] = [
    ("DOWNSTREAM_PEER_SUBJECT", PeerPart::Subject),
    ("DOWNSTREAM_PEER_ISSUER", PeerPart::Issuer),
    ("DOWNSTREAM_PEER_SERIAL", PeerPart::Serial),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", PeerPart::Fingerprint),
    ("DOWNSTREAM_PEER_FINGERPRINT_1", PeerPart::ShortFingerprint),
    ("DOWNSTREAM_PEER_CERT", PeerPart::Pem),
    ("DOWNSTREAM_PEER_URI_SAN", PeerPart::Uris),
    ("DOWNSTREAM_PEER_DNS_SAN", PeerPart::Dns),
    ("DOWNSTREAM_PEER_IP_SAN", PeerPart::Ips),
    ("DOWNSTREAM_PEER_EMAIL_SAN", PeerPart::Emails),
];

const PORTS: [(&str, Endpoint); 5] = [
    ("UPSTREAM_REMOTE_PORT", Endpoint::UpstreamRemote),
    ("UPSTREAM_LOCAL_PORT", Endpoint::UpstreamLocal),
    ("DOWNSTREAM_LOCAL_PORT", Endpoint::DownstreamLocal),
    ("DOWNSTREAM_REMOTE_PORT", Endpoint::DownstreamRemote),
    ("DOWNSTREAM_DIRECT_REMOTE_PORT", Endpoint::DownstreamDirectRemote),
];

/// Operators of Envoy's for which no value is kept; a trailing `_` names a whole family.
const ABSENT: [&str; 40] = [
    "ACCESS_LOG_TYPE",
    "CLUSTER_METADATA",
    "COMMON_DURATION",
    "CONNECTION_ID",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_HEADER_BYTES_",
    "DOWNSTREAM_LOCAL_",
    "DOWNSTREAM_PEER_",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_WIRE_BYTES_",
    "DYNAMIC_METADATA",
    "FILTER_CHAIN_NAME",
    "FILTER_STATE",
    "PATH",
    "QUERY_PARAM",
    "REQUEST_HEADERS_BYTES",
    "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES",
    "ROUNDTRIP_DURATION",
    "STREAM_ID",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "UNIQUE_ID",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_HEADER_BYTES_",
    "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_LOCAL_",
    "UPSTREAM_METADATA",
    "UPSTREAM_PEER_",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_TLS_",
    "UPSTREAM_WIRE_BYTES_",
    "VIRTUAL_CLUSTER_NAME",
    "VIRTUAL_HOST_NAME",
];

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// The operator that was written, or why there is none.
fn operator(written: &Written<'_>, hostname: &str, room: &Room) -> Result<Operator, String> {
    if let Some(operator) = without_arguments(written.name, hostname) {
        return match written.arguments {
            None | Some("") => Ok(operator),
            Some(_) => Err("this operator takes no arguments".to_owned()),
        };
    }
    match written.name {
        "START_TIME" => Ok(Operator::StartTime(time_format(written.arguments)?)),
        "EMIT_TIME" => Ok(Operator::EmitTime(time_format(written.arguments)?)),
        "DOWNSTREAM_PEER_CERT_V_START" => Ok(Operator::PeerNotBefore(time_format(written.arguments)?)),
        "DOWNSTREAM_PEER_CERT_V_END" => Ok(Operator::PeerNotAfter(time_format(written.arguments)?)),
        "REQ" => {
            let (name, other) = field_names(written.arguments)?;
            Ok(Operator::Request(RequestPart::of(name), other.map(RequestPart::of)))
        }
        "REQ_WITHOUT_QUERY" => {
            let (name, other) = field_names(written.arguments)?;
            Ok(Operator::RequestWithoutQuery(RequestPart::of(name), other.map(RequestPart::of)))
        }
        "RESP" => {
            let (name, other) = field_names(written.arguments)?;
            Ok(Operator::Response(ResponsePart::of(name), other.map(ResponsePart::of)))
        }
        "TRAILER" => {
            let lower = |name: &str| name.to_ascii_lowercase().into_bytes().into_boxed_slice();
            let (name, other) = field_names(written.arguments)?;
            Ok(Operator::Trailer(lower(name), other.map(lower)))
        }
        "GRPC_STATUS" => match written.arguments {
            None | Some("" | "CAMEL_STRING") => Ok(Operator::GrpcStatus(GrpcStatusForm::Camel)),
            Some("SNAKE_STRING") => Ok(Operator::GrpcStatus(GrpcStatusForm::Snake)),
            Some("NUMBER") => Ok(Operator::GrpcStatus(GrpcStatusForm::Number)),
            Some(_) => Err("expected CAMEL_STRING, SNAKE_STRING or NUMBER".to_owned()),
        },
        "ENVIRONMENT" => match written.arguments {
            None | Some("") => Err("expected the name of an environment variable".to_owned()),
            Some(name) => {
                let value = std::env::var(name).unwrap_or_default();
                Ok(Operator::Fixed(value.into_bytes().into()))
            }
        },
        "CEL" => {
            let text = written.arguments.filter(|text| !text.is_empty());
            let text = text.ok_or("expected an expression in parentheses, such as (request.host)")?;
            let expression =
                Expression::compile(text, room).map_err(|why| format!("it is no CEL expression: {why}"))?;
            Ok(Operator::Composed(Composed::Expression(expression.into())))
        }
        "METADATA" => metadata(written.arguments),
        name => absent(name),
    }
}

fn without_arguments(name: &str, hostname: &str) -> Option<Operator> {
    if let Some(plain) = find(&PLAIN, name) {
        return Some(Operator::Plain(plain));
    }
    if let Some(part) = find(&PEER, name) {
        return Some(Operator::Peer(part));
    }
    if let Some(endpoint) = find(&ADDRESSES, name) {
        return Some(Operator::Address(endpoint, AddressPart::Whole));
    }
    if let Some(endpoint) = name.strip_suffix("_WITHOUT_PORT").and_then(|name| find(&ADDRESSES, name)) {
        return Some(Operator::Address(endpoint, AddressPart::WithoutPort));
    }
    if let Some(endpoint) = find(&PORTS, name) {
        return Some(Operator::Address(endpoint, AddressPart::Port));
    }
    match name {
        "GRPC_STATUS_NUMBER" => Some(Operator::GrpcStatus(GrpcStatusForm::Number)),
        "TRACE_ID" => Some(Operator::Composed(Composed::TraceId)),
        "SPAN_ID" => Some(Operator::Composed(Composed::SpanId)),
        "HOSTNAME" => Some(Operator::Fixed(hostname.as_bytes().into())),
        _ => None,
    }
}

/// `TYPE:NAMESPACE:KEY`. What Istio says of routes and clusters is known; of all else there is nothing.
fn metadata(arguments: Option<&str>) -> Result<Operator, String> {
    const TYPES: [&str; 6] = ["DYNAMIC", "CLUSTER", "ROUTE", "UPSTREAM_HOST", "LISTENER", "VIRTUAL_HOST"];
    let text = arguments.unwrap_or_default();
    let kind = text.split(':').next().unwrap_or_default();
    if !TYPES.contains(&kind) {
        return Err(format!(
            "expected one of {} and what to look up, such as (ROUTE:istio:config)",
            TYPES.join(", ")
        ));
    }
    Ok(match text {
        "ROUTE:istio:config" => Operator::Composed(Composed::RouteConfig),
        "CLUSTER:istio:subset" => Operator::Composed(Composed::Subset),
        "CLUSTER:istio:default_original_port" => Operator::Composed(Composed::ClusterPort),
        _ => Operator::Absent,
    })
}

fn absent(name: &str) -> Result<Operator, String> {
    if ABSENT.into_iter().any(|absent| absent == name || absent.ends_with('_') && name.starts_with(absent)) {
        Ok(Operator::Absent)
    } else {
        Err("no such operator; names are upper case, as in Envoy's list of access log operators".to_owned())
    }
}

fn time_format(arguments: Option<&str>) -> Result<Option<TimeFormat>, String> {
    let Some(text) = arguments.filter(|text| !text.is_empty()) else { return Ok(None) };
    // So that the format's own text needs no escaping when it prints.
    if text.contains(|char: char| char.is_control() || matches!(char, '"' | '\\')) {
        return Err("a time format may hold no quotes, backslashes or control characters".to_owned());
    }
    TimeFormat::parse(text)
        .map(Some)
        .map_err(|conversion| format!("`{conversion}` is no conversion of strftime"))
}

/// The names in `X` or `X?Y`.
fn field_names(arguments: Option<&str>) -> Result<(&str, Option<&str>), String> {
    let Some(text) = arguments.filter(|text| !text.is_empty()) else {
        return Err("expected a field name in parentheses, such as (USER-AGENT) or (X?Y)".to_owned());
    };
    let (name, other) = match text.split_once('?') {
        Some((name, other)) => (name, Some(other)),
        None => (text, None),
    };
    match [Some(name), other].into_iter().flatten().find(|name| !is_field_name(name)) {
        Some(wrong) => Err(format!("`{wrong}` is no field name")),
        None => Ok((name, other)),
    }
}

/// A token of RFC 9110 5.6.2, with a colon in front for HTTP/2's pseudo-fields.
fn is_field_name(name: &str) -> bool {
    let name = name.strip_prefix(':').unwrap_or(name);
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}
