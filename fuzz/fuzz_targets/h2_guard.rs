//! What a server of HTTP/2 says, before the codec sees it: a byte that tells how many others say how long its pieces are,
//! one for the room to read into, then any bytes. The guard is private to the codec, so its source is compiled here again.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the codec uses all of it")]

#[path = "../../crates/wire/src/h2/client/guard_check_tests.rs"]
mod check;
#[path = "../../crates/wire/src/h2/client/guard.rs"]
mod guard;

use guard::{Credit, Guard, MOST};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((cuts, rest)) = input.split_first() else { return };
    let (cuts, rest) = rest.split_at(rest.len().min(usize::from(cuts % 8)));
    let Some((room, bytes)) = rest.split_first() else { return };
    check::check(bytes, cuts, usize::from(*room));
});
