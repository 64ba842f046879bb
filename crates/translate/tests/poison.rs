//! One bad object among many good ones: whatever is wrong with it, the others are served as if it were not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::route::Rule;
use limen_ir::{Cluster, ClusterKey};
use limen_resources::{Event, ObjectKey, Snapshot, Store, Verdict, parse};
use limen_translate::{Settings, Translation, translate};
use proptest::prelude::*;
use proptest::sample::select;

/// Gateways, Services and classes of three APIs.
const GROUND: &[&str] = &[
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: limen}, spec: {controllerName: limen.dev/gateway-controller}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge}, spec: {gatewayClassName: limen, listeners: [{name: web, port: 80, protocol: HTTP}], allowedListeners: {namespaces: {from: All}}}}",
    "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: istio}, spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, name: http}]}}",
    "{apiVersion: v1, kind: Pod, metadata: {name: p1, labels: {app: web}}, status: {podIP: 10.0.0.1}}",
];

/// A good object of the one API or another, with a host of its own.
fn good(number: usize) -> String {
    match number % 4 {
        0 => format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: good{number}}}, spec: {{parentRefs: \
             [{{name: edge}}], hostnames: [good{number}.com], rules: [{{backendRefs: [{{name: web, port: 80}}]}}]}}}}"
        ),
        1 => format!(
            "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: good{number}}}, spec: {{hosts: \
             [good{number}.com], gateways: [istio], http: [{{route: [{{destination: {{host: web}}}}]}}]}}}}"
        ),
        2 => format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: good{number}}}, spec: {{ingressClassName: \
             limen, rules: [{{host: good{number}.com, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: \
             web, port: {{number: 80}}}}}}}}]}}}}]}}}}"
        ),
        _ => format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {{name: good{number}}}, spec: {{parentRefs: \
             [{{name: edge}}], hostnames: [good{number}.com], rules: [{{backendRefs: [{{name: web, port: 80}}]}}]}}}}"
        ),
    }
}

