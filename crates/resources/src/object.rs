//! One resource: its name, its metadata, what it says and where that was written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::core::{
    ConfigMap, Deployment, EndpointSlice, HorizontalPodAutoscaler, Namespace, Node, Pod, PodDisruptionBudget,
    Secret, Service,
};
use crate::gateway_api::{self, BackendTlsPolicy};
use crate::istio::{
    DestinationRule, Gateway, MeshConfig, Policy, ProxyConfig, ServiceEntry, Telemetry, VirtualService,
    WorkloadEntry,
};
use crate::key::ObjectKey;
use crate::networking::{Ingress, IngressClass};

/// A resource with its specification `S`.
///
/// Two objects are equal if they say the same at the same place; `resourceVersion` does not count.
#[derive(Debug, Clone, Serialize)]
pub struct Object<S> {
    /// Its name.
    pub key: ObjectKey,
    /// Labels, annotations, age.
    pub meta: Meta,
    /// What it says.
    pub spec: S,
    /// Where it was written.
    #[serde(skip)]
    pub source: Source,
}

impl<S: PartialEq> PartialEq for Object<S> {
    fn eq(&self, other: &Object<S>) -> bool {
        let said = self.key == other.key && self.meta.same(&other.meta) && self.spec == other.spec;
        // What is said of an object of the Gateway API names its generation.
        let said = said && (!self.key.kind.of_gateway_api() || self.meta.generation == other.meta.generation);
        said && self.source == other.source
    }
}

/// The parts of `metadata` that anything depends on.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Meta {
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// When the object was made, where that is known. Absent ones order before all others, as zero times do in Istio.
    #[serde(rename = "creationTimestamp", skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Timestamp>,
    /// How often its specification was changed, as a cluster counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

impl Meta {
    /// What anything depends on of a Pod's. There are many Pods, whose other annotations change often and mean nothing here.
    pub(crate) fn of_pod(mut self) -> Meta {
        self.annotations.retain(|name, _| name.contains("istio.io/"));
        self
    }

    fn same(&self, other: &Meta) -> bool {
        self.labels == other.labels
            && self.annotations == other.annotations
            && self.creation_timestamp == other.creation_timestamp
            && self.generation == other.generation
    }
}

/// An RFC 3339 time, ordered by the instant that it names (whole seconds).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    text: Arc<str>,
}

impl Timestamp {
    /// Reads `2026-01-02T03:04:05Z`, with a fraction or an offset if need be.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let (clock, offset) = split_offset(time)?;
        let mut clock = clock.split('.').next()?.splitn(3, ':').map(|part| part.parse::<i64>().ok());
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        let in_range = (0..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        if !in_range || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second)
        {
            return None;
        }
        let seconds =
            days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
        Some(Timestamp { seconds, text: text.into() })
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix_seconds(&self) -> i64 {
        self.seconds
    }
}

/// The time of day without its zone, and the zone in seconds east.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (clock, zone) = time.split_at(at);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    (hours < 24 && minutes < 60)
        .then_some((clock, sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60)))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

/// A place in a file. Lines and columns count from 1. Shown as `routes.yaml:12:7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Where an object and each of its fields were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, or another name for where it came from.
    pub file: Arc<str>,
    /// Line of the object's beginning, from 1; 0 if it was not read from text.
    pub line: u32,
    /// Column of the object's beginning, from 1.
    pub column: u32,
    fields: Box<[FieldPlace]>,
}

/// The place of one field, found by the hash of its path. Sorted by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FieldPlace {
    path: u64,
    line: u32,
    column: u32,
}

impl Source {
    /// A source without text, such as a cluster.
    pub fn elsewhere(name: impl Into<Arc<str>>) -> Source {
        Source { file: name.into(), line: 0, column: 0, fields: Box::default() }
    }

    /// `fields`: hash of path (see [`PathHash`]), line, column.
    pub(crate) fn new(file: Arc<str>, line: u32, column: u32, fields: Vec<(PathHash, u32, u32)>) -> Source {
        let places = fields.into_iter().map(|(path, line, column)| FieldPlace { path: path.0, line, column });
        let mut fields: Box<[FieldPlace]> = places.collect();
        fields.sort_unstable();
        Source { file, line, column, fields }
    }

