//! Regular expressions that match a whole text, in RE2's meaning.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regex_automata::meta::{Cache, Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, HirKind, Literal, Look};

use super::re2;

/// A compiled expression: a literal, compared before an engine is asked, then what an engine must match.
pub(crate) struct Pattern {
    start: Box<[u8]>,
    rest: Arc<Engine>,
    /// What every matching text begins with; may be empty.
    prefix: Box<[u8]>,
}

/// Runs an expression. The memory that it needs belongs to the worker, in [`PatternCaches`].
pub(crate) struct Engine {
    /// Tells the caches of engines apart; never used twice in a process.
    id: u64,
    regex: Regex,
    /// Bytes that it takes.
    size: usize,
}

/// Engines by what they match. The expressions of most routes differ only in their literal start, so that a few
/// engines, small enough to need no cache, serve them all.
///
/// Owners pay for what the generation uses that is being compiled, in the order in which it asks, whatever was there before
/// it: who replaces all expressions pays for the new ones only, and what is refused does not depend on what was written
/// before.
pub(crate) struct Engines {
    /// By the printed form.
    known: HashMap<String, Known>,
    /// Bytes that the engines of each owner take in this generation.
    spent: HashMap<Arc<str>, usize>,
    /// The engines that are paid for in it.
    paid: HashSet<u64>,
    /// What was asked for since that was taken last.
    bill: Bill,
    /// Bytes that an owner may take.
    most: usize,
}

/// What was made of an expression.
struct Known {
    hir: Hir,
    made: Made,
}

enum Made {
    Engine(Arc<Engine>),
    /// There was no room for so many bytes: it is not made again to learn that. `asked`: in this generation.
    Refused {
        size: usize,
        asked: bool,
    },
}

/// The engines of a host, and who pays for each.
#[derive(Default)]
pub(crate) struct Bill {
    engines: Vec<(Arc<Engine>, Arc<str>)>,
    /// There was no room for all of them.
    refused: bool,
}

/// Bytes that the engines of one owner, a namespace, may take together. An expression of some bytes can become an engine
/// of a megabyte or two, and of several thousand no process would survive.
const MOST_OF_AN_OWNER: usize = 128 << 20;

/// Bytes that a lazily built automaton may take, on each worker. What does not fit is searched for without one.
const MOST_CACHED: usize = 512 << 10;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Default for Engines {
    fn default() -> Engines {
        Engines::with_room(MOST_OF_AN_OWNER)
    }
}

impl Engines {
    /// For owners that may take so many bytes each.
    pub(crate) fn with_room(most: usize) -> Engines {
        let (known, spent, paid) = Default::default();
        Engines { known, spent, paid, bill: Bill::default(), most }
    }

    /// Compiles an expression for its owner.
    ///
    /// # Errors
    /// A text that says what is wrong: the expression is not valid or too large, or those of its owner are together.
    pub(crate) fn pattern(&mut self, source: &str, owner: &Arc<str>) -> Result<Pattern, String> {
        let hir = re2::parse(source)?;
        let literals = Extractor::new().extract(&hir);
        let prefix = literals.longest_common_prefix().unwrap_or_default().into();
        let (start, rest) = split(hir);
        let rest = self.engine(rest.to_string(), rest, owner, Engine::new)?;
        Ok(Pattern { start, rest, prefix })
    }

    /// Compiles an expression of which matches are sought anywhere in a text.
    ///
    /// # Errors
    /// As [`Engines::pattern`].
    pub(crate) fn finding(&mut self, source: &str, owner: &Arc<str>) -> Result<Arc<Engine>, String> {
        let hir = re2::parse(source)?;
        // No expression is printed so.
        self.engine(format!("\0{hir}"), hir, owner, Engine::finding)
    }

    /// Takes a pattern that is there already for an owner.
    ///
    /// # Errors
    /// The owner has no room for it.
    pub(crate) fn again(&mut self, pattern: &Pattern, owner: &Arc<str>) -> Result<(), String> {
        self.take(&pattern.rest, owner)
    }

    fn engine(
        &mut self,
        key: String,
        hir: Hir,
        owner: &Arc<str>,
        build: fn(Hir) -> Result<Engine, String>,
    ) -> Result<Arc<Engine>, String> {
        let room = self.room(owner);
        let made = self.known.get_mut(&key).filter(|known| known.hir == hir).map(|known| &mut known.made);
        let engine = match made {
            Some(Made::Engine(engine)) => engine.clone(),
            Some(Made::Refused { size, asked }) if *size > room => {
                *asked = true;
                return Err(self.refuse(owner));
            }
            Some(Made::Refused { .. }) | None => Arc::new(build(hir.clone())?),
        };
        let taken = self.take(&engine, owner);
        let made = match taken {
            Ok(()) => Made::Engine(engine.clone()),
            Err(_) => Made::Refused { size: engine.size, asked: true },
        };
        self.known.insert(key, Known { hir, made });
        taken.map(|()| engine)
    }

    /// Bytes that an owner may still take.
    fn room(&self, owner: &str) -> usize {
        self.most.saturating_sub(self.spent.get(owner).copied().unwrap_or_default())
    }

    fn refuse(&mut self, owner: &str) -> String {
        self.bill.refused = true;
        let most = self.most >> 20;
        format!("all expressions of namespace {owner} together take more than {most} MiB")
    }

