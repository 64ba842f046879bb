//! Header operations: remove, then set, then add.

use std::net::SocketAddr;

use limen_wire::head::{Fields, RequestHead, ResponseHead, Version};

use super::field::RequestField;
use super::text;
use crate::address::Address;
use crate::observe::Flags;

/// Operations of one level. All values are put together before the first is written, so that templates see the head
/// as it was but for what is removed (Envoy). A value that comes out empty is not written.
///
/// Most levels have none, so those that have some stand elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeaderOps(Option<Box<HeaderLists>>);

/// What is removed, set and added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeaderLists {
    /// Lower-case names to drop.
    pub(crate) remove: Box<[Box<[u8]>]>,
    /// Fields to overwrite. `:authority` overwrites a request's authority.
    pub(crate) set: Box<[Header]>,
    /// Fields to append as lines of their own.
    pub(crate) add: Box<[Header]>,
}

/// A field to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Lower-case name.
    pub(crate) name: Box<[u8]>,
    /// What is written.
    pub(crate) value: Box<[Piece]>,
}

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it stands.
    Literal(Box<[u8]>),
    /// `%REQ(name)%`: the first line of a request field.
    Request(RequestField),
    /// `%RESP(name)%`: the first line of a response field, lower-case.
    Response(Box<[u8]>),
    /// What the [`Context`] says.
    Known(Operator),
}

/// What a template can ask of the [`Context`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`
    DownstreamRemoteAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`
    DownstreamRemoteAddressWithoutPort,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`
    DownstreamLocalAddress,
    /// `%PROTOCOL%`
    Protocol,
    /// `%REQUESTED_SERVER_NAME%`
    RequestedServerName,
    /// `%UPSTREAM_HOST%`
    UpstreamHost,
    /// `%UPSTREAM_CLUSTER%`
    UpstreamCluster,
    /// `%RESPONSE_CODE%`
    ResponseCode,
    /// `%RESPONSE_FLAGS%`
    ResponseFlags,
    /// `%START_TIME%`
    StartTime,
    /// `%HOSTNAME%`
    Hostname,
}

/// What is known of an exchange when operations run. What is not known yet comes out empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The trusted client address.
    pub(crate) downstream_remote: SocketAddr,
    /// Where the client connected to.
    pub(crate) downstream_local: SocketAddr,
    /// The request came over TLS.
    pub(crate) https: bool,
    /// The version the request came in.
    pub(crate) protocol: Version,
    /// The server name of the TLS handshake.
    pub(crate) server_name: Option<&'a str>,
    /// The endpoint that answered.
    pub(crate) upstream_host: Option<Address>,
    /// The name of the cluster chosen.
    pub(crate) upstream_cluster: &'a str,
    /// The status that the client will see.
    pub(crate) response_code: Option<u16>,
    /// Envoy's response flags, as the access log prints them.
    pub(crate) response_flags: Flags,
    /// When the request began, in milliseconds since the Unix epoch.
    pub(crate) start_ms: u64,
    /// The gateway's own name.
    pub(crate) hostname: &'a str,
}

/// Memory for putting values together, reused from head to head.
#[derive(Debug, Default)]
pub(crate) struct HeaderScratch {
    text: Vec<u8>,
    /// Where each value ends in `text`.
    ends: Vec<usize>,
    /// For one field at a time.
    field: Vec<u8>,
}

impl HeaderOps {
    /// Those that are said.
    pub(crate) fn new(lists: HeaderLists) -> HeaderOps {
        let HeaderLists { remove, set, add } = &lists;
        let empty = remove.is_empty() && set.is_empty() && add.is_empty();
        HeaderOps((!empty).then(|| Box::new(lists)))
    }

    /// Nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What is to be done.
    pub(crate) fn lists(&self) -> Option<&HeaderLists> {
        self.0.as_deref()
    }

    /// The same, to be changed.
    pub(crate) fn into_lists(self) -> HeaderLists {
        self.0.map(|lists| *lists).unwrap_or_default()
    }

