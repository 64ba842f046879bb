//! Regular expressions that replace what they find, in RE2's meaning.

use std::sync::Arc;

use regex_automata::util::iter::Searcher;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Input, Match};

use super::pattern::{Engine, PatternCaches};

/// What is looked for in a path and what is written instead.
#[derive(Debug)]
pub(crate) struct Substitution {
    engine: Arc<Engine>,
    with: Box<[Piece]>,
}

/// A piece of what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it stands.
    Literal(Box<[u8]>),
    /// What this group found: 0 is the whole match, 9 the last that can be named.
    Group(u8),
}

/// Start and end of ten groups.
const SLOTS: usize = 20;

impl Substitution {
    /// What `engine` finds is written so instead.
    pub(crate) fn new(engine: Arc<Engine>, with: Vec<Piece>) -> Substitution {
        Substitution { engine, with: with.into() }
    }

    /// Appends `text` with every match replaced (RE2's global replacement: an empty match does not touch the one
    /// before it).
    pub(crate) fn write(&self, text: &[u8], caches: &mut PatternCaches, to: &mut Vec<u8>) {
        let cache = caches.of(&self.engine);
        let mut slots: [Option<NonMaxUsize>; SLOTS] = [None; SLOTS];
        let mut searcher = Searcher::new(Input::new(text));
        let mut copied = 0;
        loop {
            let found = searcher.advance(|input| {
                slots.fill(None);
                let pattern = self.engine.regex().search_slots_with(cache, input, &mut slots);
                Ok(pattern.zip(span(&slots, 0)).map(|(pattern, span)| Match::new(pattern, span)))
            });
            let Some(found) = found else { break };
            to.extend_from_slice(text.get(copied..found.start()).unwrap_or_default());
            copied = found.end();
            for piece in &self.with {
                match piece {
                    Piece::Literal(literal) => to.extend_from_slice(literal),
                    Piece::Group(group) => {
                        let part = span(&slots, (*group).into()).and_then(|part| text.get(part));
                        to.extend_from_slice(part.unwrap_or_default());
                    }
                }
            }
        }
        to.extend_from_slice(text.get(copied..).unwrap_or_default());
    }
}

fn span(slots: &[Option<NonMaxUsize>], group: usize) -> Option<std::ops::Range<usize>> {
    let (start, end) = (slots.get(2 * group)?.as_ref()?, slots.get(2 * group + 1)?.as_ref()?);
    Some(start.get()..end.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::pattern::Engines;

    fn check(source: &str, with: &[Piece], text: &str, expected: &str) {
        let engine = Engines::default().finding(source, &"a".into()).unwrap();
        let substitution = Substitution::new(engine, with.to_vec());
        let mut to = b">".to_vec();
        substitution.write(text.as_bytes(), &mut PatternCaches::default(), &mut to);
        assert_eq!(String::from_utf8_lossy(&to), format!(">{expected}"), "{source} in {text}");
    }

    #[test]
    fn every_match_is_replaced_and_groups_are_copied() {
        let literal = |text: &str| Piece::Literal(text.as_bytes().into());
        let (whole, one, two) = (Piece::Group(0), Piece::Group(1), Piece::Group(2));
        let swap = [literal("/"), two, literal("/"), one.clone()];
        check("^/([^/]+)/([^/]+)", &swap, "/a/b/c/d", "/b/a/c/d");
        check("/([^/]+)/([^/]+)", &swap, "/a/b/c/d", "/b/a/d/c");
        check("/x", &[], "/a/b", "/a/b");
        check("b+", &[literal("["), whole, literal("]")], "/abba", "/a[bb]a");
        check("(?i)/A|(/b)", &[literal("/"), one.clone()], "/a/b/c", "///b/c");
        check("x*", &[literal("-")], "/xa", "-/-a-");
        check(r"\d", &[literal("n")], "/1/\u{663}", "/n/\u{663}");
        check("/é", &[literal("/e")], "/é", "/e");
        check("(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", &[Piece::Group(9)], "abcdefghijkl", "il");
    }
}
