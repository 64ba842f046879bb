//! What one change costs where many routes are: `cargo bench -p limen-translate`, with `-- ROUTES CHANGES KIND…` for
//! other numbers, or fewer kinds.
//!
//! Prints a table. Each line is a world of routes in which one object changes, again and again. With `cold` among the
//! words, the processor's own caches hold other things before each change, as after a pause. `CHANGED=Service` picks lines.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::time::Instant;

use limen_resources::{Event, Store, parse};
use limen_translate::{Settings, Translator};

type Text = fn(usize, usize) -> String;

const CLASS: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: limen}, spec: {controllerName: limen.dev/gateway-controller}}";
const API_GATEWAY: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge}, spec: {gatewayClassName: limen, listeners: [{name: http, port: 80, protocol: HTTP, hostname: '*.example.com'}]}}";
const GATEWAY: &str = "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: edge}, spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}";

fn service(number: usize, change: usize) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: s{number}, labels: {{change: c{change}}}}}, spec: {{ports: [{{port: 80, name: http}}]}}}}"
    )
}

fn slice(number: usize, change: usize) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s{number}, labels: {{kubernetes.io/service-name: s{number}}}}}, addressType: IPv4, ports: [{{name: http, port: 80}}], endpoints: [{{addresses: [10.{change}.0.1]}}]}}"
    )
}

fn http_route(number: usize, change: usize) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r{number}, generation: {change}}}, spec: {{parentRefs: [{{name: edge}}], hostnames: [h{number}.example.com], rules: [{{matches: [{{path: {{value: /v{change}}}}}], backendRefs: [{{name: s{number}, port: 80}}]}}]}}}}"
    )
}

fn http_route_to_one(number: usize, change: usize) -> String {
    http_route(number, change).replace(&format!("name: s{number},"), "name: s0,")
}

fn virtual_service(number: usize, change: usize) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: r{number}, generation: {change}}}, spec: {{hosts: [h{number}.example.com], gateways: [edge], http: [{{match: [{{uri: {{prefix: /v{change}}}}}], route: [{{destination: {{host: s{number}}}}}]}}]}}}}"
    )
}

fn ingress(number: usize, change: usize) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: r{number}, generation: {change}}}, spec: {{ingressClassName: limen, rules: [{{host: h{number}.example.com, http: {{paths: [{{path: /v{change}, pathType: Prefix, backend: {{service: {{name: s{number}, port: {{number: 80}}}}}}}}]}}}}]}}}}"
    )
}

fn apply(store: &mut Store, text: &str) {
    for object in parse("bench.yaml", text, "default").objects {
        store.apply(Event::Apply(object));
    }
}

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<usize>().ok());
    let (count, changes) = (numbers.next().unwrap_or(3000), numbers.next().unwrap_or(40).max(1));
    let wanted: Vec<String> = std::env::args().filter(|word| word.starts_with(char::is_uppercase)).collect();
    println!("| {count} of | changed | first, ms | least | p50 | most |\n|---|---|---|---|---|---|");
    let worlds: [(&str, &[&str], Text); 4] = [
        ("HTTPRoute (one Service)", &[CLASS, API_GATEWAY], http_route_to_one),
        ("HTTPRoute", &[CLASS, API_GATEWAY], http_route),
        ("VirtualService", &[GATEWAY], virtual_service),
        ("Ingress", &[], ingress),
    ];
    let mut others = vec![1u8; if std::env::args().any(|word| word == "cold") { 32 << 20 } else { 0 }];
    let changed: [(&str, Option<Text>); 4] =
        [("itself", None), ("a new one", None), ("Service", Some(service)), ("EndpointSlice", Some(slice))];
    for (kind, frame, route) in worlds
        .into_iter()
        .filter(|(kind, ..)| wanted.is_empty() || wanted.iter().any(|own| kind.starts_with(&**own)))
    {
        let (mut store, mut translator) = (Store::new(), Translator::new());
        let settings = Settings::default();
        frame.iter().for_each(|text| apply(&mut store, text));
        for number in 0..count {
            [service, slice, route].iter().for_each(|text| apply(&mut store, &text(number, 0)));
        }
        let began = Instant::now();
        translator.translate(&store.snapshot(), &settings);
        let first = 1e3 * began.elapsed().as_secs_f64();
        let only = std::env::var("CHANGED").unwrap_or_default();
        for (place, (name, text)) in
            changed.into_iter().enumerate().filter(|(_, (name, _))| name.contains(&only))
        {
            let mut took = Vec::new();
            for change in 1..=changes {
                let number = if name.contains("new") { count + change } else { change * (count / changes) };
                apply(&mut store, &text.unwrap_or(route)(number, 4 * change + place));
                let snapshot = store.snapshot();
                others.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
                let began = Instant::now();
                translator.translate(&snapshot, &settings);
                took.push(1e3 * began.elapsed().as_secs_f64());
                translator.tidy();
            }
            took.sort_by(f64::total_cmp);
            let (least, median, most) = (took[0], took[changes / 2], took[changes - 1]);
            println!("| {kind} | {name} | {first:.1} | {least:.2} | {median:.2} | {most:.2} |");
        }
    }
}
