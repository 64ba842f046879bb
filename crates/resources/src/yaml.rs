//! From the text of one file to objects and problems. Never fails as a whole.

mod document;
mod kinds;
mod object;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use kinds::{ApiKind, api_kinds};
pub use object::parse_object;

use crate::attempt::attempt;
use crate::code::codes;
use crate::decode::{Cursor, Decode};
use crate::istio::{MESH_FILE, PROXY_CONFIG_ANNOTATION, ProxyOptions};
use crate::key::{Kind, ObjectKey};
use crate::object::{AnyObject, Meta, Source};
use crate::problem::Problem;
use crate::store::duplicate;
use crate::validate::{Check, Validate};

/// What the text of a file says.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The objects that are right, in the order in which they are written.
    pub objects: Vec<AnyObject>,
    /// Objects that are there but wrong: their last good version counts.
    pub invalid: Vec<ObjectKey>,
    /// Part of the file is no YAML, or names no kind that is known, so it may hold objects that could not be seen: all
    /// that the file had before counts, except for what is in `objects`.
    pub broken: bool,
    /// How many objects there are of kinds that Limen has no use for.
    pub ignored: BTreeMap<String, usize>,
    /// What is wrong, in the order of the text.
    pub problems: Vec<Problem>,
}

impl Parsed {
    /// Nothing but that reading this object of this source fails, for this reason: its last good version counts, or what
    /// denies if it could deny.
    pub fn failed(key: &ObjectKey, source: &Arc<str>, why: &str) -> Parsed {
        let mut parsed = Parsed { problems: vec![document::object_not_read(key, why)], ..Parsed::default() };
        match document::denying(key, Source::elsewhere(Arc::clone(source))) {
            Some(object) => parsed.objects.push(object),
            None => parsed.invalid.push(key.clone()),
        }
        parsed
    }

    /// A text that begins in this line was read, or reading it panicked.
    fn end_of_text(&mut self, read: Result<Result<(), Fault>, String>, file: &Arc<str>, line: u32) {
        let problem = match read {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault.problem(file),
            Err(_) => document::text_not_read().at(file, line, 1),
        };
        self.broken = true;
        self.problems.push(problem);
    }
}

/// Reads a file of YAML or JSON: any number of documents, each an object or a list of objects.
///
/// `file` is the name that users will see. A document that is no YAML harms none of its neighbours; a wrong object
/// harms none in its document.
pub fn parse(file: &str, text: &str, default_namespace: &str) -> Parsed {
    let file: Arc<str> = file.into();
    let mut parsed = Parsed::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for chunk in chunks(text) {
        let mut reader = document::Reader::new(&file, default_namespace, &mut parsed);
        let read = attempt(|| tree::read(chunk.text, chunk.line, |document| reader.document(&document)));
        parsed.end_of_text(read, &file, chunk.line);
    }
    keep_first(&mut parsed);
    parsed.problems.sort_by_key(|problem| problem.at.as_ref().map(|at| (at.line, at.column)));
    parsed
}

/// Reads a file that is a mesh configuration and nothing else.
///
/// `file` is the name that users will see.
pub fn parse_mesh(file: &str, text: &str) -> Parsed {
    let file: Arc<str> = file.into();
    let mut parsed = Parsed::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let key = ObjectKey::new(Kind::MeshConfig, "", MESH_FILE);
    let read = attempt(|| document::Reader::new(&file, "", &mut parsed).mesh(text, (1, 1), &key));
    parsed.end_of_text(read.map(Ok), &file, 1);
    parsed
}

