//! `HorizontalPodAutoscaler` and `PodDisruptionBudget`: how many Pods there are, and how many at least.

use serde::Serialize;

use crate::decode::{Cursor, Decode, spec};
use crate::node::Node;

spec! {
    /// `autoscaling/v2` `HorizontalPodAutoscaler`; it has no generation to tell of a change.
    pub struct HorizontalPodAutoscaler {
        /// What it scales.
        "scaleTargetRef" => scale_target_ref: ScaleTarget,
        /// 1 if nothing is said.
        "minReplicas" => min_replicas: Option<u32>,
        /// No more are made.
        "maxReplicas" => max_replicas: u32,
    }
    also ["*"]
}

spec! {
    /// What an autoscaler scales.
    pub struct ScaleTarget {
        /// Such as `Deployment`.
        "kind" => kind: String,
        /// In its namespace.
        "name" => name: String,
    }
    also ["*"]
}

/// `policy/v1` `PodDisruptionBudget`. Only its metadata is looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PodDisruptionBudget {}

impl Decode for PodDisruptionBudget {
    fn decode(_: &Node, _: &mut Cursor<'_>) -> PodDisruptionBudget {
        PodDisruptionBudget {}
    }
}
