//! Kinds of the Gateway API.

mod backend_tls_policy;

pub use backend_tls_policy::{
    BackendTlsPolicy, BackendTlsValidation, LocalReference, PolicyTarget, SubjectAltName, SubjectAltNameType,
};
