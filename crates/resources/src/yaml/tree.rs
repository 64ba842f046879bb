//! From text to trees of nodes.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::Fault;
use crate::code::codes;
use crate::node::{Entry, Node, Value};

/// How deep a document may nest. Istio's and Kubernetes' kinds need about fifteen.
const MAX_DEPTH: usize = 100;

/// How many nodes all aliases of a document may add to it when written out.
const MAX_ALIASED: usize = 100_000;

/// A document, and what is wrong in it that does not keep it from being read.
pub(super) struct Document {
    pub(super) root: Rc<Node>,
    pub(super) faults: Vec<Fault>,
}

/// Hands on the documents in `text`, whose first line has the number `first_line` in its file. The error ends the text.
pub(super) fn read(text: &str, first_line: u32, hand_on: impl FnMut(Document)) -> Result<(), Fault> {
    read_inner(text, (first_line, 1), hand_on)
}

/// As [`read`] for a text that stands within another: `begin` is line and column of its beginning, from 1; each of its
/// lines is taken to begin in that column.
pub(super) fn read_inner(
    text: &str,
    begin: (u32, u32),
    mut hand_on: impl FnMut(Document),
) -> Result<(), Fault> {
    let mut builder = Builder::new(begin);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            let (line, column) = builder.place(marker.line(), marker.col());
            Fault::malformed(line, column, format!("this is not YAML: {}", error.info()))
        })?;
        if matches!(event, Event::StreamEnd) {
            break;
        }
        if let Some(document) = builder.take(event, span)? {
            hand_on(document);
        }
    }
    Ok(())
}

/// A collection that is not closed yet.
struct Open {
    line: u32,
    column: u32,
    anchor: usize,
    size: usize,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, key: Option<Key> },
}

/// A key that waits for its value.
struct Key {
    text: Rc<str>,
    line: u32,
    column: u32,
    /// `<<` without quotes: the value's entries become this mapping's.
    merge: bool,
}

struct Builder {
    /// Line and column of the text in its file.
    begin: (u32, u32),
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    /// Nodes added by aliases so far.
    aliased: usize,
    root: Option<Rc<Node>>,
    faults: Vec<Fault>,
}

impl Builder {
    fn new(begin: (u32, u32)) -> Builder {
        let (open, anchors) = (Vec::new(), HashMap::new());
        Builder { begin, open, anchors, aliased: 0, root: None, faults: Vec::new() }
    }

    /// Takes one event; returns a document when it ends.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Document>, Fault> {
        let (line, column) = self.place(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, 0, None) if self.awaits_key() => {
                let (merge, text) = (style == ScalarStyle::Plain && text == "<<", Rc::from(&*text));
                self.set_key(Key { text, line, column, merge });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(text.into_owned(), style, tag.as_deref(), line, column);
                self.add(Node { value, line, column, size: 1 }, anchor)?;
            }
            Event::SequenceStart(anchor, _) => {
                self.open(line, column, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, _) => {
                self.open(line, column, anchor, Content::Map { entries: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => self.alias(anchor, line, column)?,
            Event::DocumentStart(_) => self.reset(),
            Event::DocumentEnd => {
                let faults = std::mem::take(&mut self.faults);
                let root = self.root.take();
                self.reset();
                return Ok(root.map(|root| Document { root, faults }));
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
        }
        Ok(None)
    }

    fn reset(&mut self) {
        *self = Builder::new(self.begin);
    }

    /// Line and column in the file, both from 1.
    fn place(&self, line: usize, column: usize) -> (u32, u32) {
        let clamp = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (
            self.begin.0.saturating_add(clamp(line.saturating_sub(1))),
            self.begin.1.saturating_add(clamp(column)),
        )
    }

    fn scalar(
        &mut self,
        text: String,
        style: ScalarStyle,
        tag: Option<&Tag>,
        line: u32,
        column: u32,
    ) -> Value {
        let plain = match tag {
            None => style == ScalarStyle::Plain,
            Some(tag) if tag.is_yaml_core_schema() => tag.suffix != "str",
            Some(tag) => {
                let message = format!("the tag {}{} means nothing here", tag.handle, tag.suffix);
                self.faults.push(Fault { mend: "remove the tag", ..Fault::malformed(line, column, message) });
                false
            }
        };
        if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
            return Value::Null;
        }
        Value::Text { text: text.into_boxed_str(), plain }
    }

    fn open(&mut self, line: u32, column: u32, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("expected at most {MAX_DEPTH} levels of nesting");
            let (code, mend) = (codes::TOO_LARGE, "nest it less deeply");
            return Err(Fault { code, mend, ..Fault::malformed(line, column, message) });
        }
        self.open.push(Open { line, column, anchor, size: 1, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(Open { line, column, anchor, size, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(self.without_repetition(entries)),
        };
        self.add(Node { value, line, column, size }, anchor)
    }

    fn alias(&mut self, anchor: usize, line: u32, column: u32) -> Result<(), Fault> {
        let Some(node) = self.anchors.get(&anchor).map(Rc::clone) else {
            return Err(Fault::malformed(line, column, "expected an anchor that was written before"));
        };
        self.spend(node.size, line, column)?;
        self.put(node)
    }

    /// Counts what aliases add, so that a few lines cannot become millions of nodes.
    fn spend(&mut self, nodes: usize, line: u32, column: u32) -> Result<(), Fault> {
        self.aliased = self.aliased.saturating_add(nodes);
        if self.aliased > MAX_ALIASED {
            let message = format!("expected the aliases of a document to add at most {MAX_ALIASED} values");
            let (code, mend) = (codes::TOO_LARGE, "use fewer aliases");
            return Err(Fault { code, mend, ..Fault::malformed(line, column, message) });
        }
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.put(node)
    }

    /// Is the innermost open collection a mapping, and the next thing in it the name of a field?
    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Map { key: None, .. }, .. }))
    }

