//! Tenants apart: who came first has a host, and a Secret serves in its own namespace, whatever another tenant writes.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::gateway::Gateway;
use limen_e2e::tls::{Authority, base64, peer_certificate};
use limen_e2e::{h1, within};
use limen_resources::{ObjectKey, Verdict};
use tokio::net::TcpStream;

/// What the platform gives both: a class, a Gateway of the Gateway API that all may use, and one of Istio's.
const PLATFORM: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: limen}
spec: {controllerName: limen.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra, creationTimestamp: '2025-01-01T00:00:00Z'}
spec:
  gatewayClassName: limen
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
";

/// Tenant A's host, which answers with a redirect to `a.example.net`, by each API that it may have it from.
const OWNERS: [(&str, &str); 3] = [
    (
        "HTTPRoute",
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: a, creationTimestamp: '2026-01-01T00:00:00Z'}
spec:
  parentRefs: [{name: edge, namespace: infra}]
  hostnames: [shop.example.com]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: a.example.net}}]}]
",
    ),
    (
        "VirtualService",
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: a, creationTimestamp: '2026-01-01T00:00:00Z'}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: a, creationTimestamp: '2026-01-01T00:00:00Z'}
spec: {hosts: [shop.example.com], gateways: [edge], http: [{redirect: {authority: a.example.net}}]}
",
    ),
    (
        "Ingress",
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: a, creationTimestamp: '2026-01-01T00:00:00Z'}
spec: {ingressClassName: limen, rules: [{host: shop.example.com}], defaultBackend: {service: {name: none, port: {number: 80}}}}
",
    ),
];

/// What tenant B writes to have the host, later, and of which object it is to be said that it does not have it.
const TAKERS: [(&str, &str); 4] = [
    (
        "VirtualService b/shop",
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: b, creationTimestamp: '2026-02-01T00:00:00Z'}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: b, creationTimestamp: '2026-02-01T00:00:00Z'}
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http: [{match: [{uri: {prefix: /admin}}], redirect: {authority: b.example.net}}, {redirect: {authority: b.example.net}}]
",
    ),
    (
        "Ingress b/shop",
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: b, creationTimestamp: '2026-02-01T00:00:00Z'}
spec:
  ingressClassName: limen
  rules: [{host: shop.example.com, http: {paths: [{path: /admin, pathType: Prefix, backend: {service: {name: b, port: {number: 80}}}}]}}]
",
    ),
    (
        "HTTPRoute b/shop",
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: own, namespace: b, creationTimestamp: '2026-02-01T00:00:00Z'}
spec: {gatewayClassName: limen, listeners: [{name: http, port: 80, protocol: HTTP, hostname: '*.example.com'}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: b, creationTimestamp: '2026-02-01T00:00:00Z'}
spec:
  parentRefs: [{name: own}]
  hostnames: [shop.example.com]
  rules:
  - matches: [{path: {type: Exact, value: /admin}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: b.example.net}}]
",
    ),
    (
        "ListenerSet b/more",
        "
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: b, creationTimestamp: '2026-02-01T00:00:00Z'}
spec:
  parentRef: {name: edge, namespace: infra}
  listeners: [{name: http, port: 80, protocol: HTTP, hostname: shop.example.com}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: b, creationTimestamp: '2026-02-01T00:00:00Z'}
spec:
  parentRefs: [{kind: ListenerSet, name: more}]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: b.example.net}}]}]
",
    ),
];

/// Status and `location` of the answer for a path of the host.
async fn answer(gateway: &Gateway, path: &str) -> String {
    let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    connection.send(&h1::request("GET", path, "shop.example.com", &[], b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    let location = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"));
    format!("{} {}", reply.status, location.map_or("", |(_, value)| value))
}

/// Whether an object is told that it does not have all that it asks for.
fn is_refused(gateway: &Gateway, object: &str) -> bool {
    let named = |key: &ObjectKey| key.to_string() == object;
    let no = |verdict: &Verdict| !verdict.status || verdict.condition == "HostConflict";
    gateway.running.view().verdicts().iter().any(|verdict| named(&verdict.on) && no(verdict))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_whose_it_was_first_whatever_api_the_other_comes_by() {
    for (owner, owned) in OWNERS {
        let alone = Gateway::start(&[("platform.yaml", PLATFORM), ("a.yaml", owned)], &[]).await;
        let mut before = Vec::new();
        for path in ["/", "/admin"] {
            before.push(answer(&alone, path).await);
        }
        assert!(before.iter().all(|answer| !answer.starts_with("404")), "{owner}: {before:?}");
        alone.stop().await;
        for (taker, taken) in TAKERS {
            let files = [("platform.yaml", PLATFORM), ("a.yaml", owned), ("b.yaml", taken)];
            let gateway = Gateway::start(&files, &[]).await;
            for (path, expected) in ["/", "/admin"].iter().zip(&before) {
                assert_eq!(answer(&gateway, path).await, *expected, "{taker} beside {owner}, {path}");
            }
            assert!(is_refused(&gateway, taker), "{taker} beside {owner} is told nothing");
            gateway.stop().await;
        }
    }
}

/// A Secret of tenant A, and what tenant B writes to serve with it.
fn borrowers(secret: &str) -> [(&'static str, String); 3] {
    let b = |text: &str| format!("{text}---\n{secret}");
    [
        (
            "Gateway.gateway.networking.k8s.io b/own",
            b("
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: own, namespace: b}
spec:
  gatewayClassName: limen
  listeners:
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert, namespace: a}]}}
"),
        ),
        (
            "Ingress b/own",
            b("
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: own, namespace: b}
spec:
  ingressClassName: limen
  tls: [{hosts: [shop.example.com], secretName: cert}]
  rules: [{host: shop.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: b, port: {number: 80}}}}]}}]
"),
        ),
        (
            "Gateway b/own",
            b("
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: own, namespace: b}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: SIMPLE, credentialName: a/cert}}]
"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_serves_nobody_of_another_namespace() {
    let authority = Authority::new();
    let pair = authority.issue(&["shop.example.com"]);
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {{name: cert, namespace: a}}, \
         data: {{tls.crt: {}, tls.key: {}}}}}\n",
        base64(&pair.certificate),
        base64(&pair.key)
    );
    for (borrower, text) in borrowers(&secret) {
        let gateway = Gateway::start(&[("platform.yaml", PLATFORM), ("b.yaml", &text)], &[]).await;
        assert!(is_refused(&gateway, borrower), "{borrower} is told nothing");
        if let Some(at) = gateway.running.address_of(443) {
            let shaken = authority.connect(at, "shop.example.com", "http/1.1").await;
            let shown = shaken.map(|stream| peer_certificate(&stream)).ok();
            assert_ne!(shown, Some(pair.der()), "{borrower}");
        }
        gateway.stop().await;
    }
    // That it would serve where it is allowed to.
    let grant = "---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: b, namespace: a}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: b}]
  to: [{group: '', kind: Secret, name: cert}]
";
    let text = format!("{}{grant}", borrowers(&secret)[0].1);
    let gateway = Gateway::start(&[("platform.yaml", PLATFORM), ("b.yaml", &text)], &[]).await;
    let stream = authority.connect(gateway.address(443), "shop.example.com", "http/1.1").await.unwrap();
    assert_eq!(peer_certificate(&stream), pair.der());
}
