//! Responses: the first byte chooses what they answer, the others are the head.
#![no_main]
#![allow(dead_code, reason = "each target uses its part of the checks")]

#[path = "../../crates/wire/tests/sim/check.rs"]
mod check;

use limen_wire::head::MethodKind;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let kinds = [MethodKind::Idempotent, MethodKind::Head, MethodKind::Connect, MethodKind::Other];
    check::check_response(input, kinds[usize::from(first % 4)]);
});