    /// Where the field with this path was written, such as `spec.http[0].match[1].uri.prefix`; if it was not written,
    /// where the nearest field around it was, and at last the object itself.
    pub fn locate(&self, field_path: &str) -> Location {
        let mut path = field_path;
        while !path.is_empty() {
            if let Some(place) = self.find(PathHash::of(path)) {
                return self.location(place.line, place.column);
            }
            path = path.rfind(['.', '[']).and_then(|cut| path.get(..cut)).unwrap_or("");
        }
        self.location(self.line, self.column)
    }

    /// Does the text have this very field?
    pub(crate) fn wrote(&self, field_path: &str) -> bool {
        self.find(PathHash::of(field_path)).is_some()
    }

    fn find(&self, path: PathHash) -> Option<FieldPlace> {
        let first = self.fields.partition_point(|place| place.path < path.0);
        self.fields.get(first).copied().filter(|place| place.path == path.0)
    }

    fn location(&self, line: u32, column: u32) -> Location {
        Location { file: Arc::clone(&self.file), line, column }
    }
}

/// The 64-bit FNV-1a hash of a field path, built up while descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathHash(u64);

impl PathHash {
    /// Of the empty path.
    pub(crate) const EMPTY: PathHash = PathHash(0xcbf2_9ce4_8422_2325);

    /// Of a whole path.
    pub(crate) fn of(path: &str) -> PathHash {
        PathHash::EMPTY.then(path)
    }

    /// Of this path with `text` written behind it.
    pub(crate) fn then(self, text: &str) -> PathHash {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        PathHash(text.bytes().fold(self.0, step))
    }
}

/// An object of any kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AnyObject {
    /// A `Gateway`.
    Gateway(Arc<Object<Gateway>>),
    /// A `VirtualService`.
    VirtualService(Arc<Object<VirtualService>>),
    /// A `DestinationRule`.
    DestinationRule(Arc<Object<DestinationRule>>),
    /// A `ServiceEntry`.
    ServiceEntry(Arc<Object<ServiceEntry>>),
    /// A `WorkloadEntry`.
    WorkloadEntry(Arc<Object<WorkloadEntry>>),
    /// A `ProxyConfig`.
    ProxyConfig(Arc<Object<ProxyConfig>>),
    /// A `Telemetry`.
    Telemetry(Arc<Object<Telemetry>>),
    /// A `MeshConfig`.
    MeshConfig(Arc<Object<MeshConfig>>),
    /// A `Deployment`.
    Deployment(Arc<Object<Deployment>>),
    /// A `HorizontalPodAutoscaler`.
    HorizontalPodAutoscaler(Arc<Object<HorizontalPodAutoscaler>>),
    /// A `PodDisruptionBudget`.
    PodDisruptionBudget(Arc<Object<PodDisruptionBudget>>),
    /// A `Service`.
    Service(Arc<Object<Service>>),
    /// An `EndpointSlice`.
    EndpointSlice(Arc<Object<EndpointSlice>>),
    /// A `Pod`.
    Pod(Arc<Object<Pod>>),
    /// A `Secret`.
    Secret(Arc<Object<Secret>>),
    /// A `ConfigMap`.
    ConfigMap(Arc<Object<ConfigMap>>),
    /// A `Namespace`.
    Namespace(Arc<Object<Namespace>>),
    /// A `Node`.
    Node(Arc<Object<Node>>),
    /// An `Ingress`.
    Ingress(Arc<Object<Ingress>>),
    /// An `IngressClass`.
    IngressClass(Arc<Object<IngressClass>>),
    /// A `BackendTLSPolicy`.
    BackendTlsPolicy(Arc<Object<BackendTlsPolicy>>),
    /// A `GatewayClass` of the Gateway API.
    GatewayClass(Arc<Object<gateway_api::GatewayClass>>),
    /// A `Gateway` of the Gateway API.
    ApiGateway(Arc<Object<gateway_api::Gateway>>),
    /// A `ListenerSet` of the Gateway API.
    ListenerSet(Arc<Object<gateway_api::ListenerSet>>),
    /// A `HTTPRoute` of the Gateway API.
    HttpRoute(Arc<Object<gateway_api::HttpRoute>>),
    /// A `GRPCRoute` of the Gateway API.
    GrpcRoute(Arc<Object<gateway_api::GrpcRoute>>),
    /// A `TLSRoute` of the Gateway API.
    TlsRoute(Arc<Object<gateway_api::TlsRoute>>),
    /// A `TCPRoute` of the Gateway API.
    TcpRoute(Arc<Object<gateway_api::TcpRoute>>),
    /// A `UDPRoute` of the Gateway API.
    UdpRoute(Arc<Object<gateway_api::UdpRoute>>),
    /// A `ReferenceGrant` of the Gateway API.
    ReferenceGrant(Arc<Object<gateway_api::ReferenceGrant>>),
    /// An `XBackend` of the Gateway API.
    XBackend(Arc<Object<gateway_api::XBackend>>),
    /// An `XBackendTrafficPolicy` of the Gateway API.
    XBackendTrafficPolicy(Arc<Object<gateway_api::XBackendTrafficPolicy>>),
    /// One of the kinds for which [`Kind::can_deny`](crate::Kind::can_deny) holds; the key says which.
    Policy(Arc<Object<Policy>>),
}

