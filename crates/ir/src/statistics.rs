//! Which of Envoy's statistics are exposed, where the configuration chooses some.

use serde::Serialize;

use crate::atoms::Pattern;

/// What the name of a statistic must look like, in one way of all of these, such as
/// `cluster.outbound|80||web.default.svc.cluster.local;.upstream_rq_retry`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// It begins so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// It ends so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suffixes: Vec<String>,
    /// The whole of it matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expressions: Vec<Pattern>,
}
