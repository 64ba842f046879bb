//! A YAML or JSON document as a tree in which everything knows its line and column.

use std::rc::Rc;

/// A value and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// From 1.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// How many nodes this one is with all below it, aliases written out.
    pub(crate) size: usize,
}

/// What a node says.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Text {
        text: Box<str>,
        /// Without quotes, so that it may be a number or a truth value.
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// One `key: value`. The place is the key's.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Rc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) value: Rc<Node>,
    /// Came by a merge key (`<<`), which what is written out overrides.
    pub(crate) merged: bool,
}

impl Node {
    /// The value under this key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| &*entry.key == key).map(|entry| &*entry.value),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}
