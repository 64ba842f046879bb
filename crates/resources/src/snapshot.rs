//! An immutable view of everything that was written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::core::{
    ConfigMap, Deployment, EndpointSlice, HorizontalPodAutoscaler, Namespace, Node, Pod, PodDisruptionBudget,
    Secret, SecretBytes, Service,
};
use crate::gateway_api::{self, BackendTlsPolicy};
use crate::istio::{
    DestinationRule, Gateway, MeshConfig, Policy, ProxyConfig, ServiceEntry, Telemetry, VirtualService,
    WorkloadEntry,
};
use crate::key::{Kind, ObjectKey};
use crate::networking::{Ingress, IngressClass};
use crate::object::{AnyObject, Location, Object, Source};
use crate::problem::Problem;
use crate::table::Table;

/// What is known of a file that some object names, such as a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileState {
    /// What it held when it could last be read and made sense.
    pub content: Option<SecretBytes>,
    /// Why it can not be read now, if so.
    pub error: Option<String>,
}

/// What is known of a name that was asked of DNS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameState {
    /// The addresses of the last answer, in its order; none if it had none, or if there never was one.
    pub addresses: Vec<IpAddr>,
    /// Those of the last answer that had any.
    pub known: Vec<IpAddr>,
    /// Why the last question has no answer, if so.
    pub error: Option<String>,
}

/// An immutable view of the store. A clone costs a few reference counts.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) gateways: Table<Gateway>,
    pub(crate) virtual_services: Table<VirtualService>,
    pub(crate) destination_rules: Table<DestinationRule>,
    pub(crate) service_entries: Table<ServiceEntry>,
    pub(crate) workload_entries: Table<WorkloadEntry>,
    pub(crate) proxy_configs: Table<ProxyConfig>,
    pub(crate) telemetries: Table<Telemetry>,
    pub(crate) mesh_configs: Table<MeshConfig>,
    pub(crate) deployments: Table<Deployment>,
    pub(crate) horizontal_pod_autoscalers: Table<HorizontalPodAutoscaler>,
    pub(crate) pod_disruption_budgets: Table<PodDisruptionBudget>,
    pub(crate) services: Table<Service>,
    pub(crate) endpoint_slices: Table<EndpointSlice>,
    pub(crate) pods: Table<Pod>,
    pub(crate) secrets: Table<Secret>,
    pub(crate) config_maps: Table<ConfigMap>,
    pub(crate) namespaces: Table<Namespace>,
    pub(crate) nodes: Table<Node>,
    pub(crate) ingresses: Table<Ingress>,
    pub(crate) ingress_classes: Table<IngressClass>,
    pub(crate) backend_tls_policies: Table<BackendTlsPolicy>,
    pub(crate) gateway_classes: Table<gateway_api::GatewayClass>,
    pub(crate) api_gateways: Table<gateway_api::Gateway>,
    pub(crate) listener_sets: Table<gateway_api::ListenerSet>,
    pub(crate) http_routes: Table<gateway_api::HttpRoute>,
    pub(crate) grpc_routes: Table<gateway_api::GrpcRoute>,
    pub(crate) tls_routes: Table<gateway_api::TlsRoute>,
    pub(crate) tcp_routes: Table<gateway_api::TcpRoute>,
    pub(crate) udp_routes: Table<gateway_api::UdpRoute>,
    pub(crate) reference_grants: Table<gateway_api::ReferenceGrant>,
    pub(crate) x_backend_traffic_policies: Table<gateway_api::XBackendTrafficPolicy>,
    pub(crate) x_backends: Table<gateway_api::XBackend>,
    pub(crate) policies: BTreeMap<Kind, Table<Policy>>,
    pub(crate) files: Arc<BTreeMap<Arc<str>, FileState>>,
    pub(crate) names: Arc<BTreeMap<Arc<str>, Arc<NameState>>>,
    pub(crate) bundle: Option<Arc<str>>,
    pub(crate) problems: Arc<BTreeMap<Arc<str>, Vec<Problem>>>,
    pub(crate) duplicates: Arc<Vec<Problem>>,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident: $spec:ty;)*) => {
        impl Snapshot {
            $($(#[$doc])* pub fn $table(&self) -> &Table<$spec> {
                &self.$table
            })*

            /// The names of all objects, in order.
            pub fn keys(&self) -> Vec<ObjectKey> {
                let mut keys: Vec<_> = self.policies().map(|object| object.key.clone()).collect();
                $(keys.extend(self.$table.iter().map(|object| object.key.clone()));)*
                keys.sort_unstable();
                keys
            }
        }
    };
}

