//! What makes a cluster the source of resources.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use limen_resources::istio::MESH_CONFIG_MAP;
use limen_resources::{Kind, ObjectKey};
use limen_sources::{Cluster, Heir, Writing};

use super::Meaning;

const KUBERNETES: &str = "Kubernetes";

/// What `run` takes for a cluster.
#[derive(Debug, Clone, Args)]
pub struct Kubernetes {
    /// Serve what a cluster holds instead of files: as in a Pod, else as kubectl does
    #[arg(long, env = "LIMEN_KUBE", value_parser = FalseyValueParser::new(), help_heading = KUBERNETES)]
    pub kube: bool,

    /// File that says how to reach the cluster [default: $KUBECONFIG, ~/.kube/config, or in a Pod its service account]
    #[arg(long, env = "LIMEN_KUBECONFIG", value_name = "FILE", requires = "kube", help_heading = KUBERNETES)]
    pub kubeconfig: Option<PathBuf>,

    /// Context of that file [default: its current one]
    #[arg(long, env = "LIMEN_CONTEXT", value_name = "NAME", requires = "kube", help_heading = KUBERNETES)]
    pub context: Option<String>,

    /// Namespaces whose objects are read, besides the Secrets and ConfigMaps that are needed by name [default: all]
    #[arg(
        long,
        env = "LIMEN_WATCH_NAMESPACES",
        value_name = "NS,…",
        value_delimiter = ',',
        action = ArgAction::Append,
        requires = "kube",
        help_heading = KUBERNETES
    )]
    pub watch_namespaces: Vec<String>,

    /// Write nothing into the cluster: no status of any object, no Events, no Leases
    #[arg(long, env = "LIMEN_NO_STATUS", value_parser = FalseyValueParser::new(), requires = "kube", conflicts_with = "deploy_image", help_heading = KUBERNETES)]
    pub no_status: bool,

    /// Gateways of one group stand for each other: one of them writes, and what it writes holds for all
    #[arg(long, env = "LIMEN_GROUP", default_value = "limen", value_parser = name, value_name = "NAME", help_heading = KUBERNETES)]
    pub group: String,

    /// The name of this gateway in its group [default: the host's, with the process in it outside of Pods]
    #[arg(long, env = "LIMEN_INSTANCE", value_parser = name, value_name = "NAME", requires = "kube", help_heading = KUBERNETES)]
    pub instance: Option<String>,

    /// Namespace of the Leases of the group [default: the Pod's, or that of the context]
    #[arg(long, env = "LIMEN_LEASE_NAMESPACE", value_parser = name, value_name = "NS", requires = "kube", help_heading = KUBERNETES)]
    pub lease_namespace: Option<String>,
}

impl Kubernetes {
    /// The cluster to read, if one is.
    pub fn cluster(&self, meaning: &Meaning) -> Option<Cluster> {
        let Kubernetes { kube, kubeconfig, context, watch_namespaces, .. } = self;
        let root = meaning.translation().root_namespace;
        let own = &meaning.workload_namespace;
        let mesh = ObjectKey::new(Kind::ConfigMap, root, MESH_CONFIG_MAP);
        kube.then(|| Cluster {
            kubeconfig: kubeconfig.clone(),
            context: context.clone(),
            namespaces: watch_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect(),
            // Nothing is to be served for a moment as if there were none.
            first: BTreeSet::from([mesh]),
            deployments: meaning.deploying.deploy_image.as_ref().map(|_| own.clone()),
            // The names of their accounts, which only whole Pods tell, are asked for by who has an identity.
            whole_pods: meaning.identity_cert.is_some(),
            writing: (!self.no_status).then(|| Writing {
                controller: meaning.gateway_controller.clone(),
                only: meaning.deploying.only_gateway.clone(),
                heir: meaning.deploying.deploy_image.as_ref().map(|_| Heir {
                    controller: meaning.deploying.deploy_controller.clone(),
                    namespaces: watch_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect(),
                }),
                group: self.group.clone(),
                instance: self.instance.clone().unwrap_or_else(own_name),
                // Where the Leases of the instances are that it makes.
                namespace: self
                    .lease_namespace
                    .clone()
                    .or_else(|| meaning.deploying.deploy_image.as_ref().map(|_| own.clone())),
            }),
        })
    }
}

/// The host's name, which is the Pod's in a Pod. Elsewhere several gateways may share it.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let host: String = host.trim().chars().map(plain).collect();
    let host = match host.trim_matches('-') {
        "" => "gateway",
        host => host,
    };
    match std::env::var_os("KUBERNETES_SERVICE_HOST") {
        Some(_) => host.to_owned(),
        None => format!("{host}-{}", std::process::id()),
    }
}

/// A name that objects can have (RFC 1123).
fn name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().last()];
    let good = ends.iter().all(|end| end.is_some_and(plain))
        && text.len() <= 63
        && text.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'.'));
    good.then(|| text.to_owned())
        .ok_or_else(|| "expected a name of lower case letters, digits and -".to_owned())
}
