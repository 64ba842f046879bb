//! The filter `ExternalAuth`: a service decides on requests.

use super::route::BackendReference;
use crate::decode::{spec, words};

spec! {
    /// Who is asked about a request, and how (GEP-1494).
    pub struct HttpExternalAuth {
        /// In which way.
        "protocol" => protocol: ExternalAuthProtocol,
        /// Who; its weight means nothing.
        "backendRef" => backend_ref: BackendReference,
        /// For `GRPC`.
        "grpc" => grpc: Option<GrpcAuthConfig>,
        /// For `HTTP`.
        "http" => http: Option<HttpAuthConfig>,
        /// Whether the body goes along; absent: it does not.
        "forwardBody" => forward_body: Option<ForwardBody>,
    }
}

words! {
    /// How a service is asked about requests.
    pub enum ExternalAuthProtocol {
        /// By a request much like the one in question; 200 lets it in.
        Http = "HTTP",
        /// By Envoy's `envoy.service.auth.v3.Authorization/Check`.
        Grpc = "GRPC",
    }
}

spec! {
    /// What a call tells.
    pub struct GrpcAuthConfig {
        /// Names of header fields; none: all.
        "allowedHeaders" => allowed_headers: Vec<String>,
    }
}

spec! {
    /// What a request tells, and what of the answer the backend gets.
    pub struct HttpAuthConfig {
        /// Stands before the path; may be empty.
        "path" => path: String,
        /// Names of header fields that are sent besides those that always are.
        "allowedHeaders" => allowed_headers: Vec<String>,
        /// Names of header fields of the answer that the backend gets; none: all.
        "allowedResponseHeaders" => allowed_response_headers: Vec<String>,
    }
}

spec! {
    /// The body of requests in question.
    pub struct ForwardBody {
        /// Bytes; longer ones are refused. 0: it is not sent. It is kept whole while the service decides, so that the API names
        /// no more than this type holds.
        "maxSize" => max_size: u16,
    }
}
