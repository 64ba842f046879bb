//! What must hold of any text whatever, and of any object that an API server tells; the tests and the fuzz targets share
//! it.

use std::sync::Arc;

use limen_resources::core::{PemError, Secret, check_certificates, check_pem, parse_pem_pair};
use limen_resources::{
    AnyObject, Kind, Level, ObjectKey, Parsed, api_kinds, parse, parse_object, parse_value,
};
use serde_json::{Value, json};

/// What a text or an object says, comparable: objects with all that they say, and those that are wrong.
fn said(parsed: &Parsed) -> (Vec<(ObjectKey, Value)>, Vec<ObjectKey>) {
    let shown = |object: &AnyObject| serde_json::to_value(object).expect("an object as JSON");
    let objects = parsed.objects.iter().map(|object| (object.key().clone(), shown(object))).collect();
    (objects, parsed.invalid.clone())
}

/// All that must hold of the text of a file.
pub(crate) fn check_text(text: &str) {
    let parsed = parse("m.yaml", text, "default");
    // As YAML counts them.
    let lines = text.replace("\r\n", "\n").split(['\n', '\r']).count();
    let lines = u32::try_from(lines).expect("a small text");
    for problem in &parsed.problems {
        let at = problem.at.as_ref().expect("a place");
        assert!((1..=lines + 1).contains(&at.line), "outside of the text: {problem}");
        assert!(!problem.message.is_empty());
    }
    let first = parsed.problems.windows(2).all(|two| {
        let place = |at: usize| two[at].at.as_ref().map(|at| (at.line, at.column));
        place(0) <= place(1)
    });
    assert!(first, "problems stand in the order of the text");
    assert!(!parsed.broken || !parsed.problems.is_empty(), "nothing is broken without a reason");
    for key in &parsed.invalid {
        assert!(parsed.objects.iter().all(|object| object.key() != key), "both right and wrong: {key}");
        assert!(!key.kind.can_deny(), "what can deny closes what it is about: {key}");
    }
    let again = parse("m.yaml", text, "default");
    assert_eq!((said(&again), &again.problems), (said(&parsed), &parsed.problems), "read again");
}

/// All that must hold of a text between two others in its file.
pub(crate) fn check_neighbours(text: &str) {
    let good = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    let parsed =
        parse("m.yaml", &format!("{}---\n{text}\n---\n{}", good("before"), good("after")), "default");
    for name in ["before", "after"] {
        let key = ObjectKey::new(Kind::Namespace, "", name);
        assert!(parsed.objects.iter().any(|object| *object.key() == key), "{name}: {:?}", parsed.problems);
    }
}

/// All that must hold of a value, whichever kind of object it is said to be.
pub(crate) fn check_object(text: &str, choice: u8) {
    let Ok(value) = serde_json::from_str::<Value>(text).or_else(|_| parse_value(text).map_err(drop)) else {
        return;
    };
    let source: Arc<str> = "the cluster".into();
    let kinds: Vec<Kind> = api_kinds().map(|known| known.kind).collect();
    let kind = kinds[usize::from(choice) % kinds.len()];
    check_told(&parse_object(&source, kind, &value), kind);
    // The other way to the same object is a text that says the same.
    let Some(known) = api_kinds().find(|known| is_of(&value, known.name, known.group, known.versions)) else {
        return;
    };
    if known.kind.is_kept() || value["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return;
    }
    let told = parse_object(&source, known.kind, &value);
    check_told(&told, known.kind);
    let written = parse("m.json", &without_managed(&value).to_string(), "");
    assert!(!written.broken || !written.problems.is_empty());
    if written.broken || written.problems.iter().any(|problem| problem.code == "LIM0002") {
        return;
    }
    assert_eq!(said(&told), said(&written), "both ways to the object say the same: {value}");
}

fn is_of(value: &Value, name: &str, group: &str, versions: &[&str]) -> bool {
    let of = |version: &&str| {
        let group = if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
        value["apiVersion"] == group
    };
    value["kind"] == name && versions.iter().any(of) && value.get("items").is_none()
}

