//! `Node`: only its labels matter, which say where it stands; they are in the metadata.

use serde::Serialize;

use crate::decode::{Cursor, Decode};

/// `v1` `Node`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Node {}

impl Decode for Node {
    fn decode(_: &crate::node::Node, _: &mut Cursor<'_>) -> Node {
        Node {}
    }
}
