//! A gateway that writes back.

use limen_e2e::gateway::Gateway;
use limen_e2e::server::{Server, manifest};
use limen_e2e::within;
use serde_json::Value;

use super::kinds_stay;
use super::reads::{API, refused};
use crate::talk::{EDGE, says};

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: limen
  rules: [{host: web.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: http, port: 80}]}
";

/// What is told at `at` in an object, once `wanted` takes it.
async fn said(
    server: &Server,
    (kind, name): (&str, &str),
    at: &str,
    wanted: impl Fn(&Value) -> bool,
) -> (Value, Value) {
    let path = format!("{}/{name}", server.path(kind));
    within(&format!("{path} {at}"), async {
        loop {
            let (code, object) = server.get(&path).await;
            assert_eq!(code, 200, "{object}");
            if let Some(said) = object.pointer(at).filter(|said| wanted(said)) {
                return (said.clone(), object);
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Are all of these conditions true, and of this version of the object?
fn holds(conditions: &Value, object: &Value, names: &[&str]) {
    for name in names {
        let one = conditions.as_array().unwrap().iter().find(|one| one["type"] == *name);
        let one = one.unwrap_or_else(|| panic!("there is no {name} in {conditions}"));
        assert_eq!(one["status"], "True", "{one}");
        assert_eq!(one["observedGeneration"], object["metadata"]["generation"], "{one}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_is_said_of_objects_of_each_api_with_the_rights_of_the_manifest() {
    let (_stay, server) = (kinds_stay().await, Server::start("says").await);
    let account = server.account(&manifest()).await;
    for text in [EDGE, &says("one"), &API.replace("talk.example.com", "routed.example.com"), INGRESS] {
        server.apply(text).await;
    }
    let gateway = Gateway::start_with(&account.flags()).await;
    let gateways = ("gateways.gateway.networking.k8s.io", "edge");
    said(&server, gateways, "/status/listeners/0", |listener| listener["attachedRoutes"] == 1).await;
    let (conditions, object) = said(&server, gateways, "/status/conditions", Value::is_array).await;
    holds(&conditions, &object, &["Accepted", "Programmed"]);
    let routes = ("httproutes.gateway.networking.k8s.io", "talk");
    let (conditions, object) = said(&server, routes, "/status/parents/0/conditions", Value::is_array).await;
    holds(&conditions, &object, &["Accepted", "ResolvedRefs"]);
    for (kind, name, condition) in [
        ("gateways.networking.istio.io", "edge", "Programmed"),
        ("virtualservices.networking.istio.io", "talk", "Accepted"),
    ] {
        let (conditions, object) = said(&server, (kind, name), "/status/conditions", Value::is_array).await;
        // A group that is not the only one says which it is.
        holds(&conditions, &object, &[&format!("{}/{condition}", server.namespace)]);
    }
    let ingresses = ("ingresses.networking.k8s.io", "web");
    let (address, _) = said(&server, ingresses, "/status/loadBalancer/ingress/0/ip", Value::is_string).await;
    assert_eq!(address, "127.0.0.1");
    assert_eq!(refused(&gateway), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_becomes_an_event_with_the_rights_of_the_manifest() {
    let (_stay, server) = (kinds_stay().await, Server::start("events").await);
    let account = server.account(&manifest()).await;
    server.apply(EDGE).await;
    server.apply(&says("one").replace("[edge]", "[absent]")).await;
    let gateway = Gateway::start_with(&account.flags()).await;
    let path = server.path("events.");
    let event = within("an event", async {
        loop {
            let (code, events) = server.get(&path).await;
            assert_eq!(code, 200);
            let all = events["items"].as_array().cloned().unwrap_or_default();
            if let Some(event) = all.into_iter().find(|event| event["involvedObject"]["name"] == "talk") {
                return event;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (_, route) =
        server.get(&format!("{}/talk", server.path("virtualservices.networking.istio.io"))).await;
    assert_eq!(event["involvedObject"]["uid"], route["metadata"]["uid"]);
    assert_eq!(event["type"], "Warning");
    assert!(event["message"].as_str().unwrap().contains("absent"), "{event}");
    assert_eq!(refused(&gateway), Vec::<String>::new());
}
