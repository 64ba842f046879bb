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
mod x_backend;
mod x_backend_traffic_policy;

pub use backend_tls_policy::*;
pub use external_auth::*;
pub use gateway::*;
pub use gateway_class::*;
pub use grpc_route::*;
pub use http_route::*;
pub use l4_routes::*;
pub use reference_grant::*;
pub use route::*;
pub use x_backend::*;
pub use x_backend_traffic_policy::*;

/// The API group.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// That of what is tried out.
pub const X_GROUP: &str = "gateway.networking.x-k8s.io";