/// Runs one expression for whichever kind it is.
macro_rules! for_any {
    ($any:expr, $object:ident => $body:expr) => {
        match $any {
            $crate::object::AnyObject::Gateway($object) => $body,
            $crate::object::AnyObject::VirtualService($object) => $body,
            $crate::object::AnyObject::DestinationRule($object) => $body,
            $crate::object::AnyObject::ServiceEntry($object) => $body,
            $crate::object::AnyObject::WorkloadEntry($object) => $body,
            $crate::object::AnyObject::ProxyConfig($object) => $body,
            $crate::object::AnyObject::Telemetry($object) => $body,
            $crate::object::AnyObject::MeshConfig($object) => $body,
            $crate::object::AnyObject::Deployment($object) => $body,
            $crate::object::AnyObject::HorizontalPodAutoscaler($object) => $body,
            $crate::object::AnyObject::PodDisruptionBudget($object) => $body,
            $crate::object::AnyObject::Service($object) => $body,
            $crate::object::AnyObject::EndpointSlice($object) => $body,
            $crate::object::AnyObject::Pod($object) => $body,
            $crate::object::AnyObject::Secret($object) => $body,
            $crate::object::AnyObject::ConfigMap($object) => $body,
            $crate::object::AnyObject::Namespace($object) => $body,
            $crate::object::AnyObject::Node($object) => $body,
            $crate::object::AnyObject::Ingress($object) => $body,
            $crate::object::AnyObject::IngressClass($object) => $body,
            $crate::object::AnyObject::BackendTlsPolicy($object) => $body,
            $crate::object::AnyObject::GatewayClass($object) => $body,
            $crate::object::AnyObject::ApiGateway($object) => $body,
            $crate::object::AnyObject::ListenerSet($object) => $body,
            $crate::object::AnyObject::HttpRoute($object) => $body,
            $crate::object::AnyObject::GrpcRoute($object) => $body,
            $crate::object::AnyObject::TlsRoute($object) => $body,
            $crate::object::AnyObject::TcpRoute($object) => $body,
            $crate::object::AnyObject::UdpRoute($object) => $body,
            $crate::object::AnyObject::ReferenceGrant($object) => $body,
            $crate::object::AnyObject::XBackend($object) => $body,
            $crate::object::AnyObject::XBackendTrafficPolicy($object) => $body,
            $crate::object::AnyObject::Policy($object) => $body,
        }
    };
}

impl AnyObject {
    /// Its name.
    pub fn key(&self) -> &ObjectKey {
        for_any!(self, object => &object.key)
    }

    /// Labels, annotations, age.
    pub fn meta(&self) -> &Meta {
        for_any!(self, object => &object.meta)
    }

    /// Where it was written.
    pub fn source(&self) -> &Source {
        for_any!(self, object => &object.source)
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn times_are_ordered_by_the_instant() {
        let seconds = |text| Timestamp::parse(text).map(|time| time.unix_seconds());
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2024-02-29T23:00:00.5+02:00"), Some(1_709_240_400));
        assert_eq!(seconds("1969-12-31T23:59:59Z"), Some(-1));
        assert!(Timestamp::parse("2024-01-01T00:00:00+01:00") < Timestamp::parse("2024-01-01T00:00:00Z"));
        assert!(None < Timestamp::parse("1970-01-01T00:00:00Z"), "an absent time is the oldest");
        for text in [
            "",
            "2024-01-01",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "x-y-zT1:1:1Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
