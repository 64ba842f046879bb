//! Few bytes that become many.

use super::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_references_is_not_decoded_to_its_end() {
    World::start("").await.withstands("hpack-bomb").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_names_is_not_decoded_to_its_end() {
    World::start("").await.withstands("hpack-names").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crumbs_of_a_cookie_are_counted() {
    let world = World::start("").await;
    let before = world.origin.hits();
    let outcome = world.withstands("cookie-bomb").await;
    assert_eq!(world.origin.hits() - before, World::others(&outcome), "none of the requests is passed on");
}

/// The bound of memory is less than what the heads come to: 1 800 of 46 KiB are 81 MiB, and each is held twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_waiting_requests_are_bounded_by_connection() {
    let outcome = World::start("").await.withstands("hpack-held").await;
    let refused = World::told(&outcome, "refused ");
    assert!((1..1_800).contains(&refused), "some are held, and some are too much: {outcome:#}");
}