    /// Applies the operations to a request.
    pub(crate) fn apply_request(
        &self,
        head: &mut RequestHead,
        context: &Context<'_>,
        scratch: &mut HeaderScratch,
    ) {
        let Some(lists) = self.lists() else { return };
        lists.remove.iter().for_each(|name| head.fields.remove(name));
        lists.evaluate(head, None, context, scratch);
        let mut values = scratch.values();
        for (header, value) in lists.set.iter().zip(&mut values).filter(|(_, value)| !value.is_empty()) {
            if is_authority(&header.name) {
                head.set_authority(value);
            } else {
                head.fields.set(&header.name, value);
            }
        }
        append(&mut head.fields, &lists.add, values);
    }

    /// Applies the operations to a response; `request` is the head as it was forwarded.
    pub(crate) fn apply_response(
        &self,
        head: &mut ResponseHead,
        request: &RequestHead,
        context: &Context<'_>,
        scratch: &mut HeaderScratch,
    ) {
        let Some(lists) = self.lists() else { return };
        lists.remove.iter().for_each(|name| head.fields.remove(name));
        lists.evaluate(request, Some(head), context, scratch);
        let mut values = scratch.values();
        for (header, value) in lists.set.iter().zip(&mut values).filter(|(_, value)| !value.is_empty()) {
            head.fields.set(&header.name, value);
        }
        append(&mut head.fields, &lists.add, values);
    }
}

impl HeaderLists {
    /// Puts the values of `set`, then of `add`, into the scratch.
    fn evaluate(
        &self,
        request: &RequestHead,
        response: Option<&ResponseHead>,
        context: &Context<'_>,
        scratch: &mut HeaderScratch,
    ) {
        scratch.text.clear();
        scratch.ends.clear();
        for header in self.set.iter().chain(&self.add) {
            for piece in &header.value {
                let HeaderScratch { text, field, .. } = scratch;
                match piece {
                    Piece::Literal(literal) => text.extend_from_slice(literal),
                    Piece::Request(name) => {
                        text.extend_from_slice(name.first(request, context.https, field).unwrap_or_default());
                    }
                    Piece::Response(name) => {
                        let line = response.and_then(|head| head.fields.get(name));
                        text.extend_from_slice(line.unwrap_or_default());
                    }
                    Piece::Known(operator) => context.push(*operator, text),
                }
            }
            scratch.ends.push(scratch.text.len());
        }
    }
}

/// Is that the name by which a request's authority is set?
pub(crate) fn is_authority(name: &[u8]) -> bool {
    name == b":authority" || name == b"host"
}

fn append<'a>(fields: &mut Fields, add: &[Header], values: impl Iterator<Item = &'a [u8]>) {
    for (header, value) in add.iter().zip(values).filter(|(_, value)| !value.is_empty()) {
        fields.add(&header.name, value);
    }
}

impl HeaderScratch {
    fn values(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let value = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            value
        })
    }
}

impl Context<'_> {
    fn push(&self, operator: Operator, to: &mut Vec<u8>) {
        match operator {
            Operator::DownstreamRemoteAddress => text::push_socket(to, self.downstream_remote),
            Operator::DownstreamRemoteAddressWithoutPort => text::push_ip(to, self.downstream_remote.ip()),
            Operator::DownstreamLocalAddress => text::push_socket(to, self.downstream_local),
            Operator::Protocol => to.extend_from_slice(self.protocol.as_str().as_bytes()),
            Operator::RequestedServerName => to.extend_from_slice(self.server_name.unwrap_or("").as_bytes()),
            Operator::UpstreamHost => match self.upstream_host {
                Some(Address::Inet(host)) => text::push_socket(to, host),
                Some(Address::Unix(path)) => to.extend_from_slice(path.as_bytes()),
                None => {}
            },
            Operator::UpstreamCluster => to.extend_from_slice(self.upstream_cluster.as_bytes()),
            Operator::ResponseCode => {
                self.response_code.iter().for_each(|code| text::push_decimal(to, (*code).into()));
            }
            Operator::ResponseFlags => self.response_flags.write_short(to),
            Operator::StartTime => text::push_time(to, self.start_ms),
            Operator::Hostname => to.extend_from_slice(self.hostname.as_bytes()),
        }
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
