//! Authors of configuration who are trusted with their own hosts and not with the process: what they write is bounded in
//! what it takes, and harms nobody else.

use std::fmt::Write;
use std::time::Duration;

use limen_e2e::process::Process;
use limen_e2e::{h1, within};
use tokio::net::TcpStream;

use super::BINARY;

const GOOD: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: good}
spec: {hosts: [good.example.com], gateways: [edge], http: [{directResponse: {status: 200}}]}
";

/// What is written beside, what is then said of it, and what it may take: seconds of a build without optimisation, and
/// MiB at the worst.
struct Bomb {
    name: &'static str,
    text: String,
    problem: &'static str,
    cpu: u64,
    memory: u64,
}

fn routes(namespace: &str, name: &str, http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{hosts: [{name}.{namespace}.example.com], gateways: [default/edge], http: {http}}}\n---\n"
    )
}

fn matching(expression: &str) -> String {
    format!("[{{match: [{{uri: {{regex: '{expression}'}}}}], directResponse: {{status: 200}}}}]")
}

/// Nine levels of ten aliases each.
fn aliases() -> String {
    (1..10).fold("a0: &a0 [x]\n".to_owned(), |mut text, n| {
        let inner = format!("*a{},", n - 1).repeat(10);
        writeln!(text, "a{n}: &a{n} [{inner}]").unwrap();
        text
    })
}

/// So many expressions that each become large, in one namespace.
fn expressions(namespace: &str, count: usize) -> String {
    let one =
        |n: usize| routes(namespace, &format!("large{n}"), &matching(&format!(r"/(\pL|x{n}){{24}}.{{120}}")));
    (0..count).map(one).collect()
}