    /// Writes an engine on the bill.
    fn take(&mut self, engine: &Arc<Engine>, owner: &Arc<str>) -> Result<(), String> {
        if !self.pay(engine, owner) {
            return Err(self.refuse(owner));
        }
        self.bill.engines.push((engine.clone(), owner.clone()));
        Ok(())
    }

    /// Adds an engine to what its owner has, if there is room. Who asks for it first pays for it.
    fn pay(&mut self, engine: &Engine, owner: &Arc<str>) -> bool {
        if self.paid.contains(&engine.id) {
            return true;
        }
        if engine.size > self.room(owner) {
            return false;
        }
        *self.spent.entry(owner.clone()).or_default() += engine.size;
        self.paid.insert(engine.id)
    }

    /// What was asked for since this was called last.
    pub(crate) fn bill(&mut self) -> Bill {
        let mut bill = std::mem::take(&mut self.bill);
        // Most rules of a host that have an expression share its engine.
        let mut seen = HashSet::new();
        bill.engines.retain(|(engine, _)| seen.insert(engine.id));
        bill
    }

    /// Pays for a host as it was compiled before. `false`: another would come of it now.
    pub(crate) fn settle(&mut self, bill: &Bill) -> bool {
        !bill.refused && bill.engines.iter().all(|(engine, owner)| self.pay(engine, owner))
    }

    /// Bytes that an owner has taken in this generation.
    #[cfg(test)]
    pub(crate) fn spent_by(&self, owner: &str) -> usize {
        self.spent.get(owner).copied().unwrap_or_default()
    }

    /// A generation begins, for which nobody has paid anything.
    pub(crate) fn begin(&mut self) {
        self.spent.clear();
        self.paid.clear();
        self.bill = Bill::default();
    }

    /// Forgets the engines that no pattern uses.
    pub(crate) fn sweep(&mut self) {
        self.known.retain(|_, known| match &mut known.made {
            Made::Engine(engine) => Arc::strong_count(engine) > 1,
            Made::Refused { asked, .. } => std::mem::take(asked),
        });
    }
}

impl Engine {
    /// Matches a whole text.
    fn new(hir: Hir) -> Result<Engine, String> {
        let config = Regex::config().which_captures(WhichCaptures::Implicit).onepass(false);
        let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        Engine::build(config.auto_prefilter(false).utf8_empty(false), &whole)
    }

    /// Finds matches and their groups anywhere in a text.
    fn finding(hir: Hir) -> Result<Engine, String> {
        Engine::build(Regex::config().utf8_empty(false), &hir)
    }

    fn build(config: Config, hir: &Hir) -> Result<Engine, String> {
        let config = config.hybrid_cache_capacity(MOST_CACHED);
        let regex = Regex::builder().configure(config).build_from_hir(hir);
        let regex = regex.map_err(|error| error.to_string())?;
        let size = regex.memory_usage() + size_of::<Engine>();
        Ok(Engine { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), regex, size })
    }

    pub(super) fn regex(&self) -> &Regex {
        &self.regex
    }
}

impl Pattern {
    /// What every matching text begins with; may be empty.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Does the whole text match? Bytes that are no UTF-8 may also stand for a character that nobody names: a rule that
    /// denies what contains something must not be walked round by a byte beside it.
    pub(crate) fn matches(&self, text: &[u8], caches: &mut PatternCaches) -> bool {
        let Some(rest) = text.strip_prefix(&*self.start) else { return false };
        let mut found = |text: &[u8]| {
            let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
            self.rest.regex.search_half_with(caches.of(&self.rest), &input).is_some()
        };
        found(rest)
            || !rest.is_ascii()
                && matches!(String::from_utf8_lossy(rest), Cow::Owned(read) if found(read.as_bytes()))
    }
}

/// What every text that an expression matches begins with, as far as it is text; of what is no expression, nothing.
pub(crate) fn literal_prefix(source: &str) -> String {
    let literals = re2::parse(source).map(|hir| Extractor::new().extract(&hir));
    let prefix = literals.ok().and_then(|literals| literals.longest_common_prefix().map(<[u8]>::to_vec));
    String::from_utf8(prefix.unwrap_or_default()).unwrap_or_default()
}

/// Takes off the literal that an expression begins with. An expression that looks around itself is left whole.
fn split(hir: Hir) -> (Box<[u8]>, Hir) {
    if hir.properties().look_set().is_empty()
        && let HirKind::Concat(parts) = hir.kind()
        && let [first, rest @ ..] = &parts[..]
        && let HirKind::Literal(Literal(start)) = first.kind()
    {
        return (start.clone(), Hir::concat(rest.to_vec()));
    }
    (Box::default(), hir)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "engine {}", self.id)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} then engine {}", self.start.escape_ascii().to_string(), self.rest.id)
    }
}

/// A worker's memory for running patterns: a bounded number of caches, found by the engine's id.
#[derive(Debug, Default)]
pub(crate) struct PatternCaches {
    slots: Vec<Option<(u64, Box<Cache>)>>,
}

/// How many engines can have their cache at once; more share by turns. A cache takes some kB.
const SLOTS: u64 = 256;

impl PatternCaches {
    pub(super) fn of(&mut self, engine: &Engine) -> &mut Cache {
        let at = (engine.id % SLOTS) as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        let slot = &mut self.slots[at];
        let (id, cache) = slot.get_or_insert_with(|| (engine.id, Box::new(engine.regex.create_cache())));
        if *id != engine.id {
            *id = engine.id;
            cache.reset(&engine.regex);
        }
        cache
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
