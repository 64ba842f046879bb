//! Header operations and the substitutions in their values.

use std::collections::BTreeMap;

use limen_ir::policy::headers::{HeaderOps, HeaderValue, Operator, ValuePart};
use limen_resources::Problem;
use limen_resources::istio::HeaderOperations;

use crate::messages::{At, route};

/// Operations on requests; may set the host. `field` is where they are written.
pub(crate) fn request(
    ops: Option<&HeaderOperations>,
    at: At<'_>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> HeaderOps {
    Reader { at, field, problems, request: true }.read(ops)
}

/// Operations on responses.
pub(crate) fn response(
    ops: Option<&HeaderOperations>,
    at: At<'_>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> HeaderOps {
    Reader { at, field, problems, request: false }.read(ops)
}

/// Drops from `first` what `then`, which follows it, overwrites.
pub(crate) fn overrule(first: &mut HeaderOps, then: &HeaderOps) {
    let kept = |header: &HeaderValue| then.set.iter().all(|later| later.name != header.name);
    first.set.retain(kept);
    first.add.retain(kept);
}

struct Reader<'a> {
    at: At<'a>,
    field: &'a str,
    problems: &'a mut Vec<Problem>,
    request: bool,
}

impl Reader<'_> {
    fn read(&mut self, ops: Option<&HeaderOperations>) -> HeaderOps {
        let Some(HeaderOperations { set, add, remove }) = ops else { return HeaderOps::default() };
        let mut read = HeaderOps::default();
        for name in remove {
            match self.name(name, "remove") {
                Some(name) if name == HOST => self.refused_name("remove", name),
                Some(name) => read.remove.push(name),
                None => {}
            }
        }
        self.values(set, "set", &mut read);
        self.values(add, "add", &mut read);
        read
    }

    fn values(&mut self, values: &BTreeMap<String, String>, how: &str, read: &mut HeaderOps) {
        for (written, value) in values {
            let Some(name) = self.name(written, how) else { continue };
            if name == HOST {
                // A host is rewritten literally, whichever way it is said.
                read.set.push(HeaderValue { name, value: vec![ValuePart::Literal(value.clone())] });
                continue;
            }
            match parse_value(value) {
                Ok(value) if how == "set" => read.set.push(HeaderValue { name, value }),
                Ok(value) => read.add.push(HeaderValue { name, value }),
                Err(error) => {
                    let field = format!("{}.{how}.{written}", self.field);
                    self.problems.push(route::invalid(
                        self.at.field(&field),
                        error.message(how),
                        error.mend(),
                    ));
                    // What was to be overwritten must not reach the other side as the sender wrote it.
                    if how == "set" {
                        read.remove.push(name);
                    }
                }
            }
        }
    }

    /// The name in lower case, if it may be used here.
    fn name(&mut self, written: &str, how: &str) -> Option<String> {
        let name = written.to_ascii_lowercase();
        if self.request && (name == HOST || name == ":authority") {
            return Some(HOST.to_owned());
        }
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) || name == HOST {
            self.refused_name(how, name);
            return None;
        }
        Some(name)
    }

    fn refused_name(&mut self, how: &str, name: String) {
        let field = format!("{}.{how}", self.field);
        let message = format!("`{name}` may not be named here; the operation is left out");
        let mend = "write the name of a header field; a host can only be set, and only on requests";
        self.problems.push(route::invalid(self.at.field(&field), message, mend));
    }
}

const HOST: &str = "host";

/// Why a value cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ValueError {
    /// A `%` without its partner.
    Unbalanced,
    /// No such substitution.
    Unknown(String),
}

impl ValueError {
    fn message(&self, how: &str) -> String {
        let then = if how == "set" { "the header is removed instead" } else { "the operation is left out" };
        match self {
            ValueError::Unbalanced => format!("the value has a single %; {then}"),
            ValueError::Unknown(name) => format!("%{name}% is no substitution that can be made here; {then}"),
        }
    }

    fn mend(&self) -> &'static str {
        match self {
            ValueError::Unbalanced => "write %% for a percent sign",
            ValueError::Unknown(_) => {
                "use one such as %REQ(name)%, %DOWNSTREAM_REMOTE_ADDRESS% or %START_TIME%, or %% for a percent sign"
            }
        }
    }
}

/// Takes a value with Envoy's substitutions apart.
pub(crate) fn parse_value(value: &str) -> Result<Vec<ValuePart>, ValueError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('%').ok_or(ValueError::Unbalanced)?;
        if !literal.is_empty() {
            parts.push(ValuePart::Literal(std::mem::take(&mut literal)));
        }
        parts.push(ValuePart::Operator(operator(name).ok_or_else(|| ValueError::Unknown(name.to_owned()))?));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(ValuePart::Literal(literal));
    }
    Ok(parts)
}

fn operator(text: &str) -> Option<Operator> {
    if let Some((name, argument)) = text.split_once('(') {
        let header = argument.strip_suffix(')')?.to_ascii_lowercase();
        if header.is_empty() || header.contains(['?', '(', ')']) {
            return None;
        }
        return match name {
            "REQ" => Some(Operator::RequestHeader(header)),
            "RESP" => Some(Operator::ResponseHeader(header)),
            _ => None,
        };
    }
    Some(match text {
        "DOWNSTREAM_REMOTE_ADDRESS" => Operator::DownstreamRemoteAddress,
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::DownstreamRemoteAddressWithoutPort,
        "DOWNSTREAM_LOCAL_ADDRESS" => Operator::DownstreamLocalAddress,
        "PROTOCOL" => Operator::Protocol,
        "REQUESTED_SERVER_NAME" => Operator::RequestedServerName,
        "UPSTREAM_HOST" => Operator::UpstreamHost,
        "UPSTREAM_CLUSTER" => Operator::UpstreamCluster,
        "RESPONSE_CODE" => Operator::ResponseCode,
        "RESPONSE_FLAGS" => Operator::ResponseFlags,
        "START_TIME" => Operator::StartTime,
        "HOSTNAME" => Operator::Hostname,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> ValuePart {
        ValuePart::Literal(text.to_owned())
    }

    #[test]
    fn values_come_apart_at_percent_signs() {
        let user = ValuePart::Operator(Operator::RequestHeader("x-user".to_owned()));
        assert_eq!(parse_value("u=%REQ(X-User)%;"), Ok(vec![literal("u="), user, literal(";")]));
        assert_eq!(parse_value("100%%"), Ok(vec![literal("100%")]));
        assert_eq!(parse_value(""), Ok(vec![literal("")]));
        assert_eq!(parse_value("%START_TIME%"), Ok(vec![ValuePart::Operator(Operator::StartTime)]));
        assert_eq!(parse_value("100%"), Err(ValueError::Unbalanced));
        assert_eq!(parse_value("%NOPE%"), Err(ValueError::Unknown("NOPE".to_owned())));
        assert_eq!(parse_value("%REQ(a?b)%"), Err(ValueError::Unknown("REQ(a?b)".to_owned())));
    }
}
