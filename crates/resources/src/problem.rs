//! What is wrong with what the user wrote, said so that it can be mended.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::code::Code;
use crate::key::ObjectKey;
use crate::object::{Location, Source};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something is not served as written.
    Error,
    /// Served, but probably not as meant.
    Warning,
    /// Good to know.
    Info,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
        })
    }
}

/// A problem with an object, a field of it, or a file.
///
/// Shown as one line, with a second one for the mend:
/// ```text
/// error[IST0106] VirtualService default/web  routes.yaml:12:7  spec.http[0].timeout: expected a duration, found "5 sec"
///     write a number with a unit, such as 5s
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Such as `IST0106`.
    pub code: &'static str,
    /// How bad it is.
    pub level: Level,
    /// The object it is about, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectKey>,
    /// The path of the field inside the object; empty for the whole object or file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// Where it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Location>,
    /// What was expected and what was found.
    pub message: String,
    /// How to mend it; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mend: String,
}

impl Problem {
    /// A problem with the level of its code, about nothing in particular yet.
    pub fn new(code: Code, message: impl Into<String>, mend: impl Into<String>) -> Problem {
        Problem {
            code: code.id,
            level: code.level,
            object: None,
            field: String::new(),
            at: None,
            message: message.into(),
            mend: mend.into(),
        }
    }

    /// About this field of this object (`field` may be empty), located through its source if that has lines.
    #[must_use]
    pub fn about(mut self, key: &ObjectKey, source: &Source, field: impl Into<String>) -> Problem {
        self.field = field.into();
        self.object = Some(key.clone());
        self.at = (source.line > 0).then(|| source.locate(&self.field));
        self
    }

    /// At this line and column of this file.
    #[must_use]
    pub fn at(mut self, file: &Arc<str>, line: u32, column: u32) -> Problem {
        self.at = Some(Location { file: Arc::clone(file), line, column });
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.level, self.code)?;
        if let Some(object) = &self.object {
            write!(f, " {object}")?;
        }
        if let Some(at) = &self.at {
            write!(f, "  {at}")?;
        }
        f.write_str("  ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if self.mend.is_empty() { Ok(()) } else { write!(f, "\n    {}", self.mend) }
    }
}
