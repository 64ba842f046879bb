use limen_resources::{AnyObject, parse};

use super::*;

fn object(text: &str) -> Arc<Object<VirtualService>> {
    match parse("a.yaml", text, "default").objects.pop() {
        Some(AnyObject::VirtualService(object)) => object,
        other => panic!("{other:?}"),
    }
}

/// Two routes of a thousand match blocks each delegate to sixty: there is room for the first, and what is written beside them
/// stays.
#[test]
fn what_delegation_makes_of_one_virtual_service_is_bounded() {
    let blocks: Vec<String> = (0..1000).map(|n| format!("{{uri: {{prefix: /r{n}}}}}")).collect();
    let delegating = format!("{{match: [{}], delegate: {{name: part}}}}", blocks.join(", "));
    let root = object(&format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: root}}, spec: {{hosts: [a.com], \
         gateways: [web], http: [{delegating}, {delegating}, {{directResponse: {{status: 200}}}}]}}}}"
    ));
    let leaves = vec!["{directResponse: {status: 201}}"; 60].join(", ");
    let part = object(&format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: part}}, spec: {{http: [{leaves}]}}}}"
    ));
    let (delegates, mut problems) = ([Some(Arc::clone(&part)), Some(part)], Vec::new());
    let routes = resolve(&root, &delegates, &Settings::default(), &mut problems);
    assert_eq!(routes.len(), 61);
    assert_eq!(routes.last().map(|route| &*route.field), Some("spec.http[2]"));
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(&*problem.field, "spec.http[1].delegate");
    assert!(problem.message.contains("at most 100000 pairs"), "{problem}");
}
