use std::future::{pending, ready};
use std::task::{Context, Waker};

use super::*;

/// Doubles what it is given; 7 never comes to an end.
async fn doubling(desk: Rc<Desk<u32, u32>>) {
    loop {
        let job = desk.next().await;
        if job == 7 {
            pending::<()>().await;
        }
        desk.done(ready(job * 2).await);
    }
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_place_serves_one_job_after_the_other() {
    let places = Places::default();
    let made = Cell::new(0);
    let make = |desk| {
        made.set(made.get() + 1);
        doubling(desk)
    };
    for job in 1..=3 {
        assert_eq!(poll(std::pin::pin!(places.serve(job, make))), Poll::Ready(job * 2));
    }
    assert_eq!(made.get(), 1);
}

#[test]
fn jobs_at_the_same_time_have_places_of_their_own() {
    let places = Places::default();
    let mut endless = Box::pin(places.serve(7, doubling));
    assert!(poll(endless.as_mut()).is_pending());
    assert_eq!(poll(std::pin::pin!(places.serve(4, doubling))), Poll::Ready(8));
    assert!(poll(endless.as_mut()).is_pending());
    assert_eq!(places.free.borrow().len(), 1);
}

#[test]
fn a_place_whose_job_was_given_up_is_not_used_again() {
    let places = Places::default();
    let mut endless = Box::pin(places.serve(7, doubling));
    assert!(poll(endless.as_mut()).is_pending());
    drop(endless);
    assert!(places.free.borrow().is_empty());
    assert_eq!(poll(std::pin::pin!(places.serve(5, doubling))), Poll::Ready(10));
}
