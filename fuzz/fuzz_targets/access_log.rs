//! Formats of the access log, and lines of it: up to the first zero byte a format, then text that a client chooses. A
//! value can neither end a line nor leave its place in an object.
#![no_main]

use limen_proxy::observe::{AccessLog, AccessLogConfig, JsonField, JsonTemplate, Record, TimeCache};
use limen_wire::head::Fields;

fn line(config: &AccessLogConfig, value: &[u8]) -> Option<Vec<u8>> {
    let log = match AccessLog::compile(config, "gateway") {
        Ok(log) => log,
        Err(error) => {
            let AccessLogConfig::Text { format, .. } = config else { return None };
            let rest = format.get(error.position..).expect("a place in the format");
            assert!(rest.starts_with(&error.operator) && rest.starts_with('%'), "{error}");
            return None;
        }
    };
    let mut fields = Fields::default();
    for name in [&b"x"[..], b"user-agent", b"x-forwarded-for", b"x-request-id", b"x-envoy-original-path"] {
        fields.add(name, value);
    }
    let address = "192.0.2.1:80".parse().expect("an address");
    let mut record = Record::new(1_726_403_756_471, address, address);
    (record.method, record.path, record.authority) = (value, value, value);
    (record.request_fields, record.response_fields, record.response_trailers) =
        (Some(&fields), Some(&fields), Some(&fields));
    (record.local_reply_body, record.code) = (value, 200);
    let mut out = Vec::new();
    log.format(&record, &mut TimeCache::default(), &mut out);
    Some(out)
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let Ok(format) = std::str::from_utf8(&input[..end]) else { return };
    let value = input.get(end + 1..).unwrap_or_default();
    // The order of attributes that expressions print is not what is looked at.
    if format.contains("%CEL") || format.contains("%ENVIRONMENT") {
        return;
    }
    let breaks = |line: &[u8]| line.iter().filter(|byte| **byte == b'\n').count();
    for omit_empty in [false, true] {
        let text = AccessLogConfig::Text { format: format.to_owned(), omit_empty };
        let (harmless, hostile) = (line(&text, b"a"), line(&text, value));
        assert_eq!(harmless.as_deref().map(breaks), hostile.as_deref().map(breaks), "a value ends no line");
        let template = || JsonTemplate::Text(format.to_owned());
        let fields = vec![
            JsonField { key: "a\"\n".to_owned(), value: template() },
            JsonField { key: "b".to_owned(), value: JsonTemplate::List(vec![template(), template()]) },
        ];
        let Some(line) = line(&AccessLogConfig::Json { fields, omit_empty }, value) else {
            assert!(hostile.is_none(), "good as text, and not within JSON");
            continue;
        };
        assert_eq!(breaks(&line), 1, "one line");
        let object: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        let members: Vec<_> = object.as_object().expect("an object").keys().collect();
        assert!(members.iter().all(|name| *name == "a\"\n" || *name == "b"), "no member is forged");
    }
});
