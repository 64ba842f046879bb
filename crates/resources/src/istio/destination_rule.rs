//! `DestinationRule`: how to speak to a service, and which subsets it has.

use std::collections::BTreeMap;

use super::traffic_policy::TrafficPolicy;
use crate::decode::spec;

spec! {
    /// `networking.istio.io` `DestinationRule`.
    pub struct DestinationRule {
        /// The service; a short name is looked for in the rule's namespace.
        "host" => host: String,
        /// For the whole service.
        "trafficPolicy" => traffic_policy: Option<TrafficPolicy>,
        /// Named parts.
        "subsets" => subsets: Vec<Subset>,
        /// `.`, `*` or namespaces; empty: the mesh's default.
        "exportTo" => export_to: Vec<String>,
        /// Restricts it to workloads of its namespace.
        "workloadSelector" => workload_selector: Option<WorkloadSelector>,
    }
}

spec! {
    /// A named part of a service.
    pub struct Subset {
        /// A DNS label.
        "name" => name: String,
        /// Labels of the endpoints; empty: all.
        "labels" => labels: BTreeMap<String, String>,
        /// Overrides the service's policy.
        "trafficPolicy" => traffic_policy: Option<TrafficPolicy>,
    }
}

spec! {
    /// Selects workloads by label.
    pub struct WorkloadSelector {
        /// All must be there.
        "matchLabels" => match_labels: BTreeMap<String, String>,
    }
}
