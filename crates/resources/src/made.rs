//! Objects that a gateway makes itself.

use serde_json::Value;

use crate::key::ObjectKey;

/// What an object that the gateway keeps in its cluster is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The object.
    pub key: ObjectKey,
    /// The object that it ends with; `None`: it is there until it is said to go.
    pub owner: Option<ObjectKey>,
    /// What it is to hold, without its owner, as the API has it; `None`: it is to go.
    pub content: Option<Value>,
    /// What is known of it.
    pub now: Now,
}

/// How an object that is made was seen in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// It was not. Should somebody else have made one of that name meanwhile, it stays as it is.
    Absent,
    /// It was made here, and is to be changed.
    Changed,
    /// It was made here out of just this; whether somebody has touched it since, only its generation tells.
    Made(u64),
}
