//! The memoised translator: equal to a fresh one after any events, and sharing what did not change.

use std::sync::Arc;

use limen_ir::{ClusterKey, Ir};
use limen_resources::core::SecretBytes;
use limen_resources::{AnyObject, Event, Level, Snapshot, Store, parse};
use limen_translate::{Settings, Translation, Translator, translate};
use proptest::prelude::*;

/// Objects of a small world; entries of one name are versions of one object.
const WORLD: &[&str] = &[
    "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: web}, spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}",
    "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: web}, spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['a.com', 'team/b.com'], tls: {httpsRedirect: true}}, {port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*.com'], tls: {mode: SIMPLE, credentialName: cert}}]}}",
    "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: more}, spec: {servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['a.com'], tls: {mode: SIMPLE, serverCertificate: /a.crt, privateKey: /a.key}}, {port: {number: 80, name: http, protocol: HTTP}, hosts: ['c.com']}]}}",
    "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: more}, spec: {servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['a.com'], tls: {mode: MUTUAL, credentialName: cert}}]}}",
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a.com], gateways: [web, more], http: [{match: [{uri: {prefix: /x}}, {port: 443}], route: [{destination: {host: web, subset: v1}, weight: 9}, {destination: {host: web, subset: v2}, weight: 1}]}, {route: [{destination: {host: web}}]}]}}",
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a.com, '*.b.com'], gateways: [web], http: [{match: [{uri: {prefix: /d}}], delegate: {name: part, namespace: team}}, {route: [{destination: {host: ext.org}}]}]}}",
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: part, namespace: team}, spec: {http: [{match: [{uri: {prefix: /d/e}}], route: [{destination: {host: web}}]}]}}",
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: part, namespace: team}, spec: {http: [{redirect: {uri: /gone}}]}}",
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: b, namespace: team, creationTimestamp: '2026-01-01T00:00:00Z'}, spec: {hosts: [a.com, b.com], gateways: [default/web], http: [{match: [{uri: {exact: /b}}], route: [{destination: {host: web.default.svc.cluster.local, port: {number: 81}}}]}]}}",
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: b, namespace: team}, spec: {hosts: [c.com], gateways: [default/more, default/none], exportTo: [istio-system], http: [{directResponse: {status: 200}}]}}",
    "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: web}, spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}}",
    "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: web}, spec: {host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}, tls: {mode: SIMPLE}}, subsets: [{name: v1, labels: {version: v2}}]}}",
    "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: all, namespace: istio-system}, spec: {host: '*.local', trafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}}}}",
    "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: ext}, spec: {hosts: [ext.org], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 192.0.2.1}]}}",
    "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: ext}, spec: {hosts: [ext.org], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, workloadSelector: {labels: {app: web}}}}",
    DNS_ENTRY,
    "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: ext}, spec: {hosts: [ext.org], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS_ROUND_ROBIN, endpoints: [{address: other.org}]}}",
    "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: ext2}, spec: {hosts: [ext.org, web.default.svc.cluster.local], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 192.0.2.2}]}}",
    "{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: vm}, spec: {address: 192.0.2.5, labels: {app: web, version: v2}}}",
    "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, name: http}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, name: http}, {port: 81, name: other, targetPort: 8081}, {port: 80, name: udp, protocol: UDP}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: team}, spec: {type: ExternalName, externalName: web.default.svc.cluster.local}}",
    "{apiVersion: v1, kind: Pod, metadata: {name: p1, labels: {app: web, version: v1}}, status: {podIP: 10.0.0.1}}",
    "{apiVersion: v1, kind: Pod, metadata: {name: p1, labels: {app: web, version: v2}}, status: {podIP: 10.0.0.1}}",
    "{apiVersion: v1, kind: Pod, metadata: {name: p2, labels: {app: web, version: v2}}, status: {podIP: 10.0.0.2, phase: Pending}}",
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{name: http, port: 80}], endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p1}}, {addresses: [10.0.0.9], conditions: {ready: false}}]}",
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{name: http, port: 80}, {name: other, port: 8081}], endpoints: [{addresses: [10.0.0.2], targetRef: {kind: Pod, name: p2}}]}",
    "{apiVersion: v1, kind: Secret, metadata: {name: cert}, data: {password: eA==}}",
    "{apiVersion: v1, kind: Secret, metadata: {name: cert, namespace: istio-system}, stringData: {tls.crt: \"-----BEGIN CERTIFICATE-----\\neA==\\n-----END CERTIFICATE-----\", tls.key: \"-----BEGIN PRIVATE KEY-----\\neA==\\n-----END PRIVATE KEY-----\"}}",
    "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: c, annotations: {ingressclass.kubernetes.io/is-default-class: 'true'}}, spec: {controller: limen.dev/ingress-controller}}",
    "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: c}, spec: {controller: istio.io/ingress-controller}}",
    "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {ingressClassName: c, tls: [{hosts: [a.com], secretName: cert}], rules: [{host: a.com, http: {paths: [{path: /i, pathType: Prefix, backend: {service: {name: web, port: {name: other}}}}]}}]}}",
    "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}, rules: [{host: '*.com'}]}}",
    "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: j, namespace: team, creationTimestamp: '2025-01-01T00:00:00Z'}, spec: {ingressClassName: limen, rules: [{host: b.com, http: {paths: [{path: /, pathType: Exact, backend: {service: {name: web, port: {number: 80}}}}]}}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: limen}, spec: {controllerName: limen.dev/gateway-controller}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g}, spec: {gatewayClassName: limen, listeners: [{name: t, port: 9000, protocol: TCP}, {name: u, port: 9000, protocol: UDP}, {name: s, port: 443, protocol: TLS, tls: {mode: Passthrough}}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g}, spec: {gatewayClassName: limen, listeners: [{name: s, port: 443, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: cert}]}}, {name: h, port: 80, protocol: HTTP}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: TCPRoute, metadata: {name: t}, spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: web, port: 81}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: TCPRoute, metadata: {name: t}, spec: {parentRefs: [{name: g, port: 9000}], rules: [{backendRefs: [{name: web, namespace: team, port: 80, weight: 2}, {name: none, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: UDPRoute, metadata: {name: u}, spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: web, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: TLSRoute, metadata: {name: s}, spec: {parentRefs: [{name: g}], hostnames: [a.com, '*.b.com'], rules: [{backendRefs: [{name: web, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: TLSRoute, metadata: {name: s2}, spec: {parentRefs: [{name: g}], hostnames: [a.com, c.com], rules: [{backendRefs: [{name: web, port: 81}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: r, namespace: team}, spec: {from: [{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: default}], to: [{group: '', kind: Service}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g, generation: 1}, spec: {gatewayClassName: limen, listeners: [{name: http, port: 80, protocol: HTTP}], allowedListeners: {namespaces: {from: All}}}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g, generation: 2}, spec: {gatewayClassName: limen, listeners: [{name: http, port: 80, protocol: HTTP, hostname: a.com}, {name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert, namespace: istio-system}]}}], tls: {backend: {clientCertificateRef: {name: cert}}}}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {name: l, namespace: team}, spec: {parentRef: {name: g, namespace: default}, listeners: [{name: more, port: 80, protocol: HTTP, hostname: b.com}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r}, spec: {parentRefs: [{name: g}], hostnames: [a.com], rules: [{backendRefs: [{name: web, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, creationTimestamp: '2026-01-01T00:00:00Z'}, spec: {parentRefs: [{name: g}, {kind: ListenerSet, name: l, namespace: team}], rules: [{matches: [{path: {type: RegularExpression, value: '('}}], backendRefs: [{name: web, namespace: team, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: c, namespace: team}, spec: {parentRefs: [{kind: ListenerSet, name: l}], rules: [{backendRefs: [{name: web, namespace: default, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: all}, spec: {from: [{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: team}], to: [{group: '', kind: Service}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, metadata: {name: t}, spec: {targetRefs: [{group: '', kind: Service, name: web}], validation: {hostname: web.example.com, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: ca}, data: {ca.crt: none}}",
    "{apiVersion: v1, kind: Service, metadata: {name: gateway, namespace: istio-system}, spec: {clusterIP: None, selector: {istio: ingressgateway}, ports: [{port: 80}]}}",
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: g, namespace: istio-system, labels: {kubernetes.io/service-name: gateway}}, addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.0.0.1], nodeName: n}]}",
    "{apiVersion: v1, kind: Node, metadata: {name: n}, status: {addresses: [{type: ExternalIP, address: 192.0.2.1}]}}",
    "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackend, metadata: {name: x}, spec: {type: ExternalHostname, externalHostname: {hostname: ext.org}, port: {port: 80}}}",
    "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackend, metadata: {name: x}, spec: {type: ExternalHostname, externalHostname: {hostname: other.org}, port: {port: 80}, protocol: H2C, tls: {mode: ServerOnly, validation: {hostname: a.org, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}}",
    "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackendTrafficPolicy, metadata: {name: p}, spec: {targetRefs: [{group: '', kind: Service, name: web}, {group: gateway.networking.x-k8s.io, kind: XBackend, name: x}], retryConstraint: {}}}",
    "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackendTrafficPolicy, metadata: {name: p, creationTimestamp: '2026-01-01T00:00:00Z'}, spec: {targetRefs: [{group: '', kind: Service, name: web}], sessionPersistence: {}}}",
    "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackendTrafficPolicy, metadata: {name: q}, spec: {targetRefs: [{group: '', kind: Service, name: web}], retryConstraint: {budget: {percent: 1}}, sessionPersistence: {type: Header, sessionName: a}}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: x}, spec: {useDefaultGateways: All, parentRefs: [{name: g}], rules: [{backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: x}]}]}}",
    "{apiVersion: v1, kind: Namespace, metadata: {name: team, labels: {a: b}}}",
    "{apiVersion: v1, kind: Namespace, metadata: {name: team, labels: {a: c, networking.istio.io/traffic-distribution: PreferClose}}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g, generation: 3}, spec: {gatewayClassName: limen, defaultScope: All, listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {a: b}}}}}, {name: a, port: 80, protocol: HTTP, hostname: a.com}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: h, creationTimestamp: '2026-02-01T00:00:00Z'}, spec: {gatewayClassName: limen, listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, generation: 2}, spec: {useDefaultGateways: All, parentRefs: [{name: h}], hostnames: [a.com, b.com], rules: [{matches: [{path: {value: /x}}, {path: {type: Exact, value: /x}}], backendRefs: [{name: web, port: 80}, {name: web, port: 81}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: s, namespace: team}, spec: {parentRefs: [{name: h, namespace: default}, {name: g, namespace: default}], hostnames: [a.com], rules: [{matches: [{path: {value: /x/y}}], backendRefs: [{name: web, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: s, namespace: team}, spec: {parentRefs: [{name: h, namespace: default}], rules: [{filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: web, port: 80}, http: {}}}], backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: out}]}]}}",
    "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackend, metadata: {name: out, namespace: team}, spec: {type: ExternalHostname, externalHostname: {hostname: ext.org}, port: {port: 80}, protocol: HTTP}}",
    "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackendTrafficPolicy, metadata: {name: p}, spec: {targetRefs: [{group: '', kind: Service, name: web}], sessionPersistence: {sessionName: s}}}",
    "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: web2, namespace: team}, spec: {host: web.default.svc.cluster.local, trafficPolicy: {tls: {mode: DISABLE}}}}",
    "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: istio-system}, spec: {rules: [{}]}}",
    "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: istio-system}, spec: {selector: {matchLabels: {a: b}}}}",
];

