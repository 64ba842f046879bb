//! Clients' certificates while the gateway runs: what a tighter policy ends, and what a ticket is not good for.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use limen_e2e::gateway::Gateway;
use limen_e2e::tls::{Authority, Pair, base64, connect_with};
use limen_e2e::{h1, within};
use rustls::{ClientConfig, HandshakeKind};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const HOST: &str = "talk.example.com";

/// A server in that mode, with the CA and what it revoked.
fn config(mode: &str, pair: &Pair, authority: &Authority, revoked: &[u64]) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: [{HOST}]
    tls: {{mode: {mode}, credentialName: talk}}
---
apiVersion: v1
kind: Secret
metadata: {{name: talk, namespace: istio-system}}
data: {{tls.crt: {}, tls.key: {}, ca.crt: {}, ca.crl: {}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: talk}}
spec: {{hosts: [{HOST}], gateways: [edge], http: [{{directResponse: {{status: 200}}}}]}}
",
        base64(&pair.certificate),
        base64(&pair.key),
        base64(authority.certificate()),
        base64(authority.revoke(revoked)),
    )
}

struct Client(h1::Connection<TlsStream<TcpStream>>, HandshakeKind);

impl Client {
    async fn connect(config: &Arc<ClientConfig>, to: SocketAddr) -> Result<Client, String> {
        let stream = connect_with(config.clone(), to, HOST).await?;
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        Ok(Client(h1::Connection::new(stream), kind))
    }

    async fn ask(&mut self) -> Result<u16, String> {
        self.0.send(&h1::request("GET", "/", HOST, &[], b"")).await;
        within("a response", self.0.read("GET")).await.map(|reply| reply.status)
    }
}

async fn change(gateway: &Gateway, what: &str, text: &str) {
    let before = gateway.running.view().generation;
    gateway.write("edge.yaml", text);
    gateway.until(what, |view| view.generation > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_and_a_connection_of_a_simple_server_are_no_good_once_it_is_mutual() {
    let authority = Authority::new();
    let (pair, ann) = (authority.issue(&[HOST]), authority.issue_client("ann", &[]));
    let gateway = Gateway::start(&[("edge.yaml", &config("SIMPLE", &pair, &authority, &[]))], &[]).await;
    let address = gateway.address(443);
    let anonymous = authority.client("http/1.1");
    let mut first = Client::connect(&anonymous, address).await.unwrap();
    assert_eq!(first.ask().await, Ok(200));
    let mut standing = Client::connect(&anonymous, address).await.unwrap();
    assert_eq!(standing.1, HandshakeKind::Resumed, "tickets are given and taken");
    assert_eq!(standing.ask().await, Ok(200));

    change(&gateway, "the stricter mode", &config("MUTUAL", &pair, &authority, &[])).await;
    within("the anonymous connection to end", standing.0.end()).await.unwrap();
    let again = async { Client::connect(&anonymous, address).await?.ask().await };
    assert!(again.await.is_err(), "the ticket opens nothing, and without a certificate nobody comes in");
    let known = authority.client_with(Some(&ann.pair), "http/1.1");
    assert_eq!(Client::connect(&known, address).await.unwrap().ask().await, Ok(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_client_loses_its_connection_and_its_ticket_and_others_keep_theirs() {
    let authority = Authority::new();
    let pair = authority.issue(&[HOST]);
    let (ann, bob) = (authority.issue_client("ann", &[]), authority.issue_client("bob", &[]));
    let gateway = Gateway::start(&[("edge.yaml", &config("MUTUAL", &pair, &authority, &[]))], &[]).await;
    let address = gateway.address(443);
    let clients = [&ann, &bob].map(|client| authority.client_with(Some(&client.pair), "http/1.1"));
    let mut standing = Vec::new();
    for client in &clients {
        assert_eq!(Client::connect(client, address).await.unwrap().ask().await, Ok(200));
        let mut resumed = Client::connect(client, address).await.unwrap();
        assert_eq!(resumed.1, HandshakeKind::Resumed);
        assert_eq!(resumed.ask().await, Ok(200));
        standing.push(resumed);
    }

    change(&gateway, "the revocation", &config("MUTUAL", &pair, &authority, &[bob.serial])).await;
    within("the revoked client's connection to end", standing[1].0.end()).await.unwrap();
    assert_eq!(standing[0].ask().await, Ok(200), "the other client's goes on");
    let [ann, bob] = &clients;
    assert!(async { Client::connect(bob, address).await?.ask().await }.await.is_err());
    let mut again = Client::connect(ann, address).await.unwrap();
    assert_eq!(again.1, HandshakeKind::Full, "a ticket is good for the policy that issued it");
    assert_eq!(again.ask().await, Ok(200));
}
