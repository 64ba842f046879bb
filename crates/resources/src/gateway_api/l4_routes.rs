//! `TLSRoute`, `TCPRoute` and `UDPRoute`: which connections or datagrams go where, without a look inside.

use super::route::{BackendReference, DefaultScope, ParentReference};
use crate::decode::spec;

spec! {
    /// `gateway.networking.k8s.io` `TLSRoute`.
    pub struct TlsRoute {
        /// What it attaches to.
        "parentRefs" => parent_refs: Vec<ParentReference>,
        /// Server names, some with `*.` before them; at least one.
        "hostnames" => hostnames: Vec<String>,
        /// Where their connections go; exactly one.
        "rules" => rules: Vec<L4RouteRule>,
        /// To which Gateways it attaches that it does not name.
        "useDefaultGateways" => use_default_gateways: DefaultScope,
    }
}

spec! {
    /// `gateway.networking.k8s.io` `TCPRoute`.
    pub struct TcpRoute {
        /// What it attaches to.
        "parentRefs" => parent_refs: Vec<ParentReference>,
        /// Where connections go; exactly one.
        "rules" => rules: Vec<L4RouteRule>,
        /// To which Gateways it attaches that it does not name.
        "useDefaultGateways" => use_default_gateways: DefaultScope,
    }
}

spec! {
    /// `gateway.networking.k8s.io` `UDPRoute`.
    pub struct UdpRoute {
        /// What it attaches to.
        "parentRefs" => parent_refs: Vec<ParentReference>,
        /// Where datagrams go; exactly one.
        "rules" => rules: Vec<L4RouteRule>,
        /// To which Gateways it attaches that it does not name.
        "useDefaultGateways" => use_default_gateways: DefaultScope,
    }
}

spec! {
    /// Where connections or datagrams go.
    pub struct L4RouteRule {
        /// May be empty.
        "name" => name: String,
        /// Where they go, by weight; 1 to 16.
        "backendRefs" => backend_refs: Vec<BackendReference>,
    }
}
