//! What each access log operator is worth for a record.

use std::net::{IpAddr, SocketAddr};

use limen_wire::head::{Fields, Known, Version};

use super::cluster_name::ClusterName;
use super::composed::Composed;
use super::escape;
use super::flags::Flags;
use super::peer::{Peer, PeerPart};
use super::record::Record;
use super::time::{TimeCache, TimeFormat};
use crate::address::Address;

/// One operator of a format, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operator {
    StartTime(Option<TimeFormat>),
    EmitTime(Option<TimeFormat>),
    Request(RequestPart, Option<RequestPart>),
    RequestWithoutQuery(RequestPart, Option<RequestPart>),
    Response(ResponsePart, Option<ResponsePart>),
    Trailer(Box<[u8]>, Option<Box<[u8]>>),
    GrpcStatus(GrpcStatusForm),
    Address(Endpoint, AddressPart),
    Peer(PeerPart),
    /// From when the client's certificate is good.
    PeerNotBefore(Option<TimeFormat>),
    /// Until when.
    PeerNotAfter(Option<TimeFormat>),
    /// An operator that Envoy knows and for which no value is kept here.
    Absent,
    /// The process knew the value when the format was compiled.
    Fixed(Box<[u8]>),
    Plain(Plain),
    /// What has to be put together first: it has no value to borrow.
    Composed(Composed),
}

/// Operators without a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    ResponseFlagsLong,
    ConnectionTerminationDetails,
    UpstreamTransportFailure,
    BytesReceived,
    BytesSent,
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    UpstreamCluster,
    UpstreamAttempts,
    ServerName,
    RouteName,
    TlsVersion,
    TlsCipher,
    LocalReplyBody,
    // The rest have no name in format strings; ingress-nginx's line is made of them.
    NginxTime,
    NginxProtocol,
    NginxRequestLength,
    NginxRequestTime,
    NginxUpstreamName,
    NginxUpstreamLength,
    NginxUpstreamTime,
    NginxUpstreamStatus,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    UpstreamRemote,
    UpstreamLocal,
    DownstreamLocal,
    DownstreamRemote,
    DownstreamDirectRemote,
}

/// Which part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressPart {
    Whole,
    WithoutPort,
    Port,
}

/// How a gRPC status prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrpcStatusForm {
    Camel,
    Snake,
    Number,
}

/// What `%REQ(...)%` may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestPart {
    Method,
    Path,
    OriginalPath,
    Authority,
    Scheme,
    ContentLength,
    Known(Known),
    Name(Box<[u8]>),
}

/// What `%RESP(...)%` may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResponsePart {
    Status,
    ServiceTime,
    ContentLength,
    Name(Box<[u8]>),
}

impl RequestPart {
    /// The part of that field name, any case.
    pub(super) fn of(name: &str) -> RequestPart {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            ":method" => RequestPart::Method,
            ":path" => RequestPart::Path,
            ":authority" | "host" => RequestPart::Authority,
            ":scheme" => RequestPart::Scheme,
            "x-envoy-original-path" => RequestPart::OriginalPath,
            "content-length" => RequestPart::ContentLength,
            _ => match Known::of(name.as_bytes()) {
                Known::Other | Known::XEnvoy => RequestPart::Name(name.into_bytes().into()),
                known => RequestPart::Known(known),
            },
        }
    }

    fn value<'r>(&'r self, record: &'r Record<'_>) -> Value<'r> {
        let field = |name: &[u8]| record.request_fields.and_then(|fields| fields.get(name));
        match self {
            RequestPart::Method => Value::filled(record.method),
            RequestPart::Path => Value::filled(record.path),
            RequestPart::OriginalPath => {
                Value::maybe(record.original_path.or_else(|| field(b"x-envoy-original-path")))
            }
            RequestPart::Authority => Value::filled(record.authority),
            RequestPart::Scheme if record.protocol.is_none() => Value::Missing,
            RequestPart::Scheme => {
                let transport: &[u8] = if record.tls_version.is_some() { b"https" } else { b"http" };
                Value::Text(field(b"x-forwarded-proto").unwrap_or(transport))
            }
            RequestPart::ContentLength => Value::number_text(record.request_content_length),
            RequestPart::Known(known) => {
                Value::maybe(record.request_fields.and_then(|fields: &Fields| fields.get_known(*known)))
            }
            RequestPart::Name(name) => Value::maybe(field(name)),
        }
    }
}

