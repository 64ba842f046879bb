//! Parts that most objects leave empty.

use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};

/// A value that is mostly empty and then takes no memory but for one word. It reads as the value itself, which cannot
/// be changed in place: take it out, and make another.
#[derive(Clone, PartialEq, Eq)]
pub struct Rare<T>(Option<Box<T>>);

/// What can be empty.
pub trait Empty: PartialEq + 'static {
    /// The empty value.
    const EMPTY: &'static Self;
}

impl<T: Empty> Rare<T> {
    /// The value.
    pub fn new(value: T) -> Rare<T> {
        Rare((value != *T::EMPTY).then(|| Box::new(value)))
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Empty + Default> Rare<T> {
    /// The value, out of its box.
    pub fn into_inner(self) -> T {
        self.0.map(|value| *value).unwrap_or_default()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare(None)
    }
}

impl<T: Empty> From<T> for Rare<T> {
    fn from(value: T) -> Rare<T> {
        Rare::new(value)
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Empty + Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Empty for u8 {
        const EMPTY: &'static u8 = &0;
    }

    #[test]
    fn an_empty_value_is_kept_as_none_and_reads_as_itself() {
        let (empty, full) = (Rare::new(0_u8), Rare::new(7_u8));
        assert_eq!((empty.is_empty(), *empty), (true, 0));
        assert_eq!((full.is_empty(), *full, full.clone().into_inner()), (false, 7, 7));
        assert_eq!(empty, Rare::default());
        assert_ne!(empty, full);
    }
}
