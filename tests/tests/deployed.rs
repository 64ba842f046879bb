//! Gateways with instances of their own: those instances, and who makes them.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::cluster::Cluster;
use limen_e2e::gateway::Gateway;
use serde_json::Value;

const CLASS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: limen-deployed}
spec: {controllerName: limen.dev/gateway-deployer}
";

fn api_gateway(name: &str, port: u16) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  gatewayClassName: limen-deployed
  listeners: [{{name: http, port: {port}, protocol: HTTP}}]
  allowedListeners: {{namespaces: {{from: Same}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {{name: {name}-more}}
spec:
  parentRef: {{name: {name}}}
  listeners: [{{name: http, port: 9000, protocol: HTTP}}]
"
    )
}

fn route(name: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: a}}, {{name: b}}, {{name: a-more, kind: ListenerSet}}, {{name: b-more, kind: ListenerSet}}]
  hostnames: [{name}.example.com]
  rules: [{{filters: [{{type: RequestRedirect, requestRedirect: {{hostname: other.example.com}}}}]}}]
"
    )
}

/// An instance of the group that serves the Gateway of that name.
async fn instance_for(cluster: &Cluster, gateway: &str) -> Gateway {
    let only = format!("default/{gateway}");
    let flags =
        ["--gateway-controller", "limen.dev/gateway-deployer", "--only-gateway", &only, "--group", gateway];
    Gateway::start_kube(cluster, &flags.map(str::to_owned)).await
}

/// Whose entries a route has, by the parent that they are about.
fn parents(cluster: &Cluster, name: &str) -> Vec<String> {
    let route = cluster.get("httproutes", "default", name).unwrap();
    let all = route["status"]["parents"].as_array().cloned().unwrap_or_default();
    let parent = |entry: &Value| entry["parentRef"]["name"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = all.iter().map(parent).collect();
    names.sort();
    names
}

fn status(cluster: &Cluster, gateway: &str) -> Value {
    cluster.get("gateways.gateway.networking.k8s.io", "default", gateway).unwrap()["status"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_groups_serve_a_gateway_each_and_let_be_what_the_other_says() {
    let cluster = Cluster::new();
    [CLASS, &api_gateway("a", 80), &api_gateway("b", 8080), &route("web")]
        .into_iter()
        .for_each(|text| cluster.apply(text));
    let (first, second) = (instance_for(&cluster, "a").await, instance_for(&cluster, "b").await);
    let ports = |gateway: &Gateway| {
        let applied = gateway.running.view().applied.clone();
        applied.listeners.iter().map(|listener| listener.declared).collect::<Vec<u16>>()
    };
    assert_eq!((ports(&first), ports(&second)), (vec![80, 9000], vec![8080, 9000]));
    let all = ["a", "a-more", "b", "b-more"];
    cluster.until("entries of both", |cluster| parents(cluster, "web") == all).await;
    let attached =
        |cluster: &Cluster, gateway: &str| status(cluster, gateway)["listeners"][0]["attachedRoutes"].clone();
    let both = |cluster: &Cluster, count: u64| ["a", "b"].iter().all(|one| attached(cluster, one) == count);
    cluster.until("both Gateways", |cluster| both(cluster, 1)).await;
    let before = cluster.writes().len();
    // What comes after a change is written after all that was to be written before it.
    cluster.apply(&route("more"));
    cluster.until("entries of both", |cluster| parents(cluster, "more") == all && both(cluster, 2)).await;
    let mut since: Vec<String> = cluster.writes().into_iter().skip(before).collect();
    since.retain(|line| line.contains("httproutes/status"));
    assert_eq!(since, ["update httproutes/status default/more"; 2]);
    // One Gateway goes: what was said for it goes, and nothing else.
    cluster.delete(&api_gateway("a", 80));
    cluster
        .until("the others' to be left", |cluster| parents(cluster, "web") == ["a-more", "b", "b-more"])
        .await;
    first.stop().await;
    second.stop().await;
}
