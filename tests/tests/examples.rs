//! Every example serves what its README says it does.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::tls::{Authority, base64};
use limen_e2e::{h1, within};
use tokio::net::TcpStream;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// The objects of an example, copied, so that a test can add to them.
fn copied(name: &str, home: &Path) -> PathBuf {
    let to = home.join("config");
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        let made = path.file_name().is_some_and(|file| file == "secret.yaml");
        if path.extension().is_some_and(|e| e == "yaml") && !made {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    to
}

fn backend(service: &str, origin: &Origin) -> [String; 2] {
    ["--backend".to_owned(), format!("{service}={}", origin.address)]
}

#[test]
fn every_example_is_listed_and_tested() {
    let here = include_str!("examples.rs");
    let list = fs::read_to_string(folder("README.md")).unwrap();
    for entry in fs::read_dir(folder("")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(path.join("README.md").exists(), "{name} has a README");
            assert!(list.contains(&format!("({name})")), "examples/README.md lists {name}");
            assert!(here.contains(&format!("copied(\"{name}\"")), "a test runs {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canary() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("canary-90-10", home.path());
    let (v1, v2) = (Origin::start("v1", Script::echo()).await, Origin::start("v2", Script::echo()).await);
    let flags = [backend("shop/version=v1", &v1), backend("shop/version=v2", &v2)].concat();
    let gateway = Gateway::start_in(home, vec![config], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    for _ in 0..1000 {
        connection.send(&h1::request("GET", "/", "shop.example.com", &[], b"")).await;
        let reply = within("a response", connection.read("GET")).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    // 100 of 1000 are expected; 50 is five standard deviations.
    assert!((50..=150).contains(&v2.hits()), "{} of 1000 went to v2", v2.hits());
    connection.send(&h1::request("GET", "/", "other.example.com", &[], b"")).await;
    assert_eq!(within("a response", connection.read("GET")).await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_termination() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("tls-termination", home.path());
    let authority = Authority::new();
    let pair = authority.issue(&["shop.example.com"]);
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: shop-tls\n  namespace: istio-system\n\
         type: kubernetes.io/tls\ndata:\n  tls.crt: {}\n  tls.key: {}\n",
        base64(&pair.certificate),
        base64(&pair.key)
    );
    fs::write(config.join("secret.yaml"), secret).unwrap();
    let origin = Origin::start("shop", Script::echo()).await;
    let gateway = Gateway::start_in(home, vec![config], &backend("shop", &origin)).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());

    let stream = authority.connect(gateway.address(443), "shop.example.com", "http/1.1").await.unwrap();
    let mut connection = h1::Connection::new(stream);
    connection.send(&h1::request("GET", "/", "shop.example.com", &[], b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    assert_eq!((reply.status, reply.seen()["headers"]["x-forwarded-proto"].as_str()), (200, Some("https")));

    let mut plain = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    plain.send(&h1::request("GET", "/a", "shop.example.com", &[], b"")).await;
    let reply = within("a redirect", plain.read("GET")).await.unwrap();
    assert_eq!(
        (reply.status, reply.header("location").as_deref()),
        (301, Some("https://shop.example.com/a"))
    );

    let stranger = authority.connect(gateway.address(443), "other.example.com", "http/1.1").await;
    assert!(stranger.is_err(), "there is no certificate for another name");
}
