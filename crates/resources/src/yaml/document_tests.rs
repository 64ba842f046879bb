//! A panic while one object is read harms that object only.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use super::*;

const TWO: &str = "
apiVersion: v1
kind: Service
metadata: {name: sound}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: poison}, spec: {ports: [{port: 80}]}}
- {apiVersion: v1, kind: Secret, metadata: {name: poison}}
- {apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: poison}}
- {apiVersion: v1, kind: Service, metadata: {name: last}, spec: {ports: [{port: 80}]}}
";

/// Reads as everybody does, but for objects of one name.
fn poisoned(reader: &mut Reader<'_>, node: &Node, key: &ObjectKey) -> Option<AnyObject> {
    let read = typed(reader, node, key);
    assert!(&*key.name != "poison", "it says hunter2");
    read
}

fn read(typed: Typed, text: &str) -> Parsed {
    let file: Arc<str> = "a.yaml".into();
    let mut parsed = Parsed::default();
    let mut reader = Reader::with(typed, (&file, "shop"), &mut parsed);
    tree::read(text, 1, |document| reader.document(&document)).unwrap();
    parsed
}

fn names(parsed: &Parsed) -> Vec<String> {
    parsed.objects.iter().map(|object| object.key().to_string()).collect()
}

#[test]
fn of_objects_that_cannot_be_read_only_those_are_missing_that_deny_nothing() {
    let parsed = read(poisoned, TWO);
    let present = ["Service shop/sound", "AuthorizationPolicy shop/poison", "Service shop/last"];
    assert_eq!(names(&parsed), present);
    assert!(!parsed.broken, "it is known which objects the text holds");
    let invalid: Vec<String> = parsed.invalid.iter().map(ToString::to_string).collect();
    assert_eq!(invalid, ["Service shop/poison", "Secret shop/poison"]);
    let policy = parsed.objects.iter().find_map(|object| match object {
        AnyObject::Policy(policy) => Some(&policy.spec),
        _ => None,
    });
    assert_eq!(policy.unwrap(), &istio::Policy::default(), "it selects all there is");
    let told: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
    let [service, secret, policy] = &told[..] else { panic!("{told:?}") };
    assert!(service.contains("error[LIM0012] Service shop/poison  a.yaml:10:3"), "{service}");
    assert!(service.contains("(it says hunter2), which is a fault of Limen"), "{service}");
    assert!(secret.contains("Secret shop/poison") && !secret.contains("hunter2"), "{secret}");
    assert!(policy.contains("AuthorizationPolicy shop/poison"), "{policy}");
}
