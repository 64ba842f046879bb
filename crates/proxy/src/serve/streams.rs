//! The streams of one HTTP/2 connection, polled by its task.
//!
//! Streams come and go far more often than connections, so each gets a place that is used again: starting one
//! allocates nothing once the connection has had as many at a time. A stream that is woken marks its place and wakes
//! the connection's task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Futures of one type, in places.
pub(crate) struct Streams<F> {
    places: Vec<Place<F>>,
    free: Vec<usize>,
}

struct Place<F> {
    future: Pin<Box<Option<F>>>,
    mark: Arc<Mark>,
    waker: Waker,
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

impl<F: Future<Output = ()>> Streams<F> {
    pub(crate) fn new() -> Streams<F> {
        Streams { places: Vec::new(), free: Vec::new() }
    }

    /// Whether no stream is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// Whether there are places.
    pub(crate) fn holds_memory(&self) -> bool {
        !self.places.is_empty()
    }

    /// Takes a stream in; it is polled by the next [`Streams::poll`].
    pub(crate) fn start(&mut self, future: F, cx: &Context<'_>) {
        match self.free.pop() {
            Some(index) => {
                let place = &mut self.places[index];
                place.future.set(Some(future));
                place.mark.woken.store(true, Ordering::Release);
            }
            None => {
                let (mark, waker) = mark(cx.waker());
                self.places.push(Place { future: Box::pin(Some(future)), mark, waker });
            }
        }
    }

    /// Polls the streams that were woken; true if there was one.
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
            // A stream that has ended may be woken once more by something that still held its waker.
            let Some(future) = place.future.as_mut().as_pin_mut() else { continue };
            any = true;
            if let Poll::Ready(()) = future.poll(&mut Context::from_waker(&place.waker)) {
                place.future.set(None);
                self.free.push(index);
            }
        }
        any
    }

    /// Gives back the memory of places, if no stream is open; true if there was any.
    pub(crate) fn rest(&mut self) -> bool {
        let held = self.is_empty() && !self.places.is_empty();
        if held {
            *self = Streams::new();
        }
        held
    }
}

fn mark(connection: &Waker) -> (Arc<Mark>, Waker) {
    let mark = Arc::new(Mark { woken: AtomicBool::new(true), connection: connection.clone() });
    (mark.clone(), mark.into())
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
