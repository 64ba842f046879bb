//! Expressions in CEL over what is known of a finished request: filters of the access log, and `%CEL(X)%`.
//!
//! They are read once. As in Envoy an expression that cannot be worked out, for instance because it asks for something
//! that there was not, is worth nothing: as a filter it is false.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue};
use cel::extractors::This;
use cel::parser::Parser;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use regex_automata::meta;

use super::attributes::Attributes;
use super::record::Record;

/// Bytes that an expression may have.
const LONGEST: usize = 4096;
/// How deep it may be nested.
const DEEPEST: u16 = 48;
/// How deep loops over lists and maps may be nested, so that no request takes long.
const DEEPEST_LOOPS: usize = 2;
/// Bytes that an automaton of a regular expression may take.
const REGEX_BYTES: usize = 1 << 20;
/// Bytes that it may keep of what it has found out, on each thread. Each counts as if one thread had filled it.
const CACHE_BYTES: usize = 128 << 10;
/// Bytes that a byte of an expression may become.
const BYTES_OF_A_BYTE: usize = 64;
/// Bytes that all expressions of one author may take.
const MOST_BYTES: usize = 16 << 20;
/// Steps that a request may be worth: parts that are looked at, as far as that can be told beforehand. They take some
/// milliseconds.
const MOST_STEPS: u64 = 100_000;
/// Steps that a search in a text is worth.
const SEARCH: u64 = 200;
/// Elements of what is not written out: a request has no more fields, unless it is allowed more than by default.
const FIELDS: u64 = 128;

type Regexes = BTreeMap<String, meta::Regex>;

/// What is left of the bytes that the expressions of one author may take together.
#[derive(Debug, Clone)]
pub struct Room(Rc<Cell<usize>>);

impl Default for Room {
    fn default() -> Room {
        Room(Rc::new(Cell::new(MOST_BYTES)))
    }
}

impl Room {
    fn take(&self, bytes: usize) -> Result<(), String> {
        let left = self.0.get().checked_sub(bytes);
        let most = MOST_BYTES >> 20;
        self.0.set(left.ok_or_else(|| {
            format!("all CEL expressions of its namespace together take more than {most} MiB")
        })?);
        Ok(())
    }
}

/// An expression, ready to be worked out on any thread.
pub struct Expression {
    text: String,
    root: IdedExpr,
    environment: Arc<Env>,
    /// What `matches` is asked for; `None`: it is not called.
    regexes: Option<Arc<Regexes>>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, or that it is one too many.
    pub fn compile(text: &str, room: &Room) -> Result<Expression, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let parse = || Parser::new().max_recursion_depth(DEEPEST).parse(text);
        // A parser that gives up is one that does not understand.
        let parsed = catch_unwind(AssertUnwindSafe(parse)).map_err(|_| "it cannot be read".to_owned())?;
        let root = parsed.map_err(|errors| {
            let said = errors.to_string();
            said.lines().next().unwrap_or_default().trim_start_matches("ERROR: <input>:").to_owned()
        })?;
        room.take(text.len() * BYTES_OF_A_BYTE)?;
        let mut look = Look { longest: FIELDS.max(elements(&root)), ..Look::new(room) };
        if look.at(&root, 0)? > MOST_STEPS {
            return Err(format!("it could take more than {MOST_STEPS} steps for one request"));
        }
        let regexes = look.matches.then(|| Arc::new(look.regexes));
        Ok(Expression { text: text.to_owned(), root, environment: Arc::new(Env::stdlib()), regexes })
    }

    /// What is true of nothing.
    pub(crate) fn never() -> Expression {
        let root = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Boolean(false.into())) };
        Expression { text: "false".to_owned(), root, environment: Arc::default(), regexes: None }
    }

    /// Is it true of this record?
    pub fn is_true(&self, record: &Record<'_>) -> bool {
        matches!(self.value(record), Some(Value::Bool(true)))
    }

    /// What it is worth, as text; `None`: nothing, or something that has no short text.
    pub fn text(&self, record: &Record<'_>) -> Option<String> {
        match self.value(record)? {
            Value::String(text) => Some(text.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Int(number) => Some(number.to_string()),
            Value::UInt(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Timestamp(time) => Some(time.to_rfc3339()),
            Value::Duration(time) => {
                Some(format!("{}s", time.num_microseconds().unwrap_or_default() as f64 / 1e6))
            }
            _ => None,
        }
    }

    fn value(&self, record: &Record<'_>) -> Option<Value> {
        let attributes = Attributes { record };
        let work_out = || {
            let mut context = Context::with_env(Arc::clone(&self.environment));
            context.set_variable_resolver(&attributes);
            if let Some(regexes) = &self.regexes {
                let regexes = Arc::clone(regexes);
                let matches = move |This(text): This<Arc<String>>, expression: Arc<String>| {
                    let regex = regexes.get(&**expression).ok_or_else(not_literal)?;
                    Ok::<bool, ExecutionError>(regex.is_match(text.as_bytes()))
                };
                context.add_function("matches", matches).ok()?;
            }
            Value::resolve(&self.root, &context).ok()
        };
        // What goes wrong in here must not end the connection that is logged.
        catch_unwind(AssertUnwindSafe(work_out)).ok().flatten()
    }
}

fn not_literal() -> ExecutionError {
    ExecutionError::FunctionError { function: "matches".to_owned(), message: "not a literal".to_owned() }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

/// Elements of all lists and maps that are written out.
fn elements(part: &IdedExpr) -> u64 {
    let inner: u64 = parts(part).map(elements).sum();
    inner.saturating_add(match &part.expr {
        Expr::List(list) => list.elements.len() as u64,
        Expr::Map(map) => map.entries.len() as u64,
        _ => 0,
    })
}

/// The parts that a part consists of.
fn parts(part: &IdedExpr) -> Box<dyn Iterator<Item = &IdedExpr> + '_> {
    match &part.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Box::new(std::iter::empty()),
        Expr::Call(call) => Box::new(call.target.iter().map(|target| &**target).chain(&call.args)),
        Expr::Comprehension(inner) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &**inner;
            Box::new([iter_range, accu_init, loop_cond, loop_step, result].into_iter())
        }
        Expr::List(list) => Box::new(list.elements.iter()),
        Expr::Map(map) => entries(&map.entries),
        Expr::Select(select) => Box::new(std::iter::once(&*select.operand)),
        Expr::Struct(parts) => entries(&parts.entries),
    }
}

