//! `Node`: where it stands, which its labels say, and where it is reached from outside.

use serde::Serialize;

use crate::decode::{Cursor, Decode, spec};

/// `v1` `Node`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Node {
    /// Its addresses of type `ExternalIP`.
    #[serde(rename = "externalIPs", skip_serializing_if = "Vec::is_empty")]
    pub external_ips: Vec<String>,
}

spec! {
    /// The whole Node as it is written.
    struct Written {
        "status" => status: WrittenStatus,
    }
    also ["*"]
}

spec! {
    struct WrittenStatus {
        "addresses" => addresses: Vec<WrittenAddress>,
    }
    also ["*"]
}

spec! {
    struct WrittenAddress {
        "type" => address_type: String,
        "address" => address: String,
    }
    also ["*"]
}

impl Decode for Node {
    fn decode(node: &crate::node::Node, cursor: &mut Cursor<'_>) -> Node {
        let Written { status } = Written::decode(node, cursor);
        let outside = status.addresses.into_iter().filter(|one| one.address_type == "ExternalIP");
        Node { external_ips: outside.map(|one| one.address).filter(|address| !address.is_empty()).collect() }
    }
}