tables! {
    /// Istio Gateways.
    gateways: Gateway;
    /// VirtualServices.
    virtual_services: VirtualService;
    /// DestinationRules.
    destination_rules: DestinationRule;
    /// ServiceEntries.
    service_entries: ServiceEntry;
    /// WorkloadEntries.
    workload_entries: WorkloadEntry;
    /// ProxyConfigs.
    proxy_configs: ProxyConfig;
    /// Telemetries.
    telemetries: Telemetry;
    /// Mesh configurations: of the ConfigMaps that hold one, and of the file given for it.
    mesh_configs: MeshConfig;
    /// Deployments, where they are read.
    deployments: Deployment;
    /// HorizontalPodAutoscalers, where they are read.
    horizontal_pod_autoscalers: HorizontalPodAutoscaler;
    /// PodDisruptionBudgets, where they are read.
    pod_disruption_budgets: PodDisruptionBudget;
    /// Services.
    services: Service;
    /// EndpointSlices.
    endpoint_slices: EndpointSlice;
    /// Pods.
    pods: Pod;
    /// Secrets.
    secrets: Secret;
    /// ConfigMaps.
    config_maps: ConfigMap;
    /// Namespaces; the namespace of their keys is empty.
    namespaces: Namespace;
    /// Where Pods run: what it is labelled, and its addresses outside of the cluster.
    nodes: Node;
    /// Ingresses.
    ingresses: Ingress;
    /// IngressClasses; the namespace of their keys is empty.
    ingress_classes: IngressClass;
    /// BackendTLSPolicies.
    backend_tls_policies: BackendTlsPolicy;
    /// GatewayClasses of the Gateway API; the namespace of their keys is empty.
    gateway_classes: gateway_api::GatewayClass;
    /// Gateways of the Gateway API.
    api_gateways: gateway_api::Gateway;
    /// ListenerSets of the Gateway API.
    listener_sets: gateway_api::ListenerSet;
    /// HTTPRoutes of the Gateway API.
    http_routes: gateway_api::HttpRoute;
    /// GRPCRoutes of the Gateway API.
    grpc_routes: gateway_api::GrpcRoute;
    /// TLSRoutes of the Gateway API.
    tls_routes: gateway_api::TlsRoute;
    /// TCPRoutes of the Gateway API.
    tcp_routes: gateway_api::TcpRoute;
    /// UDPRoutes of the Gateway API.
    udp_routes: gateway_api::UdpRoute;
    /// ReferenceGrants of the Gateway API.
    reference_grants: gateway_api::ReferenceGrant;
    /// XBackendTrafficPolicies of the Gateway API.
    x_backend_traffic_policies: gateway_api::XBackendTrafficPolicy;
    /// XBackends of the Gateway API.
    x_backends: gateway_api::XBackend;
}

