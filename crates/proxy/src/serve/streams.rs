//! The streams of one HTTP/2 connection, polled by its task.
//!
//! Streams come and go far more often than connections, so each gets a place whose future serves one stream after the
//! other: starting one allocates nothing, and moves no future, once the connection has had as many at a time. A stream
//! that is woken marks its place and wakes the connection's task.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Places, each with a future of type `F` that serves what is put into its inbox.
pub(crate) struct Streams<T, F> {
    places: Vec<Place<T, F>>,
    free: Vec<usize>,
}

struct Place<T, F> {
    inbox: Rc<Inbox<T>>,
    future: Pin<Box<F>>,
    mark: Arc<Mark>,
    waker: Waker,
}

/// What a place is to serve next.
pub(crate) struct Inbox<T> {
    next: Cell<Option<T>>,
    served: Cell<bool>,
}

impl<T> Inbox<T> {
    /// The next stream.
    pub(crate) async fn next(&self) -> T {
        poll_fn(|_| self.next.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The stream that was taken last has ended.
    pub(crate) fn served(&self) {
        self.served.set(true);
    }
}

/// Says that a place wants to be polled.
struct Mark {
    woken: AtomicBool,
    connection: Waker,
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The stream's thread reads what was written before the mark.
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.connection.wake_by_ref();
        }
    }
}

impl<T, F: Future<Output = ()>> Streams<T, F> {
    pub(crate) fn new() -> Streams<T, F> {
        Streams { places: Vec::new(), free: Vec::new() }
    }

    /// Whether no stream is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// Takes a stream in; it is polled by the next [`Streams::poll`]. `make` makes the future of a new place.
    pub(crate) fn start(&mut self, stream: T, make: impl Fn(Rc<Inbox<T>>) -> F, cx: &Context<'_>) {
        let index = self.free.pop().unwrap_or_else(|| {
            let inbox = Rc::new(Inbox { next: Cell::new(None), served: Cell::new(false) });
            let (mark, waker) = mark(cx.waker());
            self.places.push(Place { future: Box::pin(make(inbox.clone())), inbox, mark, waker });
            self.places.len() - 1
        });
        let place = &mut self.places[index];
        place.inbox.next.set(Some(stream));
        place.mark.woken.store(true, Ordering::Release);
    }

    /// Polls the places that were woken; true if there was one.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> bool {
        let mut any = false;
        for (index, place) in self.places.iter_mut().enumerate() {
            // Looking costs little; taking the mark is an atomic exchange.
            if !place.mark.woken.load(Ordering::Relaxed) || !place.mark.woken.swap(false, Ordering::AcqRel) {
                continue;
            }
            if !place.mark.connection.will_wake(cx.waker()) {
                (place.mark, place.waker) = mark(cx.waker());
                place.mark.woken.store(false, Ordering::Release);
            }
            any = true;
            // The future never ends: it goes on to wait for the next stream.
            let _ = place.future.as_mut().poll(&mut Context::from_waker(&place.waker));
            if place.inbox.served.take() {
                self.free.push(index);
            }
        }
        any
    }

    /// Every stream is polled by the next [`Streams::poll`].
    pub(crate) fn wake_all(&self) {
        self.places.iter().for_each(|place| place.mark.woken.store(true, Ordering::Release));
    }

    /// Gives back the memory of places, if no stream is open.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            *self = Streams::new();
        }
    }
}

fn mark(connection: &Waker) -> (Arc<Mark>, Waker) {
    let mark = Arc::new(Mark { woken: AtomicBool::new(true), connection: connection.clone() });
    (mark.clone(), mark.into())
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
