//! The mesh configuration while it changes: from a file of its own, live, with the last good one kept.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::{h1, shop, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUTES: &str = "[{match: [{uri: {exact: /a/b}}], directResponse: {status: 200}}]";

async fn status(gateway: &Gateway, path: &str) -> u16 {
    let mut connection = shop::connect(gateway).await;
    connection.send(&h1::request("GET", path, "a", &[], b"")).await;
    within("an answer", connection.read("GET")).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_its_own_is_obeyed_as_it_changes_and_its_last_good_state_stays() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("mesh.yaml");
    std::fs::write(&file, "pathNormalization: {normalization: MERGE_SLASHES}\n").unwrap();
    let flags = ["--mesh-config".to_owned(), file.display().to_string()];
    let gateway = Gateway::start(&[("routes.yaml", &shop::routes(ROUTES))], &flags).await;
    assert_eq!((status(&gateway, "/a//b").await, status(&gateway, "/a%2Fb").await), (200, 404));

    let before = gateway.until("a state", |_| true).await.generation;
    std::fs::write(&file, "pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}\n").unwrap();
    gateway.until("the next state", |view| view.generation > before).await;
    assert_eq!((status(&gateway, "/a//b").await, status(&gateway, "/a%2Fb").await), (200, 200));

    std::fs::write(&file, "pathNormalization: {normalization: SOMEHOW}\n").unwrap();
    let wrong = "pathNormalization.normalization: expected one of DEFAULT";
    let told = |view: &limen::view::View| {
        view.snapshot.problems().any(|problem| problem.to_string().contains(wrong))
    };
    gateway.until("the problem", told).await;
    assert_eq!(status(&gateway, "/a%2Fb").await, 200, "the last good state");
}

/// The access log of one request to a gateway with this mesh configuration.
async fn log_of_one_request(mesh: &str) -> String {
    let aside = tempfile::tempdir().unwrap();
    let log = aside.path().join("own.log");
    let map = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, data: {{mesh: '{mesh}'}}}}"
    );
    let flags = ["--access-log-file".to_owned(), log.display().to_string()];
    let gateway =
        Gateway::start(&[("routes.yaml", &shop::routes(ROUTES)), ("mesh.yaml", &map)], &flags).await;
    assert_eq!(status(&gateway, "/a/b").await, 200);
    gateway.stop().await;
    std::fs::read_to_string(log).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_has_the_form_that_the_mesh_says() {
    let text = r#"accessLogFile: /dev/stdout, accessLogFormat: "code=%RESPONSE_CODE% %REQ(:PATH)%\n""#;
    assert_eq!(log_of_one_request(&format!("{{{text}}}")).await, "code=200 /a/b\n");
    let json = r#"{accessLogEncoding: JSON, accessLogFormat: "{\"code\": \"%RESPONSE_CODE%\"}"}"#;
    assert_eq!(log_of_one_request(json).await, "{\"code\":200}\n");
    let broken = r#"{accessLogEncoding: JSON, accessLogFormat: "%RESPONSE_CODE%"}"#;
    let line = log_of_one_request(broken).await;
    assert!(line.starts_with('{') && line.contains("\"response_code\":200"), "Istio's members: {line}");
}

/// The answer and the log line of a request to an origin that does this, where a stream may be idle for 300 ms.
async fn idle(script: Script, head: &str) -> (Result<Reply, String>, serde_json::Value) {
    let origin = Origin::start("web", script).await;
    let settings =
        "{defaultConfig: {connectionSettings: {httpStreamIdleTimeout: 300ms, httpRequestTimeout: 900ms}}}";
    let map = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, data: {{mesh: '{settings}'}}}}"
    );
    let routes =
        shop::routes(ROUTES).replace("directResponse: {status: 200}", "route: [{destination: {host: web}}]");
    let service =
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{name: http, port: 80}]}}";
    let files = [("routes.yaml", &*routes), ("mesh.yaml", &map), ("web.yaml", service)];
    let flags = ["--backend".to_owned(), format!("web={}", origin.address)];
    let gateway = Gateway::start(&files, &flags).await;
    let mut connection = shop::connect(&gateway).await;
    connection.send(format!("{head} /a/b HTTP/1.1\r\nhost: a\r\n").as_bytes()).await;
    let length = if head == "POST" { "content-length: 5\r\n" } else { "" };
    connection.send(format!("{length}\r\n").as_bytes()).await;
    let reply = within("an answer", connection.read(head)).await;
    let lines = gateway.stop().await;
    (reply, lines.into_iter().next().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_in_which_nothing_moves_is_ended() {
    let (reply, line) = idle(Script::Never, "GET").await;
    let reply = reply.unwrap();
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (504, "stream timeout"),
        "the origin is silent: {reply:?}"
    );
    assert_eq!(
        (&line["response_flags"], &line["response_code_details"]),
        (&"SI".into(), &"stream_idle_timeout".into())
    );

    let (reply, line) = idle(Script::Never, "POST").await;
    let reply = reply.unwrap();
    assert_eq!((reply.status, reply.closed), (408, true), "the client owes a body: {reply:?}");
    assert_eq!(line["response_flags"], "SI");
}

/// All that a client hears of an answer whose head says `X-Answer`.
async fn heard(mesh: &str) -> String {
    let headers = vec![("X-Answer".to_owned(), "yes".to_owned())];
    let script = Script::Echo { statuses: vec![200], headers, trailers: Vec::new() };
    let origin = Origin::start("web", script).await;
    let map = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, data: {{mesh: '{mesh}'}}}}"
    );
    let routes =
        shop::routes(ROUTES).replace("directResponse: {status: 200}", "route: [{destination: {host: web}}]");
    let service =
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{name: http, port: 80}]}}";
    let files = [("routes.yaml", &*routes), ("mesh.yaml", &map), ("web.yaml", service)];
    let flags = ["--backend".to_owned(), format!("web={}", origin.address)];
    let gateway = Gateway::start(&files, &flags).await;
    let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
    stream.write_all(b"GET /a/b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    within("the answer", stream.read_to_string(&mut text)).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_an_answer_are_in_lower_case_unless_the_mesh_wants_them_kept() {
    let lower = heard("").await;
    assert!(lower.contains("\r\nx-answer: yes\r\n"), "{lower}");
    let kept = heard("{defaultConfig: {proxyHeaders: {preserveHttp1HeaderCase: true}}}").await;
    assert!(kept.contains("\r\nX-Answer: yes\r\n") && kept.contains("\r\nserver: istio-envoy\r\n"), "{kept}");
}
