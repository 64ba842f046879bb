//! What `connectionSettings` of the mesh configuration allow clients: times and numbers that are small.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use limen_e2e::gateway::Gateway;
use limen_e2e::h1;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::within;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const SHOP: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: http, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: ['*']
  gateways: [edge]
  http: [{route: [{destination: {host: shop}}]}]
";

/// A gateway with these settings in front of an origin.
async fn start(origin: &Origin, settings: &str, flags: &str) -> Gateway {
    let mesh = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, \
         data: {{mesh: 'defaultConfig: {{connectionSettings: {{{settings}}}}}'}}}}"
    );
    let mut all = vec!["--backend".to_owned(), format!("shop={}", origin.address)];
    all.extend(flags.split_whitespace().map(str::to_owned));
    Gateway::start(&[("shop.yaml", SHOP), ("mesh.yaml", &mesh)], &all).await
}

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.address(80)).await.unwrap()
}

/// The reason of the only line of the access log.
async fn details(gateway: Gateway) -> String {
    let lines = gateway.stop().await;
    let [line] = &*lines else { panic!("one line expected: {lines:#?}") };
    line["response_code_details"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_to_arrive_is_408() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "httpRequestTimeout: 300ms", "").await;
    let (reading, mut writing) = connect(&gateway).await.into_split();
    // Bytes go on coming: were the time counted from the last one, there would be no answer.
    let client = tokio::spawn(async move {
        writing.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while writing.write_all(b"1\r\nx\r\n").await.is_ok() {
            pace.tick().await;
        }
    });
    let mut connection = h1::Connection::new(tokio::io::join(reading, tokio::io::sink()));
    let reply = within("an answer to a body that does not end", connection.read("POST")).await.unwrap();
    assert_eq!((reply.status, reply.text().as_str(), reply.closed), (408, "request timeout", true));
    client.abort();
    assert_eq!(details(gateway).await, "request_overall_timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_to_arrive_is_408_in_http2() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "httpRequestTimeout: 300ms", "").await;
    let (mut send, connection) = h2::client::handshake(connect(&gateway).await).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://a/").body(()).unwrap();
    let (response, mut body) = send.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"x"), false).unwrap();
    let response = within("an answer to a body that does not end", response).await.unwrap();
    assert_eq!(response.status(), 408);
    let text = within("its body", response.into_body().data()).await.unwrap().unwrap();
    assert_eq!(text, "request timeout");
    assert_eq!(details(gateway).await, "request_overall_timeout");
}
