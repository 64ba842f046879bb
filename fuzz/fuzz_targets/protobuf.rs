//! Messages of protobuf: any bytes.
#![no_main]
#![allow(dead_code, reason = "each target uses its part of the checks")]

#[path = "../../crates/wire/tests/sim/parts_check.rs"]
mod parts_check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| parts_check::check_message(input));
