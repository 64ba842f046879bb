//! A gateway that reads a cluster.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::cluster::Cluster;
use limen_e2e::gateway::Gateway;
use limen_e2e::{h1, within};
use tokio::net::TcpStream;

const EDGE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
";

fn says(text: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: talk}}
spec:
  hosts: [talk.example.com]
  gateways: [edge]
  http: [{{directResponse: {{status: 200, body: {{string: {text}}}}}}}]
"
    )
}

type Connection = h1::Connection<TcpStream>;

async fn connect(gateway: &Gateway) -> Connection {
    h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap())
}

async fn ask(connection: &mut Connection) -> String {
    connection.send(&h1::request("GET", "/", "talk.example.com", &[], b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    format!("{} {}", reply.status, reply.text())
}

/// Asks until the answer is this one. Every answer before must be one of `former`.
async fn comes_to_say(gateway: &Gateway, answer: &str, former: &[&str]) {
    let mut connection = connect(gateway).await;
    let asking = async {
        loop {
            let now = ask(&mut connection).await;
            if now == answer {
                return;
            }
            assert!(former.contains(&&*now), "{now} while waiting for {answer}");
        }
    };
    within(answer, asking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_lives_and_ends_as_in_the_cluster() {
    let cluster = Cluster::new();
    cluster.apply(EDGE);
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let mut standing = connect(&gateway).await;
    assert_eq!(ask(&mut standing).await, "404 ");
    cluster.apply(&says("one"));
    comes_to_say(&gateway, "200 one", &["404 "]).await;
    cluster.apply(&says("two"));
    comes_to_say(&gateway, "200 two", &["200 one"]).await;
    assert_eq!(ask(&mut standing).await, "200 two", "on the connection that was open before");
    cluster.delete(&says(""));
    comes_to_say(&gateway, "404 ", &["200 two"]).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
}
