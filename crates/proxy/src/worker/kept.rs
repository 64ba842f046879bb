//! What the doors keep from one connection to the next, by its type: a door is generic over the stream that it serves,
//! and the worker knows neither.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

/// One value of each type that was asked for.
#[derive(Default)]
pub(crate) struct Kept(RefCell<Vec<Rc<dyn Any>>>);

impl Kept {
    /// The worker's value of a type. For connections that begin: requests hold what they need of it.
    pub(crate) fn of<T: Default + 'static>(&self) -> Rc<T> {
        let mut kept = self.0.borrow_mut();
        if let Some(found) = kept.iter().find_map(|value| Rc::downcast(value.clone()).ok()) {
            return found;
        }
        let made: Rc<T> = Rc::default();
        kept.push(made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn one_value_of_each_type_is_kept() {
        let kept = Kept::default();
        kept.of::<Cell<u8>>().set(3);
        kept.of::<Cell<u16>>().set(500);
        assert_eq!((kept.of::<Cell<u8>>().get(), kept.of::<Cell<u16>>().get()), (3, 500));
    }
}
