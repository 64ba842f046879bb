//! Gateways with instances of their own: those instances, and who makes them.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::cluster::Cluster;
use limen_e2e::gateway::Gateway;
use limen_e2e::server::{deployer_manifest, manifest, rights_of};
use limen_resources::Kind;
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
    instance_of(cluster, gateway, gateway).await
}

async fn instance_of(cluster: &Cluster, group: &str, gateway: &str) -> Gateway {
    let (only, label) = (format!("default/{gateway}"), format!("limen.dev/group={group}"));
    let flags = [
        ["--gateway-controller", "limen.dev/gateway-deployer"],
        ["--only-gateway", &only],
        ["--group", group],
        ["--instance", "one"],
        ["--workload-namespace", "default"],
        ["--labels", &label],
    ];
    let flags: Vec<String> = flags.concat().into_iter().map(str::to_owned).collect();
    Gateway::start_kube(cluster, &flags).await
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

/// What the gateway is started with that makes instances for others.
fn deploying() -> Vec<String> {
    ["--deploy-image", "registry.example.com/limen:1", "--workload-namespace", "default"]
        .map(str::to_owned)
        .into()
}

/// A Gateway that names parameters.
fn with_parameters(gateway: &str) -> String {
    gateway.replace(
        "  listeners: [{name: http, port: 80",
        "  infrastructure: {parametersRef: {group: '', kind: ConfigMap, name: a}}\n  listeners: [{name: http, port: 80",
    )
}

/// Those parameters.
fn parameters(data: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{{data}}}}}")
}

/// Parameters that ask for all that may be asked for.
const SCALING: &str =
    "horizontalPodAutoscaler: 'spec: {maxReplicas: 3}', podDisruptionBudget: 'spec: {minAvailable: 1}'";

/// What was made of this kind last.
fn made(cluster: &Cluster, plural: &str) -> Option<Value> {
    let begin = format!("apply {plural} default/");
    let writes = cluster.writes();
    let name = writes.iter().rev().find_map(|line| line.strip_prefix(&begin))?;
    cluster.get(plural, "default", name)
}