fn without_managed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_managed).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| *key != "managedFields");
            kept.map(|(key, value)| (key.clone(), without_managed(value))).collect()
        }
        other => other.clone(),
    }
}

/// An object is told, is known to be wrong, or it is said why there is neither.
fn check_told(parsed: &Parsed, kind: Kind) {
    let all = parsed.objects.iter().map(AnyObject::key).chain(&parsed.invalid);
    let strange = |key: &&ObjectKey| key.kind != kind && key.kind != Kind::MeshConfig;
    assert_eq!(all.clone().find(strange), None);
    let wrong = parsed.problems.iter().any(|problem| problem.level == Level::Error);
    assert!(all.count() > 0 || wrong, "gone without a word: {:?}", parsed.problems);
    assert!(parsed.invalid.is_empty() || wrong, "wrong without a word: {parsed:?}");
    let placed = parsed.problems.iter().find(|problem| problem.at.is_some());
    assert!(kind == Kind::ConfigMap || placed.is_none(), "a place in no text: {placed:?}");
}

/// All that must hold of bytes that should be PEM, and of a Secret that holds them. `encode` is base64.
pub(crate) fn check_keys(input: &[u8], encode: impl Fn(&[u8]) -> String) {
    let certificates = check_certificates(input);
    match parse_pem_pair(input, input) {
        Ok(pair) => {
            assert_eq!((&certificates, check_pem(input)), (&Ok(()), Ok(())));
            let mut again = String::new();
            for (label, der) in pair.chain.iter().map(|der| ("CERTIFICATE", &der[..])) {
                again.push_str(&format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", encode(der)));
            }
            // What comes after the key is not looked at when the key is read.
            again.push_str(&format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                encode(pair.key.secret_der())
            ));
            let read = parse_pem_pair(again.as_bytes(), again.as_bytes()).expect("what was written");
            assert_eq!((read.chain, read.key.secret_der()), (pair.chain, pair.key.secret_der()));
        }
        Err((_, error)) => check_silent(&error, input),
    }
    certificates
        .err()
        .into_iter()
        .chain(check_pem(input).err())
        .for_each(|error| check_silent(&error, input));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"},
        "data": {"tls.crt": encode(input), "tls.key": encode(input), "ca.crt": encode(input)},
    });
    let parsed = parse_object(&"the cluster".into(), Kind::Secret, &secret);
    parsed.problems.iter().for_each(|problem| check_quiet(&problem.to_string(), input));
    check_told(&parsed, Kind::Secret);
    if let [AnyObject::Secret(object)] = &parsed.objects[..] {
        check_secret(&object.spec, input);
        check_quiet(&format!("{object:?}{}", serde_json::to_string(object).expect("JSON")), input);
    }
    // The same bytes where base64 or text should be.
    if let Ok(text) = std::str::from_utf8(input) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
            "data": {"a": text}, "stringData": {"b": text},
        });
        let parsed = parse_object(&"the cluster".into(), Kind::Secret, &secret);
        for object in &parsed.objects {
            let AnyObject::Secret(object) = object else { panic!("another kind") };
            assert_eq!(object.spec.data["b"].expose(), input);
            let dense: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
            let again = encode(object.spec.data["a"].expose());
            assert_eq!(again.trim_end_matches('='), dense.trim_end_matches('='), "one spelling for each");
        }
        parsed.problems.iter().for_each(|problem| check_quiet(&problem.to_string(), input));
    }
}

fn check_secret(secret: &Secret, input: &[u8]) {
    match secret.server_pair() {
        Some(pair) => assert_eq!([pair.certificate.expose(), pair.private_key.expose()], [input, input]),
        None => assert!(input.is_empty()),
    }
    assert_eq!(secret.authorities().map(|both| both.certificates.expose()).unwrap_or_default(), input);
}

fn check_silent(error: &PemError, input: &[u8]) {
    check_quiet(&error.to_string(), input);
}

/// Nothing of what may be a key is shown: no line of it that could be told from other text.
fn check_quiet(shown: &str, input: &[u8]) {
    for line in input.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
        let line = line.trim();
        let like_a_key = line.len() >= 24
            && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        assert!(!like_a_key || !shown.contains(line), "{shown}");
    }
}
