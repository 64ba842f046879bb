//! What translation must be told besides the resources.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use limen_ir::Address;
use limen_resources::{Kind, ObjectKey};

use crate::ingress::IngressSettings;
use crate::mesh::Mesh;

/// Who this process is, and what a user decided outside of the resources. `Default` is product.md's identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The gateway workloads that this process stands for, at least one; each with tables of its own.
    pub gateways: Vec<GatewayInstance>,
    /// The namespace of objects that name none; flags leave it out too.
    pub namespace: String,
    /// The namespace of the workload: `exportTo`, credentials and DestinationRules are looked up from there.
    pub workload_namespace: String,
    /// The namespace of mesh-wide configuration.
    pub root_namespace: String,
    /// The domain of Service names, such as `cluster.local`.
    pub cluster_domain: String,
    /// The Kubernetes node that the workload runs on, if it is known: endpoints of a Service whose traffic is to stay on
    /// its node are chosen by it.
    pub node: Option<String>,
    /// Where the workload stands, `region/zone/subzone`; `None`: its label `istio-locality` or its node says it.
    pub locality: Option<String>,
    /// Configuration that is labelled for another revision (`istio.io/rev`) is passed over.
    pub revision: String,
    /// What `destination_cluster` says.
    pub cluster_id: String,
    /// From the port that a Gateway declares to the port that is bound; 0: one that the system chooses. Ports that are
    /// not named here are bound as declared.
    pub port_map: BTreeMap<u16, u16>,
    /// Endpoints for Services and subsets that the resources leave without any.
    pub backends: Vec<BackendOverride>,
    /// Kinds that can deny and whose objects are to be passed over.
    pub ignored_policies: BTreeSet<Kind>,
    /// The workload's identity in the mesh; `None`: it has none.
    pub identity: Option<IdentityFiles>,
    /// Which Ingresses are served, and how.
    pub ingress: IngressSettings,
    /// What of the Gateway API is served, and where.
    pub gateway_api: GatewayApiSettings,
    /// May VirtualServices of several namespaces add to one host, as in Istio? Otherwise it is the first one's namespace's.
    pub shared_hosts: bool,
    /// Retry as Istio does where no `retries` block is written, instead of only where nothing can have been processed.
    pub istio_default_retries: bool,
    /// What the mesh configuration says; filled in from the resources.
    pub mesh: Mesh,
    /// The resources come from files: a credential may then also stand in the namespace of its Gateway.
    pub files: bool,
}

/// What of the Gateway API is served, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayApiSettings {
    /// Who we are: the GatewayClasses that name this controller are ours.
    pub controller: String,
    /// Gateways that name no address get one of their own from these; none: all are bound where the workload is.
    pub addresses: Vec<IpNet>,
    /// The one Gateway for which this process runs; then it serves nothing else, of other APIs neither. `None`: all that
    /// are ours.
    pub only: Option<ObjectKey>,
    /// How instances are made for Gateways that get some of their own; `None`: such Gateways are left alone.
    pub deployer: Option<Deployer>,
}

/// How instances are made for Gateways that get some of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployer {
    /// The GatewayClasses that name this controller are those of such Gateways.
    pub controller: String,
    /// What the instances run.
    pub image: String,
    /// The account of their Pods, in the namespace of the workload, where they stand.
    pub service_account: String,
    /// What they are told besides what tells them apart.
    pub arguments: Vec<String>,
    /// How long a Pod may take to end, in seconds.
    pub grace_seconds: u64,
}

impl GatewayApiSettings {
    /// May this process serve the Gateway, if its class is ours?
    pub(crate) fn may_serve(&self, gateway: &ObjectKey) -> bool {
        self.only.as_ref().is_none_or(|only| only == gateway)
    }
}

impl Default for GatewayApiSettings {
    fn default() -> GatewayApiSettings {
        GatewayApiSettings {
            controller: "limen.dev/gateway-controller".to_owned(),
            addresses: Vec::new(),
            only: None,
            deployer: None,
        }
    }
}

/// The files of the workload's identity in the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Path of the PEM of the certificate chain.
    pub certificate: String,
    /// Path of the PEM of its key.
    pub key: String,
    /// Path of the PEM of the CAs of the mesh.
    pub authorities: String,
}

/// One gateway workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayInstance {
    /// Its name; tells route tables apart where there are several.
    pub name: String,
    /// The labels that selectors are compared with.
    pub labels: BTreeMap<String, String>,
    /// The address that its ports are bound on, unless a server names another one.
    pub bind: IpAddr,
}

/// An endpoint given outside of the resources (`--backend`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendOverride {
    /// The Service's name.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// The port of the Service; `None`: every port.
    pub port: Option<u16>,
    /// What subsets select by.
    pub labels: BTreeMap<String, String>,
    /// Where to connect.
    pub address: Address,
}

impl BackendOverride {
    /// The flag that gives a Service (by name and namespace), or a subset of it by labels, an endpoint on this machine,
    /// ready to paste: at the Service's own port, unless that is among those `taken` by the process itself.
    pub(crate) fn flag(
        settings: &Settings,
        (name, namespace): (&str, &str),
        port: u16,
        labels: &BTreeMap<String, String>,
        taken: &BTreeSet<u16>,
    ) -> String {
        let namespace = if namespace == settings.namespace { String::new() } else { format!(".{namespace}") };
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("/{}", labels.join(",")) };
        let others = (port.saturating_add(9000)..u16::MAX).chain(port.saturating_add(1)..u16::MAX);
        let own = std::iter::once(port).chain(others).find(|port| !taken.contains(port)).unwrap_or(port);
        format!("--backend {name}{namespace}:{port}{labels}=127.0.0.1:{own}")
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            gateways: vec![GatewayInstance::default()],
            namespace: "default".to_owned(),
            workload_namespace: "istio-system".to_owned(),
            root_namespace: "istio-system".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            node: None,
            locality: None,
            revision: "default".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            port_map: BTreeMap::new(),
            backends: Vec::new(),
            ignored_policies: BTreeSet::new(),
            identity: None,
            ingress: IngressSettings::default(),
            gateway_api: GatewayApiSettings::default(),
            shared_hosts: false,
            istio_default_retries: false,
            mesh: Mesh::default(),
            files: true,
        }
    }
}

impl Default for GatewayInstance {
    fn default() -> GatewayInstance {
        let labels = [("app", "istio-ingressgateway"), ("istio", "ingressgateway")];
        GatewayInstance {
            name: "istio-ingressgateway".to_owned(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}
