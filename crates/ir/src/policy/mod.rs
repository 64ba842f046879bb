//! Policies that rules carry: one file each, named as the same feature is named at every stage.

pub mod cors;
pub mod external_auth;
pub mod fault;
pub mod hash;
pub mod headers;
pub mod http;
pub mod outlier;
pub mod retry;
pub mod rewrite;
pub mod session;
pub mod warmup;
