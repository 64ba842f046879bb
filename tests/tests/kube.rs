//! A gateway that reads a cluster.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use limen::view::View;
use limen_e2e::cluster::{Cluster, Right};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::server::{manifest, rights_of};
use limen_e2e::tls::{Authority, base64, peer_certificate};
use limen_e2e::{h1, within};
use serde_json::json;
use tokio::net::TcpStream;

use crate::talk::{EDGE, ask, comes_to_say, connect, says};

/// A client that asks without end and keeps what it hears, each answer once, in order.
struct Asking {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Asking {
    async fn begin(gateway: &Gateway) -> Asking {
        let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, counts, mut connection) = (Arc::clone(&over), Arc::clone(&asked), connect(gateway).await);
        let task = tokio::spawn(async move {
            let mut heard: Vec<String> = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let now = ask(&mut connection).await;
                if heard.last() != Some(&now) {
                    heard.push(now);
                }
                counts.fetch_add(1, Ordering::Relaxed);
            }
            heard
        });
        Asking { over, asked, task }
    }

    /// Until so many more answers were heard.
    async fn hears_more(&self, answers: usize) {
        let end = self.asked.load(Ordering::Relaxed) + answers;
        let more = async {
            while self.asked.load(Ordering::Relaxed) < end {
                tokio::task::yield_now().await;
            }
        };
        within("more answers", more).await;
    }

    async fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        within("the client to end", self.task).await.unwrap()
    }
}

/// A gateway that says `one`, then `fault` befalls its cluster, which comes to say `two` during it; then `mend`. All the
/// while a client asks.
async fn outlives(what: &str, fault: impl FnOnce(&mut Cluster), mend: impl FnOnce(&mut Cluster)) {
    let mut cluster = Cluster::new();
    cluster.apply(EDGE);
    cluster.apply(&says("one"));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let asking = Asking::begin(&gateway).await;
    asking.hears_more(20).await;
    let before = gateway.running.view().generation;
    fault(&mut cluster);
    cluster.apply(&says("two"));
    asking.hears_more(200).await;
    mend(&mut cluster);
    let second = gateway.until("what changed during the fault", |view| view.generation > before).await;
    asking.hears_more(20).await;
    cluster.apply(&says("three"));
    gateway.until("what changes after it", |view| view.generation > second.generation).await;
    gateway.until("the fault to be no problem any more", |view| view.problems().is_empty()).await;
    asking.hears_more(20).await;
    assert_eq!(asking.end().await, ["200 one", "200 two", "200 three"], "{what}");
}

