//! `ReferenceGrant`: who may refer to objects of a namespace from another one.

use crate::decode::spec;

spec! {
    /// `gateway.networking.k8s.io` `ReferenceGrant`. Each of `from` may refer to each of `to`.
    pub struct ReferenceGrant {
        /// Who.
        "from" => from: Vec<GrantFrom>,
        /// To what.
        "to" => to: Vec<GrantTo>,
    }
}

spec! {
    /// Objects that refer to others.
    pub struct GrantFrom {
        /// API group; empty: Kubernetes' own.
        "group" => group: String,
        /// Kind.
        "kind" => kind: String,
        /// Namespace.
        "namespace" => namespace: String,
    }
}

spec! {
    /// Objects that are referred to, in the namespace of the grant.
    pub struct GrantTo {
        /// API group; empty: Kubernetes' own.
        "group" => group: String,
        /// Kind.
        "kind" => kind: String,
        /// Name; empty: all of the kind.
        "name" => name: String,
    }
}
