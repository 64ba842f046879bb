//! Which resource made a part of the IR: for logs, status, explanations.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A resource and the field in it that a part of the IR comes from. The file and line are not kept here: whoever shows
/// an origin looks them up in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// The kind as users write it, such as `VirtualService`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The path of the field inside the object, such as `spec.http[0].match[1]`; empty for the whole object.
    pub field: Arc<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)?;
        if self.field.is_empty() { Ok(()) } else { write!(f, " {}", self.field) }
    }
}
