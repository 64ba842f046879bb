//! Frames that cost a client little and a gateway work.

use limen_e2e::origin::Script;

use super::{ROUTES, World, shop};

/// Requests of one connection that may reach an origin when each is given up.
const WASTED: usize = 401;

/// Has a class played that sends the gateway away; how many of its requests reached the origin.
async fn reached(name: &str) -> usize {
    let world = World::start("").await;
    let before = world.origin.hits();
    let outcome = world.withstands(name).await;
    world.origin.hits() - before - World::others(&outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset_is_sent_away_before_it_costs() {
    let reached = reached("rapid-reset").await;
    assert!(reached <= 4 * WASTED, "{reached} of 40 000 requests reached the origin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset_cannot_be_paid_for_with_single_bytes() {
    let reached = reached("rapid-reset-paid").await;
    assert!(reached <= 4 * WASTED, "{reached} of 40 000 requests reached the origin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_must_be_reset_are_a_budget() {
    let reached = reached("made-you-reset").await;
    assert!(reached <= 4 * WASTED, "{reached} of 40 000 requests reached the origin");
}

/// The answer is longer than any budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_cannot_be_taken_by_windows_of_a_byte() {
    let body = "x".repeat(20_000);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let world = World::with(&shop::routes(ROUTES), Script::Raw(answer.into_bytes()), "").await;
    world.withstands("tiny-windows").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_in_empty_pieces_ends() {
    assert!(reached("continuation-flood").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_many_bytes_ends() {
    assert!(reached("continuation-bytes").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_end() {
    assert!(reached("ping-flood").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_end() {
    assert!(reached("settings-flood").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_of_settings_end() {
    assert!(reached("settings-list").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_that_nobody_asked_for_end() {
    assert!(reached("acknowledgement-flood").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priorities_end() {
    assert!(reached("priority-flood").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_of_windows_end() {
    assert!(reached("window-update-flood").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_ends() {
    assert!(reached("empty-data-flood").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_heads_end() {
    assert!(reached("empty-head-flood").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_unknown_types_end() {
    assert!(reached("unknown-frame-flood").await <= 4);
}
