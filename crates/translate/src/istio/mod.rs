//! Istio's networking kinds, each on its own: what they say before services and other objects are looked at.

pub(crate) mod action;
pub(crate) mod addresses;
pub(crate) mod client_tls;
pub(crate) mod connection;
pub(crate) mod connection_pool;
pub(crate) mod consistent_hash;
pub(crate) mod cors;
pub(crate) mod delegate;
pub(crate) mod destination_rule;
pub(crate) mod fault;
pub(crate) mod gateway;
pub(crate) mod headers;
pub(crate) mod http_policy;
pub(crate) mod matching;
pub(crate) mod names;
pub(crate) mod outlier;
pub(crate) mod overlaps;
pub(crate) mod programmed;
pub(crate) mod retry;
pub(crate) mod server_tls;
pub(crate) mod service_entry;
mod slot;
pub(crate) mod statistics;
pub(crate) mod substitution;
pub(crate) mod virtual_service;
pub(crate) mod warmup;