impl ResponsePart {
    /// The part of that field name, any case.
    pub(super) fn of(name: &str) -> ResponsePart {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            ":status" => ResponsePart::Status,
            "x-envoy-upstream-service-time" => ResponsePart::ServiceTime,
            "content-length" => ResponsePart::ContentLength,
            _ => ResponsePart::Name(name.into_bytes().into()),
        }
    }

    fn value<'r>(&'r self, record: &'r Record<'_>) -> Value<'r> {
        let field = |name: &[u8]| Value::maybe(record.response_fields.and_then(|fields| fields.get(name)));
        match self {
            ResponsePart::Status => Value::number_text(Some(record.code.into()).filter(|code| *code > 0)),
            ResponsePart::ServiceTime => match record.upstream_service_time_ms {
                Some(time) => Value::NumberText(time),
                None => field(b"x-envoy-upstream-service-time"),
            },
            ResponsePart::ContentLength => Value::number_text(record.response_content_length),
            ResponsePart::Name(name) => field(name),
        }
    }
}

/// What an operator is worth.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'r> {
    Missing,
    /// Bytes from anywhere.
    Text(&'r [u8]),
    /// Our own words: printable ASCII without quotes.
    Name(&'static str),
    /// As `Text`, with white space printed as `_`, so that it stays one word.
    Word(&'r [u8]),
    Number(u64),
    /// A number that is text by nature (a field's value): a JSON string.
    NumberText(u64),
    Address(&'r SocketAddr),
    Ip(IpAddr),
    Flags(Flags),
    FlagsLong(Flags),
    Time(u64),
    TimeIn(&'r TimeFormat, u64),
    NginxTime(u64),
    /// Microseconds that print as seconds.
    Seconds(u64),
    /// A cluster name that prints as ingress-nginx's `namespace-service-port`.
    IngressName(&'r str),
}

/// A writer of text that came from outside. A type parameter rather than a pointer, so that it is inlined.
pub(super) trait WriteText: Fn(&[u8], &mut Vec<u8>) + Copy {}

impl<F: Fn(&[u8], &mut Vec<u8>) + Copy> WriteText for F {}

impl<'r> Value<'r> {
    pub(super) fn maybe(text: Option<&'r [u8]>) -> Value<'r> {
        text.map_or(Value::Missing, Value::Text)
    }

    fn filled(text: &'r [u8]) -> Value<'r> {
        if text.is_empty() { Value::Missing } else { Value::Text(text) }
    }

    fn number_text(number: Option<u64>) -> Value<'r> {
        number.map_or(Value::Missing, Value::NumberText)
    }

    fn micros(time: Option<u64>) -> Value<'r> {
        time.map_or(Value::Missing, |micros| Value::Number(micros / 1_000))
    }

    fn or_else(self, other: impl FnOnce() -> Value<'r>) -> Value<'r> {
        if matches!(self, Value::Missing) { other() } else { self }
    }

    /// The value's first `limit` bytes, if it is text.
    pub(super) fn cut(self, limit: usize) -> Value<'r> {
        match self {
            Value::Text(text) => Value::Text(text.get(..limit).unwrap_or(text)),
            Value::Word(text) => Value::Word(text.get(..limit).unwrap_or(text)),
            value => value,
        }
    }

    /// Whether it prints as text that needs no escaping, of which nothing comes from outside.
    pub(super) fn is_plain(self) -> bool {
        !matches!(self, Value::Text(_) | Value::Word(_) | Value::IngressName(_))
    }

    /// Appends the value; text that came from outside goes through `write_text`, all else needs no escaping.
    pub(super) fn write(self, time: &mut TimeCache, write_text: impl WriteText, out: &mut Vec<u8>) {
        match self {
            Value::Missing => {}
            Value::Text(text) => write_text(text, out),
            Value::Name(name) => out.extend_from_slice(name.as_bytes()),
            Value::Word(text) => {
                let start = out.len();
                write_text(text, out);
                out[start..].iter_mut().filter(|byte| **byte == b' ').for_each(|byte| *byte = b'_');
            }
            Value::Number(number) | Value::NumberText(number) => escape::write_decimal(number, out),
            Value::Address(address) => escape::write_address(*address, out),
            Value::Ip(ip) => escape::write_ip(ip, out),
            Value::Flags(flags) => flags.write_short(out),
            Value::FlagsLong(flags) => flags.write_long(out),
            Value::Time(ms) => time.write_iso(ms, out),
            Value::TimeIn(format, ms) => time.write_format(format, ms, out),
            Value::NginxTime(ms) => out.extend_from_slice(time.common_log(ms)),
            Value::Seconds(micros) => escape::write_seconds(micros, out),
            Value::IngressName(cluster) => write_ingress_name(cluster, write_text, out),
        }
    }
}

/// `outbound|80|v1|reviews.default.svc.cluster.local` becomes `default-reviews-80`; any other name stays.
fn write_ingress_name(cluster: &str, write_text: impl WriteText, out: &mut Vec<u8>) {
    let name = ClusterName::parse(cluster);
    let mut labels = name.map_or("", |name| name.host).split('.');
    match (labels.next(), labels.next(), labels.next(), name.map(|name| name.port)) {
        (Some(service), Some(namespace), Some("svc"), Some(port)) => {
            for (index, part) in [namespace, service, port].into_iter().enumerate() {
                if index > 0 {
                    out.push(b'-');
                }
                write_text(part.as_bytes(), out);
            }
        }
        _ => write_text(cluster.as_bytes(), out),
    }
}

impl Operator {
    pub(super) fn value<'r>(&'r self, record: &'r Record<'_>) -> Value<'r> {
        let time = |format: &'r Option<TimeFormat>, ms| match format {
            Some(format) => Value::TimeIn(format, ms),
            None => Value::Time(ms),
        };
        match self {
            Operator::StartTime(format) => time(format, record.start_ms),
            Operator::EmitTime(format) => {
                time(format, record.start_ms.saturating_add(record.duration_us / 1_000))
            }
            Operator::Request(part, other) => request(part, other.as_ref(), record),
            Operator::RequestWithoutQuery(part, other) => match request(part, other.as_ref(), record) {
                Value::Text(text) => Value::Text(text.split(|byte| *byte == b'?').next().unwrap_or(text)),
                value => value,
            },
            Operator::Response(part, other) => part
                .value(record)
                .or_else(|| other.as_ref().map_or(Value::Missing, |other| other.value(record))),
            Operator::Trailer(name, other) => {
                let field = |name: &[u8]| record.response_trailers.and_then(|trailers| trailers.get(name));
                Value::maybe(field(name).or_else(|| other.as_deref().and_then(field)))
            }
            Operator::GrpcStatus(form) => grpc_status(*form, record),
            Operator::Address(endpoint, part) => address(*endpoint, *part, record),
            Operator::Peer(part) => {
                record.peer.map_or(Value::Missing, |peer| Value::filled(peer.part(*part).as_bytes()))
            }
            Operator::PeerNotBefore(format) => peer_time(record, |peer| peer.not_before, time, format),
            Operator::PeerNotAfter(format) => peer_time(record, |peer| peer.not_after, time, format),
            Operator::Absent | Operator::Composed(_) => Value::Missing,
            Operator::Fixed(text) => Value::filled(text),
            Operator::Plain(plain) => plain.value(record),
        }
    }
}

/// A time of the client's certificate. One before 1970 is not shown.
fn peer_time<'r>(
    record: &Record<'r>,
    seconds: impl FnOnce(&Peer) -> i64,
    time: impl FnOnce(&'r Option<TimeFormat>, u64) -> Value<'r>,
    format: &'r Option<TimeFormat>,
) -> Value<'r> {
    let seconds = record.peer.and_then(|peer| u64::try_from(seconds(peer)).ok());
    seconds.map_or(Value::Missing, |seconds| time(format, seconds.saturating_mul(1000)))
}

fn request<'r>(part: &'r RequestPart, other: Option<&'r RequestPart>, record: &'r Record<'_>) -> Value<'r> {
    part.value(record).or_else(|| other.map_or(Value::Missing, |other| other.value(record)))
}

fn address<'r>(endpoint: Endpoint, part: AddressPart, record: &'r Record<'_>) -> Value<'r> {
    let address = match endpoint {
        Endpoint::UpstreamRemote => match &record.upstream_host {
            Some(Address::Inet(address)) => Some(address),
            // A socket has no port to be without.
            Some(Address::Unix(path)) if part != AddressPart::Port => return Value::Text(path.as_bytes()),
            Some(Address::Unix(_)) | None => None,
        },
        Endpoint::UpstreamLocal => record.upstream_local.as_ref(),
        Endpoint::DownstreamLocal => Some(&record.downstream_local),
        Endpoint::DownstreamRemote => Some(&record.downstream_remote),
        Endpoint::DownstreamDirectRemote => Some(&record.downstream_direct_remote),
    };
    match (address, part) {
        (None, _) => Value::Missing,
        (Some(address), AddressPart::Whole) => Value::Address(address),
        (Some(address), AddressPart::WithoutPort) => Value::Ip(address.ip()),
        (Some(address), AddressPart::Port) => Value::Number(address.port().into()),
    }
}

/// Names of gRPC status codes by number: camel case, snake case.
const GRPC_STATUS: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

fn grpc_status<'r>(form: GrpcStatusForm, record: &Record<'_>) -> Value<'r> {
    let Some(status) = record.grpc_status.filter(|_| record.grpc) else { return Value::Missing };
    match (form, GRPC_STATUS.get(status as usize)) {
        (GrpcStatusForm::Camel, Some((name, _))) => Value::Name(name),
        (GrpcStatusForm::Snake, Some((_, name))) => Value::Name(name),
        _ => Value::Number(status.into()),
    }
}

