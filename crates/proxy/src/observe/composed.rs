//! Operators whose text has to be put together for each line.

use std::sync::Arc;

use super::cluster_name::ClusterName;
use super::expression::Expression;
use super::record::Record;
use super::spans::TraceIds;

/// What is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Composed {
    /// `%CEL(X)%`
    Expression(Arc<Expression>),
    /// `%METADATA(ROUTE:istio:config)%`: the path of the VirtualService that the route comes from.
    RouteConfig,
    /// `%METADATA(CLUSTER:istio:subset)%`
    Subset,
    /// `%METADATA(CLUSTER:istio:default_original_port)%`
    ClusterPort,
    /// `%TRACE_ID%`
    TraceId,
    /// `%SPAN_ID%`
    SpanId,
}

impl Composed {
    /// The text; `None`: there is none.
    pub(super) fn text(&self, record: &Record<'_>) -> Option<String> {
        let cluster = || ClusterName::parse(record.cluster);
        match self {
            Composed::Expression(expression) => expression.text(record),
            Composed::RouteConfig => record.route_origin.map(|(namespace, name)| {
                format!("/apis/networking.istio.io/v1/namespaces/{namespace}/virtual-service/{name}")
            }),
            Composed::Subset => {
                cluster().map(|name| name.subset.to_owned()).filter(|subset| !subset.is_empty())
            }
            Composed::ClusterPort => cluster().map(|name| name.port.to_owned()),
            Composed::TraceId => record.trace.map(TraceIds::trace),
            Composed::SpanId => record.trace.map(TraceIds::own),
        }
    }
}
