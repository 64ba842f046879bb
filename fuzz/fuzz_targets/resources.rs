//! Files of configuration: any text, alone and between two others.
#![no_main]
#![allow(dead_code, reason = "each target uses its part of the checks")]

#[path = "../../crates/resources/tests/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    check::check_text(text);
    check::check_neighbours(text);
});