/// A log whose filter asks for many large expressions.
fn filter(count: usize) -> String {
    let all: Vec<String> = (0..count).map(|n| format!("request.path.matches('^/{n}.{{300}}')")).collect();
    format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: a, namespace: istio-system}}\n\
         spec: {{accessLogging: [{{providers: [{{name: envoy}}], filter: {{expression: \"{}\"}}}}]}}\n",
        all.join(" || ")
    )
}

fn bombs() -> Vec<Bomb> {
    let big = "A".repeat(4 << 20);
    let bomb = |name, text, problem, cpu, memory| Bomb { name, text, problem, cpu, memory };
    vec![
        bomb("aliases of aliases", aliases(), "expected the aliases of a document", 5, 32),
        bomb("deep lists", format!("a: {}", "[".repeat(200_000)), "not YAML", 5, 32),
        bomb("deep maps", format!("a: {}", "{a: ".repeat(200_000)), "levels of nesting", 5, 32),
        bomb("a long line", format!("a: {big}"), "no apiVersion", 10, 128),
        bomb(
            "a huge Secret",
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: a, namespace: istio-system}}\ndata: {{tls.crt: {big}, tls.key: AAAA}}\n"
            ),
            "no certificate in it",
            20,
            160,
        ),
        bomb(
            "a long expression",
            routes("a", "a", &matching(&"a".repeat(1 << 20))),
            "at most 1024 characters",
            5,
            32,
        ),
        bomb(
            "an expression that grows",
            routes("a", "a", &matching("((a{1,1000}){1,1000}){1,1000}")),
            "grows too large",
            5,
            32,
        ),
        // Of which only the beginning is shown.
        bomb("a filter of a log", filter(90), r#"…\" is not understood: all CEL expressions"#, 10, 64),
    ]
}

async fn is_served(gateway: &Process, host: &str) -> u16 {
    status(gateway, host, "/").await
}

async fn status(gateway: &Process, host: &str, path: &str) -> u16 {
    status_at(gateway, 80, host, path).await
}

async fn status_at(gateway: &Process, port: u16, host: &str, path: &str) -> u16 {
    let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(port)).await.unwrap());
    connection.send(&h1::request("GET", path, host, &[], b"")).await;
    within("an answer", connection.read("GET")).await.unwrap().status
}

/// Waits until the gateway says that of what is wrong.
async fn told(gateway: &Process, problem: &str) {
    let told = async { while !gateway.page("/problems").await.text().contains(problem) {} };
    let told = tokio::time::timeout(5 * limen_e2e::GUARD, told).await;
    assert!(told.is_ok(), "nobody says {problem}: {}", gateway.page("/problems").await.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_authors_write_is_bounded_and_harms_nobody_else() {
    for Bomb { name, text, problem, cpu, memory } in bombs() {
        let gateway = Process::start(BINARY, GOOD, &[]).await;
        let before = (gateway.cpu(), gateway.peak());
        gateway.add("bomb.yaml", &text);
        told(&gateway, problem).await;
        // An edit behind it still gets through.
        gateway.add("next.yaml", &routes("next", "next", "[{directResponse: {status: 200}}]"));
        let next = async { while is_served(&gateway, "next.next.example.com").await != 200 {} };
        within(name, next).await;
        assert_eq!(is_served(&gateway, "good.example.com").await, 200, "{name}");
        let took = (gateway.cpu() - before.0, (gateway.peak() - before.1) >> 20);
        assert!(took.0 <= Duration::from_secs(cpu) && took.1 <= memory, "{name}: {took:?}");
    }
}

/// Of 160 expressions of one namespace that come to more than it may have only some are served; requests for the others are refused, as
/// a rule that is left out might have denied what the next one lets in. Another namespace has room of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_of_one_namespace_leave_room_for_those_of_another() {
    let gateway = Process::start(BINARY, GOOD, &[]).await;
    let before = (gateway.cpu(), gateway.peak());
    gateway.add("bomb.yaml", &expressions("greedy", 160));
    told(&gateway, "take more than 128 MiB").await;
    gateway.add("other.yaml", &expressions("other", 2));
    let path = format!("/{}{}", "a".repeat(24), "b".repeat(120));
    let other = async { while status(&gateway, "large1.other.example.com", &path).await != 200 {} };
    within("the other namespace's", other).await;
    let mut refused = 0;
    for n in 0..160 {
        match status(&gateway, &format!("large{n}.greedy.example.com"), &path).await {
            200 => {}
            500 => refused += 1,
            other => panic!("large{n} answers {other}"),
        }
    }
    assert!((1..160).contains(&refused), "{refused} of 160");
    assert!(!gateway.page("/problems").await.text().contains("namespace other"));
    assert_eq!(is_served(&gateway, "good.example.com").await, 200);
    let took = (gateway.cpu() - before.0, (gateway.peak() - before.1) >> 20);
    assert!(took.0 <= Duration::from_secs(60) && took.1 <= 320, "{took:?}");
}

/// A shape of many rules, of which the last answers `status`.
struct Shape {
    name: &'static str,
    text: fn(usize) -> String,
    status: u16,
    /// Bytes of memory that a rule may take.
    each: u64,
}

const SMALL: usize = 4_000;
const LARGE: usize = 40_000;
const HOST: &str = "many.example.com";

fn status_of(number: usize, count: usize) -> u16 {
    if number + 1 == count { 201 } else { 202 }
}

fn one(count: usize, gateways: &str) -> String {
    of_hosts(count, HOST, gateways)
}

/// So many names beside the one that is asked for.
fn hosts(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("h{n}.example.org"))
}

fn of_hosts(count: usize, hosts: &str, gateways: &str) -> String {
    let rule = |n| {
        let status = status_of(n, count);
        format!("  - {{match: [{{uri: {{exact: /r{n}}}}}], directResponse: {{status: {status}}}}}\n")
    };
    let rules: String = (0..count).map(rule).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: many, namespace: many}}\n\
         spec:\n  hosts: [{hosts}]\n  gateways: [{gateways}]\n  http:\n{rules}"
    )
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "one VirtualService",
        text: |count| one(count, "default/edge"),
        status: 201,
        each: 8 << 10,
    },
    Shape {
        name: "one VirtualService of as many hosts",
        text: |count| {
            let hosts: Vec<_> = std::iter::once(HOST.to_owned()).chain(hosts(count)).collect();
            of_hosts(count, &hosts.join(", "), "default/edge")
        },
        status: 201,
        each: 16 << 10,
    },
    Shape {
        name: "one VirtualService that names a Gateway time and again",
        text: |count| one(count, &vec!["default/edge"; count / 10].join(", ")),
        status: 201,
        each: 8 << 10,
    },
    Shape {
        name: "one Ingress of as many hosts",
        text: |count| {
            let rule = |host: String| {
                format!(
                    "  - {{host: {host}, http: {{paths: [{{path: /r{}, pathType: Exact, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}\n",
                    count - 1
                )
            };
            let rules: String = hosts(count).chain([HOST.to_owned()]).map(rule).collect();
            format!(
                "{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: many}}, spec: {{selector: {{app: web}}, ports: [{{port: 80, name: http}}]}}}}\n---\n\
                 apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: many, namespace: many}}\nspec:\n  ingressClassName: limen\n  rules:\n{rules}"
            )
        },
        // Its Service has no endpoint.
        status: 503,
        each: 16 << 10,
    },
    Shape {
        name: "one VirtualService through two Gateways",
        text: |count| one(count, "default/edge, default/other"),
        status: 201,
        each: 16 << 10,
    },
    Shape {
        name: "VirtualServices for one host",
        text: |count| {
            let object = |n| {
                let status = status_of(n, count);
                format!(
                    "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: r{n}, namespace: many}}, spec: {{hosts: [{HOST}], gateways: [default/edge], http: [{{match: [{{uri: {{exact: /r{n}}}}}], directResponse: {{status: {status}}}}}]}}}}\n---\n"
                )
            };
            (0..count).map(object).collect()
        },
        status: 201,
        each: 16 << 10,
    },
    Shape {
        name: "HTTPRoutes of 16 rules for one host",
        text: |count| {
            let rule = |n| {
                format!(
                    "{{matches: [{{path: {{type: Exact, value: /r{n}}}}}], filters: [{{type: RequestRedirect, requestRedirect: {{hostname: h{n}.example.com}}}}]}}"
                )
            };
            let object = |n: usize| {
                let rules: Vec<String> = (n * 16..(n + 1) * 16).map(rule).collect();
                let rules = rules.join(", ");
                format!(
                    "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r{n}, namespace: many}}, spec: {{parentRefs: [{{name: api, namespace: default}}], hostnames: [{HOST}], rules: [{rules}]}}}}\n---\n"
                )
            };
            (0..count / 16).map(object).collect()
        },
        status: 302,
        each: 16 << 10,
    },
];