/// Reads the annotation `proxy.istio.io/config` of an object.
///
/// # Errors
/// What is wrong with it, at the annotation's place. Nothing of it is to be used then.
pub fn parse_proxy_options(
    text: &str,
    key: &ObjectKey,
    source: &Source,
) -> Result<(ProxyOptions, Vec<Problem>), Vec<Problem>> {
    let field = format!("metadata.annotations.{PROXY_CONFIG_ANNOTATION}");
    let mut read = None;
    let mut problems = Vec::new();
    let broken = tree::read(text, 1, |document| {
        let mut cursor = Cursor::new(key, &source.file, ProxyOptions::UNKNOWN);
        let options = ProxyOptions::decode(&document.root, &mut cursor);
        let decoded = !cursor.failed() && document.faults.is_empty();
        let (places, found) = cursor.finish(&document.root);
        problems.extend(found);
        problems.extend(document.faults.into_iter().map(|fault| fault.problem(&source.file)));
        let mut check = Check::new(key, &places, &mut problems);
        options.validate(&Meta::default(), &mut check);
        let right = decoded && !check.failed();
        read = right.then_some(options);
    });
    problems.extend(broken.err().map(|fault| fault.problem(&source.file)));
    for problem in &mut problems {
        let inner = std::mem::take(&mut problem.field);
        let separator = if inner.is_empty() { "" } else { ": " };
        *problem = problem.clone().about(key, source, &*field);
        problem.field = format!("{field}{separator}{inner}");
    }
    match read {
        Some(options) => Ok((options, problems)),
        None => Err(problems),
    }
}

/// Reads a text that is one value, such as stands in a ConfigMap.
///
/// # Errors
/// What is wrong with it, with its line.
pub fn parse_value(text: &str) -> Result<serde_json::Value, String> {
    let mut values = Vec::new();
    let mut faults = Vec::new();
    let broken = tree::read(text, 1, |document| {
        values.push(crate::decode::json(&document.root));
        faults.extend(document.faults);
    });
    faults.extend(broken.err());
    if let Some(fault) = faults.into_iter().next() {
        let problem = fault.problem(&"".into());
        let line = problem.at.as_ref().map_or(1, |at| at.line);
        return Err(format!("line {line}: {}", problem.message));
    }
    match (values.pop(), values.is_empty()) {
        (Some(value), true) => Ok(value),
        (None, _) => Ok(serde_json::Value::Null),
        (Some(_), false) => Err("it is more than one document".to_owned()),
    }
}

/// Of objects that the file holds twice the first counts.
fn keep_first(parsed: &mut Parsed) {
    let mut first: BTreeMap<ObjectKey, AnyObject> = BTreeMap::new();
    let problems = &mut parsed.problems;
    parsed.objects.retain(|object| match first.get(object.key()) {
        Some(winner) => {
            problems.push(duplicate(winner, object));
            false
        }
        None => {
            first.insert(object.key().clone(), object.clone());
            true
        }
    });
    let mut seen = BTreeSet::new();
    parsed.invalid.retain(|key| !first.contains_key(key) && seen.insert(key.clone()));
}

/// A part of the text that can be parsed alone.
struct Chunk<'a> {
    text: &'a str,
    /// Of its first line in the file, from 1.
    line: u32,
}

/// Cuts at the lines that begin with `---`, which end a document wherever they stand.
fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut at, mut line) = (0, 1, 0, 1);
    for raw in text.split_inclusive('\n') {
        let begins = raw
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if begins && at > start {
            chunks.extend(text.get(start..at).map(|text| Chunk { text, line: start_line }));
            (start, start_line) = (at, line);
        }
        at += raw.len();
        line += 1;
    }
    chunks.extend(text.get(start..).map(|text| Chunk { text, line: start_line }));
    chunks.retain(|chunk| !chunk.text.lines().all(says_nothing));
    chunks
}

/// A blank line, a comment, a directive such as `%YAML 1.2`.
fn says_nothing(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with(['#', '%']) || line == "---" || line == "..."
}

/// Something that is wrong in the text itself.
#[derive(Debug)]
struct Fault {
    code: crate::code::Code,
    line: u32,
    column: u32,
    message: String,
    mend: &'static str,
}

impl Fault {
    fn malformed(line: u32, column: u32, message: impl Into<String>) -> Fault {
        let mend = "mend the YAML here; what this file said before stays in force until then";
        Fault { code: codes::MALFORMED, line, column, message: message.into(), mend }
    }

    fn problem(self, file: &Arc<str>) -> Problem {
        Problem::new(self.code, self.message, self.mend).at(file, self.line, self.column)
    }
}
