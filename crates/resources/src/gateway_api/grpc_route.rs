//! `GRPCRoute`: which calls go where.

use super::http_route::{
    HttpBackendReference, HttpRouteFilter, HttpValueMatch, SessionPersistence, ValueMatchType,
};
use super::route::{DefaultScope, ParentReference};
use crate::decode::spec;

spec! {
    /// `gateway.networking.k8s.io` `GRPCRoute`.
    pub struct GrpcRoute {
        /// What it attaches to.
        "parentRefs" => parent_refs: Vec<ParentReference>,
        /// Names, some with `*.` before them; none: those of the listeners.
        "hostnames" => hostnames: Vec<String>,
        /// What is done with which calls.
        "rules" => rules: Vec<GrpcRouteRule>,
        /// To which Gateways it attaches that it does not name.
        "useDefaultGateways" => use_default_gateways: DefaultScope,
    }
}

spec! {
    /// Calls, and what is done with them.
    pub struct GrpcRouteRule {
        /// Unique in the route; may be empty.
        "name" => name: String,
        /// Any of them; none: every call.
        "matches" => matches: Vec<GrpcRouteMatch>,
        /// What is changed on the way.
        "filters" => filters: Vec<HttpRouteFilter>,
        /// Where they go.
        "backendRefs" => backend_refs: Vec<HttpBackendReference>,
        /// How those of one client stay at one endpoint.
        "sessionPersistence" => session_persistence: Option<Box<SessionPersistence>>,
    }
}

spec! {
    /// What is asked of a call. All of it must hold.
    pub struct GrpcRouteMatch {
        /// Of what is called; absent: nothing.
        "method" => method: Option<GrpcMethodMatch>,
        /// Of its metadata.
        "headers" => headers: Vec<HttpValueMatch>,
    }
}

spec! {
    /// What is asked of what is called.
    pub struct GrpcMethodMatch {
        /// How both are meant.
        "type" => match_type: ValueMatchType,
        /// Service with its package; empty: any.
        "service" => service: String,
        /// Method; empty: any.
        "method" => method: String,
    }
}
