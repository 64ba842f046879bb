//! Kubernetes' own kinds, as far as a gateway needs them.

mod config_map;
mod deployment;
mod endpoint_slice;
mod namespace;
mod node;
mod pem;
mod pod;
mod scaling;
mod secret;
mod service;

pub use config_map::ConfigMap;
pub use deployment::Deployment;
pub use endpoint_slice::{
    AddressType, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, ObjectReference,
};
pub use namespace::Namespace;
pub use node::Node;
pub use pem::{PemError, PemPair, PemPart, check_certificates, check_pem, parse_pem_pair};
pub use pod::{ContainerPort, Pod};
pub use scaling::{HorizontalPodAutoscaler, PodDisruptionBudget, ScaleTarget};
pub use secret::{AuthorityBytes, Secret, SecretBytes, ServerPair};
pub use service::{IntOrString, LoadBalancerIngress, Service, ServicePort};

pub(crate) use secret::from_base64;
pub(crate) use service::ServiceStatus;
