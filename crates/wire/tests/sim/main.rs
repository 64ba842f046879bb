//! Simulations of the codecs: every valid shape cut at every byte, every smuggling shape refused by name, and whatever is
//! accepted written and read again.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod bodies;
mod check;
mod h2;
mod h2_check;
mod parts;
mod parts_check;
mod random;
mod requests;
mod responses;
