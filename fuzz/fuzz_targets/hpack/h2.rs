//! The place that the decoder has in the codec.

#[path = "../../../crates/wire/src/h2/hpack/mod.rs"]
mod hpack;

use hpack::{Decoder, Encoder, is_name, is_value};

#[path = "."]
mod tests {
    #[path = "../../../crates/wire/src/h2/hpack/check_tests.rs"]
    pub(crate) mod check;
}

pub(crate) use tests::check::check;
