//! The ports with nothing behind them: what they answer in each phase of the gateway's life.

use std::sync::Arc;

use limen_proxy::Applied;
use limen_proxy::observe::{Registry, SourceLabels};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::*;
use crate::view::Phase;

struct Ports {
    views: watch::Sender<Arc<View>>,
    admin: SocketAddr,
    readiness: SocketAddr,
    metrics: SocketAddr,
}

async fn ports() -> Ports {
    let (views, view) = watch::channel(Arc::new(View::starting(Vec::new())));
    let (registry, source, logging) =
        (Arc::new(Registry::default()), SourceLabels::default(), Logging::foreign());
    let admin = Admin { view, registry, source, logging };
    let admin_port = serve_admin(listening().await, admin.clone());
    let readiness = serve_readiness(listening().await, admin.clone());
    let metrics = serve_metrics(listening().await, admin);
    Ports { views, admin: admin_port, readiness, metrics }
}

async fn listening() -> Listening {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sends one request and returns status and the whole response.
async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let status =
        response.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{response}"));
    (status, response)
}

const LOCAL: &str = "Host: localhost\r\n";

#[tokio::test]
async fn readiness_follows_the_life_of_the_gateway() {
    let ports = ports().await;
    for (phase, status) in [(Phase::Starting, 503), (Phase::Ready, 200), (Phase::Draining, 503)] {
        ports.views.send_modify(|view| *view = Arc::new(View { phase, ..View::clone(view) }));
        for (port, path) in
            [(ports.readiness, "/healthz/ready"), (ports.metrics, "/healthz/ready"), (ports.admin, "/ready")]
        {
            assert_eq!(ask(port, "GET", path, LOCAL).await.0, status, "{phase:?} {path}");
        }
        assert_eq!(ask(ports.readiness, "GET", "/healthz/live", LOCAL).await.0, 200, "{phase:?}");
    }
}

#[tokio::test]
async fn the_readiness_port_serves_nothing_else_and_any_host() {
    let ports = ports().await;
    for path in ["/", "/state", "/stats/prometheus", "/healthz"] {
        assert_eq!(ask(ports.readiness, "GET", path, LOCAL).await.0, 404, "{path}");
    }
    assert_eq!(ask(ports.readiness, "GET", "/healthz/live", "Host: 10.1.2.3:15021\r\n").await.0, 200);
    assert_eq!(ask(ports.metrics, "GET", "/state", LOCAL).await.0, 404);
}

#[tokio::test]
async fn the_admin_port_answers_local_clients_only() {
    let ports = ports().await;
    for path in [
        "/",
        "/state",
        "/objects",
        "/ir",
        "/endpoints",
        "/ejected",
        "/problems",
        "/verdicts",
        "/listeners",
        "/version",
        "/stats/prometheus",
    ] {
        assert_eq!(ask(ports.admin, "GET", path, LOCAL).await.0, 200, "{path}");
        let rebound = ask(ports.admin, "GET", path, "Host: evil.example\r\n").await;
        assert_eq!(rebound.0, 403, "{path}");
    }
    let foreign = "Host: localhost\r\nOrigin: https://evil.example\r\n";
    assert_eq!(ask(ports.admin, "POST", "/logging?level=debug", foreign).await.0, 403);
}

#[tokio::test]
async fn the_log_level_is_set_by_post_only_and_errors_are_told() {
    let ports = ports().await;
    assert_eq!(ask(ports.admin, "GET", "/logging?level=debug", LOCAL).await.0, 405);
    assert_eq!(ask(ports.admin, "POST", "/logging", LOCAL).await.0, 400);
    let (status, text) = ask(ports.admin, "POST", "/logging?level=bananas", LOCAL).await;
    assert_eq!(status, 400);
    assert!(text.contains("expected off, error, warn"), "{text}");
}

#[tokio::test]
async fn starting_says_how_far_it_is() {
    let ports = ports().await;
    let applied = Applied { generation: 3, ..Applied::default() };
    ports.views.send_modify(|view| *view = Arc::new(View { generation: 4, applied, ..View::clone(view) }));
    let (_, text) = ask(ports.readiness, "GET", "/healthz/ready", LOCAL).await;
    assert!(text.ends_with("starting: generation 4 wanted, 3 served by every worker\n"), "{text}");
}

#[tokio::test]
async fn it_is_not_ready_while_no_port_could_be_bound() {
    let ports = ports().await;
    let listener = |bound: Option<&str>| limen_proxy::BoundListener {
        name: "0.0.0.0_80".to_owned(),
        declared: 80,
        tls: false,
        tcp: false,
        udp: false,
        wanted: "0.0.0.0:80".parse().unwrap(),
        bound: bound.map(|address| address.parse().unwrap()),
        note: None,
    };
    let here = listener(Some("0.0.0.0:80"));
    for (listeners, status) in [(vec![listener(None)], 503), (vec![listener(None), here], 200), (vec![], 200)]
    {
        let applied = Applied { listeners, ..Applied::default() };
        ports.views.send_modify(|view| {
            *view = Arc::new(View { phase: Phase::Ready, applied: applied.clone(), ..View::clone(view) });
        });
        assert_eq!(ask(ports.readiness, "GET", "/healthz/ready", LOCAL).await.0, status, "{applied:?}");
    }
}
