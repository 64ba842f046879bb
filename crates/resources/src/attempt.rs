//! Work that may fail in ways that nobody thought of.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does `work`. What it has changed halfway when it panics is for the caller to put right.
///
/// # Errors
/// It panicked, for this reason.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| text(&*panic))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned())
}
