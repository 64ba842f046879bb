//! How much memory the process may use, and what is refused as it comes near to that.

use std::fmt;
use std::sync::Arc;

/// A limit on memory.
#[derive(Debug, Clone)]
pub struct MemoryLimit {
    /// Bytes that the process may use.
    pub max_bytes: u64,
    /// What it uses now.
    pub used: Used,
}

/// Tells how many bytes are in use; `None` if that cannot be read at the moment.
#[derive(Clone)]
pub struct Used(Arc<dyn Fn() -> Option<u64> + Send + Sync>);

impl Used {
    /// A reader. It is called a few times a second, by one thread.
    pub fn new(read: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Used {
        Used(Arc::new(read))
    }

    /// Bytes in use now.
    pub fn read(&self) -> Option<u64> {
        (self.0)()
    }
}

impl fmt::Debug for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Used")
    }
}

/// What is refused for want of memory; each level refuses what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Shed {
    /// Nothing.
    #[default]
    Nothing,
    /// New requests.
    Requests,
    /// New connections, too.
    Connections,
}

impl Shed {
    /// The levels with their bounds in percent of the limit: refused above the first, taken again below the second, so
    /// that a gateway on the edge does not go to and fro.
    const BOUNDS: [(Shed, u64, u64); 2] = [(Shed::Connections, 98, 96), (Shed::Requests, 95, 93)];

    /// What is refused from now on.
    pub(crate) fn next(self, used: u64, max: u64) -> Shed {
        let (used, max) = (u128::from(used) * 100, u128::from(max));
        let holds = |(level, over, under): &(Shed, u64, u64)| {
            let bound = if self >= *level { *under } else { *over };
            // At the lower bound it is not below it yet.
            if self >= *level { used >= max * u128::from(bound) } else { used > max * u128::from(bound) }
        };
        Shed::BOUNDS.iter().find(|bound| holds(bound)).map_or(Shed::Nothing, |(level, ..)| *level)
    }
}

#[cfg(test)]
mod tests {
    use super::Shed::{Connections, Nothing, Requests};

    #[test]
    fn levels_are_left_later_than_they_are_entered() {
        let steps = [
            (0, Nothing),
            (95, Nothing),
            (96, Requests),
            (98, Requests),
            (99, Connections),
            (96, Connections),
            (95, Requests),
            (93, Requests),
            (92, Nothing),
            (95, Nothing),
            (200, Connections),
            (10, Nothing),
        ];
        let mut now = Nothing;
        for (used, expected) in steps {
            now = now.next(used, 100);
            assert_eq!(now, expected, "at {used} %");
        }
    }

    #[test]
    fn no_numbers_are_too_large() {
        assert_eq!(Nothing.next(u64::MAX, u64::MAX), Connections);
        assert_eq!(Nothing.next(0, u64::MAX), Nothing);
        assert_eq!(Nothing.next(1, 0), Connections);
    }
}