fn protocol_name<'r>(record: &Record<'_>) -> Value<'r> {
    record.protocol_name().map_or(Value::Missing, Value::Name)
}

impl Plain {
    fn value<'r>(self, record: &'r Record<'_>) -> Value<'r> {
        let upstream = |value: Value<'r>| if record.upstream_host.is_some() { value } else { Value::Missing };
        match self {
            Plain::Protocol => protocol_name(record),
            Plain::ResponseCode => Value::Number(record.code.into()),
            Plain::ResponseCodeDetails if record.details.is_empty() => Value::Missing,
            Plain::ResponseCodeDetails => Value::Word(record.details.as_bytes()),
            Plain::ResponseFlags => Value::Flags(record.flags),
            Plain::ResponseFlagsLong => Value::FlagsLong(record.flags),
            Plain::ConnectionTerminationDetails => {
                Value::filled(record.connection_termination_details.as_bytes())
            }
            Plain::UpstreamTransportFailure => Value::filled(record.upstream_transport_failure.as_bytes()),
            Plain::BytesReceived => Value::Number(record.bytes_received),
            Plain::BytesSent => Value::Number(record.bytes_sent),
            Plain::Duration => Value::Number(record.duration_us / 1_000),
            Plain::RequestDuration => Value::micros(record.request_duration_us),
            Plain::ResponseDuration => Value::micros(record.response_duration_us),
            Plain::ResponseTxDuration => Value::micros(
                record.response_duration_us.map(|first_byte| record.duration_us.saturating_sub(first_byte)),
            ),
            Plain::UpstreamCluster => Value::filled(record.cluster.as_bytes()),
            Plain::UpstreamAttempts => Value::Number(record.attempts.into()),
            Plain::ServerName => Value::maybe(record.sni.map(str::as_bytes)),
            Plain::RouteName => Value::filled(record.route_name.as_bytes()),
            Plain::TlsVersion => Value::maybe(record.tls_version.map(str::as_bytes)),
            Plain::TlsCipher => Value::maybe(record.tls_cipher.map(str::as_bytes)),
            Plain::LocalReplyBody => Value::filled(record.local_reply_body),
            Plain::NginxTime => Value::NginxTime(record.start_ms.saturating_add(record.duration_us / 1_000)),
            Plain::NginxProtocol => match record.protocol {
                Some(Version::H2) => Value::Name("HTTP/2.0"),
                _ => protocol_name(record),
            },
            Plain::NginxRequestLength => Value::Number(record.request_total_bytes),
            Plain::NginxRequestTime => Value::Seconds(record.duration_us),
            Plain::NginxUpstreamName if record.cluster.is_empty() => Value::Missing,
            Plain::NginxUpstreamName => Value::IngressName(record.cluster),
            Plain::NginxUpstreamLength => upstream(Value::Number(record.bytes_sent)),
            Plain::NginxUpstreamTime => upstream(
                record
                    .upstream_service_time_ms
                    .map_or(Value::Missing, |ms| Value::Seconds(ms.saturating_mul(1_000))),
            ),
            Plain::NginxUpstreamStatus => upstream(Value::Number(record.code.into())),
        }
    }
}
