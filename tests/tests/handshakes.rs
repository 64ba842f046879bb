//! What is negotiated in handshakes: which of several certificates, which curve, which protocol; and the identity of the
//! mesh.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::tls::{Authority, Pair, base64, connect_with, peer_certificate};
use limen_e2e::{h1, within};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, ClientConfig, NamedGroup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HOST: &str = "talk.example.com";

/// A Gateway with that TLS block, and a route to the service `shop`.
fn config(tls: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['*'], tls: {{{tls}}}}}]
---
{{apiVersion: v1, kind: Service, metadata: {{name: shop}}, spec: {{ports: [{{name: http, port: 80}}]}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: talk}}
spec: {{hosts: [{HOST}], gateways: [edge], http: [{{route: [{{destination: {{host: shop}}}}]}}]}}
"
    )
}

fn secret(name: &str, pair: &Pair) -> String {
    let (certificate, key) = (base64(&pair.certificate), base64(&pair.key));
    format!(
        "---\n{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: istio-system}}, \
         data: {{tls.crt: {certificate}, tls.key: {key}}}}}\n"
    )
}

async fn start(text: &str, more: &[String]) -> (Gateway, Origin) {
    let origin = Origin::start(
        "shop",
        Script::Echo { statuses: vec![200], headers: Vec::new(), trailers: Vec::new() },
    )
    .await;
    let mut flags = vec!["--backend".to_owned(), format!("shop={}", origin.address)];
    flags.extend(more.iter().cloned());
    (Gateway::start(&[("edge.yaml", text)], &flags).await, origin)
}

