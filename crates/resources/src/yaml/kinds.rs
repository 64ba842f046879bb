//! Which kinds exist, in which API group, at which versions, and what is done with them.

use crate::code::{Code, codes};
use crate::decode::nearest;
use crate::key::Kind;

/// What is done with objects of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Read.
    Read(Kind),
    /// Read in a cluster, where it may be one that was made here; elsewhere it is like kinds that nothing is known of.
    Kept(Kind),
    /// Counted: a gateway has no use for it.
    Unused,
}

/// Why a kind cannot be placed.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) code: Code,
    /// The field that is wrong.
    pub(super) field: &'static str,
    pub(super) message: String,
    pub(super) mend: String,
}

/// A kind of an API group of which every kind is known.
struct Known {
    group: &'static str,
    kind: &'static str,
    versions: &'static [&'static str],
    role: Role,
}

const NETWORKING: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY: &[&str] = &["v1", "v1beta1"];
const GATEWAY_API: &[&str] = &["v1", "v1beta1", "v1alpha2", "v1alpha3"];

macro_rules! known {
    ($($group:literal $versions:expr => { $($kind:literal $role:expr),* $(,)? })*) => {
        &[$($(Known { group: $group, kind: $kind, versions: $versions, role: $role }),*),*]
    };
}

const KNOWN: &[Known] = known! {
    "networking.istio.io" NETWORKING => {
        "Gateway" Role::Read(Kind::Gateway),
        "VirtualService" Role::Read(Kind::VirtualService),
        "DestinationRule" Role::Read(Kind::DestinationRule),
        "ServiceEntry" Role::Read(Kind::ServiceEntry),
        "WorkloadEntry" Role::Read(Kind::WorkloadEntry),
        "WorkloadGroup" Role::Unused,
        "Sidecar" Role::Unused,
    }
    "networking.istio.io" &["v1alpha3"] => { "EnvoyFilter" Role::Read(Kind::EnvoyFilter) }
    "networking.istio.io" &["v1beta1", "v1alpha1"] => { "ProxyConfig" Role::Read(Kind::ProxyConfig) }
    "security.istio.io" SECURITY => {
        "AuthorizationPolicy" Role::Read(Kind::AuthorizationPolicy),
        "RequestAuthentication" Role::Read(Kind::RequestAuthentication),
        "PeerAuthentication" Role::Unused,
    }
    "telemetry.istio.io" &["v1", "v1alpha1"] => { "Telemetry" Role::Read(Kind::Telemetry) }
    "extensions.istio.io" &["v1alpha1"] => {
        "WasmPlugin" Role::Read(Kind::WasmPlugin),
        "TrafficExtension" Role::Read(Kind::TrafficExtension),
    }
    "" &["v1"] => {
        "Service" Role::Read(Kind::Service),
        "Pod" Role::Read(Kind::Pod),
        "Secret" Role::Read(Kind::Secret),
        "ConfigMap" Role::Read(Kind::ConfigMap),
        "Namespace" Role::Read(Kind::Namespace),
        "Node" Role::Read(Kind::Node),
        "Binding" Role::Unused,
        "ComponentStatus" Role::Unused,
        "Endpoints" Role::Unused,
        "Event" Role::Unused,
        "LimitRange" Role::Unused,
        "PersistentVolume" Role::Unused,
        "PersistentVolumeClaim" Role::Unused,
        "PodTemplate" Role::Unused,
        "ReplicationController" Role::Unused,
        "ResourceQuota" Role::Unused,
        "ServiceAccount" Role::Unused,
    }
    "apps" &["v1"] => { "Deployment" Role::Kept(Kind::Deployment) }
    "autoscaling" &["v2"] => { "HorizontalPodAutoscaler" Role::Kept(Kind::HorizontalPodAutoscaler) }
    "policy" &["v1"] => { "PodDisruptionBudget" Role::Kept(Kind::PodDisruptionBudget) }
    "discovery.k8s.io" &["v1"] => { "EndpointSlice" Role::Read(Kind::EndpointSlice) }
    "networking.k8s.io" &["v1"] => {
        "Ingress" Role::Read(Kind::Ingress),
        "IngressClass" Role::Read(Kind::IngressClass),
    }
    "networking.k8s.io" &["v1", "v1beta1"] => {
        "NetworkPolicy" Role::Unused,
        "IPAddress" Role::Unused,
        "ServiceCIDR" Role::Unused,
    }
    "gateway.networking.k8s.io" GATEWAY_API => {
        "GatewayClass" Role::Read(Kind::GatewayClass),
        "Gateway" Role::Read(Kind::ApiGateway),
        "HTTPRoute" Role::Read(Kind::HttpRoute),
        "GRPCRoute" Role::Read(Kind::GrpcRoute),
        "TLSRoute" Role::Read(Kind::TlsRoute),
        "TCPRoute" Role::Read(Kind::TcpRoute),
        "UDPRoute" Role::Read(Kind::UdpRoute),
        "ListenerSet" Role::Read(Kind::ListenerSet),
        "ReferenceGrant" Role::Read(Kind::ReferenceGrant),
        "BackendTLSPolicy" Role::Read(Kind::BackendTlsPolicy),
    }
    "gateway.networking.x-k8s.io" &["v1alpha1"] => {
        "XBackend" Role::Read(Kind::XBackend),
        "XBackendTrafficPolicy" Role::Read(Kind::XBackendTrafficPolicy),
        "XMesh" Role::Unused,
    }
};