/// Does this condition of the GatewayClass `limen` hold? `None`: nothing is said of it.
fn condition(view: &View, name: &str) -> Option<bool> {
    let verdicts = &view.judged;
    let own = verdicts.iter().find(|verdict| &*verdict.on.name == "limen" && verdict.condition == name);
    own.map(|verdict| verdict.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_of_the_definitions_is_read_from_them() {
    const CLASS: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: limen}, \
                         spec: {controllerName: limen.dev/gateway-controller}}";
    let released = |annotations: &str| {
        format!(
            "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: \
             {{name: gatewayclasses.gateway.networking.k8s.io, annotations: {{{annotations}}}}}}}"
        )
    };
    let cluster = Cluster::new();
    cluster.apply(CLASS);
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    assert_eq!(condition(&gateway.running.view(), "SupportedVersion"), Some(true));
    cluster.apply(&released("gateway.networking.k8s.io/bundle-version: v9.0.0"));
    let view =
        gateway.until("another release", |view| condition(view, "SupportedVersion") == Some(false)).await;
    assert_eq!(condition(&view, "Accepted"), Some(true));
    cluster.apply(&released("gateway.networking.k8s.io/bundle-version: v1.6.3"));
    gateway
        .until("the release that is known", |view| condition(view, "SupportedVersion") == Some(true))
        .await;
    cluster.apply(&released(""));
    gateway.until("no release at all", |view| condition(view, "SupportedVersion") == Some(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_disturbs_nobody() {
    outlives("away", Cluster::vanish, Cluster::come_back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_errors_disturbs_nobody() {
    for code in [429, 500, 503] {
        let fault = |cluster: &mut Cluster| {
            cluster.answers(Some(code));
            cluster.drop_watches();
        };
        outlives(&code.to_string(), fault, |cluster| cluster.answers(None)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drops_watches_disturbs_nobody() {
    let mend = |cluster: &mut Cluster| cluster.watches_last(None);
    outlives("watches of one event", |cluster| cluster.watches_last(Some(1)), mend).await;
    outlives("watches of no event", |cluster| cluster.watches_last(Some(0)), mend).await;
    outlives("watches that end", |cluster| cluster.drop_watches(), |_| ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_disturbs_nobody() {
    let fault = |cluster: &mut Cluster| {
        cluster.slow(Duration::from_millis(300));
        cluster.drop_watches();
    };
    outlives("slow", fault, |cluster| cluster.slow(Duration::ZERO)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_accepts_and_says_nothing_disturbs_nobody() {
    let fault = |cluster: &mut Cluster| {
        cluster.silent(true);
        cluster.drop_watches();
    };
    outlives("silent", fault, |cluster| cluster.silent(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_starts_at_a_silent_server_waits_for_it() {
    let cluster = Cluster::new();
    [EDGE, &says("one")].into_iter().for_each(|text| cluster.apply(text));
    cluster.silent(true);
    let gateway = Gateway::begin_kube(&cluster, &[]);
    let address = gateway.running.readiness().unwrap();
    let mut connection = h1::Connection::new(TcpStream::connect(address).await.unwrap());
    connection.send(&h1::request("GET", "/healthz/ready", &address.to_string(), &[], b"")).await;
    assert_eq!(within("an answer", connection.read("GET")).await.unwrap().status, 503);
    cluster.silent(false);
    within("the gateway to be ready", gateway.running.ready()).await;
    comes_to_say(&gateway, "200 one", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_renewed_is_used() {
    let cluster = Cluster::new();
    [EDGE, &says("one")].into_iter().for_each(|text| cluster.apply(text));
    // A program gives out tokens, each of which is good for a moment.
    let home = tempfile::tempdir().unwrap();
    let (token, config) = (home.path().join("token"), home.path().join("kubeconfig"));
    let credential = "{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": \
                      {\"expirationTimestamp\": \"2026-01-01T00:00:00Z\", \"token\": \"%s\"}}";
    let program = json!({"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "sh", "args": ["-c", "printf \"$0\" \"$(cat \"$1\")\"", credential, token]});
    let plain = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let user = json!({ "exec": program }).to_string();
    std::fs::write(&config, plain.replace("{token: secret-token}", &user)).unwrap();
    std::fs::write(&token, "first").unwrap();
    cluster.knows("first");
    let flags = ["--kube", "--kubeconfig", &config.to_string_lossy()].map(str::to_owned);
    let gateway = Gateway::start_with(&flags).await;
    comes_to_say(&gateway, "200 one", &[]).await;
    std::fs::write(&token, "second").unwrap();
    cluster.knows("second");
    cluster.apply(&says("two"));
    comes_to_say(&gateway, "200 two", &["200 one"]).await;
    gateway.until("no problem", |view| view.problems().is_empty()).await;
    // Without one that is known nothing is lost, and it is said.
    cluster.knows("third");
    // At first it may be said that watches end.
    let unauthorized = |problem: &str| problem.contains("LIM0014") && problem.contains("Unauthorized");
    gateway
        .until("the problem", |view| view.problems().iter().any(|own| unauthorized(&own.to_string())))
        .await;
    comes_to_say(&gateway, "200 two", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_a_file_is_used_as_soon_as_it_is_renewed() {
    let cluster = Cluster::new();
    [EDGE, &says("one")].into_iter().for_each(|text| cluster.apply(text));
    // As a Pod has it: a folder that is a symbolic link, which leads to another one when the token is renewed.
    let home = tempfile::tempdir().unwrap();
    let (folder, config) = (home.path().join("serviceaccount"), home.path().join("kubeconfig"));
    let renew = |token: &str| {
        let (version, link) = (home.path().join(token), home.path().join("next"));
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("token"), format!("{token}\n")).unwrap();
        std::os::unix::fs::symlink(&version, &link).unwrap();
        std::fs::rename(link, &folder).unwrap();
        cluster.knows(token);
    };
    renew("first");
    let plain = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let user = json!({ "tokenFile": folder.join("token") }).to_string();
    std::fs::write(&config, plain.replace("{token: secret-token}", &user)).unwrap();
    let flags = ["--kube", "--kubeconfig", &config.to_string_lossy()].map(str::to_owned);
    let gateway = Gateway::start_with(&flags).await;
    comes_to_say(&gateway, "200 one", &[]).await;
    renew("second");
    cluster.apply(&says("two"));
    comes_to_say(&gateway, "200 two", &["200 one"]).await;
    // What it said last is good as long as the server takes it.
    std::fs::remove_file(&folder).unwrap();
    cluster.drop_watches();
    cluster.apply(&says("three"));
    comes_to_say(&gateway, "200 three", &["200 two"]).await;
    gateway.until("no problem", |view| view.problems().is_empty()).await;
    renew("third");
    cluster.apply(&says("four"));
    comes_to_say(&gateway, "200 four", &["200 three"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_nobody_told_is_found_by_a_new_list() {
    let other = says("gone").replace("talk", "other");
    let cluster = Cluster::new();
    [EDGE, &says("one"), &other].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    comes_to_say(&gateway, "200 one", &[]).await;
    cluster.answers(Some(503));
    cluster.drop_watches();
    cluster.apply(&says("two"));
    cluster.delete(&other);
    cluster.forget_history();
    cluster.answers(None);
    comes_to_say(&gateway, "200 two", &["200 one"]).await;
    gateway.until("the deletion", |view| view.snapshot.virtual_services().len() == 1).await;
    assert_eq!(gateway.running.view().snapshot.gateways().len(), 1, "what is still there stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_a_bookmark_was_told() {
    let cluster = Cluster::new();
    [EDGE, &says("one")].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    // Gateways do not change: only bookmarks say how far their watch is.
    cluster.watches_last(Some(1));
    let bookmark = cluster.bookmark();
    let goes_on = async {
        while cluster.watched_from("gateways.networking.istio.io") < bookmark {
            tokio::task::yield_now().await;
        }
    };
    within("a watch that goes on at the bookmark", goes_on).await;
    cluster.apply(&says("two"));
    comes_to_say(&gateway, "200 two", &["200 one"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_is_installed_later_is_found() {
    const ROUTES: &str = "virtualservices.networking.istio.io";
    let cluster = Cluster::without(&[ROUTES]);
    cluster.apply(EDGE);
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let mut standing = connect(&gateway).await;
    assert_eq!(ask(&mut standing).await, "404 ");
    cluster.define(ROUTES);
    let asked_again = cluster.discoveries() + 1;
    let asked = async {
        while cluster.discoveries() < asked_again {
            tokio::task::yield_now().await;
        }
    };
    within("a question for kinds, while there is only a definition", asked).await;
    cluster.serve(ROUTES);
    cluster.apply(&says("one"));
    comes_to_say(&gateway, "200 one", &["404 "]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_object_is_told_and_its_last_good_version_stays() {
    let cluster = Cluster::new();
    [EDGE, &says("one")].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    cluster.apply(&says("two").replace("status: 200", "status: many"));
    gateway.until("the problem", |view| !view.problems().is_empty()).await;
    let problems = gateway.problems().join("\n");
    let expected = "VirtualService default/talk  spec.http[0].directResponse.status: expected";
    assert!(problems.contains(expected), "{problems}");
    comes_to_say(&gateway, "200 one", &[]).await;
    cluster.apply(&says("three"));
    comes_to_say(&gateway, "200 three", &["200 one"]).await;
    gateway.until("the problem to be gone", |view| view.problems().is_empty()).await;
}

pub(crate) const SECURE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: edge}}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_read_by_name_alone_and_followed() {
    let authority = Authority::new();
    let secret = |name: &str, namespace: &str| {
        let pair = authority.issue(&["talk.example.com"]);
        let (certificate, key) = (base64(&pair.certificate), base64(&pair.key));
        let text = format!(
            "{{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, \
             metadata: {{name: {name}, namespace: {namespace}}}, \
             data: {{tls.crt: {certificate}, tls.key: {key}}}}}"
        );
        (text, pair.der())
    };
    let cluster = Cluster::new();
    let (first, first_der) = secret("edge", "istio-system");
    for text in
        [SECURE, EDGE, &says("one"), &first, &secret("other", "istio-system").0, &secret("edge", "default").0]
    {
        cluster.apply(text);
    }
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let handshake = async || {
        let stream = authority.connect(gateway.address(443), "talk.example.com", "http/1.1").await.unwrap();
        peer_certificate(&stream)
    };
    assert_eq!(handshake().await, first_der, "ready means that it is loaded");
    let known: Vec<String> =
        gateway.running.view().snapshot.secrets().iter().map(|secret| secret.key.to_string()).collect();
    assert_eq!(known, ["Secret istio-system/edge"]);
    let asked: Vec<String> = cluster.asked().into_iter().filter(|line| line.contains(" secrets ")).collect();
    let named = |name: &str| {
        ["list", "watch"].map(|verb| format!("{verb} secrets istio-system metadata.name={name}"))
    };
    let expected: BTreeSet<String> = [named("edge"), named("edge-cacert")].into_iter().flatten().collect();
    assert!(asked.iter().all(|line| expected.contains(line)), "{asked:?}");
    assert!(!gateway.page("/objects").await.text().contains("secret-token"));

    let (second, second_der) = secret("edge", "istio-system");
    let before = gateway.running.view().generation;
    cluster.apply(&second);
    gateway.until("the new certificate", |view| view.generation > before).await;
    assert_eq!(handshake().await, second_der);
    cluster.delete(SECURE);
    gateway.until("the Secret to be forgotten", |view| view.snapshot.secrets().is_empty()).await;
}

/// A Service with one endpoint in each of two subsets, as a cluster has it.
fn shop(v1: &Origin, v2: &Origin) -> String {
    let endpoint = |name: &str, origin: &Origin| {
        format!(
            "
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: shop, version: {name}}}}}
spec: {{nodeName: node-1, containers: [{{name: shop}}]}}
status: {{podIP: 127.0.0.1, phase: Running}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: shop-{name}, labels: {{kubernetes.io/service-name: shop}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {name}, namespace: default}}}}]
ports: [{{name: http, port: {}, protocol: TCP}}]
",
            origin.address.port()
        )
    };
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: shop}}
spec: {{selector: {{app: shop}}, ports: [{{name: http, port: 80, targetPort: http, protocol: TCP}}], clusterIP: 10.0.0.7}}
{}{}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop}}
spec:
  host: shop
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
",
        endpoint("v1", v1),
        endpoint("v2", v2)
    )
}

fn to_subset(subset: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: talk}}, \
         spec: {{hosts: [talk.example.com], gateways: [edge], \
         http: [{{route: [{{destination: {{host: shop, subset: {subset}}}}}]}}]}}}}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subsets_are_chosen_by_the_metadata_of_pods_alone() {
    let (v1, v2) = (Origin::start("v1", Script::echo()).await, Origin::start("v2", Script::echo()).await);
    let cluster = Cluster::new();
    [EDGE, &shop(&v1, &v2), &to_subset("v2")].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let answered_by = async || {
        let mut connection = connect(&gateway).await;
        connection.send(&h1::request("GET", "/", "talk.example.com", &[], b"")).await;
        let reply = within("a response", connection.read("GET")).await.unwrap();
        reply.origin().unwrap_or_else(|| reply.status.to_string())
    };
    assert_eq!(answered_by().await, "v2");
    let pods = gateway.running.view();
    assert!(pods.snapshot.pods().iter().all(|pod| pod.spec.ips.is_empty()), "only metadata was asked for");
    let before = gateway.running.view().generation;
    cluster.apply(&to_subset("v1"));
    gateway.until("the other subset", |view| view.generation > before).await;
    assert_eq!(answered_by().await, "v1");
    assert_eq!(gateway.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_namespaces_are_not_read() {
    let cluster = Cluster::new();
    let elsewhere = says("far").replace("name: talk", "name: far, namespace: elsewhere");
    [EDGE, &says("one"), &elsewhere].into_iter().for_each(|text| cluster.apply(text));
    let flags = ["--watch-namespaces", "default,shop"].map(str::to_owned);
    let gateway = Gateway::start_kube(&cluster, &flags).await;
    comes_to_say(&gateway, "200 one", &[]).await;
    assert_eq!(gateway.running.view().snapshot.virtual_services().len(), 1);
    let asked = cluster.asked();
    let routes: Vec<&String> = asked.iter().filter(|line| line.contains(" virtualservices ")).collect();
    assert!(routes.iter().all(|line| !line.contains("virtualservices - ")), "{routes:?}");
}

/// The rights that deploy/rbac.yaml gives.
fn given() -> BTreeSet<Right> {
    rights_of(&manifest())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_the_manifest_are_enough_and_each_is_used() {
    let cluster = Cluster::new();
    cluster.allow(given());
    [EDGE, SECURE, &says("one"), EVERY_STATUS].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    comes_to_say(&gateway, "200 one", &[]).await;
    let first = Right::from(["coordination.k8s.io", "leases", "create"].map(str::to_owned));
    cluster.until("the first Lease", |cluster| cluster.seen().contains(&first)).await;
    cluster.apply(&says("two"));
    let unused = || given().difference(&cluster.seen()).cloned().collect::<Vec<Right>>();
    let used = async {
        // Watches begin a moment after the lists. What is done at the end is missing still.
        while unused().iter().any(|(_, resource, verb)| verb != "delete" || resource == "services") {
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(limen_e2e::GUARD, used).await.is_err() {
        panic!("never used: {:?}", unused());
    }
    assert!(
        gateway.problems().iter().all(|problem| !problem.contains("LIM0014")),
        "{:?}",
        gateway.problems()
    );
    gateway.stop().await;
    assert_eq!(unused(), []);
}

/// An object of each kind that has a status, with something to say of it.
const EVERY_STATUS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: limen}
spec: {controllerName: limen.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: api}
spec:
  gatewayClassName: limen
  listeners: [{name: http, port: 8080, protocol: HTTP}]
  allowedListeners: {namespaces: {from: All}}
  infrastructure: {labels: {team: shop}}
---
apiVersion: v1
kind: Service
metadata:
  name: old
  labels:
    app.kubernetes.io/managed-by: limen
    gateway.networking.k8s.io/gateway-class-name: limen
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more}
spec: {parentRef: {name: api}, listeners: [{name: more, port: 9000, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec: {parentRefs: [{name: api}], rules: [{backendRefs: [{name: web, port: 443}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: web}
spec: {parentRefs: [{name: api}], hostnames: [grpc.example.com]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: web}
spec: {parentRefs: [{name: api}], hostnames: [tls.example.com], rules: [{backendRefs: [{name: web, port: 443}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: web}
spec: {parentRefs: [{name: api}], rules: [{backendRefs: [{name: web, port: 443}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: web}
spec: {parentRefs: [{name: api}], rules: [{backendRefs: [{name: web, port: 443}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: https, port: 443}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: web}
spec:
  targetRefs: [{group: '', kind: Service, name: web}]
  validation: {hostname: web.example.com, wellKnownCACertificates: System}
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackend
metadata: {name: api}
spec: {type: ExternalHostname, externalHostname: {hostname: api.example.net}, port: {port: 443}}
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackendTrafficPolicy
metadata: {name: web}
spec: {targetRefs: [{group: '', kind: Service, name: web}], retryConstraint: {}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: outside}
spec: {parentRefs: [{name: api}], hostnames: [api.example.com], rules: [{backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: api}]}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {ingressClassName: limen, defaultBackend: {service: {name: web, port: {number: 443}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: wrong}
spec: {host: ''}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wrong}
spec: {hosts: []}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: wrong}
spec: {address: ''}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: wrong}
spec: {concurrency: many}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: wrong}
spec: {tracing: [{randomSamplingPercentage: 101}]}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_away_is_a_problem_and_nothing_is_lost() {
    let cluster = Cluster::new();
    [EDGE, &says("one")].into_iter().for_each(|text| cluster.apply(text));
    let gateway = Gateway::start_kube(&cluster, &[]).await;
    let rights = given().into_iter().filter(|(_, resource, _)| resource != "virtualservices").collect();
    cluster.allow(rights);
    cluster.drop_watches();
    gateway.until("the problem", |view| !view.problems().is_empty()).await;
    let problems = gateway.problems().join("\n");
    assert!(problems.contains("does not allow to read virtualservices.networking.istio.io"), "{problems}");
    comes_to_say(&gateway, "200 one", &[]).await;
}
