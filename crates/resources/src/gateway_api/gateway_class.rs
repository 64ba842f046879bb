//! `GatewayClass`: who serves the Gateways of a class.

use crate::decode::spec;

spec! {
    /// `gateway.networking.k8s.io` `GatewayClass`.
    pub struct GatewayClass {
        /// `domain/path` of the controller that serves the class.
        "controllerName" => controller_name: String,
        /// Settings of the controller for the class.
        "parametersRef" => parameters_ref: Option<ParametersReference>,
        /// For people.
        "description" => description: String,
    }
}

spec! {
    /// An object with settings of a controller.
    pub struct ParametersReference {
        /// API group; empty: Kubernetes' own.
        "group" => group: String,
        /// Kind.
        "kind" => kind: String,
        /// Name.
        "name" => name: String,
        /// Namespace, for kinds that have one; of a Gateway it is always its own.
        "namespace" => namespace: String,
    }
}
