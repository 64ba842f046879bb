// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_resources::{AnyObject, parse};

use super::*;

fn gateway(namespace: &str, name: &str) -> std::sync::Arc<Object<Gateway>> {
    let text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{gatewayClassName: limen-deployed, listeners: [{{name: a, port: 80, protocol: HTTP}}]}}\n"
    );
    match parse("test.yaml", &text, "default").objects.remove(0) {
        AnyObject::ApiGateway(gateway) => gateway,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_tell_namespaces_apart_and_leave_room_for_those_of_pods() {
    let (a, b) = (name(&gateway("a", "edge")), name(&gateway("b", "edge")));
    assert!(a.starts_with("edge-limen-deployed-") && b.starts_with("edge-limen-deployed-"));
    assert_ne!(a, b);
    let long = name(&gateway("a", "long.".repeat(50).trim_end_matches('.')));
    assert_eq!(long.len(), LONGEST);
    assert!(long.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{long}");
    assert!(name(&gateway("a", "7.example.com")).starts_with("g-7-example-com-limen-deployed"));
}
