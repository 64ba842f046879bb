//! What holds of the double of an API server and of a real one: `LIMEN_TEST_SERVER` says which is asked. Each behaviour of
//! the double that a test leans on stands here, so that a double that lies is found.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

mod lists;
mod rights;
mod watches;
mod writes;
