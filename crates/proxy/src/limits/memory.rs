//! How much memory the process may use, and what is refused as it comes near to that.

use super::used::Used;

/// A limit on memory.
#[derive(Debug, Clone)]
pub struct MemoryLimit {
    /// Bytes that the process may use.
    pub max_bytes: u64,
    /// What it uses now.
    pub used: Used,
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

/// Looks without anything under way after which what is still in use is not for requests to give back.
const PATIENCE: u32 = 600;

/// What is refused, look by look.
///
/// Memory that requests have given back may stay with the process: the allocator keeps it for the next ones. A gateway
/// that had come near its limit once would then refuse for ever what it has room for. So when nothing has been under way
/// for long, what is in use counts as kept, and only what comes on top of it is held against requests.
#[derive(Debug, Default)]
pub(crate) struct Gauged {
    shed: Shed,
    /// Looks since something was under way.
    quiet: u32,
    /// What was in use although nothing was under way; 0: not known.
    kept: u64,
}

impl Gauged {
    /// What is refused from now on; `busy`: requests are under way.
    pub(crate) fn look(&mut self, used: u64, max: u64, busy: bool) -> Shed {
        let below = Shed::Requests.next(used, max) == Shed::Nothing;
        let room = self.kept.saturating_add(max / 50).min(max);
        if below || used > room {
            self.kept = 0;
        }
        self.quiet = if busy || self.shed == Shed::Nothing { 0 } else { self.quiet + 1 };
        if self.quiet >= PATIENCE && used < max {
            self.kept = used;
        }
        self.shed = if self.kept > 0 { Shed::Nothing } else { self.shed.next(used, max) };
        self.shed
    }

    /// What is refused.
    pub(crate) fn shed(&self) -> Shed {
        self.shed
    }
}

#[cfg(test)]
mod tests {
    use super::Shed::{Connections, Nothing, Requests};
    use super::*;

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

    #[test]
    fn what_the_allocator_keeps_is_not_held_against_requests_for_ever() {
        let mut gauged = Gauged::default();
        let mut looks = |used, busy, times| (0..times).map(|_| gauged.look(used, 1000, busy)).last();
        assert_eq!(looks(960, true, PATIENCE), Some(Requests), "as long as requests are under way");
        assert_eq!(looks(960, false, PATIENCE - 1), Some(Requests));
        assert_eq!(looks(960, true, 1), Some(Requests), "and again from the beginning");
        assert_eq!(looks(960, false, PATIENCE), Some(Nothing));
        assert_eq!(looks(980, true, 1), Some(Nothing), "a fiftieth more");
        assert_eq!(looks(981, true, 1), Some(Connections), "and no more");
        assert_eq!(looks(960, false, 1), Some(Connections));
        assert_eq!(looks(999, false, PATIENCE), Some(Nothing));
        assert_eq!(looks(1001, false, 1), Some(Connections), "never over the limit");
        assert_eq!(looks(1001, false, 2 * PATIENCE), Some(Connections));
        assert_eq!(looks(100, false, 1), Some(Nothing));
        assert_eq!(looks(951, true, 1), Some(Requests), "what was kept once is forgotten");
    }
}
