//! Names of request fields in conditions and in templates.

use limen_wire::head::{BodyLength, RequestHead};

use super::text;

/// A field of a request, by where its text stands. Framing and hop-by-hop fields are not among the head's lines; they
/// are told from what the head says instead, as far as a rule can have use for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum RequestField {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority` or `host`
    Authority,
    /// `:path`, with the query
    Path,
    /// `content-length`
    ContentLength,
    /// `transfer-encoding`
    TransferEncoding,
    /// `connection`
    Connection,
    /// `upgrade`
    Upgrade,
    /// `te`
    Te,
    /// `expect`
    Expect,
    /// Any other, in lower case.
    Line(Box<[u8]>),
}

impl RequestField {
    /// By name, in any case.
    pub(crate) fn named(name: &str) -> RequestField {
        match name.to_ascii_lowercase().as_str() {
            ":method" => RequestField::Method,
            ":scheme" => RequestField::Scheme,
            ":authority" | "host" => RequestField::Authority,
            ":path" => RequestField::Path,
            "content-length" => RequestField::ContentLength,
            "transfer-encoding" => RequestField::TransferEncoding,
            "connection" => RequestField::Connection,
            "upgrade" => RequestField::Upgrade,
            "te" => RequestField::Te,
            "expect" => RequestField::Expect,
            other => RequestField::Line(other.as_bytes().into()),
        }
    }

    /// All lines of the field joined with commas, put together in `buffer` where there are several; `None`: absent.
    pub(crate) fn joined<'a>(
        &self,
        head: &'a RequestHead,
        https: bool,
        buffer: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        let RequestField::Line(name) = self else { return self.first(head, https, buffer) };
        let mut lines = head.fields.iter().filter(|(_, own, _)| *own == &**name).map(|(_, _, value)| value);
        let first = lines.next()?;
        let Some(second) = lines.next() else { return Some(first) };
        buffer.clear();
        buffer.extend_from_slice(first);
        for line in std::iter::once(second).chain(lines) {
            buffer.push(b',');
            buffer.extend_from_slice(line);
        }
        Some(buffer)
    }

    /// The first line of the field; `None`: absent.
    pub(crate) fn first<'a>(
        &self,
        head: &'a RequestHead,
        https: bool,
        buffer: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        match self {
            RequestField::Method => Some(head.method()),
            RequestField::Scheme => Some(if https { b"https" } else { b"http" }),
            RequestField::Authority => Some(head.authority()),
            RequestField::Path => Some(head.path_and_query()),
            RequestField::ContentLength => {
                let BodyLength::Known(length) = head.body else { return None };
                buffer.clear();
                text::push_decimal(buffer, length);
                Some(buffer)
            }
            RequestField::TransferEncoding => {
                let chunked = head.body == BodyLength::Marked && head.version < limen_wire::head::Version::H2;
                chunked.then_some(b"chunked")
            }
            RequestField::Connection => head.upgrade.map(|_| &b"Upgrade"[..]),
            RequestField::Upgrade => head.upgrade.map(|span| head.fields.text(span)),
            RequestField::Te => head.te_trailers.then_some(b"trailers"),
            RequestField::Expect => head.expect_continue.then_some(b"100-continue"),
            RequestField::Line(name) => head.fields.get(name),
        }
    }
}
