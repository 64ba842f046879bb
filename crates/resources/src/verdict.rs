//! What may be said about a resource.

use serde::Serialize;

use crate::key::ObjectKey;

/// One condition of one object, as translation sees it. It becomes a Kubernetes status condition, a row in a view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Verdict {
    /// The object it is about.
    pub on: ObjectKey,
    /// Through which other object, such as the Gateway that a route hangs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ObjectKey>,
    /// The condition's type, such as `Accepted`.
    pub condition: String,
    /// Does it hold?
    pub status: bool,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl Verdict {
    /// The condition of a Gateway whose servers all serve.
    pub const PROGRAMMED: &'static str = "Programmed";
}
