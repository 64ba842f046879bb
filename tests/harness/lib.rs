//! What the end-to-end tests are made of: a gateway, origins and clients in the test's own process.
//!
//! Nobody waits for a while here: whoever waits, waits for an event, and [`GUARD`] only turns a hang into a failure.
//! Ports come from the kernel.
#![forbid(unsafe_code)]
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

mod authorization;
pub mod calls;
pub mod certificates;
pub mod clients;
pub mod cluster;
pub mod collector;
pub mod datagrams;
pub mod dns;
pub mod frames;
pub mod gateway;
pub mod h1;
pub mod h2;
pub mod handshake;
pub mod origin;
mod origin_h2;
pub mod pages;
pub mod process;
mod proxied;
pub mod reply;
pub mod server;
pub mod shop;
pub mod talk;
pub mod tls;
pub mod wire;
pub mod yaml;

use std::future::Future;
use std::time::Duration;

/// Longer than anything that works takes, even on a loaded machine.
pub const GUARD: Duration = Duration::from_secs(60);

/// Awaits something that must happen; a hang becomes a panic that says what was awaited.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(GUARD, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {GUARD:?} for {what}"),
    }
}
