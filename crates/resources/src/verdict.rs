//! What may be said about a resource.

use serde::Serialize;

use crate::key::ObjectKey;

/// One condition of one object, as translation sees it. It becomes a Kubernetes status condition, a row in a view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Verdict {
    /// The object it is about.
    pub on: ObjectKey,
    /// Through which other object, such as the Gateway that a route hangs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ObjectKey>,
    /// The part of the object that it is about; `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The condition's type, such as `Accepted`.
    pub condition: String,
    /// Does it hold?
    pub status: bool,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The generation of the object that it is about (`observedGeneration`), if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// How many ListenerSets hang on it, if it is a Gateway that has any.
    #[serde(rename = "attachedListenerSets", skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<usize>,
    /// Where clients find it, if it is a gateway's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// What its Gateways can do, in ascending order, if it is a GatewayClass.
    #[serde(rename = "supportedFeatures", skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<&'static str>,
}

/// A part of an object that has conditions of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// A listener of a Gateway or ListenerSet of the Gateway API.
    #[serde(rename_all = "camelCase")]
    Listener {
        /// Its place in `spec.listeners`.
        place: usize,
        /// Its name.
        name: String,
        /// How many routes hang on it.
        attached_routes: usize,
        /// The kinds of routes that it takes.
        supported_kinds: Vec<String>,
    },
    /// What a route has to do with one of its parents: the place of that in `spec.parentRefs`.
    ParentRef(usize),
    /// What a route has to do with a Gateway that it does not name, as both say `All` for defaults: the verdict's parent.
    DefaultGateway,
}

/// An address as the status of a Gateway has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GatewayAddress {
    /// Which of the two it is.
    #[serde(rename = "type")]
    pub address_type: GatewayAddressType,
    /// The address itself.
    pub value: String,
}

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum GatewayAddressType {
    /// An IP address.
    #[serde(rename = "IPAddress")]
    Ip,
    /// A name that DNS knows.
    Hostname,
}

impl GatewayAddress {
    /// An IP address.
    pub fn ip(value: String) -> GatewayAddress {
        GatewayAddress { address_type: GatewayAddressType::Ip, value }
    }

    /// A name that DNS knows.
    pub fn hostname(value: String) -> GatewayAddress {
        GatewayAddress { address_type: GatewayAddressType::Hostname, value }
    }
}

impl Verdict {
    /// That a condition of a whole object holds, or does not, for a reason, and what is to be said of it.
    pub fn new(on: ObjectKey, condition: &str, status: bool, (reason, message): (&str, &str)) -> Verdict {
        Verdict {
            on,
            parent: None,
            part: None,
            condition: condition.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
            generation: None,
            attached_listener_sets: None,
            addresses: Vec::new(),
            supported_features: Vec::new(),
        }
    }

    /// The condition of a Gateway whose servers all serve.
    pub const PROGRAMMED: &'static str = "Programmed";
}
