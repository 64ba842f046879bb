//! What a worker keeps for the next taker, so that it need not be made again.

use std::cell::{Cell, RefCell};

/// A stock of things that are alike. What was given last is taken first, so that what the worst moment needed and nothing
/// since lies at the bottom; from there it goes by and by, with all that it has grown to.
#[derive(Debug)]
pub(crate) struct Stock<T> {
    kept: RefCell<Vec<T>>,
    most: usize,
    /// The fewest that were there since the last turn: nobody needed so many.
    unneeded: Cell<usize>,
}

impl<T> Stock<T> {
    /// An empty one, which keeps so many at the most.
    pub(crate) fn new(most: usize) -> Stock<T> {
        Stock { kept: RefCell::default(), most, unneeded: Cell::new(0) }
    }

    /// One of them, if there is any.
    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        let mut kept = self.kept.borrow_mut();
        let taken = kept.pop();
        self.unneeded.set(self.unneeded.get().min(kept.len()));
        taken
    }

    /// Keeps one, or drops it if there are as many as there may be.
    #[inline]
    pub(crate) fn give(&self, one: T) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < self.most {
            kept.push(one);
        }
    }

    /// Drops half of those that nobody needed since the last turn.
    pub(crate) fn turn(&self) {
        let mut kept = self.kept.borrow_mut();
        let go = self.unneeded.get().div_ceil(2).min(kept.len());
        kept.drain(..go);
        self.unneeded.set(kept.len());
    }

    /// Drops all of them.
    pub(crate) fn clear(&self) {
        self.kept.take();
        self.unneeded.set(0);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.kept.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::Stock;

    #[test]
    fn what_was_given_last_is_taken_first_and_no_more_are_kept_than_may_be() {
        let stock = Stock::new(2);
        assert_eq!(stock.take(), None::<u8>);
        (0..3).for_each(|one| stock.give(one));
        assert_eq!([stock.take(), stock.take(), stock.take()], [Some(1), Some(0), None]);
        stock.give(7);
        stock.clear();
        assert_eq!(stock.take(), None);
    }

    #[test]
    fn what_nobody_needs_goes_by_and_by_and_what_is_needed_stays() {
        let stock = Stock::new(512);
        (0..100).for_each(|one| stock.give(one));
        // They were given since the last turn, so that each was needed.
        stock.turn();
        assert_eq!(stock.len(), 100);
        for left in [56, 34, 23, 17, 14, 13, 12, 12] {
            // Twelve at a time.
            let taken: Vec<_> = (0..12).map_while(|_| stock.take()).collect();
            assert!(taken.iter().all(|one| *one >= 88), "those at the bottom go: {taken:?}");
            taken.into_iter().rev().for_each(|one| stock.give(one));
            stock.turn();
            assert_eq!(stock.len(), left);
        }
        for left in [6, 3, 1, 0, 0] {
            stock.turn();
            assert_eq!(stock.len(), left, "nobody comes");
        }
    }
}