fn entries(entries: &[IdedEntryExpr]) -> Box<dyn Iterator<Item = &IdedExpr> + '_> {
    Box::new(
        entries
            .iter()
            .flat_map(|entry| match &entry.expr {
                EntryExpr::StructField(field) => [None, Some(&field.value)],
                EntryExpr::MapEntry(entry) => [Some(&entry.key), Some(&entry.value)],
            })
            .flatten(),
    )
}

/// What is found in an expression before it is used.
struct Look<'r> {
    room: &'r Room,
    /// `matches` is called.
    matches: bool,
    regexes: Regexes,
    /// Elements of a list of which nothing else is known.
    longest: u64,
}

impl<'r> Look<'r> {
    fn new(room: &'r Room) -> Look<'r> {
        Look { room, matches: false, regexes: Regexes::new(), longest: 0 }
    }

    /// Looks at a part of it, inside of so many loops; how many steps it takes at the most. Recursion ends: the parser
    /// bounds nesting.
    fn at(&mut self, part: &IdedExpr, loops: usize) -> Result<u64, String> {
        match &part.expr {
            Expr::Comprehension(inner) => {
                if loops == DEEPEST_LOOPS {
                    return Err(format!("loops are nested deeper than {DEEPEST_LOOPS}"));
                }
                let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &**inner;
                let once = self.all([iter_range, accu_init, result].into_iter(), loops)?;
                let each = self.all([loop_cond, loop_step].into_iter(), loops + 1)?;
                Ok(each.saturating_mul(self.length(iter_range)).saturating_add(once))
            }
            Expr::Call(call) if call.func_name == "matches" => {
                self.regex(call.args.last())?;
                Ok(self.all(parts(part), loops)?.saturating_add(SEARCH))
            }
            _ => self.all(parts(part), loops),
        }
    }

    fn all<'p>(&mut self, parts: impl Iterator<Item = &'p IdedExpr>, loops: usize) -> Result<u64, String> {
        let mut steps: u64 = 1;
        for part in parts {
            steps = steps.saturating_add(self.at(part, loops)?);
        }
        Ok(steps)
    }

    /// Elements that a part can have at the most.
    fn length(&self, part: &IdedExpr) -> u64 {
        match &part.expr {
            Expr::List(list) => list.elements.len() as u64,
            Expr::Map(map) => map.entries.len() as u64,
            Expr::Comprehension(inner) => self.length(&inner.iter_range),
            Expr::Call(_) => parts(part).map(|part| self.length(part)).fold(0, u64::saturating_add),
            _ => self.longest,
        }
    }

    fn regex(&mut self, argument: Option<&IdedExpr>) -> Result<(), String> {
        self.matches = true;
        let Some(Expr::Literal(LiteralValue::String(text))) = argument.map(|part| &part.expr) else {
            return Err("what `matches` looks for must be written out".to_owned());
        };
        if self.regexes.contains_key(text.inner()) {
            return Ok(());
        }
        let config = meta::Config::new()
            .nfa_size_limit(Some(REGEX_BYTES))
            .hybrid_cache_capacity(CACHE_BYTES)
            .onepass(false);
        let regex = meta::Builder::new().configure(config).build(text.inner());
        let regex = regex.map_err(|error| format!("{:?} is no regular expression: {error}", text.inner()))?;
        self.room.take(regex.memory_usage() + CACHE_BYTES)?;
        self.regexes.insert(text.inner().to_owned(), regex);
        Ok(())
    }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
