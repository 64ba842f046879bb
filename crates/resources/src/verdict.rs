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
    /// The condition's type, such as `Accepted`.
    pub condition: String,
    /// Does it hold?
    pub status: bool,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Where clients find it, if it is a gateway's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
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
    /// The condition of a Gateway whose servers all serve.
    pub const PROGRAMMED: &'static str = "Programmed";
}