/// A client of the authority's, changed.
fn client(authority: &Authority, alpn: &str, change: impl FnOnce(&mut CryptoProvider)) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    change(&mut provider);
    authority.client_of(provider, alpn)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_gets_the_certificate_that_it_can_verify() {
    let authority = Authority::new();
    let pairs = [authority.issue_rsa(&[HOST]), authority.issue(&[HOST])];
    let text = config("mode: SIMPLE, credentialNames: [rsa, ecdsa]");
    let text = format!("{text}{}{}", secret("rsa", &pairs[0]), secret("ecdsa", &pairs[1]));
    let (gateway, _origin) = start(&text, &[]).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    let suites = [
        (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, &pairs[0]),
        (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, &pairs[1]),
    ];
    for (suite, pair) in suites {
        let only = client(&authority, "http/1.1", |p| p.cipher_suites.retain(|known| known.suite() == suite));
        let stream = connect_with(only, gateway.address(443), HOST).await.unwrap();
        assert_eq!(peer_certificate(&stream), pair.der(), "{suite:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curves_are_those_that_are_written() {
    let authority = Authority::new();
    let text = config("mode: SIMPLE, credentialName: edge, ecdhCurves: [P-384, P-256]");
    let (gateway, _origin) =
        start(&format!("{text}{}", secret("edge", &authority.issue(&[HOST]))), &[]).await;
    let connect = |groups: &'static [NamedGroup]| {
        let config = client(&authority, "h2", |p| p.kx_groups.retain(|group| groups.contains(&group.name())));
        connect_with(config, gateway.address(443), HOST)
    };
    let stream = connect(&[NamedGroup::secp256r1, NamedGroup::secp384r1]).await.unwrap();
    let chosen = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert!([NamedGroup::secp256r1, NamedGroup::secp384r1].contains(&chosen), "{chosen:?}");
    assert!(connect(&[NamedGroup::X25519]).await.is_err(), "X25519 is not offered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_for_an_unknown_protocol_gets_none_and_is_served() {
    let authority = Authority::new();
    let text = config("mode: SIMPLE, credentialName: edge");
    let (gateway, _origin) =
        start(&format!("{text}{}", secret("edge", &authority.issue(&[HOST]))), &[]).await;
    let stream = connect_with(authority.client("postgresql"), gateway.address(443), HOST).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let mut connection = h1::Connection::new(stream);
    connection.send(&h1::request("GET", "/", HOST, &[], b"")).await;
    assert_eq!(within("a response", connection.read("GET")).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_from_files_serves_the_mesh_and_rotates() {
    let authority = Authority::new();
    let own = "spiffe://cluster.local/ns/istio-system/sa/gateway";
    let names = [HOST.to_owned(), own.to_owned()];
    let ann = authority.issue_client("ann", &["spiffe://cluster.local/ns/a/sa/ann".to_owned()]);
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let publish = || {
        let issued = authority.issue_client("gateway", &names);
        fs::write(path("key.pem"), &issued.pair.key).unwrap();
        fs::write(path("cert.pem"), &issued.pair.certificate).unwrap();
        issued
    };
    let first = publish();
    fs::write(path("root.pem"), authority.certificate()).unwrap();
    let flags =
        [("--identity-cert", "cert.pem"), ("--identity-key", "key.pem"), ("--identity-ca", "root.pem")];
    let flags = flags.map(|(flag, name)| [flag.to_owned(), path(name).to_string_lossy().into_owned()]);
    let (gateway, _origin) = start(&config("mode: ISTIO_MUTUAL"), &flags.concat()).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());

    let known = authority.client_with(Some(&ann.pair), "http/1.1");
    let stream = connect_with(known, gateway.address(443), HOST).await.unwrap();
    assert_eq!(peer_certificate(&stream), first.pair.der());
    let mut connection = h1::Connection::new(stream);
    connection.send(&h1::request("GET", "/", HOST, &[], b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    let seen = reply.seen()["headers"]["x-forwarded-client-cert"].as_str().unwrap().to_owned();
    assert!(seen.starts_with(&format!("By={own};Hash=")), "{seen}");
    assert!(seen.ends_with(";URI=spiffe://cluster.local/ns/a/sa/ann"), "{seen}");

    let stranger = async {
        let stream = connect_with(authority.client("http/1.1"), gateway.address(443), HOST).await?;
        let mut connection = h1::Connection::new(stream);
        connection.send(&h1::request("GET", "/", HOST, &[], b"")).await;
        connection.read("GET").await
    };
    assert!(within("the refusal", stranger).await.is_err(), "who has no identity does not come in");

    let second = publish();
    let der = second.pair.der();
    let now = |view: &limen::view::View| {
        let mut served = view.ir.certificates.values();
        served.any(|served| served.chain_pem == second.pair.certificate) && view.problems().is_empty()
    };
    gateway.until("the new identity", now).await;
    // One that remembers a session would be shown what it saw then.
    let new = authority.client_with(Some(&ann.pair), "http/1.1");
    let stream = connect_with(new, gateway.address(443), HOST).await.unwrap();
    assert_eq!(peer_certificate(&stream), der);
}

/// A Gateway that hands TLS of the mesh on as bytes, and its origin, which says what it heard.
async fn start_mesh_tcp(authority: &Authority, home: &std::path::Path) -> (Gateway, Origin) {
    let issued = authority.issue_client("gateway", &[HOST.to_owned()]);
    let files =
        [("cert", &issued.pair.certificate), ("key", &issued.pair.key), ("ca", &authority.certificate())];
    let mut flags = Vec::new();
    for (what, pem) in files {
        let path = home.join(what);
        fs::write(&path, pem).unwrap();
        flags.extend([format!("--identity-{what}"), path.to_string_lossy().into_owned()]);
    }
    let origin = Origin::start("db", Script::Talk).await;
    flags.extend(["--backend".to_owned(), format!("db={}", origin.address)]);
    let text = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec: {servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: ['*'], tls: {mode: ISTIO_MUTUAL}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec:
  hosts: ['*']
  gateways: [edge]
  tcp: [{route: [{destination: {host: db.default.svc.cluster.local, port: {number: 1}}}]}]
";
    (Gateway::start(&[("edge.yaml", text)], &flags).await, origin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_the_mesh_tells_of_itself_and_is_told_before_the_bytes_of_who_is_behind() {
    let (authority, home) = (Authority::new(), tempfile::tempdir().unwrap());
    let ann = authority.issue_client("ann", &["spiffe://cluster.local/ns/a/sa/ann".to_owned()]);
    let (gateway, _origin) = start_mesh_tcp(&authority, home.path()).await;
    let connect =
        |alpn| connect_with(authority.client_with(Some(&ann.pair), alpn), gateway.address(443), HOST);
    let mark = 0x3D23_0467_u32.to_be_bytes();
    let told = [&mark[..], &5_u32.to_be_bytes(), b"about"].concat();
    let rest = |heard: &[u8]| {
        let (begin, rest) = heard.split_at(8);
        assert_eq!(begin[..4], mark, "{heard:?}");
        let length = u32::from_be_bytes(begin[4..].try_into().unwrap()) as usize;
        let (own, rest) = rest.split_at(length);
        let own = String::from_utf8_lossy(own).into_owned();
        for part in ["google.protobuf.Struct", "x-envoy-peer-metadata", "istio-ingressgateway", "router~"] {
            assert!(own.contains(part), "{part} in {own:?}");
        }
        String::from_utf8_lossy(rest).into_owned()
    };

    let mut stream = connect("istio-peer-exchange").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"istio-peer-exchange"[..]));
    // The gateway tells of itself unasked: a peer behind which the server speaks first waits for that.
    let mut begin = [0; 4];
    within("the mark", stream.read_exact(&mut begin)).await.unwrap();
    stream.write_all(&told).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = begin.to_vec();
    within("the end", stream.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(rest(&heard), "db heard hello");

    let mut stream = connect("istio-peer-exchange").await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    within("the end", stream.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(rest(&heard), "db heard hello", "one that does not tell of itself");

    let mut stream = connect("h2").await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    within("the end", stream.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "db heard hello", "who agreed on another protocol is told nothing");
}