fn writes_of(cluster: &Cluster, plural: &str) -> Vec<String> {
    let mut writes = cluster.writes();
    writes.retain(|line| line.split(' ').nth(1) == Some(plural));
    writes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_gets_a_deployment_and_a_service_which_are_mended_and_go_with_it() {
    let cluster = Cluster::new();
    [CLASS, &api_gateway("a", 80)].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &deploying()).await;
    let image = |cluster: &Cluster| {
        let made = made(cluster, "deployments")?;
        Some(made["spec"]["template"]["spec"]["containers"][0]["image"].clone())
    };
    let right =
        |cluster: &Cluster| image(cluster).is_some_and(|image| image == "registry.example.com/limen:1");
    let leads = |cluster: &Cluster| {
        let ports =
            made(cluster, "services").map(|service| service["spec"]["ports"].clone()).unwrap_or_default();
        ports.as_array().is_some_and(|ports| ports.len() == 2) && ports[0]["port"] == 80
    };
    cluster.until("what is made", |cluster| right(cluster) && leads(cluster)).await;
    assert!(gateway.running.view().applied.listeners.is_empty(), "it is not bound here");
    // Somebody else's hand in what was made.
    let mut touched = made(&cluster, "deployments").unwrap();
    touched["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    touched["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/other".into();
    cluster.apply(&touched.to_string());
    cluster.until("the image to be put right", right).await;
    let mut touched = made(&cluster, "services").unwrap();
    touched["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    touched["spec"]["ports"] = serde_json::json!([]);
    cluster.apply(&touched.to_string());
    cluster.until("the ports to be put right", leads).await;
    // A listener more changes the Service, and not the Pods.
    let before = (writes_of(&cluster, "deployments").len(), writes_of(&cluster, "services").len());
    assert_eq!(before, (2, 2), "{:?}", cluster.writes());
    cluster.apply(&api_gateway("a", 8080));
    cluster
        .until("the other port", |cluster| {
            made(cluster, "services").unwrap()["spec"]["ports"][0]["port"] == 8080
        })
        .await;
    cluster.apply(&api_gateway("a", 8080).replace("limen-deployed", "another"));
    let gone =
        |cluster: &Cluster| made(cluster, "deployments").is_none() && made(cluster, "services").is_none();
    cluster.until("that all goes with the class", gone).await;
    assert_eq!(writes_of(&cluster, "deployments").len(), 3, "{:?}", cluster.writes());
    assert_eq!(writes_of(&cluster, "services").len(), 4, "{:?}", cluster.writes());
    cluster.apply(&api_gateway("a", 8080));
    cluster.until("that all comes back", |cluster| made(cluster, "deployments").is_some()).await;
    cluster.delete(&api_gateway("a", 8080));
    cluster.until("that all goes with the Gateway", gone).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_has_made_under_the_name_stays_as_it_is() {
    let cluster = Cluster::new();
    [CLASS, &api_gateway("a", 80)].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &deploying()).await;
    cluster.until("a name", |cluster| made(cluster, "deployments").is_some()).await;
    let name = made(&cluster, "deployments").unwrap()["metadata"]["name"].clone();
    gateway.stop().await;
    let foreign = format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{replicas: 7}}}}"
    );
    let cluster = Cluster::new();
    [CLASS, &api_gateway("a", 80), &foreign].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &deploying()).await;
    cluster.until("the Service", |cluster| made(cluster, "services").is_some()).await;
    let problems = gateway.problems().join("\n");
    assert!(problems.contains("is somebody else's"), "{problems}");
    cluster.delete(&api_gateway("a", 80));
    cluster.until("the Service to go", |cluster| made(cluster, "services").is_none()).await;
    gateway.stop().await;
    assert_eq!(writes_of(&cluster, "deployments"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_its_manifest_are_enough_for_who_makes_instances_and_each_is_used() {
    let cluster = Cluster::new();
    let more = rights_of(&deployer_manifest());
    cluster.allow(rights_of(&manifest()).union(&more).cloned().collect());
    let own = with_parameters(&api_gateway("a", 80));
    [CLASS, &parameters(SCALING), &own].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &deploying()).await;
    let all = ["deployments", "services", "horizontalpodautoscalers", "poddisruptionbudgets"];
    cluster.until("what is made", |cluster| all.iter().all(|plural| made(cluster, plural).is_some())).await;
    cluster.delete(&own);
    cluster.until("that it goes", |cluster| all.iter().all(|plural| made(cluster, plural).is_none())).await;
    let unused = |cluster: &Cluster| more.difference(&cluster.seen()).cloned().collect::<Vec<_>>();
    cluster.until("every right to be used", |cluster| unused(cluster).is_empty()).await;
    // They are rights of one namespace.
    let mut places: Vec<String> = cluster.asked().into_iter().collect();
    places.retain(|asked| more.iter().any(|(_, plural, _)| asked.split(' ').nth(1) == Some(plural)));
    assert!(
        !places.is_empty() && places.iter().all(|asked| asked.split(' ').nth(2) == Some("default")),
        "{places:?}"
    );
    let problems = gateway.problems();
    assert!(
        problems.iter().all(|problem| !problem.contains("LIM0014") && !problem.contains("LIM0015")),
        "{problems:?}"
    );
    gateway.stop().await;
}

/// `status reason message` of a condition of a Gateway.
fn condition(cluster: &Cluster, gateway: &str, name: &str) -> String {
    let status = status(cluster, gateway);
    let found = status["conditions"].as_array().and_then(|all| all.iter().find(|one| one["type"] == name));
    let text = |field: &str| found.and_then(|one| one[field].as_str()).unwrap_or_default().to_owned();
    ["status", "reason", "message"].map(text).join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_makes_instances_speaks_of_their_gateway_only_as_long_as_they_are_not_there() {
    let cluster = Cluster::new();
    [CLASS, &api_gateway("a", 80)].into_iter().for_each(|text| cluster.apply(text));
    let maker = Gateway::start_kube(&cluster, &deploying()).await;
    let programmed = |cluster: &Cluster| condition(cluster, "a", "Programmed");
    let absent = "False Pending none of the instances that are made for it is there";
    cluster.until("that nobody is there", |cluster| programmed(cluster) == absent).await;
    assert_eq!(condition(&cluster, "a", "Accepted"), "Unknown Pending its own instances judge it");
    let class = cluster.get("gatewayclasses", "", "limen-deployed").unwrap();
    assert_eq!(class["status"]["conditions"][0]["status"], "True");
    let mut service = made(&cluster, "services").unwrap();
    let group = service["metadata"]["name"].as_str().unwrap().to_owned();
    let instance = instance_of(&cluster, &group, "a").await;
    let waits = "False AddressNotAssigned its Service has no address yet";
    cluster.until("the instance", |cluster| programmed(cluster) == waits).await;
    // The balancer comes.
    service["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    service["status"] = serde_json::json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
    cluster.apply(&service.to_string());
    let served = "True Programmed its listeners are served, by 1/1 instances";
    cluster.until("the address", |cluster| programmed(cluster) == served).await;
    let writes =
        |cluster: &Cluster| cluster.writes().iter().filter(|line| line.contains("gateways/status")).count();
    let before = writes(&cluster);
    cluster.apply(&route("web"));
    let attached = |cluster: &Cluster| status(cluster, "a")["listeners"][0]["attachedRoutes"] == 1;
    cluster.until("the route", attached).await;
    assert_eq!(writes(&cluster), before + 1, "{:?}", cluster.writes());
    instance.stop().await;
    cluster.until("that nobody is there again", |cluster| programmed(cluster) == absent).await;
    assert_eq!(status(&cluster, "a")["addresses"][0]["value"], "192.0.2.7", "clients find it all the same");
    maker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_instances_leave_behind_is_cleared_away_by_who_made_them() {
    let cluster = Cluster::new();
    let both = [api_gateway("a", 80), api_gateway("b", 8080)];
    [CLASS, &both[0], &both[1], &route("web")].into_iter().for_each(|text| cluster.apply(text));
    let maker = Gateway::start_kube(&cluster, &deploying()).await;
    cluster.until("what is made", |cluster| writes_of(cluster, "services").len() == 2).await;
    let services = writes_of(&cluster, "services");
    let group = |gateway: &str| {
        let own = services.iter().find(|line| line.contains(&format!("/{gateway}-limen-deployed"))).unwrap();
        own.rsplit('/').next().unwrap().to_owned()
    };
    let (first, second) =
        (instance_of(&cluster, &group("a"), "a").await, instance_of(&cluster, &group("b"), "b").await);
    let all = ["a", "a-more", "b", "b-more"];
    cluster.until("entries of both", |cluster| parents(cluster, "web") == all).await;
    first.stop().await;
    cluster.delete(&api_gateway("a", 80));
    cluster.until("its entries to go", |cluster| parents(cluster, "web") == ["b", "b-more"]).await;
    let lease = |cluster: &Cluster| cluster.get("leases", "default", &group("a"));
    cluster.until("its Lease to go", |cluster| lease(cluster).is_none()).await;
    assert!(cluster.get("leases", "default", &group("b")).is_some());
    second.stop().await;
    maker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_change_what_is_made_and_wrong_ones_leave_it_as_it_was() {
    let cluster = Cluster::new();
    let gateway = with_parameters(&api_gateway("a", 80));
    [CLASS, &gateway].into_iter().for_each(|text| cluster.apply(text));
    let maker = Gateway::start_kube(&cluster, &deploying()).await;
    let accepted = |cluster: &Cluster| condition(cluster, "a", "Accepted");
    let absent = "False InvalidParameters there is no ConfigMap default/a";
    cluster.until("that they are not there", |cluster| accepted(cluster) == absent).await;
    assert_eq!(writes_of(&cluster, "deployments"), Vec::<String>::new());
    cluster.apply(&parameters("replicas: '3', type: NodePort"));
    let replicas =
        |cluster: &Cluster| made(cluster, "deployments").map(|made| made["spec"]["replicas"].clone());
    cluster.until("three replicas", |cluster| replicas(cluster).is_some_and(|count| count == 3)).await;
    cluster.until("the Service", |cluster| made(cluster, "services").is_some()).await;
    assert_eq!(made(&cluster, "services").unwrap()["spec"]["type"], "NodePort");
    cluster.until("that they are right", |cluster| accepted(cluster).starts_with("Unknown Pending")).await;
    let before = (writes_of(&cluster, "deployments"), writes_of(&cluster, "services"));
    cluster.apply(&parameters("replicas: '4', image: example.com/mine"));
    let wrong = "False InvalidParameters `image` is not for a Gateway to say";
    cluster.until("that they are wrong", |cluster| accepted(cluster).starts_with(wrong)).await;
    maker.stop().await;
    assert_eq!((writes_of(&cluster, "deployments"), writes_of(&cluster, "services")), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_scales_and_guards_the_pods_is_there_where_it_is_asked_for_and_only_as_long() {
    let cluster = Cluster::new();
    let own = with_parameters(&api_gateway("a", 80));
    [CLASS, &parameters("type: NodePort"), &own].into_iter().for_each(|text| cluster.apply(text));
    let maker = Gateway::start_kube(&cluster, &deploying()).await;
    cluster.until("what is made", |cluster| made(cluster, "deployments").is_some()).await;
    let both = |cluster: &Cluster| {
        made(cluster, "horizontalpodautoscalers").zip(made(cluster, "poddisruptionbudgets"))
    };
    let right = |cluster: &Cluster| {
        both(cluster).is_some_and(|(autoscaler, budget)| {
            autoscaler["spec"]["maxReplicas"] == 3 && budget["spec"]["minAvailable"] == 1
        })
    };
    assert!(both(&cluster).is_none(), "nobody asks for them");
    cluster.apply(&parameters(SCALING));
    cluster.until("both", right).await;
    let (mut autoscaler, mut budget) = both(&cluster).unwrap();
    let deployment = made(&cluster, "deployments").unwrap();
    assert_eq!(autoscaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    assert_eq!(budget["spec"]["selector"], deployment["spec"]["selector"]);
    // Somebody else's hand in them.
    autoscaler["spec"]["maxReplicas"] = 9.into();
    budget["spec"]["minAvailable"] = 0.into();
    for touched in [&mut autoscaler, &mut budget] {
        touched["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        cluster.apply(&touched.to_string());
    }
    cluster.until("both to be put right", right).await;
    // Wrong parameters change nothing.
    cluster.apply(&parameters("horizontalPodAutoscaler: 'spec: {maxReplicas: many}'"));
    let wrong =
        |cluster: &Cluster| condition(cluster, "a", "Accepted").starts_with("False InvalidParameters");
    cluster.until("that they are wrong", wrong).await;
    assert!(right(&cluster), "they stay as they were");
    cluster.apply(&parameters("podDisruptionBudget: 'spec: {minAvailable: 1}'"));
    let one = |cluster: &Cluster| {
        made(cluster, "horizontalpodautoscalers").is_none() && made(cluster, "poddisruptionbudgets").is_some()
    };
    cluster.until("the autoscaler to go", one).await;
    cluster.delete(&own);
    cluster.until("all to go", |cluster| made(cluster, "poddisruptionbudgets").is_none()).await;
    maker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_some_namespaces_sees_what_it_makes_in_its_own() {
    let cluster = Cluster::new();
    let elsewhere = api_gateway("a", 80).replace("metadata: {", "metadata: {namespace: shop, ");
    [CLASS, &elsewhere].into_iter().for_each(|text| cluster.apply(text));
    let flags: Vec<String> =
        deploying().into_iter().chain(["--watch-namespaces", "shop"].map(str::to_owned)).collect();
    let maker = Gateway::start_kube(&cluster, &flags).await;
    let both = |cluster: &Cluster| made(cluster, "deployments").zip(made(cluster, "services"));
    cluster.until("what is made", |cluster| both(cluster).is_some()).await;
    let (deployment, service) = both(&cluster).unwrap();
    let told = deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(told.contains(r#""--watch-namespaces","default,shop""#), "{told}");
    // Once it sees that, nothing is left to be done.
    let name = service["metadata"]["name"].as_str().unwrap();
    maker.until("the Service", |view| view.snapshot.services().get("default", name).is_some()).await;
    maker.until("that it is right", |view| view.made.iter().all(|made| made.key.kind != Kind::Service)).await;
    maker.stop().await;
}
