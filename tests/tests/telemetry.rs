//! What Telemetry says of access logs while it changes: providers with files of their own, filters, silence.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use limen_e2e::gateway::Gateway;
use limen_e2e::{h1, within};
use tokio::net::TcpStream;

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: ['*']
  gateways: [edge]
  http: [{match: [{uri: {exact: /a}}], directResponse: {status: 200}}]
";

/// A mesh whose providers write into this folder.
fn mesh(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    accessLogFile: {folder}/mesh.log
    accessLogFormat: "mesh %RESPONSE_CODE%"
    extensionProviders:
    - name: labels
      envoyFileAccessLog:
        path: {folder}/labels.log
        logFormat: {{labels: {{code: "%RESPONSE_CODE%", none: "%REQ(X-NONE)%", in: {{path: "%REQ(:PATH)%", none: "%REQ(X-NONE)%"}}}}}}
    - name: brief
      envoyFileAccessLog:
        path: {folder}/brief.log
        logFormat: {{labels: {{code: "%RESPONSE_CODE%", none: "%REQ(X-NONE)%", host: "at %REQ(:AUTHORITY)%"}}}}
        omitEmptyValues: true
    - name: text
      envoyFileAccessLog: {{path: {folder}/text.log, logFormat: {{text: "%REQ(:PATH)% %RESPONSE_CODE%"}}}}
    - name: lost
      envoyFileAccessLog: {{path: {folder}/no/such/folder.log}}
"#
    )
}

fn telemetry(logging: &str) -> String {
    format!(
        "{{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {{name: logs, namespace: istio-system}}, \
         spec: {{accessLogging: [{logging}]}}}}"
    )
}

async fn get(gateway: &Gateway, path: &str) -> u16 {
    let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    connection.send(&h1::request("GET", path, "a", &[], b"")).await;
    within("an answer", connection.read("GET")).await.unwrap().status
}

/// Asks for `/a` and `/b` of a gateway with this Telemetry; returns what its files hold then, by name.
async fn logs(logging: &str, flags: &[&str]) -> impl Fn(&str) -> String {
    let aside = tempfile::tempdir().unwrap();
    let (mesh, telemetry) = (mesh(aside.path()), telemetry(logging));
    let mut files = vec![("routes.yaml", ROUTES), ("mesh.yaml", &*mesh)];
    if !logging.is_empty() {
        files.push(("telemetry.yaml", &*telemetry));
    }
    let mut flags: Vec<String> =
        flags.iter().map(|flag| flag.replace("ASIDE", &aside.path().display().to_string())).collect();
    // The lines of two workers come in any order.
    flags.extend(["--workers", "1"].map(str::to_owned));
    let gateway = Gateway::start(&files, &flags).await;
    assert_eq!((get(&gateway, "/a").await, get(&gateway, "/b").await), (200, 404));
    gateway.stop().await;
    move |name| std::fs::read_to_string(aside.path().join(name)).unwrap_or_default()
}

/// The target is named so that the form is the configuration's.
const OWN: [&str; 2] = ["--access-log-file", "ASIDE/process.log"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_provider_writes_what_it_says_into_its_own_file() {
    let logs = logs("{providers: [{name: labels}, {name: BRIEF}]}, {providers: [{name: text}], filter: {expression: response.code == 404}}", &OWN).await;
    assert_eq!(
        logs("labels.log"),
        "{\"code\":200,\"in\":{\"none\":null,\"path\":\"/a\"},\"none\":null}\n\
         {\"code\":404,\"in\":{\"none\":null,\"path\":\"/b\"},\"none\":null}\n"
    );
    assert_eq!(logs("brief.log"), "{\"code\":200,\"host\":\"at a\"}\n{\"code\":404,\"host\":\"at a\"}\n");
    assert_eq!(logs("text.log"), "/b 404\n", "what the filter lets pass");
    assert_eq!((logs("process.log"), logs("mesh.log")), Default::default(), "the mesh's own log is replaced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_meshs_own_log_is_replaced_by_a_known_provider_only() {
    let without = logs("", &OWN).await;
    assert_eq!(without("process.log"), "mesh 200\nmesh 404\n", "a target given to the process counts first");
    let off = logs("{providers: [{name: envoy}], disabled: true}", &OWN).await;
    assert_eq!(off("process.log"), "");
    let built_in =
        logs("{providers: [{name: envoy}], filter: {expression: response.code < 300}}", &OWN).await;
    assert_eq!(built_in("process.log"), "mesh 200\n", "the built-in provider has the mesh's form");
    for none in [
        "{disabled: true}",
        "{providers: [{name: nobody}], disabled: true}",
        "{providers: [{name: envoy}], disabled: true, match: {mode: SERVER}}",
    ] {
        assert_eq!(logs(none, &OWN).await("process.log"), "mesh 200\nmesh 404\n", "{none}");
    }
    let off = logs(
        "{providers: [{name: text}]}",
        &["--access-log-file", "ASIDE/process.log", "--access-log", "off"],
    )
    .await;
    assert_eq!(off("text.log"), "", "the process was told to log nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_opened_and_closed_as_the_configuration_changes_and_a_lost_one_is_told() {
    let aside = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(aside.path().join(name)).unwrap_or_default();
    let mesh = mesh(aside.path());
    let files = [("routes.yaml", ROUTES), ("mesh.yaml", &*mesh)];
    let process = aside.path().join("process.log").display().to_string();
    let flags = ["--workers", "1", "--access-log-file", &process].map(str::to_owned);
    let gateway = Gateway::start(&files, &flags).await;
    let mut generation = gateway.until("a state", |_| true).await.generation;
    for (logging, path) in [
        ("{providers: [{name: text}]}", "/1"),
        ("{providers: [{name: envoy}]}", "/2"),
        ("{providers: [{name: text}]}", "/3"),
    ] {
        gateway.write("telemetry.yaml", &telemetry(logging));
        generation = gateway.until("the next state", |view| view.generation > generation).await.generation;
        assert_eq!(get(&gateway, path).await, 404);
    }
    gateway.write("telemetry.yaml", &telemetry("{providers: [{name: lost}]}"));
    let told = |view: &limen::view::View| {
        view.problems().iter().any(|problem| problem.to_string().contains("no/such/folder.log"))
    };
    gateway.until("the problem", told).await;
    assert_eq!(get(&gateway, "/4").await, 404);
    within("the gateway to end", gateway.running.shutdown()).await;
    assert_eq!(read("text.log"), "/1 404\n/3 404\n");
    let process = read("process.log");
    assert!(process.starts_with("mesh 404\n") && process.contains("\"GET /4 HTTP/1.1\" 404 NR"), "{process}");
}
