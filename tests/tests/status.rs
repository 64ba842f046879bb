//! What a gateway writes into its cluster.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use limen_e2e::cluster::{Cluster, Right};
use limen_e2e::gateway::Gateway;
use serde_json::{Value, json};

use crate::talk::{EDGE, comes_to_say, says};

pub(crate) const API: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: limen}
spec: {controllerName: limen.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: limen, listeners: [{name: http, port: 80, protocol: HTTP}]}
";

pub(crate) fn route(name: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{name}.example.com]
  rules: [{{filters: [{{type: RequestRedirect, requestRedirect: {{hostname: other.example.com}}}}]}}]
"
    )
}

/// A Gateway of the Gateway API: this Cluster has two kinds of that name.
pub(crate) fn edge(cluster: &Cluster) -> Value {
    cluster.get("gateways.gateway.networking.k8s.io", "default", "edge").unwrap_or_default()
}

/// `type status reason message` of a condition; empty if there is none.
fn condition(holder: &Value, name: &str) -> String {
    let all = holder["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|one| one["type"] == name);
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    found.map_or_else(String::new, |one| {
        ["status", "reason", "message"].map(|field| text(one, field)).join(" ").trim().to_owned()
    })
}

pub(crate) fn programmed(cluster: &Cluster) -> String {
    condition(&edge(cluster)["status"], "Programmed")
}

fn writes_of(cluster: &Cluster, what: &str) -> usize {
    cluster.writes().iter().filter(|line| line.contains(what)).count()
}

pub(crate) fn as_instance(name: &str) -> Vec<String> {
    ["--instance", name].map(str::to_owned).to_vec()
}

pub(crate) const SERVED: &str = "True Programmed its listeners are served, by 1/1 instances";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_served_is_told_so_once_and_whole() {
    let cluster = Cluster::new();
    [API, &route("web")].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let parents = |cluster: &Cluster| {
        cluster.get("httproutes", "default", "web").unwrap()["status"]["parents"]
            .as_array()
            .map_or(0, Vec::len)
    };
    cluster.until("the statuses", |cluster| programmed(cluster) == SERVED && parents(cluster) == 1).await;
    let written = edge(&cluster);
    assert_eq!(written["status"]["addresses"], json!([{"type": "IPAddress", "value": "127.0.0.1"}]));
    assert_eq!(written["status"]["listeners"][0]["attachedRoutes"], 1);
    for one in written["status"]["conditions"].as_array().unwrap() {
        assert_eq!(one["observedGeneration"], 1, "{one}");
    }
    let web = cluster.get("httproutes", "default", "web").unwrap();
    let entry = &web["status"]["parents"][0];
    assert_eq!(entry["parentRef"], json!({"name": "edge"}), "as it is written");
    assert_eq!(entry["controllerName"], "limen.dev/gateway-controller");
    assert_eq!(condition(entry, "Accepted"), "True Accepted it is served");
    let class = |cluster: &Cluster| {
        condition(&cluster.get("gatewayclasses", "", "limen").unwrap()["status"], "Accepted")
    };
    cluster.until("the class", |cluster| class(cluster).starts_with("True Accepted")).await;

    // One that comes after it finds nothing to write.
    gateway.stop().await;
    let before = (writes_of(&cluster, "/status"), edge(&cluster));
    let gateway = Gateway::start_kube(&cluster, &as_instance("second")).await;
    // A change that is to be told comes after all that was to be told at the start.
    cluster.apply(&route("more"));
    let told = |cluster: &Cluster| {
        let more = cluster.get("httproutes", "default", "more").unwrap();
        more["status"].is_object() && edge(cluster)["status"]["listeners"][0]["attachedRoutes"] == 2
    };
    cluster.until("the change", told).await;
    let since: Vec<String> =
        cluster.writes().into_iter().filter(|line| line.contains("/status")).skip(before.0).collect();
    let mut sorted = since.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        ["update gateways/status default/edge", "update httproutes/status default/more"],
        "{since:?}"
    );
    let times = |object: &Value| object["status"]["conditions"][0]["lastTransitionTime"].clone();
    assert_eq!(times(&edge(&cluster)), times(&before.1), "nothing has changed since");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_wrote_stays_and_what_was_ours_goes_when_nothing_is_left_to_say() {
    let cluster = Cluster::new();
    let entry = |controller: &str| {
        format!("{{parentRef: {{name: other}}, controllerName: {controller}, conditions: []}}")
    };
    let stale = route("stale").replace("name: edge", "name: other");
    let stale = format!(
        "{stale}status: {{parents: [{}, {}]}}",
        entry("example.com/other"),
        entry("limen.dev/gateway-controller")
    );
    [API, &stale].into_iter().for_each(|text| cluster.apply(text));
    let _gateway = Gateway::start_kube(&cluster, &[]).await;
    let controllers = |cluster: &Cluster| -> Vec<String> {
        let route = cluster.get("httproutes", "default", "stale").unwrap();
        let parents = route["status"]["parents"].as_array().unwrap().clone();
        parents.iter().map(|entry| entry["controllerName"].as_str().unwrap().to_owned()).collect()
    };
    cluster.until("ours to go", |cluster| controllers(cluster) == ["example.com/other"]).await;
    // Now it hangs on ours, too; and then not any more.
    let both = stale.replace("[{name: other}]", "[{name: other}, {name: edge}]");
    cluster.apply(both.split("status:").next().unwrap());
    let ours = ["example.com/other", "limen.dev/gateway-controller"];
    cluster.until("ours to come", |cluster| controllers(cluster) == ours).await;
    cluster.apply(stale.split("status:").next().unwrap());
    cluster.until("ours to go again", |cluster| controllers(cluster) == ["example.com/other"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_not_written_more_often_than_once_a_second() {
    let cluster = Cluster::new();
    cluster.apply(API);
    let _gateway = Gateway::start_kube(&cluster, &[]).await;
    cluster.until("the status", |cluster| programmed(cluster) == SERVED).await;
    let (before, began) = (writes_of(&cluster, "gateways/status"), Instant::now());
    for number in 0..20 {
        let name = format!("web{number}");
        cluster.apply(&route(&name));
        let told =
            |cluster: &Cluster| cluster.get("httproutes", "default", &name).unwrap()["status"].is_object();
        cluster.until("the route's status", told).await;
    }
    let attached = |cluster: &Cluster| edge(cluster)["status"]["listeners"][0]["attachedRoutes"].clone();
    cluster.until("the count", |cluster| attached(cluster) == 20).await;
    let writes = writes_of(&cluster, "gateways/status") - before;
    // One at the beginning of each second, that before the first counted change, and the last.
    let most = began.elapsed().as_secs() + 2;
    assert!(writes as u64 <= most, "{writes} writes of 20 changes, in {:?}", began.elapsed());
    assert_eq!(writes_of(&cluster, "httproutes/status"), 20, "each route once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_writes_and_says_by_how_many_it_is_served() {
    let cluster = Cluster::new();
    cluster.apply(API);
    let first = Gateway::start_kube(&cluster, &as_instance("a")).await;
    cluster.until("one instance", |cluster| programmed(cluster) == SERVED).await;
    let second = Gateway::start_kube(&cluster, &as_instance("b")).await;
    cluster.until("two instances", |cluster| programmed(cluster).ends_with("by 2/2 instances")).await;
    let holder = |cluster: &Cluster| {
        let lease = cluster.get("leases", "default", "limen").unwrap_or_default();
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(holder(&cluster), "a");
    let lease = |name: &str| cluster.get("leases", "default", &format!("limen-{name}"));
    let applied = |name: &str| lease(name).unwrap()["metadata"]["annotations"]["limen.dev/applied"].clone();
    assert_eq!(applied("a"), applied("b"), "who serves the same says the same");
    // The leader leaves: the other one takes over, and counts itself alone.
    first.stop().await;
    assert!(lease("a").is_none());
    cluster.until("the other leader", |cluster| holder(cluster) == "b").await;
    cluster.until("one instance again", |cluster| programmed(cluster) == SERVED).await;
    cluster.apply(&route("web"));
    let attached = |cluster: &Cluster| edge(cluster)["status"]["listeners"][0]["attachedRoutes"].clone();
    cluster.until("what it writes", |cluster| attached(cluster) == 1).await;
    second.stop().await;
    assert_eq!(holder(&cluster), "", "let go");
}

/// The Lease of an instance that does not serve what the others do, as it would write it.
const BEHIND: &str = "
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: limen-late
  labels: {limen.dev/group: limen}
  annotations: {limen.dev/applied: '0', limen.dev/ready: 'true'}
spec: {holderIdentity: late, leaseDurationSeconds: 3600}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_programmed_before_every_instance_serves_it() {
    let cluster = Cluster::new();
    [API, BEHIND].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let pending = "False Pending 1/2 instances serve it as it is now";
    cluster.until("that it is not programmed", |cluster| programmed(cluster) == pending).await;
    let whole = edge(&cluster);
    assert!(condition(&whole["status"], "Accepted").starts_with("True"), "it is right all the same");
    assert!(condition(&whole["status"]["listeners"][0], "Programmed").starts_with("False Pending"));
    // One that is about to end is not waited for, nor one whose Lease is over.
    cluster.apply(&BEHIND.replace("limen.dev/ready: 'true'", "limen.dev/ready: 'false'"));
    cluster.until("that it is programmed", |cluster| programmed(cluster) == SERVED).await;
    cluster.apply(BEHIND);
    cluster.until("the late one", |cluster| programmed(cluster) == pending).await;
    cluster.apply(&BEHIND.replace("leaseDurationSeconds: 3600", "leaseDurationSeconds: 1"));
    cluster.until("its end", |cluster| programmed(cluster) == SERVED).await;
    cluster
        .until("that its Lease is cleared away", |cluster| {
            cluster.get("leases", "default", "limen-late").is_none()
        })
        .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_ready_is_not_waited_for() {
    let cluster = Cluster::new();
    [API, BEHIND].into_iter().for_each(|text| cluster.apply(text));
    let first = Gateway::start_kube(&cluster, &as_instance("a")).await;
    let pending = "False Pending 1/2 instances serve it as it is now";
    cluster.until("that it is not programmed", |cluster| programmed(cluster) == pending).await;
    let slice = |conditions: &str| {
        format!(
            "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: edge-1, namespace: istio-system, labels: {{kubernetes.io/service-name: edge}}}}
addressType: IPv4
endpoints: [{{addresses: [10.0.0.1], conditions: {{{conditions}}}, targetRef: {{kind: Pod, name: late}}}}]
"
        )
    };
    cluster.apply(&slice("ready: false"));
    cluster.until("that its Pod does not count", |cluster| programmed(cluster) == SERVED).await;
    cluster.apply(&slice("ready: true"));
    cluster.until("that its Pod counts", |cluster| programmed(cluster) == pending).await;

    // It begins anew, and does not come to serve anything.
    let all: Vec<_> = ["create", "patch", "delete", "list", "watch"].map(|verb| right("leases", verb)).into();
    let all: BTreeSet<Right> = cluster.seen().into_iter().chain(all).collect();
    let routes = |(_, plural, verb): &Right| plural == "httproutes" && verb == "list";
    cluster.allow(all.iter().filter(|right| !routes(right)).cloned().collect());
    let second = Gateway::begin_kube(&cluster, &as_instance("late"));
    cluster.until("that it does not count", |cluster| programmed(cluster) == SERVED).await;
    assert!(cluster.get("leases", "default", "limen-late").is_none());
    cluster.allow(all);
    cluster.until("that both serve", |cluster| programmed(cluster).ends_with("by 2/2 instances")).await;

    // It ends while it renews its Lease, which the server is slow to do: the Lease is gone all the same.
    let lease = |cluster: &Cluster| cluster.held().iter().any(|line| line.ends_with("/leases/limen-late"));
    cluster.slow(Duration::from_millis(700));
    cluster.apply(&route("web"));
    cluster.until("a renewal", lease).await;
    cluster.slow(Duration::ZERO);
    second.running.drain().await;
    assert!(!lease(&cluster), "what was under way is over");
    assert!(cluster.get("leases", "default", "limen-late").is_none());
    cluster.until("that it is gone", |cluster| programmed(cluster) == SERVED).await;
    drop((first, second));
}

fn right(plural: &str, verb: &str) -> Right {
    ("coordination.k8s.io".to_owned(), plural.to_owned(), verb.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_writes_is_a_problem_and_is_asked_again() {
    let mut cluster = Cluster::new();
    cluster.apply(API);
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    cluster.until("the status", |cluster| programmed(cluster) == SERVED).await;
    cluster.vanish();
    cluster.apply(&route("web"));
    cluster.come_back();
    let attached = |cluster: &Cluster| edge(cluster)["status"]["listeners"][0]["attachedRoutes"].clone();
    cluster.until("what happened meanwhile", |cluster| attached(cluster) == 1).await;
    let reading = cluster.seen().into_iter().filter(|(_, _, verb)| verb != "update");
    cluster.allow(reading.collect());
    cluster.apply(&route("more"));
    gateway
        .until("the problem", |view| view.problems().iter().any(|problem| problem.code == "LIM0015"))
        .await;
    let problems = gateway.problems().join("\n");
    assert!(problems.contains("statuses cannot be written"), "{problems}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_is_an_event_of_its_object_and_a_condition() {
    let cluster = Cluster::new();
    let wrong = says("one").replace("gateways: [edge]", "gateways: [nowhere]");
    [EDGE, &wrong].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let events = |cluster: &Cluster| writes_of(cluster, "create events default/talk.");
    cluster.until("the Event", |cluster| events(cluster) > 0).await;
    let told =
        cluster.writes().into_iter().find(|line| line.starts_with("create events default/talk.")).unwrap();
    let event = cluster.get("events", "default", told.rsplit('/').next().unwrap()).unwrap();
    let talk = cluster.get("virtualservices", "default", "talk").unwrap();
    assert_eq!(event["involvedObject"]["uid"], talk["metadata"]["uid"]);
    assert_eq!(event["type"], "Warning");
    assert!(event["message"].as_str().unwrap().contains("nowhere"), "{event}");
    let status = |cluster: &Cluster| {
        let talk = cluster.get("virtualservices", "default", "talk").unwrap();
        condition(&talk["status"], "limen/Accepted")
    };
    cluster.until("the condition", |cluster| status(cluster).starts_with("False")).await;
    let known = events(&cluster);
    cluster.apply(&says("two"));
    cluster.until("that it is mended", |cluster| status(cluster).starts_with("True")).await;
    assert_eq!(events(&cluster), known, "what is told once is not told again");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_cannot_be_used_the_last_good_version_counts_and_the_status_says_so() {
    let cluster = Cluster::new();
    let rule = |balancer: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: talk}}
spec: {{host: talk.example.com, trafficPolicy: {{loadBalancer: {{simple: {balancer}}}}}}}
"
        )
    };
    [EDGE, &says("one"), &rule("RANDOM")].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let status = |cluster: &Cluster, kind: &str| {
        condition(&cluster.get(kind, "default", "talk").unwrap()["status"], "limen/Accepted")
    };
    let accepted = |cluster: &Cluster| status(cluster, "virtualservices").starts_with("True");
    cluster.until("the condition", accepted).await;
    assert_eq!(status(&cluster, "destinationrules"), "");
    cluster.apply(&says("two").replace("status: 200", "status: many"));
    cluster.apply(&rule("AT_WILL"));
    let refused = |cluster: &Cluster, kind: &str, field: &str| {
        status(cluster, kind).starts_with(&format!("False NotServed {field}: expected "))
    };
    cluster
        .until("that both are refused", |cluster| {
            refused(cluster, "virtualservices", "spec.http[0].directResponse.status")
                && refused(cluster, "destinationrules", "spec.trafficPolicy.loadBalancer.simple")
        })
        .await;
    comes_to_say(&gateway, "200 one", &[]).await;
    cluster.apply(&says("two"));
    cluster.apply(&rule("ROUND_ROBIN"));
    cluster
        .until("that both are mended", |cluster| {
            accepted(cluster) && status(cluster, "destinationrules").is_empty()
        })
        .await;
    comes_to_say(&gateway, "200 two", &[]).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_by_who_is_told_not_to() {
    let cluster = Cluster::new();
    [API, &route("web")].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &["--no-status".to_owned()]).await;
    cluster.apply(&route("more"));
    gateway.until("the other route", |view| view.snapshot.http_routes().len() == 2).await;
    gateway.stop().await;
    assert_eq!(cluster.writes(), Vec::<String>::new());
    assert!(cluster.asked().iter().all(|line| !line.contains(" leases ")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_keeps_the_address_that_its_status_has() {
    let cluster = Cluster::new();
    cluster.apply(API);
    let flags = ["--gateway-addresses", "127.44.0.0/24"].map(str::to_owned);
    let address = |cluster: &Cluster| edge(cluster)["status"]["addresses"][0]["value"].clone();
    let gateway = Gateway::start_kube(&cluster, &flags).await;
    cluster.until("an address", |cluster| address(cluster).is_string()).await;
    let first = address(&cluster);
    let found = |gateway: &Gateway| {
        let listeners = gateway.running.view().applied.listeners.clone();
        listeners.iter().map(|listener| listener.wanted.ip().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(&gateway), [first.as_str().unwrap()]);
    gateway.stop().await;
    // As if it had been given another one by those who served it before.
    let status = "status: {addresses: [{type: IPAddress, value: 127.44.0.77}]}\n";
    cluster.apply(&format!("{API}{status}"));
    let gateway = Gateway::start_kube(&cluster, &flags).await;
    assert_eq!(found(&gateway), ["127.44.0.77"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_is_told_where_it_is_found() {
    let cluster = Cluster::new();
    cluster.apply(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {ingressClassName: limen, defaultBackend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: http, port: 80}]}
",
    );
    let _gateway = Gateway::start_kube(&cluster, &[]).await;
    let found = |cluster: &Cluster| {
        cluster.get("ingresses", "default", "web").unwrap()["status"]["loadBalancer"]["ingress"].clone()
    };
    cluster.until("the address", |cluster| found(cluster) == json!([{"ip": "127.0.0.1"}])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_bears_the_labels_that_a_gateway_asks_for() {
    let cluster = Cluster::new();
    let asking = |rest: &str| {
        format!("{}, infrastructure: {{labels: {{{rest}}}}}}}", API.trim_end().trim_end_matches('}'))
    };
    cluster.apply(&asking("a: one, b: two"));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let service = |cluster: &Cluster| cluster.get("services", "default", "edge-limen");
    cluster.until("the Service", |cluster| service(cluster).is_some()).await;
    let made = service(&cluster).unwrap();
    assert_eq!(made["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"], "edge");
    assert_eq!(made["metadata"]["labels"]["a"], "one");
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], edge(&cluster)["metadata"]["uid"]);
    assert_eq!(made["spec"]["ports"][0]["port"], 80);
    cluster.apply(&asking("b: three"));
    let changed = |cluster: &Cluster| {
        let labels = service(cluster).unwrap()["metadata"]["labels"].clone();
        labels["b"] == "three" && labels["a"].is_null()
    };
    cluster.until("its new labels", changed).await;
    cluster.apply(API);
    cluster.until("its end", |cluster| service(cluster).is_none()).await;
    let writes = cluster.writes().iter().filter(|line| line.contains(" services ")).count();
    assert_eq!(writes, 3, "one for each change");
    gateway.stop().await;
}
