//! Who says *programmed* serves: what the data plane could not do is joined with what translation says.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use limen::view::View;
use limen_e2e::gateway::Gateway;
use limen_e2e::tls::{Authority, Pair, base64};
use limen_resources::{GatewayAddress, Kind, Part};

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

/// `name status reason` of what is said of each listener, and of the whole.
fn of_listeners(view: &View) -> Vec<String> {
    let verdicts = view.verdicts();
    let own = verdicts.iter().filter(|one| one.on.kind == Kind::ApiGateway && one.condition == "Programmed");
    own.map(|one| {
        let name = match &one.part {
            Some(Part::Listener(listener)) => &listener.name,
            _ => "all",
        };
        format!("{name} {} {}", one.status, one.reason)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_port_is_taken_does_not_make_the_others_unserved() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port();
    let api = |more: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: limen}}\n\
             spec: {{controllerName: limen.dev/gateway-controller}}\n---\n\
             apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\n\
             spec:\n  gatewayClassName: limen\n  listeners:\n  - {{name: taken, port: {taken}, protocol: HTTP}}\n{more}"
        )
    };
    let gateway =
        Gateway::start(&[("api.yaml", &api("  - {name: free, port: 80, protocol: HTTP}\n"))], &[]).await;
    let expected = ["all true Programmed", "taken false PortNotBound", "free true Programmed"];
    assert_eq!(of_listeners(&gateway.running.view()), expected);
    gateway.write("api.yaml", &api(""));
    let view = gateway.until("one listener", |view| of_listeners(view).len() == 2).await;
    assert_eq!(of_listeners(&view), ["all false PortNotBound", "taken false PortNotBound"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_addresses_of_a_gateway_those_are_said_that_can_be_bound() {
    let text = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: limen}
spec: {controllerName: limen.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: limen
  addresses: [{value: 127.0.0.1}, {value: 192.0.2.1}]
  listeners: [{name: http, port: 80, protocol: HTTP}]
";
    let gateway = Gateway::start(&[("api.yaml", text)], &[]).await;
    let view = gateway.running.view();
    let verdicts = view.verdicts();
    let whole = verdicts.iter().find(|one| one.condition == "Programmed" && one.part.is_none()).unwrap();
    assert_eq!((whole.status, whole.reason), (false, "AddressNotUsable"));
    assert_eq!(whole.facts().addresses, [GatewayAddress::ip("127.0.0.1".to_owned())]);
}
