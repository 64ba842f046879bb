//! What holds of the double of an API server and of a real one: `LIMEN_TEST_SERVER` says which is asked. Each behaviour of
//! the double that a test leans on stands here, so that a double that lies is found.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

mod lists;
mod reads;
mod rights;
mod says;
mod watches;
mod writes;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Real kinds are everybody's.
static KINDS: RwLock<()> = RwLock::const_new(());

/// Until this is dropped no test takes a kind away.
async fn kinds_stay() -> RwLockReadGuard<'static, ()> {
    KINDS.read().await
}

/// Until this is dropped no test minds that a kind is taken away.
async fn kinds_change() -> RwLockWriteGuard<'static, ()> {
    KINDS.write().await
}