const OTHERS: &str = "---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: other}, spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: limen}, spec: {controllerName: limen.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: api}, spec: {gatewayClassName: limen, listeners: [{name: http, port: 8080, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}}
";

/// What it takes to serve so many rules: processor time, and bytes at the worst.
async fn served(shape: &Shape, count: usize) -> (Duration, u64) {
    let gateway = Process::start(BINARY, &format!("{GOOD}{OTHERS}"), &[]).await;
    let before = (gateway.cpu(), gateway.peak());
    gateway.add("many.yaml", &(shape.text)(count));
    let path = format!("/r{}", count - 1);
    let answered = async {
        loop {
            let (first, second) =
                (status_at(&gateway, 80, HOST, &path).await, status_at(&gateway, 8080, HOST, &path).await);
            if first == shape.status || second == shape.status {
                return;
            }
        }
    };
    let answered = tokio::time::timeout(5 * limen_e2e::GUARD, answered).await;
    assert!(
        answered.is_ok(),
        "{}: {count} rules are not served: {}",
        shape.name,
        gateway.page("/problems").await.text()
    );
    assert_eq!(is_served(&gateway, "good.example.com").await, 200, "{}", shape.name);
    (gateway.cpu() - before.0, gateway.peak() - before.1)
}

/// Ten times as many rules cost ten times as much and not the square of it. Twice that is allowed, for what is not linear
/// in sorting and in the machine's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rules_cost_as_many_times_what_one_costs() {
    for shape in SHAPES {
        let (small, _) = served(shape, SMALL).await;
        let (large, memory) = served(shape, LARGE).await;
        let times = u32::try_from(LARGE / SMALL).unwrap();
        println!("{}: {small:?} {large:?} {} MiB", shape.name, memory >> 20);
        assert!(large <= 2 * times * small, "{}: {large:?}, and {small:?} for {SMALL}", shape.name);
        assert!(memory <= shape.each * LARGE as u64, "{}: {} MiB", shape.name, memory >> 20);
    }
}
