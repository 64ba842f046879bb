//! What makes a cluster the source of resources.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use limen_resources::istio::MESH_CONFIG_MAP;
use limen_resources::{Kind, ObjectKey};
use limen_sources::Cluster;

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
}

impl Kubernetes {
    /// The cluster to read, if one is.
    pub fn cluster(&self, meaning: &Meaning) -> Option<Cluster> {
        let Kubernetes { kube, kubeconfig, context, watch_namespaces } = self;
        let root = meaning.translation().root_namespace;
        let mesh = ObjectKey::new(Kind::ConfigMap, root, MESH_CONFIG_MAP);
        kube.then(|| Cluster {
            kubeconfig: kubeconfig.clone(),
            context: context.clone(),
            namespaces: watch_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect(),
            // Nothing is to be served for a moment as if there were none.
            first: BTreeSet::from([mesh]),
            // The names of their accounts, which only whole Pods tell, are asked for by who has an identity.
            whole_pods: meaning.identity_cert.is_some(),
        })
    }
}
