//! Bytes to messages and back. Sans-IO: bytes in, frames out; no sockets, no timers, no clock, none of our crates.
//!
//! [`head`] holds the one message that all HTTP versions share; [`h1`] and [`h2`] are our own strict codecs. The shell
//! around the HTTP/2 state machine is generic over the stream it is given.
#![forbid(unsafe_code)]

mod authority;
pub mod client_hello;
pub mod h1;
pub mod h2;
pub mod head;
pub mod proxy_protocol;
mod trailers;
