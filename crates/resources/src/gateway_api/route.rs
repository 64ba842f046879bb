//! What routes of all kinds have in common.

use crate::decode::{spec, words};

spec! {
    /// A Gateway or a ListenerSet, or a part of one, that a route attaches to.
    pub struct ParentReference {
        /// API group; absent: the Gateway API's.
        "group" => group: Option<String>,
        /// Kind; empty: `Gateway`.
        "kind" => kind: String,
        /// Namespace; empty: that of the route.
        "namespace" => namespace: String,
        /// Name.
        "name" => name: String,
        /// A listener by name; empty: all that fit.
        "sectionName" => section_name: String,
        /// Listeners of this port only.
        "port" => port: Option<u16>,
    }
}

spec! {
    /// An object that requests, connections or datagrams are sent to, with its share.
    pub struct BackendReference {
        /// API group; empty: Kubernetes' own.
        "group" => group: String,
        /// Kind; empty: `Service`.
        "kind" => kind: String,
        /// Name.
        "name" => name: String,
        /// Namespace; empty: that of the route.
        "namespace" => namespace: String,
        /// Port of the Service.
        "port" => port: Option<u16>,
        /// Share among all of the rule; absent: 1.
        "weight" => weight: Option<u32>,
    }
}

words! {
    /// Routes and Gateways that come together without naming one another (GEP-3793).
    pub enum DefaultScope {
        /// None.
        None = "None",
        /// All of those that say so, too.
        All = "All",
    }
}

impl ParentReference {
    /// Its group, as the API has it.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(super::GROUP)
    }

    /// Its kind, as the API has it.
    pub fn kind(&self) -> &str {
        if self.kind.is_empty() { "Gateway" } else { &self.kind }
    }
}
