//! From a tree of nodes to typed specifications. Decoding goes on after an error, so that all problems are found.
//!
//! A value that is absent and a value that is wrong both become the type's default, as in protocol buffers; whether
//! something was wrong is kept by the [`Cursor`].

mod fields;
mod json;
mod nearest;
mod scalars;

use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) use fields::{is_default, spec, words};
pub use json::Json;
pub(crate) use json::json;
pub(crate) use nearest::nearest;
pub(crate) use scalars::camel;

use crate::code::{Code, codes};
use crate::key::ObjectKey;
use crate::node::{Entry, Node, Value};
use crate::object::{PathHash, Source};
use crate::problem::{Level, Problem};

/// What can be read from a node.
pub(crate) trait Decode: Default {
    /// Is null its default even as a value of a map, as it is in a field?
    const NULL_IN_MAPS: bool = false;

    /// Reads `node`, or says to `cursor` what is wrong with it.
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Self;
}

/// What to do about a field that the type does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The object is invalid.
    Refuse,
    /// It is said and passed over.
    Warn,
}

/// Where decoding stands: the path in the object, and what was found so far.
pub(crate) struct Cursor<'a> {
    key: &'a ObjectKey,
    file: &'a Arc<str>,
    unknown: Unknown,
    path: String,
    hash: PathHash,
    places: Vec<(PathHash, u32, u32)>,
    problems: Vec<Problem>,
    failed: bool,
}

/// Where a [`Cursor`] was before it went down.
pub(crate) struct Mark {
    length: usize,
    hash: PathHash,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(key: &'a ObjectKey, file: &'a Arc<str>, unknown: Unknown) -> Cursor<'a> {
        let (path, hash) = (String::new(), PathHash::EMPTY);
        Cursor { key, file, unknown, path, hash, places: Vec::new(), problems: Vec::new(), failed: false }
    }

    /// Was anything wrong enough to refuse the object?
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// The problems, and the places of the fields of an object that begins at `start`.
    pub(crate) fn finish(self, start: &Node) -> (Source, Vec<Problem>) {
        (Source::new(Arc::clone(self.file), start.line, start.column, self.places), self.problems)
    }

    /// Goes down into a field of a mapping and notes its place.
    pub(crate) fn enter(&mut self, name: &str, line: u32, column: u32) -> Mark {
        let mark = Mark { length: self.path.len(), hash: self.hash };
        if !self.path.is_empty() {
            self.push(".");
        }
        self.push(name);
        self.note(line, column);
        mark
    }

    /// Goes down into an item of a list and notes its place.
    pub(crate) fn enter_item(&mut self, index: usize, node: &Node) -> Mark {
        let mark = Mark { length: self.path.len(), hash: self.hash };
        // Writing to a String cannot fail.
        let _ = write!(self.path, "[{index}]");
        self.hash = self.hash.then(self.path.get(mark.length..).unwrap_or_default());
        self.note(node.line, node.column);
        mark
    }

    /// What was not read from text has no places.
    fn note(&mut self, line: u32, column: u32) {
        if line > 0 {
            self.places.push((self.hash, line, column));
        }
    }

    /// Comes back up.
    pub(crate) fn leave(&mut self, mark: Mark) {
        self.path.truncate(mark.length);
        self.hash = mark.hash;
    }

    fn push(&mut self, text: &str) {
        self.path.push_str(text);
        self.hash = self.hash.then(text);
    }

    /// Reads the value of a field, unless it is null, which is the same as absent.
    pub(crate) fn field<T: Decode>(&mut self, name: &str, entry: &Entry, into: &mut T) {
        let mark = self.enter(name, entry.line, entry.column);
        if !matches!(entry.value.value, Value::Null) {
            *into = T::decode(&entry.value, self);
        }
        self.leave(mark);
    }

    /// The entries, if `node` is a mapping.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node) -> &'n [Entry] {
        match &node.value {
            Value::Map(entries) => entries,
            _ => {
                self.wrong(node, "a mapping", "write fields as `name: value` below it");
                &[]
            }
        }
    }

    /// The items, if `node` is a list.
    pub(crate) fn items<'n>(&mut self, node: &'n Node) -> &'n [Rc<Node>] {
        match &node.value {
            Value::List(items) => items,
            _ => {
                self.wrong(node, "a list", "begin each item with `- `");
                &[]
            }
        }
    }

    /// The value has the wrong type or cannot be read.
    pub(crate) fn wrong(&mut self, node: &Node, expected: &str, mend: impl Into<String>) {
        let message = format!("expected {expected}, found {}", self.describe(node));
        self.report(codes::WRONG_TYPE, (node.line, node.column), message, mend.into());
    }

    /// A field that the type does not have. `known` are the ones that it has; `*` among them lets everything pass.
    pub(crate) fn unknown(&mut self, entry: &Entry, known: &[&str]) {
        if known.contains(&"*") {
            return;
        }
        let mark = self.enter(&entry.key, entry.line, entry.column);
        let mend = match nearest(&entry.key, known) {
            Some(name) => format!("did you mean `{name}`?"),
            None if known.len() > 30 => "remove it".to_owned(),
            None => format!("remove it; fields here are {}", known.join(", ")),
        };
        let code = match self.unknown {
            Unknown::Refuse => codes::UNKNOWN_FIELD,
            Unknown::Warn => codes::IGNORED_FIELD,
        };
        let message = format!("{} has no field `{}` here", self.key.kind, entry.key);
        self.report(code, (entry.line, entry.column), message, mend);
        self.leave(mark);
    }

    /// Something about the place where the cursor stands.
    pub(crate) fn report(&mut self, code: Code, (line, column): (u32, u32), message: String, mend: String) {
        self.failed |= code.level == Level::Error;
        let mut problem = Problem::new(code, message, mend).at(self.file, line, column);
        problem.object = Some(self.key.clone());
        problem.field.clone_from(&self.path);
        self.problems.push(problem);
    }

    /// What `node` is, in words. The contents of a Secret are never repeated.
    fn describe(&self, node: &Node) -> String {
        match &node.value {
            Value::Null => "nothing".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Text { .. } if self.key.kind == crate::Kind::Secret => "something else".to_owned(),
            Value::Text { text, plain } => {
                let cut: String = text.chars().take(60).collect();
                let more = if cut.len() < text.len() { "…" } else { "" };
                if *plain { format!("{cut}{more}") } else { format!("{cut:?}{more}") }
            }
        }
    }
}
