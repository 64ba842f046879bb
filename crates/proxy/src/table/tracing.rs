//! How the requests to a gateway are traced, as the workers read it.

use std::sync::Arc;

use crate::filter::trace::Dialect;
use crate::observe::{AccessLog, Collector};

/// How requests are traced.
#[derive(Debug)]
pub(crate) struct Tracing {
    /// Who gets the spans.
    pub(crate) collector: Arc<Collector>,
    /// How many of ten thousand requests are traced of which nobody has decided yet.
    pub(crate) sampling: u32,
    /// The decision is written into the request's id.
    pub(crate) mark_request_id: bool,
    /// Origins are told of the trace.
    pub(crate) propagate: bool,
    /// In what they are told, and clients tell.
    pub(crate) dialect: Dialect,
    /// Tags that every span of a request has.
    pub(crate) tags: Box<[(Arc<str>, Tag)]>,
    /// Bytes of a URL that a tag may hold.
    pub(crate) longest_url: usize,
}

/// Where the value of a tag comes from.
#[derive(Debug)]
pub(crate) enum Tag {
    /// It is known.
    Fixed(String),
    /// A header field of the request, lower-case, and what is said without it.
    Header(Box<[u8]>, String),
    /// A line of this format.
    Format(AccessLog),
}