impl Snapshot {
    /// The objects of the kinds that can deny, by kind, then namespace, then name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Object<Policy>>> {
        self.policies.values().flat_map(Table::iter)
    }

    /// The objects of one kind that can deny.
    pub fn policies_of(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object<Policy>>> {
        self.policies.get(&kind).into_iter().flat_map(Table::iter)
    }

    /// The files that were asked for, by path.
    pub fn files(&self) -> &BTreeMap<Arc<str>, FileState> {
        &self.files
    }

    /// What is known of one file; `None` if nobody has looked yet.
    pub fn file(&self, path: &str) -> Option<&FileState> {
        self.files.get(path)
    }

    /// What is known of names, by name.
    pub fn names(&self) -> &Arc<BTreeMap<Arc<str>, Arc<NameState>>> {
        &self.names
    }

    /// What is known of one name; `None` if nobody has asked yet, or there is no answer yet.
    pub fn name(&self, name: &str) -> Option<&Arc<NameState>> {
        self.names.get(name)
    }

    /// Which release of the Gateway API's definitions the cluster has, as they say it; `None`: they do not, or there is no
    /// cluster.
    pub fn bundle(&self) -> Option<&str> {
        self.bundle.as_deref()
    }

    /// What is wrong with what was written: by file, and objects that are written twice.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten().chain(self.duplicates.iter())
    }

    /// The object with this key.
    pub fn get(&self, key: &ObjectKey) -> Option<AnyObject> {
        macro_rules! look {
            ($table:expr, $variant:ident) => {
                $table.get(&key.namespace, &key.name).cloned().map(AnyObject::$variant)
            };
        }
        match key.kind {
            Kind::Gateway => look!(self.gateways, Gateway),
            Kind::VirtualService => look!(self.virtual_services, VirtualService),
            Kind::DestinationRule => look!(self.destination_rules, DestinationRule),
            Kind::ServiceEntry => look!(self.service_entries, ServiceEntry),
            Kind::WorkloadEntry => look!(self.workload_entries, WorkloadEntry),
            Kind::ProxyConfig => look!(self.proxy_configs, ProxyConfig),
            Kind::Telemetry => look!(self.telemetries, Telemetry),
            Kind::MeshConfig => look!(self.mesh_configs, MeshConfig),
            Kind::Deployment => look!(self.deployments, Deployment),
            Kind::HorizontalPodAutoscaler => look!(self.horizontal_pod_autoscalers, HorizontalPodAutoscaler),
            Kind::PodDisruptionBudget => look!(self.pod_disruption_budgets, PodDisruptionBudget),
            Kind::Service => look!(self.services, Service),
            Kind::EndpointSlice => look!(self.endpoint_slices, EndpointSlice),
            Kind::Pod => look!(self.pods, Pod),
            Kind::Secret => look!(self.secrets, Secret),
            Kind::ConfigMap => look!(self.config_maps, ConfigMap),
            Kind::Namespace => look!(self.namespaces, Namespace),
            Kind::Node => look!(self.nodes, Node),
            Kind::Ingress => look!(self.ingresses, Ingress),
            Kind::IngressClass => look!(self.ingress_classes, IngressClass),
            Kind::BackendTlsPolicy => look!(self.backend_tls_policies, BackendTlsPolicy),
            Kind::GatewayClass => look!(self.gateway_classes, GatewayClass),
            Kind::ApiGateway => look!(self.api_gateways, ApiGateway),
            Kind::ListenerSet => look!(self.listener_sets, ListenerSet),
            Kind::HttpRoute => look!(self.http_routes, HttpRoute),
            Kind::GrpcRoute => look!(self.grpc_routes, GrpcRoute),
            Kind::TlsRoute => look!(self.tls_routes, TlsRoute),
            Kind::TcpRoute => look!(self.tcp_routes, TcpRoute),
            Kind::UdpRoute => look!(self.udp_routes, UdpRoute),
            Kind::ReferenceGrant => look!(self.reference_grants, ReferenceGrant),
            Kind::XBackend => look!(self.x_backends, XBackend),
            Kind::XBackendTrafficPolicy => look!(self.x_backend_traffic_policies, XBackendTrafficPolicy),
            kind => look!(self.policies.get(&kind)?, Policy),
        }
    }

    /// Where an object was written.
    pub fn source(&self, key: &ObjectKey) -> Option<Source> {
        self.get(key).map(|object| object.source().clone())
    }

    /// Where a field of an object was written, or the nearest field around it; `None` for objects that do not exist or
    /// were not read from text.
    pub fn locate(&self, key: &ObjectKey, field: &str) -> Option<Location> {
        let object = self.get(key)?;
        let source = object.source();
        (source.line > 0).then(|| source.locate(field))
    }

    /// The same with these objects as they are here; `None`: without them.
    pub fn patched<'p>(
        &self,
        changes: impl IntoIterator<Item = (&'p ObjectKey, Option<&'p AnyObject>)>,
    ) -> Snapshot {
        let mut patched = self.clone();
        for (key, object) in changes {
            match object {
                Some(object) => patched.insert(object.clone()),
                None => patched.remove(key),
            }
        }
        patched
    }

    pub(crate) fn insert(&mut self, object: AnyObject) {
        match object {
            AnyObject::Gateway(object) => self.gateways.insert(object),
            AnyObject::VirtualService(object) => self.virtual_services.insert(object),
            AnyObject::DestinationRule(object) => self.destination_rules.insert(object),
            AnyObject::ServiceEntry(object) => self.service_entries.insert(object),
            AnyObject::WorkloadEntry(object) => self.workload_entries.insert(object),
            AnyObject::ProxyConfig(object) => self.proxy_configs.insert(object),
            AnyObject::Telemetry(object) => self.telemetries.insert(object),
            AnyObject::MeshConfig(object) => self.mesh_configs.insert(object),
            AnyObject::Deployment(object) => self.deployments.insert(object),
            AnyObject::HorizontalPodAutoscaler(object) => self.horizontal_pod_autoscalers.insert(object),
            AnyObject::PodDisruptionBudget(object) => self.pod_disruption_budgets.insert(object),
            AnyObject::Service(object) => self.services.insert(object),
            AnyObject::EndpointSlice(object) => self.endpoint_slices.insert(object),
            AnyObject::Pod(object) => self.pods.insert(object),
            AnyObject::Secret(object) => self.secrets.insert(object),
            AnyObject::ConfigMap(object) => self.config_maps.insert(object),
            AnyObject::Namespace(object) => self.namespaces.insert(object),
            AnyObject::Node(object) => self.nodes.insert(object),
            AnyObject::Ingress(object) => self.ingresses.insert(object),
            AnyObject::IngressClass(object) => self.ingress_classes.insert(object),
            AnyObject::BackendTlsPolicy(object) => self.backend_tls_policies.insert(object),
            AnyObject::GatewayClass(object) => self.gateway_classes.insert(object),
            AnyObject::ApiGateway(object) => self.api_gateways.insert(object),
            AnyObject::ListenerSet(object) => self.listener_sets.insert(object),
            AnyObject::HttpRoute(object) => self.http_routes.insert(object),
            AnyObject::GrpcRoute(object) => self.grpc_routes.insert(object),
            AnyObject::TlsRoute(object) => self.tls_routes.insert(object),
            AnyObject::TcpRoute(object) => self.tcp_routes.insert(object),
            AnyObject::UdpRoute(object) => self.udp_routes.insert(object),
            AnyObject::ReferenceGrant(object) => self.reference_grants.insert(object),
            AnyObject::XBackend(object) => self.x_backends.insert(object),
            AnyObject::XBackendTrafficPolicy(object) => self.x_backend_traffic_policies.insert(object),
            AnyObject::Policy(object) => self.policies.entry(object.key.kind).or_default().insert(object),
        }
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        match key.kind {
            Kind::Gateway => self.gateways.remove(key),
            Kind::VirtualService => self.virtual_services.remove(key),
            Kind::DestinationRule => self.destination_rules.remove(key),
            Kind::ServiceEntry => self.service_entries.remove(key),
            Kind::WorkloadEntry => self.workload_entries.remove(key),
            Kind::ProxyConfig => self.proxy_configs.remove(key),
            Kind::Telemetry => self.telemetries.remove(key),
            Kind::MeshConfig => self.mesh_configs.remove(key),
            Kind::Deployment => self.deployments.remove(key),
            Kind::HorizontalPodAutoscaler => self.horizontal_pod_autoscalers.remove(key),
            Kind::PodDisruptionBudget => self.pod_disruption_budgets.remove(key),
            Kind::Service => self.services.remove(key),
            Kind::EndpointSlice => self.endpoint_slices.remove(key),
            Kind::Pod => self.pods.remove(key),
            Kind::Secret => self.secrets.remove(key),
            Kind::ConfigMap => self.config_maps.remove(key),
            Kind::Namespace => self.namespaces.remove(key),
            Kind::Node => self.nodes.remove(key),
            Kind::Ingress => self.ingresses.remove(key),
            Kind::IngressClass => self.ingress_classes.remove(key),
            Kind::BackendTlsPolicy => self.backend_tls_policies.remove(key),
            Kind::GatewayClass => self.gateway_classes.remove(key),
            Kind::ApiGateway => self.api_gateways.remove(key),
            Kind::ListenerSet => self.listener_sets.remove(key),
            Kind::HttpRoute => self.http_routes.remove(key),
            Kind::GrpcRoute => self.grpc_routes.remove(key),
            Kind::TlsRoute => self.tls_routes.remove(key),
            Kind::TcpRoute => self.tcp_routes.remove(key),
            Kind::UdpRoute => self.udp_routes.remove(key),
            Kind::ReferenceGrant => self.reference_grants.remove(key),
            Kind::XBackend => self.x_backends.remove(key),
            Kind::XBackendTrafficPolicy => self.x_backend_traffic_policies.remove(key),
            kind => self.policies.entry(kind).or_default().remove(key),
        }
    }
}
