//! Chunked bodies: any bytes.
#![no_main]
#![allow(dead_code, reason = "each target uses its part of the checks")]

#[path = "../../crates/wire/tests/sim/check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check_chunked(input));
