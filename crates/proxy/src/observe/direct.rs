//! The short way to a text line: the operators that every line of Istio's default format has, each written straight
//! into the line. [`Operator::value`] and `Value::write` are what they mean; a test holds the two to the same bytes.

use limen_wire::head::{Fields, Known};

use super::escape::{self, Literal};
use super::operator::{AddressPart, Endpoint, Operator, Plain, RequestPart, ResponsePart, Value};
use super::record::Record;
use super::time::TimeCache;
use crate::address::Address;

/// An operator of a text line that has no limit and is common enough to be worth a way of its own. No variant holds
/// anything, so that one jump by its number finds the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direct {
    StartTime,
    Method,
    /// The path before a rewrite, else the path.
    ReceivedPath,
    Path,
    Authority,
    XForwardedFor,
    UserAgent,
    RequestId,
    Protocol,
    Code,
    Flags,
    Details,
    ConnectionTermination,
    TransportFailure,
    BytesReceived,
    BytesSent,
    Duration,
    ServiceTime,
    UpstreamHost,
    UpstreamLocal,
    DownstreamLocal,
    DownstreamRemote,
    Cluster,
    ServerName,
    RouteName,
}

impl Direct {
    /// The short way of an operator, if it has one.
    pub(super) fn of(operator: &Operator) -> Option<Direct> {
        Some(match operator {
            Operator::StartTime(None) => Direct::StartTime,
            Operator::Request(RequestPart::OriginalPath, Some(RequestPart::Path)) => Direct::ReceivedPath,
            Operator::Request(part, None) => match part {
                RequestPart::Method => Direct::Method,
                RequestPart::Path => Direct::Path,
                RequestPart::Authority => Direct::Authority,
                RequestPart::Known(Known::XForwardedFor) => Direct::XForwardedFor,
                RequestPart::Known(Known::UserAgent) => Direct::UserAgent,
                RequestPart::Known(Known::XRequestId) => Direct::RequestId,
                _ => return None,
            },
            Operator::Response(ResponsePart::ServiceTime, None) => Direct::ServiceTime,
            Operator::Address(endpoint, AddressPart::Whole) => match endpoint {
                Endpoint::UpstreamRemote => Direct::UpstreamHost,
                Endpoint::UpstreamLocal => Direct::UpstreamLocal,
                Endpoint::DownstreamLocal => Direct::DownstreamLocal,
                Endpoint::DownstreamRemote => Direct::DownstreamRemote,
                Endpoint::DownstreamDirectRemote => return None,
            },
            Operator::Plain(plain) => match plain {
                Plain::Protocol => Direct::Protocol,
                Plain::ResponseCode => Direct::Code,
                Plain::ResponseFlags => Direct::Flags,
                Plain::ResponseCodeDetails => Direct::Details,
                Plain::ConnectionTerminationDetails => Direct::ConnectionTermination,
                Plain::UpstreamTransportFailure => Direct::TransportFailure,
                Plain::BytesReceived => Direct::BytesReceived,
                Plain::BytesSent => Direct::BytesSent,
                Plain::Duration => Direct::Duration,
                Plain::UpstreamCluster => Direct::Cluster,
                Plain::ServerName => Direct::ServerName,
                Plain::RouteName => Direct::RouteName,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Appends the operator's value for the record, or `missing`.
    #[inline]
    pub(super) fn write(
        self,
        record: &Record<'_>,
        missing: &Literal,
        time: &mut TimeCache,
        out: &mut Vec<u8>,
    ) {
        // Numbers, addresses and names are done at once; what came from outside is escaped below, in one place.
        let text = match self {
            Direct::StartTime => return time.write_iso(record.start_ms, out),
            Direct::Code => return escape::write_decimal(record.code.into(), out),
            Direct::BytesReceived => return escape::write_decimal(record.bytes_received, out),
            Direct::BytesSent => return escape::write_decimal(record.bytes_sent, out),
            Direct::Duration => return escape::write_decimal(record.duration_us / 1_000, out),
            Direct::Flags if record.flags.is_empty() => return out.push(b'-'),
            Direct::Flags => return record.flags.write_short(out),
            Direct::DownstreamLocal => return escape::write_address(record.downstream_local, out),
            Direct::DownstreamRemote => return escape::write_address(record.downstream_remote, out),
            Direct::UpstreamHost => match record.upstream_host {
                Some(Address::Inet(address)) => return escape::write_address(address, out),
                Some(Address::Unix(path)) => Some(path.as_bytes()),
                None => None,
            },
            Direct::UpstreamLocal => match record.upstream_local {
                Some(address) => return escape::write_address(address, out),
                None => None,
            },
            Direct::Protocol => match record.protocol_name() {
                Some(name) => return out.extend_from_slice(name.as_bytes()),
                None => None,
            },
            Direct::ServiceTime => match record.upstream_service_time_ms {
                Some(ms) => return escape::write_decimal(ms, out),
                None => record.response_fields.and_then(|fields| envoy_field(fields, SERVICE_TIME)),
            },
            Direct::Details => match filled(record.details.as_bytes()) {
                Some(details) if !escape::is_plain_word(details) => {
                    return Value::Word(details).write(time, escape::write_text, out);
                }
                details => details,
            },
            Direct::ReceivedPath => record
                .original_path
                .or_else(|| record.request_fields.and_then(|fields| envoy_field(fields, ORIGINAL_PATH)))
                .or_else(|| filled(record.path)),
            Direct::Method => filled(record.method),
            Direct::Path => filled(record.path),
            Direct::Authority => filled(record.authority),
            Direct::XForwardedFor => request_field(record, Known::XForwardedFor),
            Direct::UserAgent => request_field(record, Known::UserAgent),
            Direct::RequestId => request_field(record, Known::XRequestId),
            Direct::ConnectionTermination => filled(record.connection_termination_details.as_bytes()),
            Direct::TransportFailure => filled(record.upstream_transport_failure.as_bytes()),
            Direct::Cluster => filled(record.cluster.as_bytes()),
            Direct::ServerName => record.sni.map(str::as_bytes),
            Direct::RouteName => filled(record.route_name.as_bytes()),
        };
        match text {
            Some(text) => escape::write_text(text, out),
            None => missing.write(out),
        }
    }
}

const ORIGINAL_PATH: &[u8] = b"x-envoy-original-path";
const SERVICE_TIME: &[u8] = b"x-envoy-upstream-service-time";

#[inline]
fn request_field<'r>(record: &'r Record<'_>, known: Known) -> Option<&'r [u8]> {
    record.request_fields.and_then(|fields| fields.get_known(known))
}

/// A field of a name that begins with `x-envoy-`. Mostly there is none at all, which costs no look at any name.
#[inline]
fn envoy_field<'f>(fields: &'f Fields, name: &[u8]) -> Option<&'f [u8]> {
    fields.get_known(Known::XEnvoy).and_then(|_| fields.get(name))
}

#[inline]
fn filled(text: &[u8]) -> Option<&[u8]> {
    Some(text).filter(|text| !text.is_empty())
}
