//! `Gateway` and `ListenerSet`: what is listened on, and who may attach to it.

use std::collections::BTreeMap;

use super::gateway_class::ParametersReference;
use super::route::{DefaultScope, ParentReference};
use crate::decode::{spec, words};

spec! {
    /// `gateway.networking.k8s.io` `Gateway`.
    pub struct Gateway {
        /// Its class, which says who serves it.
        "gatewayClassName" => gateway_class_name: String,
        /// What is listened on; 1 to 64, with a name each.
        "listeners" => listeners: Vec<Listener>,
        /// Where; none: the controller chooses.
        "addresses" => addresses: Vec<RequestedAddress>,
        /// For what a controller makes for it.
        "infrastructure" => infrastructure: Option<Infrastructure>,
        /// Whose ListenerSets may add listeners; absent: nobody's.
        "allowedListeners" => allowed_listeners: Option<AllowedListeners>,
        /// TLS of all its listeners and of all its backends.
        "tls" => tls: Option<GatewayTls>,
        /// Which routes it takes up that ask for default Gateways and do not name it.
        "defaultScope" => default_scope: DefaultScope,
    }
    beside {
        /// `status.addresses`: where it was found last.
        "assigned" => assigned: Vec<RequestedAddress>,
    }
}

spec! {
    /// The `status` of a Gateway.
    pub(crate) struct GatewayStatus {
        "addresses" => addresses: Vec<RequestedAddress>,
    }
    also ["*"]
}

spec! {
    /// `gateway.networking.k8s.io` `ListenerSet`.
    pub struct ListenerSet {
        /// The Gateway that its listeners are added to.
        "parentRef" => parent_ref: ParentReference,
        /// As those of a Gateway.
        "listeners" => listeners: Vec<Listener>,
    }
}

spec! {
    /// A port, a protocol and host names.
    pub struct Listener {
        /// Unique in its object.
        "name" => name: String,
        /// A name, or `*.` before one; empty: any.
        "hostname" => hostname: String,
        /// 1 to 65535.
        "port" => port: u16,
        /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or another that nothing is known of.
        "protocol" => protocol: String,
        /// For HTTPS and TLS.
        "tls" => tls: Option<ListenerTls>,
        /// Which routes may attach.
        "allowedRoutes" => allowed_routes: AllowedRoutes,
    }
}

spec! {
    /// TLS of a listener.
    pub struct ListenerTls {
        /// Whether it is decrypted here.
        "mode" => mode: ListenerTlsMode,
        /// Secrets with the certificate and key of the server.
        "certificateRefs" => certificate_refs: Vec<ObjectReference>,
        /// Settings that each implementation gives a meaning, by names with a domain.
        "options" => options: BTreeMap<String, String>,
    }
}

words! {
    /// Whether TLS is decrypted.
    pub enum ListenerTlsMode {
        /// It is.
        Terminate = "Terminate",
        /// It is handed on as it is.
        Passthrough = "Passthrough",
    }
}

spec! {
    /// An object, in another namespace if that one says so in a ReferenceGrant.
    pub struct ObjectReference {
        /// API group; empty: Kubernetes' own.
        "group" => group: String,
        /// Kind; empty: what is usual there.
        "kind" => kind: String,
        /// Name.
        "name" => name: String,
        /// Namespace; empty: that of what refers to it.
        "namespace" => namespace: String,
    }
}

spec! {
    /// Which routes may attach to a listener.
    pub struct AllowedRoutes {
        /// Of which namespaces; absent: of the listener's.
        "namespaces" => namespaces: RouteNamespaces,
        /// Of which kinds; none: those that fit its protocol.
        "kinds" => kinds: Vec<RouteGroupKind>,
    }
}

spec! {
    /// The namespaces of routes that may attach.
    pub struct RouteNamespaces {
        /// Which.
        "from" => from: RoutesFrom,
        /// For `Selector`.
        "selector" => selector: Option<LabelSelector>,
    }
}

words! {
    /// Of which namespaces routes may be.
    pub enum RoutesFrom {
        /// Of the listener's own.
        Same = "Same",
        /// Of any.
        All = "All",
        /// Of those whose labels fit.
        Selector = "Selector",
        /// Of none.
        None = "None",
    }
}

spec! {
    /// A kind of route.
    pub struct RouteGroupKind {
        /// API group; absent: the Gateway API's.
        "group" => group: Option<String>,
        /// Kind.
        "kind" => kind: String,
    }
}

spec! {
    /// Whose ListenerSets may attach to a Gateway.
    pub struct AllowedListeners {
        /// Of which namespaces.
        "namespaces" => namespaces: ListenerNamespaces,
    }
}

