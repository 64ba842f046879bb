//! What expressions may ask of a finished request, by Envoy's names of attributes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer};
use cel::common::types::{
    CelBool, CelDuration, CelInt, CelMap, CelMapKey, CelString, CelTimestamp, MAP_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use chrono::{DateTime, TimeDelta};
use limen_wire::head::Fields;

use super::peer::PeerPart;
use super::record::Record;
use crate::address::Address;

/// The attributes of a record.
pub(super) struct Attributes<'r> {
    pub(super) record: &'r Record<'r>,
}

/// Every attribute, by what stands before the dot.
const NAMES: [(&str, &[&str]); 6] = [
    (
        "request",
        &[
            "path",
            "url_path",
            "host",
            "scheme",
            "method",
            "headers",
            "referer",
            "useragent",
            "time",
            "id",
            "protocol",
            "query",
            "duration",
            "size",
            "total_size",
        ],
    ),
    (
        "response",
        &[
            "code",
            "code_details",
            "flags",
            "grpc_status",
            "headers",
            "trailers",
            "size",
            "total_size",
            "backend_latency",
        ],
    ),
    (
        "connection",
        &[
            "mtls",
            "requested_server_name",
            "tls_version",
            "subject_peer_certificate",
            "dns_san_peer_certificate",
            "uri_san_peer_certificate",
            "sha256_peer_certificate_digest",
            "transport_failure_reason",
            "termination_details",
        ],
    ),
    ("source", &["address", "port"]),
    ("destination", &["address", "port"]),
    ("upstream", &["address", "port", "local_address", "transport_failure_reason", "request_attempt_count"]),
];

impl VariableResolver for Attributes<'_> {
    /// The whole name is asked for first, so that nothing is made that is not used.
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some((group, attribute)) = name.split_once('.') {
            return self.attribute(group, attribute);
        }
        match name {
            "xds" => Some(self.map("xds", &["cluster_name", "route_name"])),
            _ => NAMES.iter().find(|(group, _)| *group == name).map(|(group, names)| self.map(group, names)),
        }
    }
}

impl<'r> Attributes<'r> {
    /// A group as a map, for what asks whether it has something.
    fn map<'b>(&'b self, group: &str, names: &[&'static str]) -> CowVal<'b, 'b> {
        let known = names.iter().filter_map(|name| {
            let value = self.attribute(group, name)?;
            Some((CelMapKey::String(CelString::from(*name)), value.into_owned()))
        });
        CowVal::owned(CelMap::from(known.collect::<HashMap<_, _>>()))
    }

    fn attribute<'b>(&'b self, group: &str, name: &str) -> Option<CowVal<'b, 'b>> {
        match group {
            "request" if self.record.protocol.is_some() => self.request(name),
            "response" => self.response(name),
            "connection" => self.connection(name),
            "source" => address(&self.record.downstream_remote, name),
            "destination" => address(&self.record.downstream_local, name),
            "upstream" => self.upstream(name),
            "xds" => match name {
                "cluster_name" => filled(self.record.cluster.as_bytes()),
                "route_name" => filled(self.record.route_name.as_bytes()),
                _ => None,
            },
            _ => None,
        }
    }

    fn request<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let record = self.record;
        let field = |name: &[u8]| record.request_fields?.get(name).map(text);
        match name {
            "path" => Some(text(record.path)),
            "url_path" => record.path.split(|byte| *byte == b'?').next().map(text),
            "query" => {
                let query = record.path.splitn(2, |byte| *byte == b'?').nth(1);
                Some(text(query.unwrap_or_default()))
            }
            "host" => Some(text(record.authority)),
            "scheme" => field(b"x-forwarded-proto")
                .or_else(|| Some(text(if record.tls_version.is_some() { b"https" } else { b"http" }))),
            "method" => Some(text(record.method)),
            "headers" => Some(CowVal::owned(Headers::of(record.request_fields, &REQUEST, record))),
            "referer" => field(b"referer"),
            "useragent" => field(b"user-agent"),
            "id" => field(b"x-request-id"),
            "time" => {
                let time = DateTime::from_timestamp_millis(i64::try_from(record.start_ms).ok()?)?;
                Some(CowVal::owned(CelTimestamp::from(time.fixed_offset())))
            }
            "protocol" => record.protocol.map(|version| text(version.as_str().as_bytes())),
            "duration" => Some(micros(record.duration_us)),
            "size" => Some(number(record.request_content_length.unwrap_or(record.bytes_received))),
            "total_size" => Some(number(record.request_total_bytes)),
            _ => None,
        }
    }

    fn response<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let record = self.record;
        match name {
            "code" if record.code == 0 => None,
            "code" => Some(number(record.code.into())),
            "code_details" => filled(record.details.as_bytes()),
            "flags" => Some(number(record.flags.bits().into())),
            "grpc_status" => record.grpc_status.filter(|_| record.grpc).map(|status| number(status.into())),
            "headers" => Some(CowVal::owned(Headers::of(record.response_fields, &[], record))),
            "trailers" => Some(CowVal::owned(Headers::of(record.response_trailers, &[], record))),
            "size" => Some(number(record.bytes_sent)),
            "total_size" => Some(number(record.response_total_bytes)),
            "backend_latency" => record.upstream_service_time_ms.map(|ms| micros(ms.saturating_mul(1000))),
            _ => None,
        }
    }

    fn connection<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let record = self.record;
        let peer = |part: PeerPart| filled(record.peer?.part(part).as_bytes());
        match name {
            "mtls" => Some(CowVal::owned(CelBool::from(record.peer.is_some()))),
            "requested_server_name" => record.sni.map(|name| text(name.as_bytes())),
            "tls_version" => record.tls_version.map(|version| text(version.as_bytes())),
            "subject_peer_certificate" => peer(PeerPart::Subject),
            "dns_san_peer_certificate" => first(record.peer?.names.dns.first()),
            "uri_san_peer_certificate" => first(record.peer?.names.uris.first()),
            "sha256_peer_certificate_digest" => peer(PeerPart::Fingerprint),
            // Of the client's transport nothing is known that could fail and still be logged.
            "transport_failure_reason" => None,
            "termination_details" => filled(record.connection_termination_details.as_bytes()),
            _ => None,
        }
    }

    fn upstream<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let record = self.record;
        match name {
            "local_address" => address(record.upstream_local.as_ref()?, "address"),
            "transport_failure_reason" => filled(record.upstream_transport_failure.as_bytes()),
            "request_attempt_count" => Some(number(record.attempts.into())),
            name => match record.upstream_host.as_ref()? {
                Address::Inet(host) => address(host, name),
                Address::Unix(path) => (name == "address").then(|| text(path.as_bytes())),
            },
        }
    }
}

