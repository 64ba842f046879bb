//! Where idle connections wait to be told that something has changed.

use std::cell::RefCell;
use std::task::Waker;

/// A place for each connection.
#[derive(Default)]
pub(crate) struct Parking {
    places: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
}

impl Parking {
    /// A place for a connection.
    pub(crate) fn enter(&self) -> usize {
        if let Some(place) = self.free.borrow_mut().pop() {
            return place;
        }
        let mut places = self.places.borrow_mut();
        places.push(None);
        places.len() - 1
    }

    /// Wakes this task at the next change.
    pub(crate) fn park(&self, place: usize, waker: &Waker) {
        if let Some(parked) = self.places.borrow_mut().get_mut(place)
            && !parked.as_ref().is_some_and(|parked| parked.will_wake(waker))
        {
            *parked = Some(waker.clone());
        }
    }

    /// Gives a place back.
    pub(crate) fn leave(&self, place: usize) {
        if let Some(parked) = self.places.borrow_mut().get_mut(place) {
            *parked = None;
        }
        self.free.borrow_mut().push(place);
    }

    pub(crate) fn wake_all(&self) {
        let wakers: Vec<_> = self.places.borrow().iter().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}
