//! `WorkloadEntry`: an endpoint that is no Pod.

use std::collections::BTreeMap;

use crate::decode::spec;

spec! {
    /// `networking.istio.io` `WorkloadEntry`, and an endpoint of a `ServiceEntry`.
    pub struct WorkloadEntry {
        /// An IP address, a name (with DNS resolution) or a `unix://` path.
        "address" => address: String,
        /// Its port for each named port of the service.
        "ports" => ports: BTreeMap<String, u32>,
        /// What subsets select by.
        "labels" => labels: BTreeMap<String, String>,
        /// Its network.
        "network" => network: String,
        /// `region/zone/subzone`.
        "locality" => locality: String,
        /// Its share; 0 means 1.
        "weight" => weight: u32,
        /// Its account.
        "serviceAccount" => service_account: String,
    }
}

impl WorkloadEntry {
    /// Is its address that of a unix socket?
    pub fn is_socket(&self) -> bool {
        self.address.starts_with("unix:")
    }
}
