//! What a resource is called.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The kinds that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Istio `Gateway`.
    Gateway,
    /// Istio `VirtualService`.
    VirtualService,
    /// Istio `DestinationRule`.
    DestinationRule,
    /// Istio `ServiceEntry`.
    ServiceEntry,
    /// Istio `WorkloadEntry`.
    WorkloadEntry,
    /// Istio `ProxyConfig`.
    ProxyConfig,
    /// Istio `Telemetry`.
    Telemetry,
    /// Istio `MeshConfig`, which is no Kubernetes object: it stands in a ConfigMap or in a file of its own.
    MeshConfig,
    /// Kubernetes `Deployment`; read in a cluster only, where it may be one that was made here.
    Deployment,
    /// Kubernetes `HorizontalPodAutoscaler`; read as Deployments are.
    HorizontalPodAutoscaler,
    /// Kubernetes `PodDisruptionBudget`; read as Deployments are.
    PodDisruptionBudget,
    /// Kubernetes `Service`.
    Service,
    /// Kubernetes `EndpointSlice`.
    EndpointSlice,
    /// Kubernetes `Pod`.
    Pod,
    /// Kubernetes `Secret`.
    Secret,
    /// Kubernetes `ConfigMap`.
    ConfigMap,
    /// Kubernetes `Namespace`; its objects have no namespace of their own.
    Namespace,
    /// Kubernetes `Node`; its objects have no namespace.
    Node,
    /// Kubernetes `Ingress`.
    Ingress,
    /// Kubernetes `IngressClass`; its objects have no namespace.
    IngressClass,
    /// `BackendTLSPolicy` of the Gateway API.
    BackendTlsPolicy,
    /// `GatewayClass` of the Gateway API; its objects have no namespace.
    GatewayClass,
    /// `Gateway` of the Gateway API.
    ApiGateway,
    /// `ListenerSet` of the Gateway API.
    ListenerSet,
    /// `HTTPRoute` of the Gateway API.
    HttpRoute,
    /// `GRPCRoute` of the Gateway API.
    GrpcRoute,
    /// `TLSRoute` of the Gateway API.
    TlsRoute,
    /// `TCPRoute` of the Gateway API.
    TcpRoute,
    /// `UDPRoute` of the Gateway API.
    UdpRoute,
    /// `ReferenceGrant` of the Gateway API.
    ReferenceGrant,
    /// `XBackend` of the Gateway API's experiments.
    XBackend,
    /// `XBackendTrafficPolicy` of the Gateway API's experiments.
    XBackendTrafficPolicy,
    /// Istio `AuthorizationPolicy`; can deny.
    AuthorizationPolicy,
    /// Istio `RequestAuthentication`; can deny.
    RequestAuthentication,
    /// Istio `EnvoyFilter`; can deny.
    EnvoyFilter,
    /// Istio `WasmPlugin`; can deny.
    WasmPlugin,
    /// Istio `TrafficExtension`; can deny.
    TrafficExtension,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 37] = [
        Kind::Gateway,
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::ServiceEntry,
        Kind::WorkloadEntry,
        Kind::ProxyConfig,
        Kind::Telemetry,
        Kind::MeshConfig,
        Kind::Deployment,
        Kind::HorizontalPodAutoscaler,
        Kind::PodDisruptionBudget,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Pod,
        Kind::Secret,
        Kind::ConfigMap,
        Kind::Namespace,
        Kind::Node,
        Kind::Ingress,
        Kind::IngressClass,
        Kind::BackendTlsPolicy,
        Kind::GatewayClass,
        Kind::ApiGateway,
        Kind::ListenerSet,
        Kind::HttpRoute,
        Kind::GrpcRoute,
        Kind::TlsRoute,
        Kind::TcpRoute,
        Kind::UdpRoute,
        Kind::ReferenceGrant,
        Kind::XBackend,
        Kind::XBackendTrafficPolicy,
        Kind::AuthorizationPolicy,
        Kind::RequestAuthentication,
        Kind::EnvoyFilter,
        Kind::WasmPlugin,
        Kind::TrafficExtension,
    ];

    /// As users write it under `kind:`, with its group where Istio has a kind of that name, too.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Gateway => "Gateway",
            Kind::VirtualService => "VirtualService",
            Kind::DestinationRule => "DestinationRule",
            Kind::ServiceEntry => "ServiceEntry",
            Kind::WorkloadEntry => "WorkloadEntry",
            Kind::ProxyConfig => "ProxyConfig",
            Kind::Telemetry => "Telemetry",
            Kind::MeshConfig => "MeshConfig",
            Kind::Deployment => "Deployment",
            Kind::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Kind::PodDisruptionBudget => "PodDisruptionBudget",
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Pod => "Pod",
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
            Kind::Namespace => "Namespace",
            Kind::Node => "Node",
            Kind::Ingress => "Ingress",
            Kind::IngressClass => "IngressClass",
            Kind::BackendTlsPolicy => "BackendTLSPolicy",
            Kind::GatewayClass => "GatewayClass",
            Kind::ApiGateway => "Gateway.gateway.networking.k8s.io",
            Kind::ListenerSet => "ListenerSet",
            Kind::HttpRoute => "HTTPRoute",
            Kind::GrpcRoute => "GRPCRoute",
            Kind::TlsRoute => "TLSRoute",
            Kind::TcpRoute => "TCPRoute",
            Kind::UdpRoute => "UDPRoute",
            Kind::ReferenceGrant => "ReferenceGrant",
            Kind::XBackend => "XBackend",
            Kind::XBackendTrafficPolicy => "XBackendTrafficPolicy",
            Kind::AuthorizationPolicy => "AuthorizationPolicy",
            Kind::RequestAuthentication => "RequestAuthentication",
            Kind::EnvoyFilter => "EnvoyFilter",
            Kind::WasmPlugin => "WasmPlugin",
            Kind::TrafficExtension => "TrafficExtension",
        }
    }

    /// The kinds that are read only where they may have been made here.
    pub fn is_kept(self) -> bool {
        matches!(self, Kind::Deployment | Kind::HorizontalPodAutoscaler | Kind::PodDisruptionBudget)
    }

    /// The kinds that can deny a request and are not enforced yet: what they select must answer 403.
    pub fn can_deny(self) -> bool {
        matches!(
            self,
            Kind::AuthorizationPolicy
                | Kind::RequestAuthentication
                | Kind::EnvoyFilter
                | Kind::WasmPlugin
                | Kind::TrafficExtension
        )
    }

    /// Is it one of Istio's kinds?
    pub fn of_istio(self) -> bool {
        matches!(
            self,
            Kind::Gateway
                | Kind::VirtualService
                | Kind::DestinationRule
                | Kind::ServiceEntry
                | Kind::WorkloadEntry
                | Kind::Telemetry
        ) || self.can_deny()
    }

    /// Is it one of the Gateway API's kinds?
    pub fn of_gateway_api(self) -> bool {
        matches!(
            self,
            Kind::BackendTlsPolicy
                | Kind::GatewayClass
                | Kind::ApiGateway
                | Kind::ListenerSet
                | Kind::HttpRoute
                | Kind::GrpcRoute
                | Kind::TlsRoute
                | Kind::TcpRoute
                | Kind::UdpRoute
                | Kind::ReferenceGrant
                | Kind::XBackend
                | Kind::XBackendTrafficPolicy
        )
    }

    /// Do objects of this kind live in a namespace?
    pub fn namespaced(self) -> bool {
        !matches!(self, Kind::Namespace | Kind::Node | Kind::IngressClass | Kind::GatewayClass)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// Names one object. Ordered by kind, namespace, name. Shown as `VirtualService default/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for kinds without one.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// Puts a key together.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> ObjectKey {
        ObjectKey { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}
