//! What happens to a gateway while it runs: edits, mistakes, rotation, swaps of whole folders, drain.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use limen::view::{Phase, View};
use limen_e2e::gateway::{Gateway, HeldPort};
use limen_e2e::origin::{Origin, Script};
use limen_e2e::tls::{Authority, Pair, base64, peer_certificate};
use limen_e2e::{h1, within};

use crate::talk::{EDGE, ask, connect, says};

/// Makes a change and waits until every worker serves what follows from it.
async fn change(gateway: &Gateway, what: &str, make: impl FnOnce()) {
    let before = gateway.running.view().generation;
    make();
    gateway.until(what, |view| view.generation > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_live_and_drops_no_connection() {
    let gateway = Gateway::start(&[("edge.yaml", EDGE), ("talk.yaml", &says("one"))], &[]).await;
    let mut standing = connect(&gateway).await;
    assert_eq!(ask(&mut standing).await, "200 one");
    change(&gateway, "the edit", || gateway.write("talk.yaml", &says("two"))).await;
    assert_eq!(ask(&mut standing).await, "200 two", "on the connection that was open before");
    assert_eq!(ask(&mut connect(&gateway).await).await, "200 two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_moves_to_one_address_of_its_port_and_back() {
    let port = HeldPort::new();
    let flags = ["--bind", "0.0.0.0", "--map-port", &format!("80:{}", port.number())].map(str::to_owned);
    let gateway = Gateway::start(&[("edge.yaml", EDGE), ("talk.yaml", &says("one"))], &flags).await;
    let narrow = EDGE.replace("hosts: ['*']", "hosts: ['*'], bind: 127.0.0.1");
    for (text, ip) in [(narrow.as_str(), "127.0.0.1"), (EDGE, "0.0.0.0")] {
        change(&gateway, "the move", || gateway.write("edge.yaml", text)).await;
        assert_eq!(gateway.problems(), Vec::<String>::new(), "{ip}");
        assert_eq!(gateway.address(80).ip().to_string(), ip);
        assert_eq!(ask(&mut connect(&gateway).await).await, "200 one", "{ip}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_edit_leaves_the_last_good_version() {
    let gateway = Gateway::start(&[("edge.yaml", EDGE), ("talk.yaml", &says("one"))], &[]).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    gateway.write("talk.yaml", &says("two").replace("gateways", "gatways"));
    let told = |view: &View| !view.problems().is_empty();
    gateway.until("the problem of the edit", told).await;
    let problems = gateway.problems().join("\n");
    for part in ["talk.yaml:7", "gatways", "gateways", "talk"] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
    assert_eq!(ask(&mut connect(&gateway).await).await, "200 one");
    change(&gateway, "the mended edit", || gateway.write("talk.yaml", &says("three"))).await;
    assert_eq!(ask(&mut connect(&gateway).await).await, "200 three");
    assert_eq!(gateway.problems(), Vec::<String>::new(), "the problem ends with its cause");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_written_file_keeps_its_objects_and_a_deleted_one_takes_them_along() {
    let gateway = Gateway::start(&[("edge.yaml", EDGE), ("talk.yaml", &says("one"))], &[]).await;
    let half = says("two");
    gateway.write("talk.yaml", &half[..half.find("directResponse").unwrap()]);
    gateway.until("the problem of the half file", |view| !view.problems().is_empty()).await;
    assert_eq!(ask(&mut connect(&gateway).await).await, "200 one");
    change(&gateway, "the deletion", || fs::remove_file(gateway.config().join("talk.yaml")).unwrap()).await;
    assert_eq!(ask(&mut connect(&gateway).await).await, "404 ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_folder_is_no_error_and_comes_to_life() {
    let gateway = Gateway::start(&[], &[]).await;
    assert_eq!(gateway.running.listeners().len(), 0);
    gateway.write("edge.yaml", EDGE);
    gateway.write("talk.yaml", &says("one"));
    let both = |view: &View| !view.applied.listeners.is_empty() && view.files == 2;
    gateway.until("both files to be served", both).await;
    assert_eq!(ask(&mut connect(&gateway).await).await, "200 one");
}

/// A volume as Kubernetes mounts it: files are links through `..data`, which is swapped in one step.
fn publish(volume: &Path, version: &str, text: &str) {
    let folder = volume.join(format!("..{version}"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("talk.yaml"), text).unwrap();
    let aside = volume.join("..data_tmp");
    symlink(format!("..{version}"), &aside).unwrap();
    fs::rename(&aside, volume.join("..data")).unwrap();
    let link = volume.join("talk.yaml");
    if !link.exists() {
        symlink("..data/talk.yaml", link).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_symbolic_link_is_an_edit() {
    let home = tempfile::tempdir().unwrap();
    let (edge, volume) = (home.path().join("edge.yaml"), home.path().join("volume"));
    fs::write(&edge, EDGE).unwrap();
    fs::create_dir(&volume).unwrap();
    publish(&volume, "first", &says("one"));
    let gateway = Gateway::start_in(home, vec![edge, volume.clone()], &[]).await;
    assert_eq!(ask(&mut connect(&gateway).await).await, "200 one");
    change(&gateway, "the swap", || {
        publish(&volume, "second", &says("two"));
        fs::remove_dir_all(volume.join("..first")).unwrap();
    })
    .await;
    assert_eq!(ask(&mut connect(&gateway).await).await, "200 two");
    assert_eq!(gateway.problems(), Vec::<String>::new());
}

fn with_tls(pair: &Pair) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: [talk.example.com]
    tls: {{mode: SIMPLE, credentialName: talk}}
---
apiVersion: v1
kind: Secret
metadata: {{name: talk, namespace: istio-system}}
data: {{tls.crt: {}, tls.key: {}}}
",
        base64(&pair.certificate),
        base64(&pair.key)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_rotates_and_a_bad_one_does_not() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(&["talk.example.com"]), authority.issue(&["talk.example.com"]));
    let gateway = Gateway::start(&[("edge.yaml", &with_tls(&first)), ("talk.yaml", &says("one"))], &[]).await;
    let address = gateway.address(443);
    let tls = || authority.connect(address, "talk.example.com", "http/1.1");
    let stream = tls().await.unwrap();
    let old = peer_certificate(&stream);
    let mut standing = h1::Connection::new(stream);
    change(&gateway, "the rotation", || gateway.write("edge.yaml", &with_tls(&second))).await;
    let new = peer_certificate(&tls().await.unwrap());
    assert_ne!(old, new, "a new connection gets the new certificate");
    standing.send(&h1::request("GET", "/", "talk.example.com", &[], b"")).await;
    assert_eq!(within("a response", standing.read("GET")).await.unwrap().text(), "one", "an old one goes on");

    let mixed = Pair { certificate: first.certificate.clone(), key: second.key.clone() };
    gateway.write("edge.yaml", &with_tls(&mixed));
    gateway.until("the problem of the pair", |view| !view.problems().is_empty()).await;
    assert_eq!(peer_certificate(&tls().await.unwrap()), new, "a pair that does not match is not served");
    let problems = gateway.problems().join("\n");
    assert!(problems.contains("talk") && !problems.contains("PRIVATE"), "{problems}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_requests_finish_and_closes_after_them() {
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    let origin = Origin::start("held", Script::Held(gate.clone())).await;
    let routes = "
{apiVersion: v1, kind: Service, metadata: {name: held}, spec: {ports: [{name: http, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: held}
spec: {hosts: [talk.example.com], gateways: [edge], http: [{route: [{destination: {host: held}}]}]}
";
    // One worker, which has heard of the drain when it closes the one connection and answers on the other.
    let flags = ["--workers", "1", "--backend"].map(str::to_owned);
    let flags = [&flags[..], &[format!("held={}", origin.address)]].concat();
    let gateway = Gateway::start(&[("edge.yaml", EDGE), ("held.yaml", routes)], &flags).await;
    let mut busy = connect(&gateway).await;
    let mut idle = connect(&gateway).await;
    busy.send(&h1::request("GET", "/", "talk.example.com", &[], b"")).await;
    origin.hit(1).await;
    let ending = async {
        within("the drain", gateway.running.drain()).await;
    };
    let finishing = async {
        gateway.until("readiness to say no", |view| view.phase == Phase::Draining).await;
        within("the idle connection to be closed", idle.end()).await.unwrap();
        gate.notify_one();
        let reply = within("the response", busy.read("GET")).await.unwrap();
        assert_eq!((reply.status, reply.closed), (200, true), "{reply:?}");
    };
    tokio::join!(ending, finishing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_a_problem_and_the_rest_is_served() {
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = holder.local_addr().unwrap().port();
    let two = EDGE
        .replace("servers: [", "servers: [{port: {number: 81, name: more, protocol: HTTP}, hosts: ['*']}, ");
    let flags = ["--map-port".to_owned(), format!("81:{port}")];
    let gateway = Gateway::start(&[("edge.yaml", &two), ("talk.yaml", &says("one"))], &flags).await;
    assert_eq!(ask(&mut connect(&gateway).await).await, "200 one");
    let problems = gateway.problems().join("\n");
    assert!(problems.contains(&port.to_string()), "{problems}");
    assert_eq!(gateway.running.address_of(81), None);
}
