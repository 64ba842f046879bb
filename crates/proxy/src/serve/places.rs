//! Places for the exchanges of HTTP/1 connections.
//!
//! An exchange's future is some kilobytes. A connection has none while it waits for a request, and a worker has far more
//! connections than exchanges: so a place is taken when a request comes and given back when it is served. Its future
//! serves one exchange after the other, whichever connection's; beginning one allocates nothing and moves no future.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

/// Places that a worker keeps for the next taker.
const KEPT: usize = 256;

/// A worker's places, for jobs `J` that come to results `R`.
pub(crate) struct Places<J, R> {
    free: RefCell<Vec<Place<J, R>>>,
}

struct Place<J, R> {
    desk: Rc<Desk<J, R>>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// Where a place finds its job and leaves the result.
pub(crate) struct Desk<J, R> {
    job: Cell<Option<J>>,
    result: Cell<Option<R>>,
}

impl<J, R> Default for Places<J, R> {
    fn default() -> Places<J, R> {
        Places { free: RefCell::default() }
    }
}

impl<J: 'static, R: 'static> Places<J, R> {
    /// Has a job done. `make` makes the future of a new place: it takes a job, leaves its result, takes the next.
    pub(crate) async fn serve<F>(&self, job: J, make: impl FnOnce(Rc<Desk<J, R>>) -> F) -> R
    where
        F: Future<Output = ()> + 'static,
    {
        let free = self.free.borrow_mut().pop();
        let mut place = free.unwrap_or_else(|| {
            let desk = Rc::new(Desk { job: Cell::new(None), result: Cell::new(None) });
            Place { future: Box::pin(make(desk.clone())), desk }
        });
        place.desk.job.set(Some(job));
        let result = poll_fn(|cx| {
            // The future never ends: once the result is there, it waits for the next job.
            let _ = place.future.as_mut().poll(cx);
            place.desk.result.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT {
            free.push(place);
        }
        result
    }
}

impl<J, R> Desk<J, R> {
    /// The next job.
    pub(crate) async fn next(&self) -> J {
        poll_fn(|_| self.job.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The job that was taken last is done.
    pub(crate) fn done(&self, result: R) {
        self.result.set(Some(result));
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
