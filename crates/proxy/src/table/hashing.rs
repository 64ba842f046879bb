//! From the hash of a request to an endpoint: tables made when endpoints change, off the workers. The same endpoints
//! make the same tables everywhere; one that comes or goes moves few requests besides its own.

use crate::address::Address;
use crate::filter::hash;

/// An endpoint as it is placed: its address and its weight, at least 1.
pub(crate) type Place = (Address, u32);

/// Finds the index of an endpoint by a hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HashTable {
    /// Points in ascending order; a hash belongs to the next point, the last part of the circle to the first one.
    Ring(Box<[(u64, u32)]>),
    /// Maglev's.
    Maglev(Box<[u32]>),
}

impl HashTable {
    /// A ring. `eligible`: those that are placed, with their index; `all`: those that would be if they were healthy, so
    /// that the points of one do not depend on the health of another.
    pub(crate) fn ring(eligible: &[(u32, Place)], all: &[Place], minimum: u64, most: u64) -> HashTable {
        let total: u64 = all.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>().max(1);
        let least = all.iter().map(|(_, weight)| u64::from(*weight)).min().unwrap_or(1);
        // As many points as make the ring large enough, a whole number for the lightest endpoint (Envoy).
        let lightest = (minimum * least).div_ceil(total).max(1);
        let scale =
            |weight: u32| (u64::from(weight) * lightest / least).min(most * u64::from(weight) / total);
        let mut points = Vec::new();
        for (index, (address, weight)) in eligible {
            let name = address.to_string();
            let point = |n: u64| (hash::of(format!("{name}_{n}").as_bytes(), 0), *index);
            points.extend((0..scale(*weight).max(1)).map(point));
        }
        points.sort_unstable();
        HashTable::Ring(points.into())
    }

    /// Maglev's table of this size, a prime (Eisenbud et al., NSDI 2016, 3.4; weights as Envoy has them).
    pub(crate) fn maglev(eligible: &[(u32, Place)], size: u64) -> HashTable {
        let size = size.max(1);
        let heaviest = eligible.iter().map(|(_, (_, weight))| u64::from(*weight)).max().unwrap_or(1);
        let mut turns: Vec<Turn> = eligible.iter().map(|(_, place)| Turn::new(place, size)).collect();
        let mut table = vec![u32::MAX; if eligible.is_empty() { 0 } else { size as usize }];
        let mut left = table.len();
        let mut round = 1_u64;
        while left > 0 {
            for (turn, (index, (_, weight))) in turns.iter_mut().zip(eligible) {
                if left == 0 {
                    break;
                }
                if round * u64::from(*weight) < turn.due {
                    continue;
                }
                turn.due += heaviest;
                let free = std::iter::repeat_with(|| turn.next(size));
                let free = free.map(|at| at as usize).find(|at| table.get(*at) == Some(&u32::MAX));
                if let Some(place) = free.and_then(|at| table.get_mut(at)) {
                    *place = *index;
                    left -= 1;
                }
            }
            round += 1;
        }
        HashTable::Maglev(table.into())
    }

    /// The index for a hash, and those that stand in for it in order, some more than once; none in an empty table.
    pub(crate) fn find(&self, hash: u64) -> impl Iterator<Item = u32> {
        let (start, len) = match self {
            HashTable::Ring(points) => (points.partition_point(|(point, _)| *point < hash), points.len()),
            HashTable::Maglev(table) => {
                ((hash.checked_rem(table.len() as u64).unwrap_or(0)) as usize, table.len())
            }
        };
        (0..len).filter_map(move |step| match self {
            HashTable::Ring(points) => points.get((start + step) % len).map(|(_, index)| *index),
            HashTable::Maglev(table) => table.get((start + step) % len).copied(),
        })
    }
}

/// The order in which an endpoint asks for places.
struct Turn {
    at: u64,
    skip: u64,
    /// It asks again when its weight, summed over the rounds, has reached this.
    due: u64,
}

impl Turn {
    fn new((address, _): &Place, size: u64) -> Turn {
        let name = address.to_string();
        let skip = hash::of(name.as_bytes(), 1).checked_rem(size - 1).unwrap_or(0) + 1;
        Turn { at: hash::of(name.as_bytes(), 0) % size, skip, due: 0 }
    }

    fn next(&mut self, size: u64) -> u64 {
        let at = self.at;
        self.at = (self.at + self.skip) % size;
        at
    }
}

#[cfg(test)]
#[path = "hashing_tests.rs"]
mod tests;
