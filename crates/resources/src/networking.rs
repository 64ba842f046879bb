//! Kubernetes' `networking.k8s.io/v1`: `Ingress` and `IngressClass`.

use crate::decode::{spec, words};

spec! {
    /// `networking.k8s.io` `Ingress`: hosts and paths of HTTP, and the Services behind them.
    pub struct Ingress {
        /// The IngressClass whose controller serves it; empty: none is named, or an annotation names one.
        "ingressClassName" => class: String,
        /// Gets what no rule takes.
        "defaultBackend" => default_backend: Option<IngressBackend>,
        /// Which certificates are shown for which names.
        "tls" => tls: Vec<IngressTls>,
        /// Hosts with their paths.
        "rules" => rules: Vec<IngressRule>,
    }
}

impl Ingress {
    /// The annotation that named the class before there was a field for it. It counts before the field.
    pub const CLASS_ANNOTATION: &'static str = "kubernetes.io/ingress.class";
}

spec! {
    /// Where requests go: one of the two.
    pub struct IngressBackend {
        /// A port of a Service in the namespace of the Ingress.
        "service" => service: Option<ServiceBackend>,
        /// Another object there.
        "resource" => resource: Option<ResourceBackend>,
    }
}

spec! {
    /// A port of a Service.
    pub struct ServiceBackend {
        /// Its name.
        "name" => name: String,
        /// Which of its ports.
        "port" => port: ServiceBackendPort,
    }
}

spec! {
    /// A port of a Service, by name or by number.
    pub struct ServiceBackendPort {
        /// Its name, or empty.
        "name" => name: String,
        /// Its number, or 0.
        "number" => number: u16,
    }
}

spec! {
    /// An object that is no Service.
    pub struct ResourceBackend {
        /// API group; empty: Kubernetes' own.
        "apiGroup" => api_group: String,
        /// Kind.
        "kind" => kind: String,
        /// Name.
        "name" => name: String,
    }
}

spec! {
    /// A certificate.
    pub struct IngressTls {
        /// The names that it is shown for; none: whatever is asked for.
        "hosts" => hosts: Vec<String>,
        /// The Secret that holds it; empty: the one that the controller has for such cases.
        "secretName" => secret_name: String,
    }
}

spec! {
    /// A host with its paths.
    pub struct IngressRule {
        /// A name, or `*.` and a name, where `*` is one label; empty: any.
        "host" => host: String,
        /// Its paths; none: all go to the default backend.
        "http" => http: Option<IngressPaths>,
    }
}

spec! {
    /// Paths.
    pub struct IngressPaths {
        /// At least one.
        "paths" => paths: Vec<IngressPath>,
    }
}

spec! {
    /// A path and where its requests go.
    pub struct IngressPath {
        /// As `path_type` says.
        "path" => path: String,
        /// How paths are compared with it.
        "pathType" => path_type: Option<PathType>,
        /// Where to.
        "backend" => backend: IngressBackend,
    }
}

words! {
    /// How paths are compared.
    pub enum PathType {
        /// As each controller likes.
        ImplementationSpecific = "ImplementationSpecific",
        /// The whole path.
        Exact = "Exact",
        /// By whole segments from the start.
        Prefix = "Prefix",
    }
}

spec! {
    /// `networking.k8s.io` `IngressClass`: a name for what a controller serves.
    pub struct IngressClass {
        /// Whose it is, such as `limen.dev/ingress-controller`.
        "controller" => controller: String,
        /// What the controller is to know of it.
        "parameters" => parameters: Option<ClassParameters>,
    }
}

impl IngressClass {
    /// With `true`, the class of Ingresses that name none.
    pub const DEFAULT_ANNOTATION: &'static str = "ingressclass.kubernetes.io/is-default-class";
}

spec! {
    /// An object with settings of a class.
    pub struct ClassParameters {
        /// API group; empty: Kubernetes' own.
        "apiGroup" => api_group: String,
        /// Kind.
        "kind" => kind: String,
        /// Name.
        "name" => name: String,
        /// `Cluster` (also if empty) or `Namespace`.
        "scope" => scope: String,
        /// With scope `Namespace`.
        "namespace" => namespace: String,
    }
}
