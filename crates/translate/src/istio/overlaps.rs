//! Which of many names overlap with one: where there are thousands of both, not each is to be compared with each.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::lookup::hash_of;

/// Names, each with a number, several of which may have one name.
#[derive(Debug, Default)]
pub(crate) struct Overlaps<'n> {
    /// Without the `*` that they begin with.
    names: Vec<(&'n str, usize)>,
    /// Those without, by their hashes.
    exact: BTreeMap<u64, Vec<usize>>,
    /// The others, by what follows.
    wild: BTreeMap<&'n str, Vec<usize>>,
    /// All of them, those with one end beside each other. Made when it is asked for.
    by_end: OnceCell<Vec<(&'n str, usize)>>,
}

impl<'n> Overlaps<'n> {
    pub(crate) fn add(&mut self, name: &'n str, number: usize) {
        match name.strip_prefix('*') {
            Some(end) => self.wild.entry(end).or_default().push(number),
            None => self.exact.entry(hash_of(name)).or_default().push(number),
        }
        self.names.push((bare(name), number));
    }

    /// The numbers of all that may overlap with a name, and hardly any others: ascending, each once.
    pub(crate) fn of<'q>(&self, names: impl IntoIterator<Item = &'q str>) -> Vec<usize> {
        let mut found = Vec::new();
        for name in names {
            if name.starts_with('*') {
                found.extend(self.ending(bare(name)));
            } else {
                found.extend(self.exact.get(&hash_of(name)).into_iter().flatten());
            }
            if !self.wild.is_empty() {
                found.extend(ends(bare(name)).filter_map(|end| self.wild.get(end)).flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn ending(&self, end: &str) -> impl Iterator<Item = usize> {
        let by_end = self.by_end.get_or_init(|| {
            let mut all = self.names.clone();
            all.sort_unstable_by(|(a, _), (b, _)| a.bytes().rev().cmp(b.bytes().rev()));
            all
        });
        let first = by_end.partition_point(|(name, _)| name.bytes().rev().lt(end.bytes().rev()));
        let rest = by_end.get(first..).unwrap_or_default().iter();
        rest.take_while(move |(name, _)| name.ends_with(end)).map(|(_, number)| *number)
    }
}

fn bare(name: &str) -> &str {
    name.strip_prefix('*').unwrap_or(name)
}

/// All that a name ends with, from itself to nothing.
fn ends(name: &str) -> impl Iterator<Item = &str> {
    (0..=name.len()).filter_map(|from| name.get(from..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::names::within;

    #[test]
    fn those_are_found_that_overlap() {
        let names = [
            "a.com",
            "*.com",
            "b.a.com",
            "*",
            "*.a.com",
            "a.com",
            "*.b.a.com",
            "A.com",
            "ba.com",
            "*a.com",
            "é",
        ];
        let mut all = Overlaps::default();
        (0..).zip(names).for_each(|(number, name)| all.add(name, number));
        for one in names.into_iter().chain(["c.com", "*.c.com", "x.b.a.com", "", "*.com", "*.org"]) {
            let overlap = |other: &&str| within(one, other) || within(other, one);
            let compared: Vec<usize> =
                (0..).zip(names).filter(|(_, other)| overlap(other)).map(|(number, _)| number).collect();
            assert_eq!(all.of([one]), compared, "{one}");
        }
        assert_eq!(all.of(["b.org", "A.com"]), all.of(["A.com", "A.com"]));
    }
}
