//! What the workers read: immutable, `Send + Sync`, no interior mutability, one swap for everything.
//!
//! Inside the tables references are indices. Routes keep their ordered rule list; every index over it is a filter
//! whose candidates go through the one matcher, [`routes::Rule::check`].

pub(crate) mod clusters;
pub(crate) mod cors;
pub(crate) mod hashing;
pub(crate) mod hosts;
mod index;
pub(crate) mod listeners;
pub(crate) mod logs;
pub(crate) mod matcher;
pub(crate) mod pattern;
mod re2;
pub(crate) mod retry;
pub(crate) mod routes;
pub(crate) mod substitution;
pub(crate) mod tcp;
pub(crate) mod tracing;
pub(crate) mod udp;
