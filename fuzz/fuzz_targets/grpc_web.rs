//! gRPC-Web: base64 in segments, and media types.
#![no_main]
#![allow(dead_code, reason = "each target uses its part of the checks")]

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

#[path = "../../crates/wire/tests/sim/parts_check.rs"]
mod parts_check;

// Bits that padding leaves over are not looked at (RFC 4648 3.5).
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    parts_check::check_text(input, |group| LENIENT.decode(group).ok());
    parts_check::check_media_type(input);
});
