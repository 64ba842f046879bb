//! Which kinds the double may have.

use serde_json::{Value, json};

/// A kind as an API server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ApiKind {
    pub(crate) group: &'static str,
    /// The preferred one first.
    pub(crate) versions: &'static [&'static str],
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: bool,
}

impl ApiKind {
    /// The one whose definition is called so (`plural.group`).
    pub(crate) fn named(name: &str) -> &'static ApiKind {
        KINDS
            .iter()
            .find(|kind| kind.name() == name)
            .unwrap_or_else(|| panic!("the double has no kind {name}"))
    }

    /// What the paths of this version begin with.
    pub(crate) fn root(&self, version: &str) -> String {
        if self.group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{}/{version}", self.group)
        }
    }

    /// As its definition is called.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// Is it there without a definition?
    pub(super) fn built_in(&self) -> bool {
        !self.group.contains("istio.io") && self.group != "gateway.networking.k8s.io"
    }

    /// Is it replaced only by those who name the version that they replace?
    pub(super) fn versioned(&self) -> bool {
        !self.built_in() || self.kind == "Lease"
    }

    /// As in `apiVersion`.
    pub(super) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    pub(super) fn definition(&self) -> Value {
        // As the Gateway API's release has them.
        let annotations = match self.group {
            "gateway.networking.k8s.io" => json!({"gateway.networking.k8s.io/bundle-version": "v1.6.1"}),
            _ => json!({}),
        };
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name(), "annotations": annotations},
            "spec": {"group": self.group, "names": {"kind": self.kind, "plural": self.plural}},
        })
    }
}

macro_rules! kinds {
    ($($group:literal $versions:expr => { $($kind:literal $plural:literal $namespaced:literal),* $(,)? })*) => {
        &[$($(ApiKind {
            group: $group,
            versions: $versions,
            kind: $kind,
            plural: $plural,
            namespaced: $namespaced,
        }),*),*]
    };
}

/// All that it may have.
pub(super) const KINDS: &[ApiKind] = kinds! {
    "" &["v1"] => {
        "Service" "services" true,
        "Pod" "pods" true,
        "Secret" "secrets" true,
        "ConfigMap" "configmaps" true,
        "Namespace" "namespaces" false,
        "Node" "nodes" false,
        "Event" "events" true,
        "ServiceAccount" "serviceaccounts" true,
    }
    "rbac.authorization.k8s.io" &["v1"] => {
        "Role" "roles" true,
        "RoleBinding" "rolebindings" true,
        "ClusterRole" "clusterroles" false,
        "ClusterRoleBinding" "clusterrolebindings" false,
    }
    "apps" &["v1"] => { "Deployment" "deployments" true }
    "autoscaling" &["v2"] => { "HorizontalPodAutoscaler" "horizontalpodautoscalers" true }
    "policy" &["v1"] => { "PodDisruptionBudget" "poddisruptionbudgets" true }
    "discovery.k8s.io" &["v1"] => { "EndpointSlice" "endpointslices" true }
    "networking.k8s.io" &["v1"] => {
        "Ingress" "ingresses" true,
        "IngressClass" "ingressclasses" false,
        "NetworkPolicy" "networkpolicies" true,
    }
    "coordination.k8s.io" &["v1"] => { "Lease" "leases" true }
    "apiextensions.k8s.io" &["v1"] => { "CustomResourceDefinition" "customresourcedefinitions" false }
    "networking.istio.io" &["v1", "v1beta1", "v1alpha3"] => {
        "Gateway" "gateways" true,
        "VirtualService" "virtualservices" true,
        "DestinationRule" "destinationrules" true,
        "ServiceEntry" "serviceentries" true,
        "WorkloadEntry" "workloadentries" true,
    }
    "networking.istio.io" &["v1beta1"] => { "ProxyConfig" "proxyconfigs" true }
    "networking.istio.io" &["v1alpha3"] => { "EnvoyFilter" "envoyfilters" true }
    "security.istio.io" &["v1", "v1beta1"] => {
        "AuthorizationPolicy" "authorizationpolicies" true,
        "RequestAuthentication" "requestauthentications" true,
        "PeerAuthentication" "peerauthentications" true,
    }
    "telemetry.istio.io" &["v1", "v1alpha1"] => { "Telemetry" "telemetries" true }
    "extensions.istio.io" &["v1alpha1"] => {
        "WasmPlugin" "wasmplugins" true,
        "TrafficExtension" "trafficextensions" true,
    }
    "gateway.networking.k8s.io" &["v1", "v1beta1"] => {
        "GatewayClass" "gatewayclasses" false,
        "Gateway" "gateways" true,
        "HTTPRoute" "httproutes" true,
        "GRPCRoute" "grpcroutes" true,
        "ListenerSet" "listenersets" true,
        "TLSRoute" "tlsroutes" true,
        "TCPRoute" "tcproutes" true,
        "UDPRoute" "udproutes" true,
        "ReferenceGrant" "referencegrants" true,
        "BackendTLSPolicy" "backendtlspolicies" true,
    }
    "gateway.networking.x-k8s.io" &["v1alpha1"] => {
        "XBackendTrafficPolicy" "xbackendtrafficpolicies" true,
        "XBackend" "xbackends" true,
    }
};

/// The kind that an object is of.
pub(crate) fn kind_of(object: &Value) -> &'static ApiKind {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let fits = |kind: &&ApiKind| {
        kind.group == group && kind.kind == text("kind") && kind.versions.contains(&version)
    };
    KINDS.iter().find(fits).unwrap_or_else(|| panic!("the double has no kind for {object}"))
}
