//! `Namespace`: only its labels matter, and they stand in the metadata.

use serde::Serialize;

use crate::decode::{Cursor, Decode};
use crate::node::Node;

/// `v1` `Namespace`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Namespace {}

impl Decode for Namespace {
    fn decode(_: &Node, _: &mut Cursor<'_>) -> Namespace {
        Namespace {}
    }
}