spec! {
    /// The namespaces of ListenerSets that may attach.
    pub struct ListenerNamespaces {
        /// Which.
        "from" => from: ListenersFrom,
        /// For `Selector`.
        "selector" => selector: Option<LabelSelector>,
    }
}

words! {
    /// Of which namespaces ListenerSets may be.
    pub enum ListenersFrom {
        /// Of none.
        None = "None",
        /// Of the Gateway's own.
        Same = "Same",
        /// Of any.
        All = "All",
        /// Of those whose labels fit.
        Selector = "Selector",
    }
}

spec! {
    /// Kubernetes' `LabelSelector`: all of it must hold; an empty one fits everything.
    pub struct LabelSelector {
        /// Labels with their values.
        "matchLabels" => match_labels: BTreeMap<String, String>,
        /// Conditions on labels.
        "matchExpressions" => match_expressions: Vec<LabelRequirement>,
    }
}

spec! {
    /// A condition on a label.
    pub struct LabelRequirement {
        /// The label.
        "key" => key: String,
        /// What is asked.
        "operator" => operator: LabelOperator,
        /// For `In` and `NotIn`.
        "values" => values: Vec<String>,
    }
}

words! {
    /// What is asked of a label.
    pub enum LabelOperator {
        /// Its value is one of these.
        In = "In",
        /// It has none of these values, or is absent.
        NotIn = "NotIn",
        /// It is there.
        Exists = "Exists",
        /// It is not.
        DoesNotExist = "DoesNotExist",
    }
}

impl LabelSelector {
    /// Does it fit these labels?
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let said = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        said && self.match_expressions.iter().all(|asked| {
            let value = labels.get(&asked.key);
            match asked.operator {
                LabelOperator::In => value.is_some_and(|value| asked.values.contains(value)),
                LabelOperator::NotIn => value.is_none_or(|value| !asked.values.contains(value)),
                LabelOperator::Exists => value.is_some(),
                LabelOperator::DoesNotExist => value.is_none(),
            }
        })
    }
}

spec! {
    /// An address that a Gateway asks for.
    pub struct RequestedAddress {
        /// `IPAddress` (also if empty), `Hostname`, `NamedAddress`, or another with a domain.
        "type" => address_type: String,
        /// The address; empty: any of that type.
        "value" => value: String,
    }
}

spec! {
    /// What is put on the objects that a controller makes for a Gateway.
    pub struct Infrastructure {
        /// Labels.
        "labels" => labels: BTreeMap<String, String>,
        /// Annotations.
        "annotations" => annotations: BTreeMap<String, String>,
        /// Settings of the controller, in the Gateway's namespace.
        "parametersRef" => parameters_ref: Option<ParametersReference>,
    }
}

spec! {
    /// TLS of a whole Gateway.
    pub struct GatewayTls {
        /// Towards backends.
        "backend" => backend: Option<BackendTls>,
        /// Towards clients.
        "frontend" => frontend: Option<FrontendTls>,
    }
}

spec! {
    /// What a Gateway shows to backends.
    pub struct BackendTls {
        /// The Secret with its certificate and key.
        "clientCertificateRef" => client_certificate_ref: Option<ObjectReference>,
    }
}

spec! {
    /// What a Gateway asks of clients, on its HTTPS listeners.
    pub struct FrontendTls {
        /// On ports that have nothing of their own.
        "default" => default: FrontendTlsConfig,
        /// By port.
        "perPort" => per_port: Vec<PortTls>,
    }
}

spec! {
    /// What is asked of clients on a port.
    pub struct PortTls {
        /// The port.
        "port" => port: u16,
        /// What is asked.
        "tls" => tls: FrontendTlsConfig,
    }
}

spec! {
    /// What is asked of clients.
    pub struct FrontendTlsConfig {
        /// How their certificates are looked at; absent: they are not.
        "validation" => validation: Option<FrontendValidation>,
    }
}

spec! {
    /// How certificates of clients are looked at.
    pub struct FrontendValidation {
        /// Who vouches for clients: ConfigMaps with `ca.crt`.
        "caCertificateRefs" => ca_certificate_refs: Vec<ObjectReference>,
        /// Who is let in.
        "mode" => mode: FrontendValidationMode,
    }
}

words! {
    /// Which clients are let in.
    pub enum FrontendValidationMode {
        /// Those that somebody vouches for.
        AllowValidOnly = "AllowValidOnly",
        /// All; a certificate is asked for all the same.
        AllowInsecureFallback = "AllowInsecureFallback",
    }
}
