//! A whole gateway in process: files in, answers out, and what its own ports say meanwhile.
#![forbid(unsafe_code)]
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use limen::boot::{self, Options, Readers, Running};
use limen::demo::{Demo, HOST, HTTP_PORT, HTTPS_PORT};
use limen::logging::Logging;
use limen::settings::Settings;
use limen::view::{Phase, View};
use limen_sources::Document;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything that works takes.
const GUARD: Duration = Duration::from_secs(60);

fn options(flags: &[&str]) -> Options {
    let mut all = vec!["--bind", "127.0.0.1", "--workers", "2", "--access-log", "off", "--max-memory", "off"];
    for port in ["--admin", "--readiness", "--metrics"] {
        all.extend([port, "127.0.0.1:0"]);
    }
    for map in ["8080:0", "8443:0"] {
        all.extend(["--map-port", map]);
    }
    let settings =
        Settings::from_flags(all.into_iter().filter(|_| true).chain(flags.iter().copied())).unwrap();
    let (roots, documents, logging) = (Vec::new(), Vec::new(), Logging::foreign());
    Options { settings, roots, cluster: None, documents, readers: Readers::default(), logging, say: |_| {} }
}

async fn started(options: Options) -> Running {
    let running = boot::start(options).unwrap();
    within(running.ready()).await;
    running
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.expect("it takes too long")
}

async fn until(running: &Running, holds: impl FnMut(&View) -> bool) -> Arc<View> {
    within(running.until(holds)).await
}

/// Sends one request and returns the status and the whole response.
async fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    within(stream.read_to_end(&mut response)).await.unwrap();
    let response = String::from_utf8_lossy(&response).into_owned();
    let status = response.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no response: {response:?}")), response)
}

/// A Gateway on port 8080 and a VirtualService that answers `text` itself.
fn answering(text: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{ name: edge }}\nspec:\n  \
         selector: {{ istio: ingressgateway }}\n  servers:\n    - port: {{ number: 8080, name: http, protocol: HTTP }}\n      \
         hosts: [a.example]\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: web }}\n\
         spec:\n  hosts: [a.example]\n  gateways: [edge]\n  http:\n    - directResponse: {{ status: 200, body: {{ string: {text} }} }}\n"
    )
}

#[tokio::test]
async fn an_edit_is_live_a_bad_one_harms_nothing_and_the_latency_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yaml");
    fs::write(&file, answering("first")).unwrap();
    let running = started(Options { roots: vec![folder.path().to_owned()], ..options(&[]) }).await;
    let address = running.address_of(8080).unwrap();
    assert!(get(address, "a.example", "/").await.1.ends_with("first"));

    let before = running.view().generation;
    fs::write(&file, answering("second")).unwrap();
    until(&running, |view| view.generation > before).await;
    assert!(get(address, "a.example", "/").await.1.ends_with("second"));

    fs::write(&file, answering("[third")).unwrap();
    until(&running, |view| !view.problems().is_empty()).await;
    assert!(get(address, "a.example", "/").await.1.ends_with("second"));
    let problem = running.problems().remove(0);
    assert!(problem.to_string().contains("web.yaml:"), "{problem}");

    let metrics = get(running.metrics().unwrap(), "any", "/stats/prometheus").await.1;
    assert!(metrics.contains("limen_change_latency_seconds_count 1\n"), "{metrics}");
    within(running.shutdown()).await;
}

#[tokio::test]
async fn readiness_ends_with_the_drain_and_traffic_does_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.yaml"), answering("hello")).unwrap();
    let running =
        started(Options { roots: vec![folder.path().to_owned()], ..options(&["--drain", "1h"]) }).await;
    let (readiness, traffic) = (running.readiness().unwrap(), running.address_of(8080).unwrap());
    assert_eq!(get(readiness, "x", "/healthz/ready").await.0, 200);

    // A connection with half a request on it is what the drain waits for; the request before it shows that the
    // connection is known.
    let mut open = TcpStream::connect(traffic).await.unwrap();
    open.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\n")
        .await
        .unwrap();
    let mut first = Vec::new();
    while !first.ends_with(b"hello") {
        first.push(within(open.read_u8()).await.unwrap());
    }

    let mut drain = std::pin::pin!(running.drain());
    tokio::select! {
        () = &mut drain => panic!("the drain did not wait for the open connection"),
        _ = until(&running, |view| view.phase == Phase::Draining) => {}
    }
    assert_eq!(get(readiness, "x", "/healthz/ready").await.0, 503);
    assert_eq!(get(readiness, "x", "/healthz/live").await.0, 200);

    open.write_all(b"\r\n").await.unwrap();
    let mut response = String::new();
    let answer = within(async { tokio::join!(open.read_to_string(&mut response), drain) }).await.0;
    assert!(answer.is_ok() && response.starts_with("HTTP/1.1 200"), "{answer:?} {response}");
    assert!(response.to_ascii_lowercase().contains("connection: close"), "{response}");
}

