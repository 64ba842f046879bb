//! PEM, and Secrets that hold it or something else: any bytes.
#![no_main]
#![allow(dead_code, reason = "each target uses its part of the checks")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[path = "../../crates/resources/tests/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check_keys(input, |bytes| STANDARD.encode(bytes)));
