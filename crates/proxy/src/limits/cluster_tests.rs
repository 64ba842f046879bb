use std::task::{Context, Poll, Waker};

use super::*;

fn limits(allowed: Allowed) -> Arc<ClusterLimits> {
    ClusterLimits::new(allowed).unwrap()
}

#[test]
fn a_limit_holds_until_a_permit_is_given_back() {
    let limits = limits(Allowed { pending: Some(2), ..Allowed::default() });
    let first = Permit::pending(Some(&limits)).unwrap();
    let _second = Permit::pending(Some(&limits)).unwrap();
    assert!(Permit::pending(Some(&limits)).is_none());
    drop(first);
    assert!(Permit::pending(Some(&limits)).is_some());
}

#[test]
fn what_has_no_limit_is_not_counted() {
    assert!(ClusterLimits::new(Allowed::default()).is_none());
    let limits = limits(Allowed { connections: Some(0), ..Allowed::default() });
    assert!(Permit::request(Some(&limits), || 0).is_some());
    assert!(Permit::request(None, || 0).is_some());
    assert!(Place::take(None).is_some());
    assert!(Place::take(Some(&limits)).is_none());
}

#[test]
fn a_limit_holds_across_threads() {
    let limits = limits(Allowed { requests: Some(3), ..Allowed::default() });
    let held: usize = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..100).filter_map(|_| Permit::request(Some(&limits), || 0)).collect::<Vec<_>>()
                })
            })
            .collect();
        // Nobody gives back before all have taken.
        let taken: Vec<_> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
        taken.iter().map(Vec::len).sum()
    });
    assert_eq!(held, 3);
}

#[test]
fn a_place_that_is_given_back_goes_to_the_first_that_waits() {
    let limits = limits(Allowed { connections: Some(1), ..Allowed::default() });
    let held = Place::take(Some(&limits)).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let (mut first, mut second) = (Box::pin(limits.next_place()), Box::pin(limits.next_place()));
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert!(second.as_mut().poll(&mut cx).is_pending());
    drop(held);
    assert!(Place::take(Some(&limits)).is_none(), "nobody comes before those that wait");
    assert!(second.as_mut().poll(&mut cx).is_pending());
    assert!(matches!(first.as_mut().poll(&mut cx), Poll::Ready(Some(_))));
    // Dropped at once: the next one has it.
    assert!(matches!(second.as_mut().poll(&mut cx), Poll::Ready(Some(_))));
}

#[test]
fn a_budget_grows_with_the_requests_in_flight() {
    let limits = limits(Allowed {
        retries: Some(RetryLimit::Budget { share: 200_000, at_least: 1 }),
        ..Allowed::default()
    });
    let limits = Some(&limits);
    let retry = Permit::retry(limits, 0);
    assert!(retry.is_some());
    assert!(Permit::retry(limits, 0).is_none());
    let _requests: Vec<_> = (0..10).map(|_| Permit::request(limits, || 0)).collect();
    assert!(Permit::retry(limits, 0).is_some(), "20 % of 10 are 2");
}
