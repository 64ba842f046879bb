//! What the gateway is configured with, as files.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::origin::Origin;

/// Serves both hosts, in clear text and in TLS.
pub(crate) const EDGE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: edge}}
";

/// The routes of the host that always leads to the pool. Requests to `/hashed` get their endpoint by a header.
pub(crate) const POOL: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pool}
spec:
  hosts: [pool.example.com]
  gateways: [istio-system/edge]
  http:
  - {match: [{uri: {prefix: /load.}}], route: [{destination: {host: pool, port: {number: 81}}}]}
  - {match: [{uri: {prefix: /hashed}}], route: [{destination: {host: pool, subset: hashed, port: {number: 80}}}]}
  - {route: [{destination: {host: pool, port: {number: 80}}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: pool}
spec:
  host: pool
  subsets:
  - name: hashed
    trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}
";

/// A Service with a port for HTTP/1.1 and one for gRPC.
pub(crate) fn service(name: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: http, port: 80}}, {{name: grpc, port: 81}}]}}
"
    )
}

/// An endpoint of a Service; `there`: it is one now.
pub(crate) fn slice(service: &str, name: &str, origin: &Origin, there: bool) -> String {
    let endpoints = if there { "{addresses: [127.0.0.1], conditions: {ready: true}}" } else { "" };
    format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}-{name}, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
ports: [{{name: http, port: {}}}, {{name: grpc, port: {}}}]
endpoints: [{endpoints}]
",
        origin.h1.port(),
        origin.h2.port()
    )
}

/// The routes of the host that leads to one service and then to the other: its requests, and its calls. `more`: a field
/// that no VirtualService has.
pub(crate) fn flip(http: &str, grpc: &str, more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: flip}}
spec:
  hosts: [flip.example.com]
  gateways: [istio-system/edge]
{more}  http:
  - {{match: [{{uri: {{prefix: /load.}}}}], route: [{{destination: {{host: {grpc}, port: {{number: 81}}}}}}]}}
  - {{route: [{{destination: {{host: {http}, port: {{number: 80}}}}}}]}}
"
    )
}

/// The certificate that is served.
pub(crate) fn secret(certificate: &str, key: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: edge, namespace: istio-system}}, data: {{tls.crt: {}, tls.key: {}}}}}\n",
        BASE64_STANDARD.encode(certificate),
        BASE64_STANDARD.encode(key)
    )
}

/// Whether that one is no object at all.
pub(crate) fn is_half(nth: usize) -> bool {
    nth % 4 == 3
}

/// An object that is wrong, in its nth way, and whose problem names `token`.
pub(crate) fn poison(nth: usize, token: &str) -> String {
    let mut text = format!(
        "apiVersion: networking.istio.io/v1
kind: {}
metadata: {{name: {token}}}
spec:
",
        if nth % 4 == 1 { "DestinationRule" } else { "VirtualService" }
    );
    let rest = match nth % 4 {
        // A field that there is not.
        0 => "  hosts: [poison.example.com]\n  gatways: [istio-system/edge]\n",
        // A number out of its range.
        1 => "  host: poison\n  trafficPolicy: {connectionPool: {tcp: {maxConnections: -7}}}\n",
        // A pattern without an end.
        2 => {
            "  hosts: [poison.example.com]\n  gateways: [istio-system/edge]\n  http:\n  - {match: [{uri: {regex: '(a'}}], route: [{destination: {host: a}}]}\n"
        }
        // Half of a file.
        _ => "  hosts: [poison.example.com\n  gateways: {\n",
    };
    let _ = write!(text, "{rest}");
    text
}
