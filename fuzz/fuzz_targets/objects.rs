//! Objects that an API server tells: JSON, or YAML that says the same. The first byte chooses a kind that it is read as,
//! whatever it says that it is.
#![no_main]
#![allow(dead_code, reason = "each target uses its part of the checks")]

#[path = "../../crates/resources/tests/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(input) else { return };
    check::check_object(text, *choice);
});