/// Of the world, too.
const DNS_ENTRY: &str = "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: ext}, spec: {hosts: [ext.org], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}}";

const FILES: &[&str] = &["/a.crt", "/a.key"];
const NAMES: &[&str] = &["ext.org", "other.org"];

fn object(text: &str) -> AnyObject {
    let mut parsed = parse("world.yaml", text, "default");
    let wrong = parsed.problems.iter().any(|problem| problem.level == Level::Error);
    assert!(!wrong, "{text}: {:?}", parsed.problems);
    parsed.objects.pop().expect("an object")
}

fn apply(store: &mut Store, text: &str) {
    store.apply(Event::Apply(object(text)));
}

fn delete(store: &mut Store, text: &str) {
    store.apply(Event::Delete { key: object(text).key().clone(), file: "world.yaml".into() });
}

fn settings(number: usize) -> Settings {
    let mut settings = Settings::default();
    match number {
        1 => settings.files = false,
        2 => settings.port_map = [(80, 8080), (443, 0)].into(),
        _ => {}
    }
    settings
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Apply(usize),
    Delete(usize),
    File(usize, bool),
    Name(usize, u8),
    Bundle(u8),
    Settings(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..WORLD.len()).prop_map(Step::Apply),
        6 => (0..WORLD.len()).prop_map(Step::Delete),
        2 => (0..FILES.len(), any::<bool>()).prop_map(|(file, there)| Step::File(file, there)),
        2 => (0..NAMES.len(), 0..4_u8).prop_map(|(name, answer)| Step::Name(name, answer)),
        1 => (5..8_u8).prop_map(Step::Bundle),
        1 => (0..3_usize).prop_map(Step::Settings),
    ]
}

