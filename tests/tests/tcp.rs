//! Connections that are handed on as they are: sizes, ends, times, and what is counted.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_e2e::gateway::Gateway;
use limen_e2e::shop::Metrics;
use limen_e2e::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A gateway whose port 9000 leads to a listener; `policy` stands in a DestinationRule for it.
async fn gateway(policy: &str) -> (Gateway, TcpListener) {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: edge}}, spec: {{servers: [
          {{port: {{number: 9000, name: db, protocol: TCP}}, hosts: ['*']}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: db}}, spec: {{hosts: ['*'],
  gateways: [edge], tcp: [{{route: [{{destination: {{host: db, port: {{number: 1}}}}}}]}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: db}}, spec: {{host: db,
  trafficPolicy: {{connectionPool: {{tcp: {{{policy}}}}}}}}}}}
"
    );
    let backend = format!("db={}", origin.local_addr().unwrap());
    let gateway = Gateway::start(&[("config.yaml", &config)], &["--backend".to_owned(), backend]).await;
    (gateway, origin)
}

/// A client's connection and what the origin has of it.
async fn pair(gateway: &Gateway, origin: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(gateway.address(9000)).await.unwrap();
    let (far, _) = within("the origin's connection", origin.accept()).await.unwrap();
    (client, far)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_bytes_pass_both_ways_and_each_side_ends_by_itself() {
    let (gateway, origin) = gateway("maxConnections: 10").await;
    let (client, far) = pair(&gateway, &origin).await;
    let (up, down) = (pattern(24 << 20), pattern(16 << 20));
    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut far_reads, mut far_writes) = far.into_split();
    let sends = async {
        client_writes.write_all(&up).await.unwrap();
        client_writes.shutdown().await.unwrap();
    };
    let hears = async {
        let mut got = Vec::new();
        far_reads.read_to_end(&mut got).await.unwrap();
        assert!(got == up, "the origin got {} bytes, or others", got.len());
        // The client has ended; the answer begins only now.
        far_writes.write_all(&down).await.unwrap();
        far_writes.shutdown().await.unwrap();
    };
    let answered = async {
        let mut got = Vec::new();
        client_reads.read_to_end(&mut got).await.unwrap();
        assert!(got == down, "the client got {} bytes, or others", got.len());
    };
    within("all bytes", async { tokio::join!(sends, hears, answered) }).await;
    let lines = gateway.stop().await;
    assert_eq!(
        (lines[0]["bytes_received"].as_u64(), lines[0]["bytes_sent"].as_u64()),
        (Some(24 << 20), Some(16 << 20))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_origin_may_speak_first_and_what_passes_is_counted_at_once() {
    let (gateway, origin) = gateway("maxConnections: 10").await;
    let (mut client, mut far) = pair(&gateway, &origin).await;
    far.write_all(b"hello").await.unwrap();
    let mut got = [0; 5];
    within("the greeting", client.read_exact(&mut got)).await.unwrap();
    let labels = "destination_service=\"db.default.svc.cluster.local\"";
    // What the client has may not have been counted yet.
    let text = within("the bytes in the metrics", async {
        loop {
            let text = Metrics::of(&gateway).await.0;
            let sent = |line: &str| line.starts_with("istio_tcp_sent_bytes_total{") && line.contains(labels);
            if text.lines().any(|line| sent(line) && line.ends_with(" 5")) {
                return text;
            }
        }
    })
    .await;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name) && line.contains(labels)).unwrap();
        assert!(line.contains("request_protocol=\"tcp\"") && !line.contains("response_code"), "{line}");
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(value("istio_tcp_connections_opened_total{"), "1");
    assert_eq!(value("istio_tcp_connections_closed_total{"), "0");
    assert_eq!(value("istio_tcp_sent_bytes_total{"), "5");
    assert_eq!(value("istio_tcp_received_bytes_total{"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_that_is_reset_resets_the_other() {
    let (gateway, origin) = gateway("maxConnections: 10").await;
    let (mut client, mut far) = pair(&gateway, &origin).await;
    // A connection that is reset before the gateway has seen it stand is one that failed to be made.
    far.write_all(b"x").await.unwrap();
    within("the first byte", client.read_exact(&mut [0; 1])).await.unwrap();
    #[expect(deprecated, reason = "a linger of 0 does not block")]
    far.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(far);
    let read = within("the end", client.read(&mut [0; 1])).await;
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_closed() {
    let (gateway, origin) = gateway("idleTimeout: 50ms").await;
    let (mut client, mut far) = pair(&gateway, &origin).await;
    assert_eq!(within("the end", client.read(&mut [0; 1])).await.unwrap(), 0);
    assert_eq!(within("the end", far.read(&mut [0; 1])).await.unwrap(), 0);
    assert_eq!(gateway.stop().await[0]["response_flags"], "-");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_reaches_its_age_however_busy_it_is() {
    let (gateway, origin) = gateway("maxConnectionDuration: 100ms").await;
    let (mut client, mut far) = pair(&gateway, &origin).await;
    let chatter = async { while far.write_all(b"x").await.is_ok() {} };
    let listen = async {
        let mut got = [0; 1000];
        while client.read(&mut got).await.is_ok_and(|n| n > 0) {}
        drop(client);
    };
    within("the end", async { tokio::join!(chatter, listen) }).await;
    assert_eq!(gateway.stop().await[0]["response_flags"], "DT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_of_the_cluster_are_closed() {
    let (gateway, origin) = gateway("maxConnections: 1").await;
    let first = pair(&gateway, &origin).await;
    let mut second = TcpStream::connect(gateway.address(9000)).await.unwrap();
    assert_eq!(within("the end", second.read(&mut [0; 1])).await.unwrap(), 0);
    drop(first);
    let lines = gateway.stop().await;
    let flags: Vec<_> = lines.iter().map(|line| line["response_flags"].as_str().unwrap()).collect();
    // The lines of two workers come in any order.
    assert_eq!(flags.iter().filter(|flags| **flags == "UO").count(), 1, "{flags:?}");
}
