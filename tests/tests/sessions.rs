//! Clients that stay where they were.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::shop::connect;
use limen_e2e::{h1, within};

/// Two Services with these endpoints, which share the requests of a route evenly.
fn config(session: &str, a: &[&Origin], b: &[&Origin]) -> String {
    let mut text = format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {{name: limen}}, spec: {{controllerName: limen.dev/gateway-controller}}}}
---
{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: edge}}, spec: {{gatewayClassName: limen, listeners: [{{name: web, port: 80, protocol: HTTP}}]}}}}
---
{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r}}, spec: {{parentRefs: [{{name: edge}}], rules: [{{sessionPersistence: {session}, backendRefs: [{{name: a, port: 80}}, {{name: b, port: 80}}]}}]}}}}
"
    );
    for (name, origins) in [("a", a), ("b", b)] {
        text += &format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: 80}}]}}}}\n"
        );
        for origin in origins {
            let port = origin.address.port();
            text += &format!(
                "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}-{port}, labels: \
                 {{kubernetes.io/service-name: {name}}}}}, addressType: IPv4, ports: [{{port: {port}}}], endpoints: \
                 [{{addresses: [127.0.0.1]}}]}}\n"
            );
        }
    }
    text
}

async fn ask(gateway: &Gateway, field: Option<(&str, &str)>) -> Reply {
    let fields: Vec<_> = field.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut connection = connect(gateway).await;
    connection.send(&h1::request("GET", "/", "a.example.com", &fields, b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

/// What a client sends back of a `Set-Cookie`.
fn cookie(reply: &Reply) -> Option<String> {
    Some(reply.header("set-cookie")?.split(';').next().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_leads_to_the_same_endpoint_of_the_same_service_until_it_is_gone() {
    let mut origins = Vec::new();
    for name in ["a1", "a2", "a3", "b1", "b2", "b3"] {
        origins.push(Origin::start(name, Script::echo()).await);
    }
    let all: Vec<&Origin> = origins.iter().collect();
    let before = config("{sessionName: own}", &all[..3], &all[3..]);
    let gateway = Gateway::start(&[("config.yaml", &before)], &[]).await;
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        seen.insert(ask(&gateway, None).await.origin().unwrap());
    }
    assert!(seen.len() > 1, "without a session requests go anywhere: {seen:?}");
    let first = ask(&gateway, None).await;
    let given = first.header("set-cookie").unwrap();
    assert!(given.starts_with("own=") && given.contains("; Path=/; HttpOnly"), "{given}");
    assert!(!given.contains("Max-Age") && !given.contains("Secure"), "{given}");
    let (home, token) = (first.origin().unwrap(), cookie(&first).unwrap());
    for _ in 0..20 {
        let reply = ask(&gateway, Some(("cookie", &format!("x=y; {token}")))).await;
        assert_eq!((reply.origin(), reply.header("set-cookie")), (Some(home.clone()), None));
    }
    // Its endpoint goes: another one is chosen, which is noted instead.
    let left = |part: &[&'static str]| -> Vec<&Origin> {
        let keep = part.iter().filter(|name| **name != home);
        keep.map(|name| all[["a1", "a2", "a3", "b1", "b2", "b3"].iter().position(|one| one == name).unwrap()])
            .collect()
    };
    let after = config("{sessionName: own}", &left(&["a1", "a2", "a3"]), &left(&["b1", "b2", "b3"]));
    let generation = gateway.running.view().generation;
    gateway.write("config.yaml", &after);
    gateway.until("the endpoint to go", |view| view.generation > generation).await;
    let moved = ask(&gateway, Some(("cookie", &token))).await;
    assert_ne!(moved.origin().unwrap(), home);
    let token = cookie(&moved).unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&gateway, Some(("cookie", &token))).await.origin(), moved.origin());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_does_the_same_and_lies_lead_nowhere() {
    let (one, two) = (Origin::start("one", Script::echo()).await, Origin::start("two", Script::echo()).await);
    let stranger = Origin::start("stranger", Script::echo()).await;
    let text = config("{type: Header, absoluteTimeout: 1h}", &[&one], &[&two]);
    let gateway = Gateway::start(&[("config.yaml", &text)], &[]).await;
    let name = "limen-session-default-r-0";
    let first = ask(&gateway, None).await;
    let token = first.header(name).unwrap();
    for _ in 0..20 {
        let reply = ask(&gateway, Some((name, &token))).await;
        assert_eq!((reply.origin(), reply.header(name)), (first.origin(), None));
    }
    let lie = |text: String| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    for lie in [
        lie(format!("1 {}", first.header(name).unwrap())),
        lie(format!("1700000000 {}", stranger.address)),
        "?".to_owned(),
    ] {
        let reply = ask(&gateway, Some((name, &lie))).await;
        assert!(reply.header(name).is_some(), "{reply:?}");
    }
    assert_eq!(stranger.hits(), 0, "a client names no endpoint that is none of the route's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_cookie_says_how_long_it_lasts() {
    let (one, two) = (Origin::start("one", Script::echo()).await, Origin::start("two", Script::echo()).await);
    let session = "{absoluteTimeout: 90s, cookieConfig: {lifetimeType: Permanent}}";
    let gateway = Gateway::start(&[("config.yaml", &config(session, &[&one], &[&two]))], &[]).await;
    let given = ask(&gateway, None).await.header("set-cookie").unwrap();
    assert!(given.starts_with("limen-session-default-r-0=") && given.contains("; Max-Age=90; "), "{given}");
}

/// A policy that says the same of Services.
fn policy(targets: &[&str], session: &str) -> String {
    let targets = targets.iter().map(|name| format!("{{group: '', kind: Service, name: {name}}}"));
    let targets = targets.collect::<Vec<_>>().join(", ");
    format!(
        "---\n{{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackendTrafficPolicy, metadata: {{name: p}}, \
         spec: {{targetRefs: [{targets}], sessionPersistence: {session}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_for_services_keeps_clients_where_their_rule_says_nothing() {
    let mut origins = Vec::new();
    for name in ["a1", "a2", "b1", "b2"] {
        origins.push(Origin::start(name, Script::echo()).await);
    }
    let all: Vec<&Origin> = origins.iter().collect();
    let text = config("null", &all[..2], &all[2..]) + &policy(&["a", "b"], "{}");
    let gateway = Gateway::start(&[("config.yaml", &text)], &[]).await;
    let mut names = BTreeSet::new();
    for _ in 0..40 {
        let first = ask(&gateway, None).await;
        let (home, token) = (first.origin().unwrap(), cookie(&first).unwrap());
        let (name, _) = token.split_once('=').unwrap();
        assert_eq!(name, format!("limen-session-default-{}-80", &home[..1]));
        names.insert(name.to_owned());
        for _ in 0..5 {
            let reply = ask(&gateway, Some(("cookie", &token))).await;
            assert_eq!((reply.origin(), reply.header("set-cookie")), (Some(home.clone()), None));
        }
    }
    assert_eq!(names.len(), 2, "each Service has a note of its own");
    // What the rule says goes before it.
    let generation = gateway.running.view().generation;
    let text = config("{type: Header, sessionName: own}", &all[..2], &all[2..]) + &policy(&["a", "b"], "{}");
    gateway.write("config.yaml", &text);
    gateway.until("the rule", |view| view.generation > generation).await;
    let told = async {
        loop {
            let reply = ask(&gateway, None).await;
            if reply.header("own").is_some() {
                return reply;
            }
        }
    };
    let reply = within("the header", told).await;
    assert_eq!(reply.header("set-cookie"), None);
}
