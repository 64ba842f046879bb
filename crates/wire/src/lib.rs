//! Bytes to messages and back. Sans-IO: bytes in, frames out; no sockets, no timers, no clock, none of our crates.
//!
//! [`head`] holds the one message that all HTTP versions share; [`h1`] is our own strict codec; [`h2`] is a thin skin
//! over a bought codec, generic over the stream it is given. Whether a codec is bought or written can change without
//! anyone outside noticing.
#![forbid(unsafe_code)]

mod authority;
pub mod h1;
pub mod h2;
pub mod head;
