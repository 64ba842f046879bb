//! Who says *programmed* serves: what the data plane could not do is joined with what translation says.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen::view::View;
use limen_e2e::gateway::Gateway;
use limen_e2e::tls::{Authority, Pair, base64};

/// Three Gateways: one in TLS, one that shares the address of a third, which no machine has.
const GATEWAYS: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure}
spec:
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: MUTUAL, credentialName: edge}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: elsewhere}
spec:
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, bind: 192.0.2.1, hosts: ["a.example.com"]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shares}
spec:
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, bind: 192.0.2.1, hosts: ["b.example.com"]}]
"#;

fn secret(pair: &Pair, authority: &str) -> String {
    let (crt, key, ca) = (base64(&pair.certificate), base64(&pair.key), base64(authority));
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: edge, namespace: istio-system}}\n\
         data: {{tls.crt: {crt}, tls.key: {key}, ca.crt: {ca}}}\n"
    )
}

/// Whether a Gateway is programmed, and if not, why.
fn said(view: &View, name: &str) -> String {
    let verdicts = view.verdicts();
    let own = verdicts.iter().find(|verdict| *verdict.on.name == *name && verdict.condition == "Programmed");
    own.map(|own| format!("{} {}: {}", own.status, own.reason, own.message)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_programmed_when_all_its_servers_serve() {
    let authority = Authority::new();
    let (good, other) = (authority.issue(&["a.example.com"]), authority.issue(&["a.example.com"]));
    let ca = &authority.certificate();
    let unlike = Pair { certificate: good.certificate.clone(), key: other.key };
    let files = [("gateways.yaml", GATEWAYS), ("secret.yaml", &*secret(&unlike, "no certificate"))];
    let gateway = Gateway::start(&files, &[]).await;
    const TURNED_AWAY: &str = "false ServersNotServed: not served: spec.servers[1]; see the problems";
    let view = gateway.running.view();
    assert_eq!(said(&view, "secure"), TURNED_AWAY, "a key of another certificate");
    for name in ["elsewhere", "shares"] {
        assert_eq!(
            said(&view, name),
            "false PortNotBound: not served: spec.servers[0]; see the problems",
            "{name}"
        );
    }
    let problems = gateway.problems().join("\n");
    assert!(problems.contains("none of its certificates can be used"), "{problems}");

    // It is said for as long as it holds, not only where it is found.
    let mut generation = view.generation;
    gateway.write("more.yaml", "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: more}\nspec: {servers: [{port: {number: 80, name: x, protocol: HTTP}, hosts: [x.com]}]}\n");
    let view = gateway.until("another edit", |view| view.generation > generation).await;
    assert_eq!(said(&view, "secure"), TURNED_AWAY);

    generation = view.generation;
    gateway.write("secret.yaml", &secret(&good, "no certificate"));
    let view = gateway.until("the right key", |view| view.generation > generation).await;
    assert_eq!(said(&view, "secure"), TURNED_AWAY, "without authorities for clients");

    gateway.write("secret.yaml", &secret(&good, ca));
    let served = |view: &View| said(view, "secure") == "true Programmed: all its servers are served";
    gateway.until("what is complete", served).await;
}
