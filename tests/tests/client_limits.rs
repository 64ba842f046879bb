//! What `connectionSettings` of the mesh configuration allow clients: times and numbers that are small.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::shop;
use limen_e2e::{frames, h1, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A gateway with these settings in front of an origin.
async fn start(origin: &Origin, settings: &str, flags: &str) -> Gateway {
    let mesh = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, \
         data: {{mesh: 'defaultConfig: {{connectionSettings: {{{settings}}}}}'}}}}"
    );
    let routes = shop::routes("[{route: [{destination: {host: shop}}]}]");
    shop::start(&format!("{routes}---\n{mesh}\n"), &[origin], flags).await
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

async fn get(connection: &mut h1::Connection<TcpStream>) -> Result<Reply, String> {
    connection.send(&h1::request("GET", "/", "a", &[], b"")).await;
    within("an answer or the end", connection.read("GET")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_has_lived_for_as_long_as_it_may_is_ended_between_requests() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "httpMaxConnectionDuration: 400ms", "").await;
    let mut idle = h1::Connection::new(connect(&gateway).await);
    let reply = get(&mut idle).await.unwrap();
    assert_eq!((reply.status, reply.closed), (200, false), "{reply:?}");
    // This one is never at rest for long: an answer says that it was the last.
    let mut busy = h1::Connection::new(connect(&gateway).await);
    let last = within("an answer that is the last", async {
        loop {
            let reply = get(&mut busy).await.expect("no request goes without an answer");
            assert_eq!(reply.status, 200, "{reply:?}");
            if reply.closed {
                break reply;
            }
        }
    })
    .await;
    assert_eq!(last.header("connection").as_deref(), Some("close"), "{last:?}");
    within("the end of an idle connection", idle.end()).await.unwrap();

    let (send, connection) = h2::client::handshake(connect(&gateway).await).await.unwrap();
    let driver = tokio::spawn(connection);
    let talk = async {
        while let Ok(mut ready) = send.clone().ready().await {
            let Ok((response, _)) =
                ready.send_request(http::Request::get("http://a/").body(()).unwrap(), true)
            else {
                break;
            };
            match within("an answer", response).await {
                Ok(response) => assert_eq!(response.status(), 200),
                // It crossed the word that no more are taken; it may be sent again elsewhere.
                Err(error) => {
                    assert!(error.is_go_away(), "{error}");
                    break;
                }
            }
        }
    };
    within("the end of the requests", talk).await;
    drop(send);
    // What the client still says, its last word included, may find the connection closed.
    let _ = within("the end of the connection", driver).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_has_lived_for_as_long_as_it_may_is_408_whatever_moves() {
    let origin = Origin::start("shop", Script::Never).await;
    let gateway = start(&origin, "httpMaxStreamDuration: 300ms", "").await;
    let mut connection = h1::Connection::new(connect(&gateway).await);
    let reply = get(&mut connection).await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (408, "downstream duration timeout"), "{reply:?}");
    assert_eq!(details(gateway).await, "max_duration_timeout");

    let origin = Origin::start("shop", Script::Switch).await;
    let gateway = start(&origin, "httpMaxStreamDuration: 300ms", "").await;
    let mut connection = h1::Connection::new(connect(&gateway).await);
    let fields = [("connection", "upgrade"), ("upgrade", "chat")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    connection.send(&h1::request("GET", "/", "a", &fields, b"")).await;
    assert_eq!(within("the switch", connection.read_head()).await.unwrap().status, 101);
    let talk = async {
        connection.send(b"more").await;
        while connection.read_bytes(4).await.is_ok() {
            connection.send(b"more").await;
        }
    };
    within("the end of a tunnel in which bytes pass", talk).await;
    assert_eq!(details(gateway).await, "max_duration_timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_windows_of_http2_are_those_of_the_gateway() {
    let origin = Origin::start("shop", Script::echo()).await;
    let settings = "httpMaxConcurrentStreams: 7, http2InitialStreamWindowSize: 70000, \
                    http2InitialConnectionWindowSize: 200000";
    let gateway = start(&origin, settings, "").await;
    let mut stream = connect(&gateway).await;
    let mut bytes = frames::PREFACE.to_vec();
    bytes.extend(frames::frame(frames::SETTINGS, 0, 0, b""));
    stream.write_all(&bytes).await.unwrap();
    let told = frames::next(&mut stream).await;
    assert_eq!(told.kind, frames::SETTINGS);
    let said = |name: u8| {
        let setting = told.payload.chunks(6).find(|setting| setting[..2] == [0, name]).unwrap();
        u32::from_be_bytes(setting[2..].try_into().unwrap())
    };
    assert_eq!((said(3), said(4)), (7, 70_000));
    let window = frames::next(&mut stream).await;
    assert_eq!((window.stream, window.payload), (0, (200_000u32 - 65_535).to_be_bytes().to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_over_the_limit_of_the_mesh_are_closed_at_accept() {
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "globalDownstreamConnectionLimit: 1", "").await;
    let mut first = h1::Connection::new(connect(&gateway).await);
    assert_eq!(get(&mut first).await.unwrap().status, 200);
    let mut second = h1::Connection::new(connect(&gateway).await);
    within("the end of a surplus connection", second.end()).await.unwrap();
    assert_eq!(get(&mut first).await.unwrap().status, 200, "the one that is there is still served");
}

/// Connections that each worker serves.
async fn by_worker(gateway: &Gateway) -> Vec<u64> {
    let metrics = TcpStream::connect(gateway.running.metrics().unwrap()).await.unwrap();
    let mut connection = h1::Connection::new(metrics);
    connection.send(&h1::request("GET", "/stats/prometheus", "localhost", &[], b"")).await;
    let page = within("the metrics", connection.read("GET")).await.unwrap().text();
    let lines = page.lines().filter(|line| line.starts_with("limen_worker_connections_active{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_spread_over_the_workers() {
    const WORKERS: u64 = 4;
    const EACH: u64 = 12;
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = start(&origin, "", "--workers 4").await;
    let mut open = Vec::new();
    for _ in 0..WORKERS * EACH {
        let mut connection = h1::Connection::new(connect(&gateway).await);
        assert_eq!(get(&mut connection).await.unwrap().status, 200);
        open.push(connection);
    }
    let served = by_worker(&gateway).await;
    assert_eq!((served.len() as u64, served.iter().sum::<u64>()), (WORKERS, WORKERS * EACH), "{served:?}");
    // A worker hands on what it accepts while it has more than the mean and a little.
    assert!(served.iter().all(|count| (1..=EACH + 5).contains(count)), "{served:?}");
}