/// A kind that is read, as an API server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiKind {
    /// Ours.
    pub kind: Kind,
    /// Its API group; empty for the core group.
    pub group: &'static str,
    /// As it stands under `kind:`.
    pub name: &'static str,
    /// The versions that can be read, the preferred one first.
    pub versions: &'static [&'static str],
}

/// Every kind that is read.
pub fn api_kinds() -> impl Iterator<Item = ApiKind> {
    KNOWN.iter().filter_map(|known| match known.role {
        Role::Read(kind) | Role::Kept(kind) => {
            Some(ApiKind { kind, group: known.group, name: known.kind, versions: known.versions })
        }
        Role::Unused => None,
    })
}

/// The kinds that mean something in files.
fn in_files() -> impl Iterator<Item = &'static Known> {
    KNOWN.iter().filter(|known| !matches!(known.role, Role::Kept(_)))
}

/// What is done with this kind. A misfit beside a role: it is read all the same.
pub(super) fn role(api_version: &str, kind: &str) -> (Option<Role>, Option<Misfit>) {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(known) = in_files().find(|known| known.group == group && known.kind == kind) else {
        return match unplaced(group, kind) {
            Some(misfit) => (None, Some(misfit)),
            None => (Some(Role::Unused), None),
        };
    };
    if known.versions.contains(&version) {
        return (Some(known.role), None);
    }
    let versions: Vec<String> = known.versions.iter().map(|version| join(group, version)).collect();
    let misfit = Misfit {
        code: codes::UNKNOWN_VERSION,
        field: "apiVersion",
        message: format!("{kind} has no version {api_version}"),
        mend: format!("write {}", versions.join(" or ")),
    };
    // What can deny must not vanish behind a wrong version.
    let role = Some(known.role).filter(|role| matches!(role, Role::Read(kind) if kind.can_deny()));
    (role, Some(misfit))
}

/// Why a kind that is not in the table should be, if it should.
fn unplaced(group: &str, kind: &str) -> Option<Misfit> {
    let elsewhere = in_files().find(|known| known.kind == kind && known.group != group);
    let kinds: Vec<&str> = in_files().filter(|known| known.group == group).map(|known| known.kind).collect();
    if kinds.is_empty() {
        let mut groups: Vec<&str> =
            in_files().map(|known| known.group).filter(|group| group.contains('.')).collect();
        groups.dedup();
        let meant = nearest(group, &groups)?;
        return Some(Misfit {
            code: codes::UNKNOWN_KIND,
            field: "apiVersion",
            message: format!("there is no API group {group}"),
            mend: format!("did you mean {meant}?"),
        });
    }
    let group_name = if group.is_empty() { "v1" } else { group };
    let mend = match (elsewhere, nearest(kind, &kinds)) {
        (Some(known), _) => {
            format!("write apiVersion: {}", join(known.group, known.versions.first().unwrap_or(&"v1")))
        }
        (None, Some(meant)) => format!("did you mean {meant}?"),
        (None, None) => format!("kinds there are {}", kinds.join(", ")),
    };
    let (code, field) = (codes::UNKNOWN_KIND, "kind");
    Some(Misfit { code, field, message: format!("{group_name} has no kind {kind}"), mend })
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}
