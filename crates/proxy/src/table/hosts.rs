//! Host names to what serves them: exact name, then the longest suffix, then the entry for any name.

use std::collections::HashMap;

/// The longest name that can match, as in the DNS.
const LONGEST: usize = 255;

/// A pattern of names; texts are lower case, without port and without `*.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern<'a> {
    /// This name.
    Exact(&'a str),
    /// Exactly one label before this suffix.
    OneLabel(&'a str),
    /// At least one label before this suffix.
    AnyDepth(&'a str),
    /// Every name, and requests without one.
    Any,
}

/// A map from host names, looked up with one hash probe for each label and without allocation.
#[derive(Debug)]
pub(crate) struct HostMap<T> {
    names: HashMap<Box<[u8]>, Entry<T>>,
    /// No suffix is in the map: only the whole name need be probed.
    exact_only: bool,
    any: Option<T>,
}

/// What stands under one text, as a whole name or as a suffix.
#[derive(Debug)]
struct Entry<T> {
    exact: Option<T>,
    one_label: Option<T>,
    any_depth: Option<T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> HostMap<T> {
        HostMap { names: HashMap::new(), exact_only: true, any: None }
    }
}

impl<T> HostMap<T> {
    /// Adds a pattern; of two equal ones the first stays.
    pub(crate) fn insert(&mut self, pattern: Pattern<'_>, value: T) {
        self.exact_only &= matches!(pattern, Pattern::Exact(_) | Pattern::Any);
        match pattern {
            Pattern::Any => self.any = Some(self.any.take().unwrap_or(value)),
            Pattern::Exact(name) => keep(&mut self.entry(name).exact, value),
            Pattern::OneLabel(suffix) => keep(&mut self.entry(suffix).one_label, value),
            Pattern::AnyDepth(suffix) => keep(&mut self.entry(suffix).any_depth, value),
        }
    }

    fn entry(&mut self, name: &str) -> &mut Entry<T> {
        let key = bare(name.as_bytes()).to_ascii_lowercase().into_boxed_slice();
        self.names.entry(key).or_insert_with(|| Entry { exact: None, one_label: None, any_depth: None })
    }

    /// What serves an authority (or a server name): its port, one trailing dot and the case of letters do not count.
    pub(crate) fn find(&self, authority: &[u8]) -> Option<&T> {
        let name = bare(authority);
        let mut buffer = [0; LONGEST];
        let Some(lower) = buffer.get_mut(..name.len()) else { return self.any.as_ref() };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.named(lower).or(self.any.as_ref())
    }

    fn named(&self, name: &[u8]) -> Option<&T> {
        if let Some(found) = self.names.get(name).and_then(|entry| entry.exact.as_ref()) {
            return Some(found);
        }
        if self.exact_only {
            return None;
        }
        let mut dots = memchr::memchr_iter(b'.', name).filter(|dot| *dot > 0);
        let first = dots.next()?;
        let suffix = |dot: usize| self.names.get(name.get(dot + 1..)?);
        let nearest = suffix(first).and_then(|entry| entry.one_label.as_ref().or(entry.any_depth.as_ref()));
        nearest.or_else(|| dots.find_map(|dot| suffix(dot)?.any_depth.as_ref()))
    }
}

fn keep<T>(place: &mut Option<T>, value: T) {
    place.get_or_insert(value);
}

/// The name in an authority: without port, without the brackets of an IPv6 address, without one trailing dot.
fn bare(authority: &[u8]) -> &[u8] {
    if let [b'[', rest @ ..] = authority {
        return rest.iter().position(|byte| *byte == b']').map_or(authority, |end| &rest[..end]);
    }
    let mut colons = memchr::memchr_iter(b':', authority);
    let name = match (colons.next(), colons.next()) {
        // Several colons without brackets are an IPv6 address, as a configuration may write it.
        (Some(colon), None) => &authority[..colon],
        _ => authority,
    };
    name.strip_suffix(b".").unwrap_or(name)
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
