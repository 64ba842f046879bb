//! Names whose addresses change while the gateway runs. DNS answers hold for a second at least, so this takes some.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use limen::view::View;
use limen_e2e::dns::{DnsServer, Says};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::{h1, within};
use tokio::net::TcpStream;

/// Two endpoints by name, each with its port: DNS decides which of them there are.
fn config(one: &Origin, two: &Origin) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: out}}
spec: {{hosts: [shop.example.com], gateways: [edge], http: [{{route: [{{destination: {{host: api.example.net}}}}]}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api}}
spec:
  hosts: [api.example.net]
  resolution: DNS
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints:
  - {{address: one.example.net, ports: {{http: {}}}}}
  - {{address: two.example.net, ports: {{http: {}}}}}
",
        one.address.port(),
        two.address.port()
    )
}

async fn answered_by(gateway: &Gateway) -> String {
    let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    connection.send(&h1::request("GET", "/", "shop.example.com", &[], b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    reply.origin().unwrap_or_else(|| reply.status.to_string())
}

fn ports(view: &View) -> Vec<u16> {
    let all = view.endpoints.clusters.values().flat_map(|cluster| &cluster.endpoints);
    let address = |address: String| address.parse::<SocketAddr>().unwrap();
    all.map(|endpoint| address(endpoint.address.to_string()).port()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_follows_dns_and_outlives_its_failures() {
    let dns = DnsServer::start().await;
    let here = || Says::Addresses(vec![[127, 0, 0, 1].into()], 0);
    let (one, two) = (Origin::start("one", Script::echo()).await, Origin::start("two", Script::echo()).await);
    dns.say("one.example.net", here());
    let flags = ["--dns-server".to_owned(), dns.address.to_string()];
    let gateway = Gateway::start(&[("all.yaml", &config(&one, &two))], &flags).await;
    let before = gateway.running.view();
    assert_eq!(ports(&before), [one.address.port()], "ready means that DNS was heard");
    assert_eq!(answered_by(&gateway).await, "one");

    dns.say("two.example.net", here());
    dns.say("one.example.net", Says::NoSuchName);
    let after = gateway.until("the new address", |view| ports(view) == [two.address.port()]).await;
    assert_eq!(answered_by(&gateway).await, "two");
    assert!(Arc::ptr_eq(&before.ir, &after.ir), "no route was translated again");

    dns.say("two.example.net", Says::Fails);
    let told =
        |view: &View| view.problems().iter().any(|problem| problem.message.contains("two.example.net"));
    let silent = gateway.until("the failure", told).await;
    assert_eq!(ports(&silent), [two.address.port()]);
    assert_eq!(answered_by(&gateway).await, "two", "what DNS said before still holds");
}

/// With resolution DNS_ROUND_ROBIN another first address is for new connections only. Nothing listens at it here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_outlive_the_address_that_was_first() {
    let dns = DnsServer::start().await;
    let at = |last| Says::Addresses(vec![[127, 0, 0, last].into()], 0);
    let (one, two) = (Origin::start("one", Script::echo()).await, Origin::start("two", Script::echo()).await);
    dns.say("api.example.net", at(1));
    let both = config(&one, &two);
    let (gateway_and_route, _) = both.rsplit_once("---").unwrap();
    let entry = format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api}}
spec:
  hosts: [api.example.net]
  resolution: DNS_ROUND_ROBIN
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {}}}]
",
        one.address.port()
    );
    let flags = ["--dns-server".to_owned(), dns.address.to_string()];
    let gateway = Gateway::start(&[("all.yaml", &format!("{gateway_and_route}{entry}"))], &flags).await;
    let mut client = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    let request = h1::request("GET", "/", "shop.example.com", &[], b"");
    client.send(&request).await;
    assert_eq!(within("a response", client.read("GET")).await.unwrap().status, 200);

    dns.say("api.example.net", at(9));
    let moved = |view: &View| {
        let mut all = view.endpoints.clusters.values().flat_map(|cluster| &cluster.endpoints);
        all.any(|endpoint| endpoint.address.to_string().starts_with("127.0.0.9:"))
    };
    gateway.until("the other address", moved).await;
    client.send(&request).await;
    assert_eq!(within("a response", client.read("GET")).await.unwrap().status, 200, "on the same worker");
    assert_eq!(one.hits(), 2);

    dns.say("api.example.net", Says::NoSuchName);
    let told = |view: &View| view.problems().iter().any(|problem| problem.message.contains("no address"));
    gateway.until("the empty answer", told).await;
    client.send(&request).await;
    assert_eq!(
        within("a response", client.read("GET")).await.unwrap().status,
        200,
        "an empty answer changes nothing"
    );
}
