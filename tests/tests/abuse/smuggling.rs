//! What two parsers could read in two ways reaches no origin.

use super::World;

/// Has a class played; how many requests reached the origin besides those of others.
async fn reached(name: &str) -> usize {
    let world = World::start("").await;
    let before = world.origin.hits();
    let outcome = world.withstands(name).await;
    world.origin.hits() - before - World::others(&outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_that_can_be_read_in_two_ways_are_refused() {
    assert_eq!(reached("h1-framing").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_none_are_refused() {
    assert_eq!(reached("h1-lines").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_can_be_read_in_two_ways_are_refused() {
    assert_eq!(reached("h1-targets").await, 0);
}

/// The heads of these are as they should be, so an origin may see each of them once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_are_none_end_the_connection() {
    assert!(reached("h1-chunks").await <= limen::selftest::smuggling::chunks("a").len());
}

/// Four are served, and nothing behind them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_behind_a_request_that_ends_the_connection() {
    assert_eq!(reached("h1-after-close").await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_would_be_others_in_http1_are_refused() {
    assert_eq!(reached("h2-downgrade").await, 0);
}