/// Objects with holes: `$host` is filled with a host, `$text` with an expression, `$name` with a name.
const POISONS: &[&str] = &[
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, $meta, spec: {parentRefs: [{name: edge}], hostnames: [$host], rules: [{matches: [{path: {type: RegularExpression, value: $text}}], backendRefs: [{name: $name, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, $meta, spec: {parentRefs: [{name: edge}, {kind: ListenerSet, name: $name}, {group: '', kind: Service, name: web}], hostnames: [$host], rules: [{matches: [{headers: [{type: RegularExpression, name: x, value: $text}]}], filters: [{type: ExtensionRef, extensionRef: {group: a.b, kind: C, name: $name}}]}, {backendRefs: [{name: web, namespace: other, port: 1}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, $meta, spec: {parentRefs: [{name: edge}], hostnames: [$host], rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {kind: $name, name: x}, fraction: {numerator: 5, denominator: 0}}}, {type: CORS, cors: {allowOrigins: [$text, 'https://*']}}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, $meta, spec: {parentRefs: [{name: edge, sectionName: $name}, {name: edge}], hostnames: [$host], rules: [{matches: [{method: {type: RegularExpression, service: $text}}], backendRefs: [{name: web, port: 80, weight: 0}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, $meta, spec: {gatewayClassName: limen, listeners: [{name: web, port: 80, protocol: HTTP, hostname: $host}, {name: again, port: 80, protocol: HTTP, hostname: $host}, {name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: $name, namespace: other}]}}, {name: odd, port: 80, protocol: $text}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, $meta, spec: {gatewayClassName: $name, listeners: [{name: web, port: 80, protocol: TCP}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, $meta, spec: {parentRef: {kind: ListenerSet, name: poison}, listeners: [{name: web, port: 80, protocol: HTTP, hostname: $host}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, $meta, spec: {parentRef: {name: edge}, listeners: [{name: web, port: 80, protocol: HTTP}, {name: tcp, port: 80, protocol: TCP}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: TCPRoute, $meta, spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: $name, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: TLSRoute, $meta, spec: {parentRefs: [{name: edge}], hostnames: [$host], rules: [{backendRefs: [{name: web, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, $meta, spec: {targetRefs: [{group: '', kind: Service, name: $name}], validation: {hostname: $host, caCertificateRefs: [{group: '', kind: ConfigMap, name: $name}]}}}",
    "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackend, $meta, spec: {type: ExternalHostname, externalHostname: {hostname: $host}, port: {port: 80}, tls: {mode: ClientAndServer, clientCertificateRef: {name: $name}}}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, $meta, spec: {from: [{group: $name, kind: $text, namespace: default}], to: [{group: '', kind: Service}]}}",
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, $meta, spec: {hosts: [$host], gateways: [istio, $name], http: [{match: [{uri: {regex: $text}}], delegate: {name: poison}}]}}",
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, $meta, spec: {hosts: [$host], gateways: [istio], http: [{match: [{headers: {x: {regex: $text}}}], rewrite: {uriRegexRewrite: {match: $text, rewrite: '\\\\9'}}, route: [{destination: {host: $name, subset: none}}]}]}}",
    "{apiVersion: networking.istio.io/v1, kind: Gateway, $meta, spec: {servers: [{port: {number: 80, name: a, protocol: TLS}, hosts: [$host], tls: {mode: SIMPLE, credentialName: $name}}]}}",
    "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, $meta, spec: {hosts: [$host], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: $name}]}}",
    "{apiVersion: v1, kind: Service, $meta, spec: {type: ExternalName, externalName: poison.default.svc.cluster.local}}",
    "{apiVersion: v1, kind: Secret, $meta, type: Opaque, data: {tls.crt: eA==, tls.key: eA==}}",
    "{apiVersion: networking.k8s.io/v1, kind: Ingress, $meta, spec: {ingressClassName: limen, tls: [{hosts: [$host], secretName: $name}], defaultBackend: {resource: {kind: A, name: b}}, rules: [{host: $host, http: {paths: [{path: $text, pathType: ImplementationSpecific, backend: {service: {name: $name, port: {name: none}}}}]}}]}}",
];

const HOSTS: &[&str] = &[
    "poison.com",
    "'*.com'",
    "'*'",
    "good0.com",
    "good1.com",
    "good2.com",
    "good3.com",
    "a..b",
    "'-'",
    "''",
    "web",
];
const TEXTS: &[&str] = &[
    "'('",
    "'((a{999}){999}){999}'",
    "'(a|a)*$'",
    "'[[:nope:]]'",
    "'\\p{Greek}'",
    "''",
    "'/'",
    "'*'",
    "\"\\0\"",
];
const NAMES: &[&str] = &["poison", "web", "edge", "none", "good0", "'a/b'", "''", "'..'"];

fn apply(store: &mut Store, text: &str) -> Option<ObjectKey> {
    let parsed = parse("world.yaml", text, "default");
    let keys: Vec<_> = parsed.objects.iter().map(|object| object.key().clone()).collect();
    for object in parsed.objects {
        store.apply(Event::Apply(object));
    }
    keys.into_iter().next()
}

fn world(count: usize) -> Store {
    let mut store = Store::new();
    let good = (0..count).map(good);
    for text in GROUND.iter().map(|text| (*text).to_owned()).chain(good) {
        assert!(apply(&mut store, &text).is_some(), "{text}");
    }
    store
}

fn translated(snapshot: &Snapshot) -> Translation {
    translate(snapshot, &Settings::default())
}

/// The rules of the good by host, what they lead to, and what is said of the good.
type OfTheGood = (BTreeMap<String, Vec<Arc<Rule>>>, BTreeMap<ClusterKey, Arc<Cluster>>, Vec<Verdict>);

fn of_the_good(made: &Translation) -> OfTheGood {
    let hosts = made.ir.route_tables.iter().flat_map(|(name, table)| {
        let own = table.hosts.iter().filter(|host| host.domains[0].to_string().starts_with("good"));
        own.map(move |host| {
            let good = host.rules.iter().filter(|rule| rule.origin.name.starts_with("good"));
            (format!("{name} {}", host.domains[0]), good.cloned().collect())
        })
    });
    let clusters = made.ir.clusters.iter().filter(|(key, _)| key.host.starts_with("web."));
    let good = made.verdicts.iter().filter(|verdict| verdict.on.name.starts_with("good"));
    (
        hosts.collect(),
        clusters.map(|(key, made)| (key.clone(), made.clone())).collect(),
        good.cloned().collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_good_are_served_as_if_it_were_not_there(
        poison in select(POISONS),
        (host, text, name) in (select(HOSTS), select(TEXTS), select(NAMES)),
        count in 4..12_usize,
    ) {
        let mut store = world(count);
        let before = of_the_good(&translated(&store.snapshot()));
        prop_assert_eq!(before.0.len(), count);
        let meta = "metadata: {name: poison, creationTimestamp: '2099-01-01T00:00:00Z'}";
        let filled = poison.replace("$meta", meta).replace("$host", host).replace("$text", text).replace("$name", name);
        apply(&mut store, &filled);
        let after = of_the_good(&translated(&store.snapshot()));
        // It may open ports on which they are served as well.
        let changed = before.0.iter().find(|(host, rules)| after.0.get(*host) != Some(rules));
        prop_assert!(changed.is_none(), "{:?} of {}", changed, filled);
        let unsaid = before.2.iter().find(|verdict| !after.2.contains(verdict));
        prop_assert!(unsaid.is_none(), "{:?} of {}", unsaid, filled);
        let lost = before.1.iter().find(|(key, cluster)| {
            let policed = filled.contains("BackendTLSPolicy") && name == "web";
            !policed && after.1.get(*key) != Some(cluster)
        });
        prop_assert!(lost.is_none(), "{:?} of {}", lost, filled);
    }
}
