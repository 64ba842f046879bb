//! Regular expressions that match a whole text, in RE2's meaning.

use std::sync::atomic::{AtomicU64, Ordering};

use regex_automata::meta::{Cache, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, Look};

/// A compiled expression. Equal sources share one; the memory it is run with belongs to the worker, in
/// [`PatternCaches`].
#[derive(Debug)]
pub(crate) struct Pattern {
    /// Tells the caches of patterns apart; never used twice in a process.
    id: u64,
    regex: Regex,
    /// What every matching text begins with; may be empty.
    prefix: Box<[u8]>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// A text that says what is wrong: the expression is not valid or too large.
    pub(crate) fn new(source: &str) -> Result<Pattern, String> {
        let hir = parse(source)?;
        let literals = Extractor::new().extract(&hir);
        let prefix = literals.longest_common_prefix().unwrap_or_default().into();
        let config = Regex::config().which_captures(WhichCaptures::None).onepass(false).auto_prefilter(false);
        let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        let regex = Regex::builder()
            .configure(config.utf8_empty(false))
            .build_from_hir(&whole)
            .map_err(|error| error.to_string())?;
        Ok(Pattern { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), regex, prefix })
    }

    /// What every matching text begins with; may be empty.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Does the whole text match?
    pub(crate) fn matches(&self, text: &[u8], caches: &mut PatternCaches) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
        self.regex.search_half_with(caches.of(self), &input).is_some()
    }
}

/// RE2's `\d`, `\s`, `\w` and `\b` know ASCII only, so that is tried first; what only Unicode mode can say (such as
/// `\p{Greek}`, or a class with other than ASCII characters) is parsed in Unicode mode.
fn parse(source: &str) -> Result<Hir, String> {
    let parse = |unicode| ParserBuilder::new().unicode(unicode).utf8(false).build().parse(source);
    parse(false).or_else(|_| parse(true)).map_err(|error| error.to_string())
}

/// A worker's memory for running patterns: a bounded number of caches, found by the pattern's id.
#[derive(Debug, Default)]
pub(crate) struct PatternCaches {
    slots: Vec<Option<(u64, Box<Cache>)>>,
}

/// How many patterns can have their cache at once; more share by turns. A cache takes some kB.
const SLOTS: u64 = 256;

impl PatternCaches {
    fn of(&mut self, pattern: &Pattern) -> &mut Cache {
        let at = (pattern.id % SLOTS) as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        let slot = &mut self.slots[at];
        let (id, cache) = slot.get_or_insert_with(|| (pattern.id, Box::new(pattern.regex.create_cache())));
        if *id != pattern.id {
            *id = pattern.id;
            cache.reset(&pattern.regex);
        }
        cache
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
