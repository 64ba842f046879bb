//! The one spelling of paths. The first byte chooses the policy. The filter is private to the data plane, so its source is
//! compiled here again.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the data plane uses all of it")]

#[path = "."]
mod filter {
    /// As much of `crates/proxy/src/filter/policy.rs` as paths need.
    pub(crate) mod policy {
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct PathPolicy {
            pub(crate) escaped_slashes: EscapedSlashes,
            pub(crate) normalize: bool,
            pub(crate) merge_slashes: bool,
        }

        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum EscapedSlashes {
            Keep,
            Reject,
            Redirect,
            Decode,
        }
    }

    #[path = "../../crates/proxy/src/filter/normalize.rs"]
    pub(crate) mod normalize;
}

#[path = "../../crates/proxy/src/filter/normalize_check_tests.rs"]
mod check;

use filter::normalize::normalize;
use filter::policy::{EscapedSlashes, PathPolicy};
use limen_wire::head::RequestHead;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((choice, path)) = input.split_first() else { return };
    let escaped =
        [EscapedSlashes::Keep, EscapedSlashes::Reject, EscapedSlashes::Decode, EscapedSlashes::Redirect];
    let escaped_slashes = escaped[usize::from(choice >> 2 & 3)];
    let policy = PathPolicy { escaped_slashes, normalize: choice & 1 != 0, merge_slashes: choice & 2 != 0 };
    let told = check::Policy {
        normalize: policy.normalize,
        merge_slashes: policy.merge_slashes,
        decode_slashes: matches!(escaped_slashes, EscapedSlashes::Decode | EscapedSlashes::Redirect),
        reject_slashes: escaped_slashes == EscapedSlashes::Reject,
    };
    check::check(path, told, |path| {
        let mut head = RequestHead::default();
        head.set_path(path);
        normalize(&mut head, policy, &mut Vec::new()).ok().map(|_| head.path_and_query().to_vec())
    });
});