fn take(store: &mut Store, now: &mut Settings, step: &Step) {
    match step {
        Step::Apply(at) => apply(store, WORLD[*at]),
        Step::Delete(at) => delete(store, WORLD[*at]),
        Step::File(at, there) => {
            let content =
                if *there { Ok(SecretBytes::new(b"content".to_vec())) } else { Err("gone".to_owned()) };
            store.apply(Event::File { path: FILES[*at].into(), content });
        }
        Step::Name(at, answer) => {
            let answer = match answer {
                0 => Ok(Vec::new()),
                1 => Err("silence".to_owned()),
                more => Ok((0..*more).map(|last| [192, 0, 2, last].into()).collect()),
            };
            store.apply(Event::Name { name: NAMES[*at].into(), answer });
        }
        Step::Bundle(release) => {
            store.apply(Event::Bundle { version: Some(format!("v1.{release}.0").into()) });
        }
        Step::Settings(number) => *now = settings(*number),
    }
}

fn check_equal(memoised: &Translation, fresh: &Translation) {
    assert_eq!(memoised.ir, fresh.ir);
    assert_eq!(memoised.endpoints, fresh.endpoints);
    assert_eq!(memoised.verdicts, fresh.verdicts);
    assert_eq!(memoised.problems, fresh.problems);
    assert_eq!(memoised.wants, fresh.wants);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memoised_is_fresh(steps in prop::collection::vec(step(), 1..60)) {
        let (mut store, mut now, mut translator) = (Store::new(), settings(0), Translator::new());
        // Half of the world stands at the beginning, or the first steps would mostly hit nothing.
        for text in WORLD.iter().step_by(2) {
            apply(&mut store, text);
        }
        for step in &steps {
            take(&mut store, &mut now, step);
            let snapshot = store.snapshot();
            check_equal(&translator.translate(&snapshot, &now), &translate(&snapshot, &now));
        }
    }
}

