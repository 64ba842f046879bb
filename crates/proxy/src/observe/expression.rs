//! Expressions in CEL over what is known of a finished request: filters of the access log, and `%CEL(X)%`.
//!
//! They are read once. As in Envoy an expression that cannot be worked out, for instance because it asks for something
//! that there was not, is worth nothing: as a filter it is false.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

type Regexes = BTreeMap<String, meta::Regex>;

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
    /// What is wrong with it.
    pub fn compile(text: &str) -> Result<Expression, String> {
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
        let mut look = Look::default();
        look.at(&root, 0)?;
        let regexes = look.matches.then(|| Arc::new(look.regexes));
        Ok(Expression { text: text.to_owned(), root, environment: Arc::new(Env::stdlib()), regexes })
    }

    /// What is true of nothing.
    pub(crate) fn never() -> Expression {
        let root = IdedExpr::default();
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

/// What is found in an expression before it is used.
#[derive(Default)]
struct Look {
    /// `matches` is called.
    matches: bool,
    regexes: Regexes,
}

impl Look {
    /// Looks at a part of it, inside of so many loops. Recursion ends: the parser bounds nesting.
    fn at(&mut self, part: &IdedExpr, loops: usize) -> Result<(), String> {
        match &part.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
            Expr::Call(call) => {
                if call.func_name == "matches" {
                    self.regex(call.args.last())?;
                }
                call.target
                    .iter()
                    .map(|target| &**target)
                    .chain(&call.args)
                    .try_for_each(|part| self.at(part, loops))
            }
            Expr::Comprehension(inner) => {
                if loops == DEEPEST_LOOPS {
                    return Err(format!("loops are nested deeper than {DEEPEST_LOOPS}"));
                }
                let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &**inner;
                self.at(iter_range, loops)?;
                [accu_init, loop_cond, loop_step, result]
                    .into_iter()
                    .try_for_each(|part| self.at(part, loops + 1))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|part| self.at(part, loops)),
            Expr::Map(map) => self.entries(&map.entries, loops),
            Expr::Select(select) => self.at(&select.operand, loops),
            Expr::Struct(parts) => self.entries(&parts.entries, loops),
        }
    }

    fn entries(&mut self, entries: &[IdedEntryExpr], loops: usize) -> Result<(), String> {
        entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::StructField(field) => self.at(&field.value, loops),
            EntryExpr::MapEntry(entry) => {
                self.at(&entry.key, loops)?;
                self.at(&entry.value, loops)
            }
        })
    }

    fn regex(&mut self, argument: Option<&IdedExpr>) -> Result<(), String> {
        self.matches = true;
        let Some(Expr::Literal(LiteralValue::String(text))) = argument.map(|part| &part.expr) else {
            return Err("what `matches` looks for must be written out".to_owned());
        };
        let limit = meta::Config::new().nfa_size_limit(Some(REGEX_BYTES));
        let regex = meta::Builder::new().configure(limit).build(text.inner());
        let regex = regex.map_err(|error| format!("{:?} is no regular expression: {error}", text.inner()))?;
        self.regexes.insert(text.inner().to_owned(), regex);
        Ok(())
    }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