#[tokio::test]
async fn a_port_of_ones_own_that_is_taken_is_one_problem_and_the_rest_is_served() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.yaml"), answering("hello")).unwrap();
    let mut options = Options { roots: vec![folder.path().to_owned()], ..options(&[]) };
    options.settings.serving.metrics = Settings::from_flags(["--metrics", &address]).unwrap().serving.metrics;
    let running = started(options).await;
    assert_eq!(running.metrics(), None);
    let problems: Vec<String> = running.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains(&address) && problems[0].contains("--metrics"), "{problems:?}");
    assert_eq!(get(running.readiness().unwrap(), "x", "/healthz/ready").await.0, 200);
    assert_eq!(get(running.address_of(8080).unwrap(), "a.example", "/").await.0, 200);
}

#[tokio::test]
async fn an_empty_folder_is_ready_and_serves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = started(Options { roots: vec![folder.path().to_owned()], ..options(&[]) }).await;
    assert!(running.listeners().is_empty() && running.problems().is_empty());
    assert_eq!(get(running.readiness().unwrap(), "x", "/healthz/ready").await.0, 200);
}

#[tokio::test]
async fn a_wanted_certificate_file_is_read_before_the_gateway_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::write(path("tls.crt"), certificate.pem()).unwrap();
    fs::write(path("tls.key"), key.serialize_pem()).unwrap();
    let gateway = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{ name: edge }}\nspec:\n  \
         selector: {{ istio: ingressgateway }}\n  servers:\n    - port: {{ number: 8443, name: https, protocol: HTTPS }}\n      \
         hosts: [a.example]\n      tls: {{ mode: SIMPLE, serverCertificate: {}, privateKey: {} }}\n",
        path("tls.crt"),
        path("tls.key")
    );
    let document = Document { name: "gateway.yaml".into(), text: gateway.into() };
    let running = started(Options { documents: vec![document], ..options(&[]) }).await;
    let view = running.view();
    assert_eq!(view.ir.certificates.len(), 1, "{:?}", running.problems());
    assert!(running.address_of(8443).is_some());

    fs::remove_file(path("tls.key")).unwrap();
    let view = until(&running, |view| !view.problems().is_empty()).await;
    assert_eq!(view.ir.certificates.len(), 1, "the last good certificate stays");
}

#[tokio::test]
async fn the_demo_serves_both_versions_and_shows_no_key() {
    let demo = Demo::prepare().await.unwrap();
    let text = demo.document.text.to_string();
    let running = started(Options { documents: vec![demo.document], ..options(&[]) }).await;
    assert!(running.problems().is_empty(), "{:?}", running.problems());
    assert!(running.address_of(HTTPS_PORT).is_some());
    let address = running.address_of(HTTP_PORT).unwrap();

    let (mut seen, mut tries) = ([false, false], 0);
    while seen != [true, true] {
        let (status, response) = get(address, HOST, "/anything?x=1").await;
        assert_eq!(status, 200, "{response}");
        assert!(response.contains("\"query\": \"x=1\""), "{response}");
        seen[usize::from(response.contains("\"version\": \"v2\""))] = true;
        tries += 1;
        assert!(tries < 2000, "one of the versions never answers: {seen:?}");
    }
    assert_eq!(get(address, HOST, "/status/418").await.0, 418);
    assert_eq!(get(address, "other.example", "/").await.0, 404);

    let admin = running.admin().unwrap();
    let key: Vec<&str> =
        text.lines().skip_while(|line| !line.contains("BEGIN PRIVATE KEY")).skip(1).collect();
    let key: Vec<&str> =
        key.into_iter().map(str::trim).take_while(|line| !line.starts_with("-----")).collect();
    assert!(!key.is_empty());
    for page in [
        "/state",
        "/objects",
        "/ir",
        "/endpoints",
        "/ejected",
        "/problems",
        "/verdicts",
        "/listeners",
        "/stats/prometheus",
    ] {
        let (status, text) = get(admin, "localhost", page).await;
        assert_eq!(status, 200, "{page}");
        assert!(key.iter().all(|line| !text.contains(line)), "{page} shows the key");
    }
    assert!(get(admin, "localhost", "/ir").await.1.contains("sha256:"), "the key shows as a digest");
}
