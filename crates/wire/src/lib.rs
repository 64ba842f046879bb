//! Bytes to messages and back. Sans-IO: bytes in, frames out; no sockets, no timers, no clock, none of our crates.
//!
//! [`head`] holds the one message that all HTTP versions share. [`h1`] is a strict codec of our own, for both sides;
//! of [`h2`] the server's side is ours too (in front is where every request pays, and where abuse comes from), and the
//! client's side is a skin over the `h2` crate. The shell around a state machine is generic over the stream it is given.
#![forbid(unsafe_code)]

mod authority;
pub mod client_hello;
pub mod grpc_web;
pub mod h1;
pub mod h2;
pub mod head;
pub mod protobuf;
pub mod proxy_protocol;
mod spelling;
mod trailers;
pub mod udp_flow;
