//! As many routes as one gateway is to serve, and one of them wrong.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::gateway::Gateway;
use limen_e2e::{h1, within};
use limen_resources::{Kind, Level};
use tokio::net::TcpStream;

const ROUTES: usize = 40_000;
/// In one file.
const TOGETHER: usize = 4_000;
/// The wrong one.
const POISON: usize = 23_456;

/// One API's routes.
struct World {
    kind: Kind,
    frame: &'static str,
    /// A route of the host `h<number>.example.com` that redirects to this one.
    route: fn(usize, &str) -> String,
}

const HTTP_ROUTES: World = World {
    kind: Kind::HttpRoute,
    frame: "
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: limen}, spec: {controllerName: limen.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge}, spec: {gatewayClassName: limen, listeners: [{name: http, port: 80, protocol: HTTP}]}}
",
    route: |number, to| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r{number}}}, spec: {{parentRefs: [{{name: edge}}], hostnames: [h{number}.example.com], rules: [{{filters: [{{type: RequestRedirect, requestRedirect: {{hostname: {to}}}}}]}}]}}}}\n---\n"
        )
    },
};

const VIRTUAL_SERVICES: World = World {
    kind: Kind::VirtualService,
    frame: "
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: edge}, spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}
",
    // Of several tenants, so that each has its hosts for itself.
    route: |number, to| {
        let tenant = number % 7;
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: r{number}, namespace: n{tenant}}}, spec: {{hosts: [h{number}.example.com], gateways: [default/edge], http: [{{redirect: {{authority: {to}}}}}]}}}}\n---\n"
        )
    },
};

/// Where a host redirects to; empty: nobody has it.
async fn redirect_of(gateway: &Gateway, number: usize) -> String {
    let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    let host = format!("h{number}.example.com");
    connection.send(&h1::request("GET", "/", &host, &[], b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    reply.header("location").unwrap_or_default().to_owned()
}

async fn one_of_many_is_wrong(World { kind, frame, route }: World) {
    let to = |number: usize| format!("to{number}.example.com");
    let good = (0..ROUTES).filter(|number| *number != POISON).collect::<Vec<_>>();
    let texts = good
        .chunks(TOGETHER)
        .map(|numbers| numbers.iter().map(|number| route(*number, &to(*number))).collect::<String>());
    let names: Vec<(String, String)> =
        texts.enumerate().map(|(at, text)| (format!("routes{at}.yaml"), text)).collect();
    let wrong = route(POISON, "[not, a, host]");
    let mut files = vec![("edge.yaml", frame), ("poison.yaml", &*wrong)];
    files.extend(names.iter().map(|(name, text)| (&**name, &**text)));
    let gateway = Gateway::start(&files, &[]).await;

    let view = gateway.running.view();
    let accepted =
        view.judged.iter().filter(|verdict| verdict.on.kind == kind && verdict.condition == "Accepted");
    let accepted: Vec<bool> = accepted.map(|verdict| verdict.status).collect();
    assert_eq!(accepted, vec![true; ROUTES - 1]);
    let problems = view.problems();
    let told: Vec<_> = problems.iter().map(|problem| (problem.object.as_ref(), problem.level)).collect();
    let [(Some(key), Level::Error)] = &told[..] else { panic!("{problems:?}") };
    assert_eq!((&*key.name, key.kind), (&*format!("r{POISON}"), kind));
    for number in [0, POISON - 1, POISON + 1, ROUTES - 1] {
        assert_eq!(redirect_of(&gateway, number).await, format!("http://{}/", to(number)));
    }
    assert_eq!(redirect_of(&gateway, POISON).await, "");

    gateway.write("poison.yaml", &route(POISON, "mended.example.com"));
    gateway.until("that it is mended", |view| view.problems().is_empty()).await;
    assert_eq!(redirect_of(&gateway, POISON).await, "http://mended.example.com/");
    gateway.write("poison.yaml", &wrong);
    gateway.until("that it is wrong again", |view| !view.problems().is_empty()).await;
    assert_eq!(redirect_of(&gateway, POISON).await, "http://mended.example.com/", "what it said before");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_40_000_http_routes_is_wrong_and_all_others_are_served() {
    one_of_many_is_wrong(HTTP_ROUTES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_40_000_virtual_services_is_wrong_and_all_others_are_served() {
    one_of_many_is_wrong(VIRTUAL_SERVICES).await;
}
