//! Objects that a gateway makes itself.

use serde_json::Value;

use crate::key::ObjectKey;

/// A change that is to be made to an object that the gateway keeps in its cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The object.
    pub key: ObjectKey,
    /// The object that it ends with.
    pub owner: ObjectKey,
    /// What it is to hold, without its owner, as the API has it; `None`: it is to go.
    pub content: Option<Value>,
}
