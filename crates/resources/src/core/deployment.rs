//! `Deployment`: Pods that are kept running. Only its metadata is looked at.

use serde::Serialize;

use crate::decode::{Cursor, Decode};
use crate::node::Node;

/// `apps/v1` `Deployment`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Deployment {}

impl Decode for Deployment {
    fn decode(_: &Node, _: &mut Cursor<'_>) -> Deployment {
        Deployment {}
    }
}
