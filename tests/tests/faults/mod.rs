//! What breaks around a gateway, and in it: what must hold stands in docs/faults.md.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

mod killed;
mod origins;
/// A build without debug assertions has no panics to ask for.
#[cfg(debug_assertions)]
mod panics;
mod stalls;
mod wires;
