//! A gateway that reads. Each reads the namespace of its own test, so that they may do so at the same time.

use limen::view::View;
use limen_e2e::gateway::Gateway;
use limen_e2e::server::{Server, manifest, rights_of};
use limen_e2e::tls::{Authority, base64, peer_certificate};
use rustls::pki_types::CertificateDer;
use serde_json::json;

use super::{kinds_change, kinds_stay};
use crate::kube::SECURE;
use crate::talk::{EDGE, ask, comes_to_hear, comes_to_say, connect, says};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_lives_and_ends_as_in_the_cluster() {
    let (_stay, server) = (kinds_stay().await, Server::start("lives").await);
    server.apply(EDGE).await;
    let gateway = Gateway::start_with(&server.flags()).await;
    let mut standing = connect(&gateway).await;
    assert_eq!(ask(&mut standing).await, "404 ");
    server.apply(&says("one")).await;
    comes_to_say(&gateway, "200 one", &["404 "]).await;
    server.apply(&says("two")).await;
    comes_to_say(&gateway, "200 two", &["404 ", "200 one"]).await;
    // On the connection that was open before.
    comes_to_hear(&mut standing, "200 two", &["404 ", "200 one"]).await;
    server.delete(&says("")).await;
    comes_to_say(&gateway, "404 ", &["200 one", "200 two"]).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
}

pub(super) const API: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: limen}
spec: {controllerName: limen.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: limen, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: talk}
spec:
  parentRefs: [{name: edge}]
  hostnames: [talk.example.com]
  rules:
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: api.example.com, statusCode: 302}}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_of_the_gateway_api_is_served() {
    let (_stay, server) = (kinds_stay().await, Server::start("api").await);
    server.apply(API).await;
    let gateway = Gateway::start_with(&server.flags()).await;
    comes_to_say(&gateway, "302 ", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_objects_than_fit_on_a_page_are_all_there_when_it_is_ready() {
    let (_stay, server) = (kinds_stay().await, Server::start("many").await);
    server.apply(EDGE).await;
    let many = (0..1203).map(|number| {
        says("one")
            .replace("name: talk", &format!("name: talk-{number}"))
            .replace("talk.example.com", &format!("talk{number}.example.com"))
    });
    server.create_all(many).await;
    let gateway = Gateway::start_with(&server.flags()).await;
    assert_eq!(gateway.running.view().snapshot.virtual_services().len(), 1203);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_comes_back_is_found_with_its_objects() {
    const ENTRIES: &str = "serviceentries.networking.istio.io";
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec: {hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}
";
    let (_change, server) = (kinds_change().await, Server::start("back").await);
    server.apply(EDGE).await;
    server.apply(&says("one")).await;
    let definition = server.uninstall(ENTRIES).await;
    let gateway = Gateway::start_with(&server.flags()).await;
    comes_to_say(&gateway, "200 one", &[]).await;
    server.install(&definition).await;
    server.until_served(ENTRIES).await;
    server.apply(entry).await;
    gateway.until("the kind", |view| view.snapshot.service_entries().len() == 1).await;
}

/// A Secret with a new certificate, and that certificate.
fn secret(authority: &Authority) -> (String, CertificateDer<'static>) {
    let pair = authority.issue(&["talk.example.com"]);
    let (certificate, key) = (base64(&pair.certificate), base64(&pair.key));
    let data = json!({"tls.crt": certificate, "tls.key": key});
    let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "edge"}, "data": data});
    (object.to_string(), pair.der())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_missing_is_an_answer_comes_later_and_is_followed() {
    let (_stay, server) = (kinds_stay().await, Server::start("late").await);
    server.apply(SECURE).await;
    let gateway = Gateway::start_with(&server.flags()).await;
    let problems = gateway.problems().join("\n");
    assert!(problems.contains("/secure"), "{problems}");
    let authority = Authority::new();
    let (first, first_der) = secret(&authority);
    server.apply(&first).await;
    let whole = |view: &View| !view.ir.certificates.is_empty() && view.problems().is_empty();
    gateway.until("the certificate", whole).await;
    let shown = async || {
        let stream = authority.connect(gateway.address(443), "talk.example.com", "http/1.1").await.unwrap();
        peer_certificate(&stream)
    };
    assert_eq!(shown().await, first_der);
    let before = gateway.running.view().generation;
    let (second, second_der) = secret(&authority);
    server.apply(&second).await;
    gateway.until("the new certificate", |view| view.generation > before).await;
    assert_eq!(shown().await, second_der);
}

/// Whatever the account may not do, it says.
pub(super) fn refused(gateway: &Gateway) -> Vec<String> {
    gateway.problems().into_iter().filter(|problem| problem.contains("forbidden")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_of_the_manifest_may_read_all_that_it_needs() {
    let (_stay, server) = (kinds_stay().await, Server::start("manifest").await);
    let account = server.account(&manifest()).await;
    let authority = Authority::new();
    let (secret, certificate) = secret(&authority);
    for text in [EDGE, SECURE, &says("one"), API, &secret] {
        server.apply(text).await;
    }
    let gateway = Gateway::start_with(&account.flags()).await;
    let stream = authority.connect(gateway.address(443), "talk.example.com", "http/1.1").await.unwrap();
    assert_eq!(peer_certificate(&stream), certificate);
    assert_eq!(refused(&gateway), Vec::<String>::new());
    // And no more than that.
    let path = server.path("secrets.");
    assert_eq!(account.get(&format!("{path}/edge")).await.0, 403);
    let others = format!("/api/v1/namespaces/{}/serviceaccounts", server.namespace);
    assert_eq!(account.get(&others).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_to_secrets_may_be_narrowed_to_names() {
    let (_stay, server) = (kinds_stay().await, Server::start("narrowed").await);
    let mut narrowed = manifest();
    let role = narrowed.iter_mut().find(|document| document["kind"] == "ClusterRole").unwrap();
    let rules = role["rules"].as_array_mut().unwrap();
    for rule in rules.iter_mut() {
        rule["resources"].as_array_mut().unwrap().retain(|resource| resource != "secrets");
    }
    rules.push(json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["edge", "edge-cacert"],
        "verbs": ["list", "watch"]}));
    for object in &mut narrowed {
        let namespaced = object["metadata"].get("namespace").is_some();
        let subject = object.pointer_mut("/subjects/0/namespace").filter(|space| space.is_string());
        subject.into_iter().for_each(|space| *space = server.namespace.clone().into());
        if namespaced {
            object["metadata"]["namespace"] = server.namespace.clone().into();
        } else {
            object["metadata"]["name"] = server.namespace.clone().into();
        }
        if object["kind"] == "ClusterRoleBinding" {
            object["roleRef"]["name"] = server.namespace.clone().into();
        }
    }
    assert_eq!(rights_of(&narrowed), rights_of(&manifest()), "but for the names");
    let account = server.account(&narrowed).await;
    let authority = Authority::new();
    let (secret, certificate) = secret(&authority);
    for text in [SECURE, &secret] {
        server.apply(text).await;
    }
    let gateway = Gateway::start_with(&account.flags()).await;
    let stream = authority.connect(gateway.address(443), "talk.example.com", "http/1.1").await.unwrap();
    assert_eq!(peer_certificate(&stream), certificate);
    assert_eq!(refused(&gateway), Vec::<String>::new());
    if server.real() {
        // The double has no rights to names.
        assert_eq!(account.get(&server.path("secrets.")).await.0, 403);
    }
}
