//! The time that a gRPC client allows a call (`grpc-timeout`, gRPC over HTTP/2, "Requests").

use limen_wire::head::{MethodKind, RequestHead};

/// Milliseconds that a request may take: what its client allows, at the most what the rule does. Only calls say.
pub(crate) fn effective(head: &RequestHead, rule_ms: Option<u64>) -> Option<u64> {
    // Calls are POSTs; nothing else pays for the search.
    if head.method_kind != MethodKind::Other {
        return rule_ms;
    }
    let asked = head.fields.get(b"grpc-timeout").filter(|_| is_call(head)).and_then(parse);
    rule_ms.into_iter().chain(asked).min()
}

/// Does the request call a gRPC method?
pub(crate) fn is_call(head: &RequestHead) -> bool {
    let kind = head.fields.get(b"content-type").unwrap_or_default();
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}

/// At most eight digits and a unit; `None` for 0 and for what is neither. Less than a millisecond counts as one.
fn parse(text: &[u8]) -> Option<u64> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let ms = match unit {
        b'H' => amount * 3_600_000,
        b'M' => amount * 60_000,
        b'S' => amount * 1_000,
        b'm' => amount,
        b'u' => amount.div_ceil(1_000),
        b'n' => amount.div_ceil(1_000_000),
        _ => return None,
    };
    (ms > 0).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &[u8], fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.set_method(method);
        fields.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
        head
    }

    #[test]
    fn a_client_can_allow_less_than_the_rule_but_not_more() {
        let call =
            |timeout| head(b"POST", &[("content-type", "application/grpc+proto"), ("grpc-timeout", timeout)]);
        let table = [
            ("2S", None, Some(2000)),
            ("2S", Some(1000), Some(1000)),
            ("2S", Some(3000), Some(2000)),
            ("1H", None, Some(3_600_000)),
            ("1M", None, Some(60_000)),
            ("7m", None, Some(7)),
            ("1500u", None, Some(2)),
            ("1n", None, Some(1)),
            ("0S", None, None),
            ("123456789S", Some(5), Some(5)),
            ("12", None, None),
            ("S", None, None),
            ("-1S", None, None),
        ];
        for (timeout, rule, expected) in table {
            assert_eq!(effective(&call(timeout), rule), expected, "{timeout} {rule:?}");
        }
        assert_eq!(effective(&head(b"POST", &[("grpc-timeout", "1S")]), None), None);
        assert_eq!(
            effective(&head(b"POST", &[("content-type", "application/grpcx"), ("grpc-timeout", "1S")]), None),
            None
        );
        assert_eq!(effective(&head(b"GET", &[]), Some(3)), Some(3));
    }
}
