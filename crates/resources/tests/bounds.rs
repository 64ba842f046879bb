//! Numbers and sizes beyond which an object is refused or warned about: too large for a golden.

use limen_resources::parse;

/// The field and the message of the one problem that the specification has.
fn said(kind: &str, spec: &str) -> Option<String> {
    let text = format!(
        "{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: a}}, spec: {spec}}}\n"
    );
    let parsed = parse("a.yaml", &text, "default");
    assert!(parsed.problems.len() < 2, "{:?}", parsed.problems);
    let problem = parsed.problems.into_iter().next()?;
    Some(format!("{}[{}] {}: {}", problem.level, problem.code, problem.field, problem.message))
}

fn check(kind: &str, spec: &str, expected: &str) {
    let found = said(kind, spec);
    assert!(found.as_ref().is_some_and(|found| found.contains(expected)), "{expected}, found {found:?}");
}

fn list(length: usize, item: impl Fn(usize) -> String) -> String {
    (0..length).map(item).collect::<Vec<_>>().join(", ")
}

#[test]
fn fixed_answers_are_bounded() {
    let answer = |length: usize| {
        let body = "a".repeat(length);
        format!(
            "{{hosts: [a.com], gateways: [g], http: [{{directResponse: {{status: 200, body: {{string: {body}}}}}}}]}}"
        )
    };
    let field = "spec.http[0].directResponse.body";
    assert_eq!(said("VirtualService", &answer(100 << 10)), None);
    check("VirtualService", &answer((100 << 10) + 1), &format!("warning[IST0133] {field}"));
    check("VirtualService", &answer(1 << 20), &format!("warning[IST0133] {field}"));
    check(
        "VirtualService",
        &answer((1 << 20) + 1),
        &format!("error[IST0106] {field}: expected at most 1048576"),
    );
}

#[test]
fn expressions_are_bounded() {
    let route = |length: usize| {
        let regex = "a".repeat(length);
        format!(
            "{{hosts: [a.com], gateways: [g], http: [{{match: [{{uri: {{regex: {regex}}}}}], directResponse: {{status: 200}}}}]}}"
        )
    };
    assert_eq!(said("VirtualService", &route(1024)), None);
    check(
        "VirtualService",
        &route(1025),
        "spec.http[0].match[0].uri.regex: expected a regular expression of at most 1024",
    );
}

#[test]
fn lists_are_bounded() {
    let entry = |hosts: usize, addresses: usize, endpoints: usize| {
        format!(
            "{{hosts: [{}], addresses: [{}], endpoints: [{}], resolution: STATIC}}",
            list(hosts, |n| format!("h{n}.com")),
            list(addresses, |n| format!("10.0.{}.{}", n / 256, n % 256)),
            list(endpoints, |n| format!("{{address: 10.1.{}.{}}}", n / 256, n % 256)),
        )
    };
    assert_eq!(said("ServiceEntry", &entry(256, 256, 4096)), None);
    check("ServiceEntry", &entry(257, 0, 0), "spec.hosts: expected at most 256");
    check("ServiceEntry", &entry(0, 0, 0), "spec.hosts: expected at least one");
    check("ServiceEntry", &entry(1, 257, 0), "spec.addresses: expected at most 256");
    check("ServiceEntry", &entry(1, 0, 4097), "spec.endpoints: expected at most 4096");
    let ports = |length: usize| {
        let item = |n: usize| format!("{{port: {{number: {}}}, tls: {{}}}}", n + 1);
        format!("{{host: a, trafficPolicy: {{portLevelSettings: [{}]}}}}", list(length, item))
    };
    assert_eq!(said("DestinationRule", &ports(4096)), None);
    check("DestinationRule", &ports(4097), "spec.trafficPolicy.portLevelSettings: expected at most 4096");
}
