//! Connections of HTTP/2. The first byte chooses limits, and whether the rest is what the client says after the preface,
//! or a script of frames.
#![no_main]
#![allow(dead_code, reason = "each target uses its part of the checks")]

#[path = "../../crates/wire/tests/sim/check.rs"]
mod check;
#[path = "../../crates/wire/tests/sim/h2_check.rs"]
mod h2_check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else { return };
    let composed = (choice & 4 == 0).then(|| h2_check::compose(input));
    h2_check::check_session(composed.as_deref().unwrap_or(input), &h2_check::limits(*choice));
});