    fn set_key(&mut self, name: Key) {
        if let Some(Open { size, content: Content::Map { key, .. }, .. }) = self.open.last_mut() {
            *size = size.saturating_add(1);
            *key = Some(name);
        }
    }

    /// Puts a finished node where it belongs: into the innermost open collection, as key or value.
    fn put(&mut self, node: Rc<Node>) -> Result<(), Fault> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.size = open.size.saturating_add(node.size);
        let (entries, waiting) = match &mut open.content {
            Content::List(items) => {
                items.push(node);
                return Ok(());
            }
            Content::Map { entries, key } => (entries, key),
        };
        let Some(key) = waiting.take() else {
            let (line, column) = (node.line, node.column);
            let (text, merge): (Rc<str>, bool) = match &node.value {
                Value::Text { text, plain } => (text.as_ref().into(), *plain && text.as_ref() == "<<"),
                Value::Null => ("null".into(), false),
                _ => return Err(Fault::malformed(line, column, "expected a text as name of a field")),
            };
            *waiting = Some(Key { text, line, column, merge });
            return Ok(());
        };
        if !key.merge {
            entries.push(Entry {
                key: key.text,
                line: key.line,
                column: key.column,
                value: node,
                merged: false,
            });
            return Ok(());
        }
        let merged = merged(&node, &key)?;
        let added = merged.iter().fold(0_usize, |sum, entry| sum.saturating_add(entry.value.size));
        open.size = open.size.saturating_add(added);
        if let Content::Map { entries, .. } = &mut open.content {
            entries.extend(merged);
        }
        self.spend(added, key.line, key.column)
    }

    /// Of fields written twice the last counts, and that is a fault; what was written out counts before what was merged.
    fn without_repetition(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let small = entries.len() <= 16;
        let repeats =
            |(at, entry): (usize, &Entry)| entries.iter().take(at).any(|other| other.key == entry.key);
        if small && !entries.iter().enumerate().any(repeats) {
            return entries;
        }
        let mut seen: HashMap<Rc<str>, usize> = HashMap::with_capacity(entries.len());
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(former) = seen.get(&entry.key).and_then(|at| kept.get_mut(*at)) else {
                seen.insert(Rc::clone(&entry.key), kept.len());
                kept.push(entry);
                continue;
            };
            if !former.merged && !entry.merged {
                let message = format!("`{}` is written twice, first in line {}", entry.key, former.line);
                let code = codes::DUPLICATE_FIELD;
                let fault =
                    Fault { code, mend: "remove one", ..Fault::malformed(entry.line, entry.column, message) };
                self.faults.push(fault);
            }
            if !entry.merged {
                *former = entry;
            }
        }
        kept
    }
}

/// The entries that `<<: *one` or `<<: [*one, *two]` brings, the first of each name.
fn merged(node: &Node, key: &Key) -> Result<Vec<Entry>, Fault> {
    let sources: Vec<&Node> = match &node.value {
        Value::Map(_) => vec![node],
        Value::List(items) => items.iter().map(|item| &**item).collect(),
        _ => Vec::new(),
    };
    let mut brought: Vec<Entry> = Vec::new();
    let mut seen: HashSet<Rc<str>> = HashSet::new();
    for source in &sources {
        let Value::Map(entries) = &source.value else {
            return Err(Fault::malformed(
                key.line,
                key.column,
                "expected a mapping, or a list of mappings, behind `<<`",
            ));
        };
        for entry in entries {
            if seen.insert(Rc::clone(&entry.key)) {
                brought.push(Entry {
                    merged: true,
                    key: Rc::clone(&entry.key),
                    value: Rc::clone(&entry.value),
                    ..*entry
                });
            }
        }
    }
    if sources.is_empty() {
        return Err(Fault::malformed(
            key.line,
            key.column,
            "expected a mapping, or a list of mappings, behind `<<`",
        ));
    }
    Ok(brought)
}
