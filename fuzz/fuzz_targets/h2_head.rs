//! Heads of HTTP/2: lines, each a name and a value, told apart by the bytes 0xfe and 0xff, which may stand in neither. The
//! first byte chooses limits and whether a body follows.
#![no_main]
#![allow(dead_code, reason = "each target uses its part of the checks")]

#[path = "../../crates/wire/tests/sim/check.rs"]
mod check;
#[path = "../../crates/wire/tests/sim/h2_check.rs"]
mod h2_check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else { return };
    let lines = input.split(|byte| *byte == 0xff).map(|line| {
        let end = line.iter().position(|byte| *byte == 0xfe).unwrap_or(line.len());
        (&line[..end], line.get(end + 1..).unwrap_or_default())
    });
    let lines: Vec<(&[u8], &[u8])> = lines.collect();
    h2_check::check_head(&lines, choice & 8 != 0, &h2_check::limits(*choice));
});