fn text<'b>(bytes: &'b [u8]) -> CowVal<'b, 'b> {
    CowVal::owned(CelString::from(String::from_utf8_lossy(bytes)))
}

fn filled<'b>(bytes: &'b [u8]) -> Option<CowVal<'b, 'b>> {
    (!bytes.is_empty()).then(|| text(bytes))
}

fn first<'b>(name: Option<&'b String>) -> Option<CowVal<'b, 'b>> {
    name.map(|name| text(name.as_bytes()))
}

fn number<'b>(number: u64) -> CowVal<'b, 'b> {
    CowVal::owned(CelInt::from(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn micros<'b>(micros: u64) -> CowVal<'b, 'b> {
    CowVal::owned(CelDuration::from(TimeDelta::microseconds(i64::try_from(micros).unwrap_or(i64::MAX))))
}

fn address<'b>(address: &SocketAddr, name: &str) -> Option<CowVal<'b, 'b>> {
    match name {
        "address" => Some(CowVal::owned(CelString::from(address.to_string()))),
        "port" => Some(number(address.port().into())),
        _ => None,
    }
}

/// The parts of a request that HTTP/2 has among its fields.
const REQUEST: [&str; 4] = [":method", ":path", ":authority", ":scheme"];

/// Fields as a map from names in lower case to values; lines of one name are joined by commas.
#[derive(Clone)]
struct Headers<'r> {
    fields: Option<&'r Fields>,
    pseudo: &'static [&'static str],
    record: &'r Record<'r>,
}

impl<'r> Headers<'r> {
    fn of(
        fields: Option<&'r Fields>,
        pseudo: &'static [&'static str],
        record: &'r Record<'r>,
    ) -> Headers<'r> {
        Headers { fields, pseudo, record }
    }

    fn find(&self, key: &dyn Val) -> Option<Cow<'r, [u8]>> {
        let name = key.downcast_ref::<CelString<'_>>()?.inner();
        let record = self.record;
        if self.pseudo.contains(&name) {
            return match name {
                ":method" => Some(record.method.into()),
                ":path" => Some(record.path.into()),
                ":authority" => Some(record.authority.into()),
                _ => self.fields?.get(b"x-forwarded-proto").map(Cow::Borrowed),
            };
        }
        let name = name.to_ascii_lowercase();
        let mut all = self.fields?.iter().filter(|(_, known, _)| *known == name.as_bytes());
        let (_, _, first) = all.next()?;
        let joined = all.fold(Cow::Borrowed(first), |joined, (_, _, next)| {
            let mut joined = joined.into_owned();
            joined.push(b',');
            joined.extend_from_slice(next);
            Cow::Owned(joined)
        });
        Some(joined)
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Headers")
    }
}

impl Val for Headers<'_> {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        static TYPE: Type = MAP_TYPE;
        &TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl Container for Headers<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.find(key).is_some())
    }
}

impl Indexer for Headers<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let found = self.find(key).ok_or_else(|| ExecutionError::NoSuchKey(Arc::default()))?;
        Ok(CowVal::owned(CelString::from(String::from_utf8_lossy(&found).into_owned())))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(self.get(key)?.into_owned())
    }
}
