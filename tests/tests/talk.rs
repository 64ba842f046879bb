//! A Gateway with one host that says a text, and a client that asks for it: for tests of what changes while it runs.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::gateway::Gateway;
use limen_e2e::{h1, within};
use tokio::net::TcpStream;

/// The Gateway of one port.
pub(crate) const EDGE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
";

/// A VirtualService whose every answer is this text.
pub(crate) fn says(text: &str) -> String {
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

/// A client.
pub(crate) type Connection = h1::Connection<TcpStream>;

pub(crate) async fn connect(gateway: &Gateway) -> Connection {
    h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap())
}

/// The status and the text of an answer.
pub(crate) async fn ask(connection: &mut Connection) -> String {
    connection.send(&h1::request("GET", "/", "talk.example.com", &[], b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    format!("{} {}", reply.status, reply.text())
}

/// Asks until the answer is this one. Every answer before must be one of `former`: workers do not change in one moment.
pub(crate) async fn comes_to_say(gateway: &Gateway, answer: &str, former: &[&str]) {
    comes_to_hear(&mut connect(gateway).await, answer, former).await;
}

/// The same on this connection.
pub(crate) async fn comes_to_hear(connection: &mut Connection, answer: &str, former: &[&str]) {
    let asking = async {
        loop {
            let now = ask(connection).await;
            if now == answer {
                return;
            }
            assert!(former.contains(&&*now), "{now} while waiting for {answer}");
        }
    };
    within(answer, asking).await;
}