/// One of many objects of a kind, in one of its versions. Hosts and services are few, so that many share them.
fn of_crowd(kind: usize, number: usize, version: usize) -> String {
    let host = |shift: usize| format!("h{}.com", (number + version * shift) % 5);
    let team = if number.is_multiple_of(3) { "team" } else { "default" };
    let to = (number * 2 + version) % 8;
    let age = match version % 3 {
        0 => String::new(),
        year => format!(", creationTimestamp: '202{year}-01-01T00:00:00Z'"),
    };
    match kind {
        0 => {
            let subset = if version == 4 { ", subset: v1" } else { "" };
            let first = if version == 5 && number < 13 {
                format!("{{match: [{{uri: {{prefix: /d}}}}], delegate: {{name: v{}}}}}, ", (number + 1) % 14)
            } else {
                String::new()
            };
            let hosts = if number == 13 {
                String::new()
            } else {
                format!("hosts: [{}, x{}], gateways: [web], ", host(1), host(2))
            };
            format!(
                "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: v{number}{age}}}, spec: {{{hosts}\
                 http: [{first}{{match: [{{uri: {{prefix: /d/{version}}}}}], route: [{{destination: {{host: s{to}{subset}}}}}]}}]}}}}"
            )
        }
        1 => {
            // Most versions of one claim the same hosts, and are as old.
            let age = if version < 4 { "" } else { ", creationTimestamp: '2021-01-01T00:00:00Z'" };
            let default = if version == 2 || number.is_multiple_of(5) {
                format!("defaultBackend: {{service: {{name: s{to}, port: {{number: 80}}}}}}, ")
            } else {
                String::new()
            };
            let class = if number.is_multiple_of(4) { "c" } else { "limen" };
            let tls = if version == 3 {
                format!("tls: [{{hosts: [{}], secretName: cert}}], ", host(3))
            } else {
                String::new()
            };
            let own = match version {
                0..4 => format!("h{}.com", number % 5),
                4 => host(1),
                _ => "''".to_owned(),
            };
            format!(
                "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: i{number}, namespace: {team}{age}}}, spec: {{ingressClassName: {class}, {default}{tls}\
                 rules: [{{host: {own}, http: {{paths: [{{path: /p{}, pathType: Prefix, backend: {{service: {{name: s{to}, port: {{number: 80}}}}}}}}]}}}}]}}}}",
                version % 2
            )
        }
        2 => {
            let space = if number == 13 { "istio-system" } else { ["default", "team"][number % 2] };
            let selector = if number == 13 { "istio: ingressgateway" } else { "app: web" };
            format!(
                "{{apiVersion: v1, kind: Service, metadata: {{name: s{number}, namespace: {space}, labels: {{version: v{version}}}}}, \
                 spec: {{clusterIP: None, selector: {{{selector}}}, ports: [{{port: 80, name: http, targetPort: {}}}]}}}}",
                8080 + version / 3
            )
        }
        3 => {
            let space = if number == 13 { "istio-system" } else { ["default", "team"][number % 2] };
            let of = if number == 13 || version < 3 { number } else { to };
            let label = if version == 5 { "other" } else { "kubernetes.io/service-name" };
            format!(
                "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: e{number}, namespace: {space}, labels: {{{label}: s{of}}}}}, \
                 addressType: IPv4, ports: [{{name: http, port: 80}}], endpoints: [{{addresses: [10.0.{number}.{version}], nodeName: n{version}}}]}}"
            )
        }
        4 => format!(
            "{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: d{number}}}, spec: {{host: s{number}, \
             trafficPolicy: {{tls: {{mode: {}}}}}, subsets: [{{name: v{}, labels: {{version: v1}}}}]}}}}",
            ["DISABLE", "SIMPLE"][version % 2],
            version / 3
        ),
        5 => format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: n{}}}, status: {{addresses: [{{type: ExternalIP, address: 192.0.2.{}}}]}}}}",
            number % 6,
            version
        ),
        _ => format!(
            "{{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {{name: c}}, spec: {{controller: {}}}}}",
            ["limen.dev/ingress-controller", "istio.io/ingress-controller", "example.com/other"][version % 3]
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Where there are many, most are passed by: what is looked at must be all that counts.
    #[test]
    fn memoised_is_fresh_in_a_crowd(
        first in prop::collection::vec((0..7_usize, 0..14_usize, 0..6_usize), 60..120),
        steps in prop::collection::vec((0..7_usize, 0..14_usize, 0..6_usize, 0..4_u8), 1..40),
    ) {
        let (mut store, mut translator) = (Store::new(), Translator::new());
        apply(&mut store, WORLD[0]);
        for (kind, number, version) in first {
            apply(&mut store, &of_crowd(kind, number, version));
        }
        for (kind, number, version, what) in steps {
            let text = of_crowd(kind, number, version);
            if what == 0 { delete(&mut store, &text) } else { apply(&mut store, &text) }
            let (snapshot, settings) = (store.snapshot(), settings(0));
            check_equal(&translator.translate(&snapshot, &settings), &translate(&snapshot, &settings));
            if what == 1 {
                translator.tidy();
            }
        }
    }
}

