//! Kinds of the Gateway API: `gateway.networking.k8s.io`. Versions of a kind have one schema.

mod backend_tls_policy;
mod external_auth;
mod gateway;
mod gateway_class;
mod grpc_route;
mod http_route;
mod l4_routes;
mod reference_grant;
mod route;

pub use backend_tls_policy::*;
pub use external_auth::*;
pub use gateway::*;
pub use gateway_class::*;
pub use grpc_route::*;
pub use http_route::*;
pub use l4_routes::*;
pub use reference_grant::*;
pub use route::*;

/// The API group.
pub const GROUP: &str = "gateway.networking.k8s.io";
