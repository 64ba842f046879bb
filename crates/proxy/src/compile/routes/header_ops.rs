//! Header operations of a level.

use limen_ir::policy::headers::{HeaderOps as IrOps, HeaderValue, Operator as IrOperator, ValuePart};

use crate::filter::field::RequestField;
use crate::filter::headers::{Header, HeaderLists, HeaderOps, Operator, Piece, is_authority};

/// Fields that delimit messages or speak of one connection only. Whoever could write them could make two readers see
/// two different messages (RFC 9112 11.2).
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Operations on requests; what is left out is said in `refused`.
pub(super) fn request(ops: &IrOps, refused: &mut Vec<String>) -> HeaderOps {
    compile(ops, refused, |name| is_authority(name.as_bytes()))
}

/// Operations on responses.
pub(super) fn response(ops: &IrOps, refused: &mut Vec<String>) -> HeaderOps {
    compile(ops, refused, |_| false)
}

fn compile(ops: &IrOps, refused: &mut Vec<String>, may_set: fn(&str) -> bool) -> HeaderOps {
    let IrOps { remove, set, add } = ops;
    let lower = |name: &str| name.to_ascii_lowercase().into_bytes().into_boxed_slice();
    let mut headers = |list: &[HeaderValue], may_set: fn(&str) -> bool| {
        let mut compiled = Vec::with_capacity(list.len());
        for HeaderValue { name, value } in list {
            if !may_set(name) && !is_plain_field(name) {
                refused.push(format!("the header operation on `{name}` is left out"));
            } else if value.iter().any(is_unsafe_literal) {
                refused.push(format!(
                    "the value of header `{name}` contains control characters and is left out"
                ));
            } else {
                compiled.push(Header { name: lower(name), value: value.iter().map(piece).collect() });
            }
        }
        compiled.into_boxed_slice()
    };
    HeaderOps::new(HeaderLists {
        set: headers(set, may_set),
        add: headers(add, |_| false),
        remove: remove.iter().map(|name| lower(name)).collect(),
    })
}

/// A token (RFC 9110 5.6.2) that is neither framing nor `host`.
fn is_plain_field(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    !name.is_empty() && name.bytes().all(token) && !FRAMING.contains(&&*lower) && lower != "host"
}

fn is_unsafe_literal(part: &ValuePart) -> bool {
    let control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    matches!(part, ValuePart::Literal(text) if text.bytes().any(control))
}

fn piece(part: &ValuePart) -> Piece {
    let operator = match part {
        ValuePart::Literal(text) => return Piece::Literal(text.as_bytes().into()),
        ValuePart::Operator(operator) => operator,
    };
    Piece::Known(match operator {
        IrOperator::RequestHeader(name) => return Piece::Request(RequestField::named(name)),
        IrOperator::ResponseHeader(name) => {
            return Piece::Response(name.to_ascii_lowercase().into_bytes().into());
        }
        IrOperator::DownstreamRemoteAddress => Operator::DownstreamRemoteAddress,
        IrOperator::DownstreamRemoteAddressWithoutPort => Operator::DownstreamRemoteAddressWithoutPort,
        IrOperator::DownstreamLocalAddress => Operator::DownstreamLocalAddress,
        IrOperator::Protocol => Operator::Protocol,
        IrOperator::RequestedServerName => Operator::RequestedServerName,
        IrOperator::UpstreamHost => Operator::UpstreamHost,
        IrOperator::UpstreamCluster => Operator::UpstreamCluster,
        IrOperator::ResponseCode => Operator::ResponseCode,
        IrOperator::ResponseFlags => Operator::ResponseFlags,
        IrOperator::StartTime => Operator::StartTime,
        IrOperator::Hostname => Operator::Hostname,
    })
}

/// The operations of a route with those of its only destination as one level: theirs come after the route's, so the
/// destination's `set` wins (Istio appends them).
pub(super) fn join(route: HeaderOps, destination: HeaderOps) -> HeaderOps {
    let both = |a: Box<[Header]>, b: Box<[Header]>| a.into_iter().chain(b).collect();
    let (route, destination) = (route.into_lists(), destination.into_lists());
    HeaderOps::new(HeaderLists {
        remove: route.remove.into_iter().chain(destination.remove).collect(),
        set: both(route.set, destination.set),
        add: both(route.add, destination.add),
    })
}

/// The same for requests, but for the authority: a destination's never overrides the route's, which is set by an
/// operation or (`pinned`) literally.
pub(super) fn join_request(route: HeaderOps, destination: HeaderOps, pinned: bool) -> HeaderOps {
    let mut own = destination.into_lists();
    if pinned || sets_authority(&route) {
        own.set = own.set.into_iter().filter(|header| !is_authority(&header.name)).collect();
    }
    join(route, HeaderOps::new(own))
}

/// Do the operations set the authority?
pub(super) fn sets_authority(ops: &HeaderOps) -> bool {
    ops.lists().is_some_and(|lists| lists.set.iter().any(|header| is_authority(&header.name)))
}