/// A world with routes to two services.
fn two_services() -> Store {
    let mut store = Store::new();
    apply(&mut store, WORLD[0]);
    for name in ["a", "b"] {
        for text in [virtual_service(name, "/"), service(name), pod(name, "10.0.0.1")] {
            apply(&mut store, &text);
        }
    }
    store
}

fn virtual_service(name: &str, prefix: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}}}, spec: {{hosts: [{name}.com], \
         gateways: [web], http: [{{match: [{{uri: {{prefix: {prefix}}}}}], route: [{{destination: {{host: {name}}}}}]}}]}}}}"
    )
}

fn service(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}}}"
    )
}

fn pod(name: &str, ip: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, status: {{podIP: {ip}}}}}"
    )
}

fn snapshot_after(store: &mut Store, text: &str) -> Snapshot {
    apply(store, text);
    store.snapshot()
}

fn host(ir: &Ir, at: usize) -> &Arc<limen_ir::VirtualHost> {
    let table = ir.route_tables.values().next().expect("a table");
    &table.hosts[at]
}

#[test]
fn an_answer_of_dns_changes_endpoints_and_nothing_else() {
    let (mut store, mut translator, settings) = (Store::new(), Translator::new(), Settings::default());
    for text in [WORLD[0], &virtual_service("ext.org", "/"), DNS_ENTRY] {
        apply(&mut store, text);
    }
    let before = translator.translate(&store.snapshot(), &settings);
    assert_eq!(before.wants.names.iter().collect::<Vec<_>>(), ["ext.org"]);
    store.apply(Event::Name { name: "ext.org".into(), answer: Ok(vec![[192, 0, 2, 1].into()]) });
    let after = translator.translate(&store.snapshot(), &settings);
    assert!(Arc::ptr_eq(&before.ir, &after.ir));
    assert_eq!((before.endpoints.clusters.len(), after.endpoints.clusters.len()), (0, 1));
}

#[test]
fn an_edit_of_one_virtual_service_leaves_the_other_objects_as_they_are() {
    let (mut store, mut translator, settings) = (two_services(), Translator::new(), Settings::default());
    let before = translator.translate(&store.snapshot(), &settings);
    let after = translator.translate(&snapshot_after(&mut store, &virtual_service("a", "/new")), &settings);
    assert!(!Arc::ptr_eq(host(&before.ir, 0), host(&after.ir, 0)));
    assert!(Arc::ptr_eq(host(&before.ir, 1), host(&after.ir, 1)));
    assert!(Arc::ptr_eq(&before.ir.listeners[0], &after.ir.listeners[0]));
    assert!(before.ir.clusters.iter().all(|(key, cluster)| Arc::ptr_eq(cluster, &after.ir.clusters[key])));
    assert!(Arc::ptr_eq(&before.endpoints, &after.endpoints));
}

#[test]
fn a_change_of_endpoints_leaves_the_ir_as_it_is() {
    let (mut store, mut translator, settings) = (two_services(), Translator::new(), Settings::default());
    let before = translator.translate(&store.snapshot(), &settings);
    let after = translator.translate(&snapshot_after(&mut store, &pod("a", "10.0.0.7")), &settings);
    let endpoints = |translation: &Translation, name: &str| {
        let key = ClusterKey::new(80, "", &format!("{name}.default.svc.cluster.local"));
        Arc::clone(&translation.endpoints.clusters[&key])
    };
    assert!(Arc::ptr_eq(&before.ir, &after.ir));
    assert!(!Arc::ptr_eq(&endpoints(&before, "a"), &endpoints(&after, "a")));
    assert!(Arc::ptr_eq(&endpoints(&before, "b"), &endpoints(&after, "b")));
}

#[test]
fn an_object_that_only_moved_in_its_file_changes_nothing() {
    let (mut store, mut translator, settings) = (two_services(), Translator::new(), Settings::default());
    let before = translator.translate(&store.snapshot(), &settings);
    let moved = format!("# a comment\n{}", virtual_service("a", "/"));
    let after = translator.translate(&snapshot_after(&mut store, &moved), &settings);
    assert!(Arc::ptr_eq(&before.ir, &after.ir));
}

/// An ExternalName Service stands for another; a host is a younger ServiceEntry's until an older one has it. Neither the
/// VirtualService changes nor the object that it names.
#[test]
fn what_a_destination_means_is_found_again_where_another_object_decides_it() {
    let alias = "{apiVersion: v1, kind: Service, metadata: {name: alias}, spec: {type: ExternalName, externalName: a.default.svc.cluster.local, ports: [{port: 80, name: http}]}}";
    let wider = service("a").replace("{port: 80}", "{port: 80, name: http}, {port: 81, name: more}");
    assert_ne!(wider, service("a"));
    let entry = |namespace: &str, year: u16| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: e, namespace: {namespace}, creationTimestamp: '{year}-01-01T00:00:00Z'}}, spec: {{hosts: [both.example], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: STATIC, endpoints: [{{address: 192.0.2.1}}]}}}}"
        )
    };
    let cases = [
        ("alias", vec![alias.to_owned(), service("a")], vec![wider, service("b")]),
        ("both.example", vec![entry("default", 2025)], vec![entry("team", 2024), entry("team", 2026)]),
    ];
    for (host, first, changes) in cases {
        let (mut store, mut translator, settings) = (Store::new(), Translator::new(), Settings::default());
        let route = virtual_service(host, "/");
        first.iter().chain([&WORLD[0].to_owned(), &route]).for_each(|text| apply(&mut store, text));
        translator.translate(&store.snapshot(), &settings);
        for change in changes {
            let snapshot = snapshot_after(&mut store, &change);
            check_equal(&translator.translate(&snapshot, &settings), &translate(&snapshot, &settings));
        }
        let last = if host == "alias" { service("a") } else { entry("team", 2026) };
        delete(&mut store, &last);
        let snapshot = store.snapshot();
        check_equal(&translator.translate(&snapshot, &settings), &translate(&snapshot, &settings));
    }
}
