//! Every example serves what its README says it does.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use limen::settings::Settings;
use limen_e2e::datagrams;
use limen_e2e::dns::{DnsServer, Says};
use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::reply::Reply;
use limen_e2e::tls::{Authority, Pair, base64};
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

/// The Secret that a README has made by OpenSSL.
fn secret(name: &str, namespace: &str, pair: &Pair) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {namespace}\n\
         type: kubernetes.io/tls\ndata:\n  tls.crt: {}\n  tls.key: {}\n",
        base64(&pair.certificate),
        base64(&pair.key)
    )
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
    let secret = secret("shop-tls", "istio-system", &authority.issue(&["shop.example.com"]));
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

async fn get(address: SocketAddr, host: &str, path: &str) -> Reply {
    let mut connection = h1::Connection::new(TcpStream::connect(address).await.unwrap());
    connection.send(&h1::request("GET", path, host, &[], b"")).await;
    within("a response", connection.read("GET")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingress() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("ingress", home.path());
    let (shop, cart) =
        (Origin::start("shop", Script::echo()).await, Origin::start("cart", Script::echo()).await);
    let flags = [backend("shop", &shop), backend("cart:8080", &cart)].concat();
    let gateway = Gateway::start_in(home, vec![config], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    let cases = [
        ("shop.example.com", "/", "shop"),
        ("shop.example.com", "/cart", "cart"),
        ("shop.example.com", "/cartoon", "shop"),
        ("other.example.com", "/", "shop"),
    ];
    for (host, path, origin) in cases {
        let reply = get(gateway.address(80), host, path).await;
        let seen = reply.seen();
        assert_eq!((reply.status, seen["origin"].as_str()), (200, Some(origin)), "{host}{path}");
    }
}

/// As `limen run` reads its arguments.
#[derive(Parser)]
struct Run {
    #[command(flatten)]
    settings: Settings,
    paths: Vec<PathBuf>,
}

impl Run {
    /// From the words behind `limen`.
    fn from<'w>(words: impl IntoIterator<Item = &'w str>) -> Run {
        Run::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_world() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("hello-world", home.path());
    let (v1, v2) = (Origin::start("v1", Script::echo()).await, Origin::start("v2", Script::echo()).await);
    let flags = [backend("hello-v1.application", &v1), backend("hello-v2.application", &v2)].concat();
    let gateway = Gateway::start_in(home, vec![config], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    for (host, path, origin) in [
        ("hello.example.com", "/v1", Some("v1")),
        ("hello.example.com:30736", "/v2/a", Some("v2")),
        ("hello.example.com", "/v10", None),
        ("example.com", "/v1", None),
    ] {
        let reply = get(gateway.address(80), host, path).await;
        assert_eq!(reply.status, if origin.is_some() { 200 } else { 404 }, "{host}{path}");
        assert_eq!(reply.origin().as_deref(), origin, "{host}{path}");
    }
    let lines = gateway.stop().await;
    let cluster = "outbound|7777||hello-v1.application.svc.cluster.local";
    assert!(lines.iter().any(|line| line["upstream_cluster"] == cluster), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_gateways() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("several-gateways", home.path());
    let shop = Origin::start("shop", Script::echo()).await;
    let reports = Origin::start("reports", Script::echo()).await;
    let admin = Origin::start("admin", Script::echo()).await;
    let gateways = ["internet:istio=internet:127.0.0.1", "intranet:istio=intranet:127.0.0.2"];
    let mut flags: Vec<String> =
        gateways.iter().flat_map(|gateway| ["--gateway".to_owned(), (*gateway).to_owned()]).collect();
    flags.extend([backend("shop", &shop), backend("reports", &reports), backend("admin", &admin)].concat());
    let gateway = Gateway::start_in(home, vec![config], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    let bound: Vec<SocketAddr> =
        gateway.running.listeners().iter().filter_map(|listener| listener.bound).collect();
    let on = |ip: &str| *bound.iter().find(|address| address.ip().to_string() == ip).unwrap();
    let (internet, intranet) = (on("127.0.0.1"), on("127.0.0.2"));
    for (address, host, path, status, origin) in [
        (internet, "shop.example.com", "/", 200, Some("shop")),
        (intranet, "shop.example.com", "/", 200, Some("shop")),
        (intranet, "shop.example.com", "/reports/1", 200, Some("reports")),
        (internet, "shop.example.com", "/reports/1", 403, None),
        (intranet, "admin.example.com", "/", 200, Some("admin")),
        (internet, "admin.example.com", "/", 404, None),
    ] {
        let reply = get(address, host, path).await;
        assert_eq!((reply.status, reply.origin().as_deref()), (status, origin), "{address} {host}{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edge_nodeport() {
    let host = "igw-market-data.internal.example.com";
    let home = tempfile::tempdir().unwrap();
    let config = copied("edge-nodeport", home.path());
    let authority = Authority::new();
    let pair = authority.issue(&[host]);
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: market-data-tls, namespace: istio-system}}\n\
         data: {{tls.crt: {}, tls.key: {}}}\n",
        base64(&pair.certificate),
        base64(&pair.key)
    );
    fs::write(config.join("secret.yaml"), secret).unwrap();
    let (one, two) = (Origin::start("one", Script::echo()).await, Origin::start("two", Script::echo()).await);
    let service = "market-data.marketdata";
    let flags = [backend(service, &one), backend(service, &two)].concat();
    let gateway = Gateway::start_in(home, vec![config], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    let stream = authority.connect(gateway.address(443), host, "http/1.1").await.unwrap();
    let mut connection = h1::Connection::new(stream);
    for _ in 0..20 {
        connection.send(&h1::request("GET", "/", host, &[], b"")).await;
        assert_eq!(within("a response", connection.read("GET")).await.unwrap().status, 200);
    }
    assert_eq!((one.hits(), two.hits()), (10, 10), "in turn");
}

/// What is given to the cluster: nothing of it is wrong, and the pods are found by DNS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edge_nodeport_in_a_cluster() {
    let host = "igw-market-data.internal.example.com";
    let home = tempfile::tempdir().unwrap();
    let config = copied("edge-nodeport", home.path());
    let pod = Origin::start("pod", Script::echo()).await;
    let market_data = fs::read_to_string(config.join("market-data.yaml")).unwrap();
    let kept = market_data.split("---\n").filter(|document| !document.contains("kind: Service\n"));
    fs::write(config.join("market-data.yaml"), kept.collect::<Vec<_>>().join("---\n")).unwrap();
    for entry in fs::read_dir(folder("edge-nodeport/cluster")).unwrap() {
        let path = entry.unwrap().path();
        let port = format!("targetPort: {}", pod.address.port());
        let text = fs::read_to_string(&path).unwrap().replace("targetPort: 8080", &port);
        fs::write(config.join(path.file_name().unwrap()), text).unwrap();
    }
    // In clear text, as certificates are shown by the other test.
    let plain = fs::read_to_string(config.join("gateway.yaml")).unwrap();
    let plain = plain.split("      tls:").next().unwrap().replace("HTTPS", "HTTP");
    fs::write(config.join("gateway.yaml"), plain).unwrap();
    let dns = DnsServer::start().await;
    let pods = Says::Addresses(vec![pod.address.ip()], 5);
    dns.say("market-data.marketdata.svc.cluster.local", pods);
    let flags = ["--dns-server".to_owned(), dns.address.to_string()];
    let gateway = Gateway::start_in(home, vec![config], &flags).await;
    gateway
        .until("the name to be looked up", |view| {
            !view.endpoints.clusters.values().all(|of| of.endpoints.is_empty())
        })
        .await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    assert_eq!(get(gateway.address(443), host, "/").await.origin().as_deref(), Some("pod"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("systemd", home.path());
    let origin = Origin::start("shop", Script::echo()).await;
    let path = config.join("shop.yaml");
    let text =
        fs::read_to_string(&path).unwrap().replace("http: 9001", &format!("http: {}", origin.address.port()));
    fs::write(path, text).unwrap();
    let gateway = Gateway::start_in(home, vec![config], &[]).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    assert_eq!(get(gateway.address(80), "shop.example.com", "/").await.origin().as_deref(), Some("shop"));

    let unit = fs::read_to_string(folder("systemd").join("limen.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/limen ")).unwrap();
    let run = Run::from(start.split(' '));
    assert!(run.settings.check().is_ok());
    assert_eq!(run.paths, [PathBuf::from("/etc/limen")]);
}

/// What stands between `<<NAME` and `NAME` in the job, as Nomad would render it with one instance of the service.
fn rendered(job: &str, name: &str, origin: SocketAddr) -> String {
    let text =
        job.split(&format!("<<{name}\n")).nth(1).unwrap().split(&format!("\n{name}\n")).next().unwrap();
    let loops = [("{{- range service \"shop\" }}\n", ""), ("{{- end }}", "")];
    let values = [("{{ .Address }}", origin.ip().to_string()), ("{{ .Port }}", origin.port().to_string())];
    let text = loops.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let text = values.iter().fold(text, |text, (from, to)| text.replace(from, to));
    assert!(!text.contains("{{"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nomad() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("nomad", home.path());
    let job = fs::read_to_string(folder("nomad").join("limen.nomad.hcl")).unwrap();
    let origin = Origin::start("shop", Script::echo()).await;
    for (file, name) in [("shop.yaml", "ROUTES"), ("backends.yaml", "BACKENDS")] {
        fs::write(config.join(file), rendered(&job, name, origin.address)).unwrap();
    }
    let gateway = Gateway::start_in(home, vec![config], &[]).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    assert_eq!(get(gateway.address(80), "shop.example.com", "/").await.origin().as_deref(), Some("shop"));

    let arguments = job.lines().find(|line| line.trim().starts_with("args ")).unwrap();
    let words = arguments.split('"').skip(1).step_by(2);
    let run = Run::from(words);
    assert!(run.settings.check().is_ok() && run.paths.len() == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replace_sidecar() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("replace-sidecar", home.path());
    let authority = Authority::new();
    let pair = authority.issue(&["app.example.com"]);
    fs::write(home.path().join("tls.crt"), &pair.certificate).unwrap();
    fs::write(home.path().join("tls.key"), &pair.key).unwrap();
    let origin = Origin::start("application", Script::echo()).await;
    let path = config.join("tls-offload.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("/etc/limen/tls", &home.path().to_string_lossy());
    fs::write(&path, text.replace("number: 8080", &format!("number: {}", origin.address.port()))).unwrap();
    let gateway = Gateway::start_in(home, vec![config], &[]).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    let stream = authority.connect(gateway.address(8443), "app.example.com", "http/1.1").await.unwrap();
    let mut connection = h1::Connection::new(stream);
    connection.send(&h1::request("GET", "/a", "app.example.com", &[], b"")).await;
    let reply = within("a response", connection.read("GET")).await.unwrap();
    let seen = reply.seen();
    assert_eq!((reply.status, reply.origin().as_deref()), (200, Some("application")));
    assert_eq!(seen["headers"]["x-forwarded-proto"].as_str(), Some("https"));
    assert_eq!(seen["headers"]["x-forwarded-for"].as_str(), Some("127.0.0.1"));

    let deployment = fs::read_to_string(folder("replace-sidecar/cluster/deployment.yaml")).unwrap();
    let arguments =
        deployment.lines().filter_map(|line| line.trim().strip_prefix("args: [run")).next().unwrap();
    let words = arguments.trim_end_matches(']').split(',').map(|word| word.trim().trim_matches('"'));
    let run = Run::from(std::iter::once("run").chain(words.filter(|word| !word.is_empty())));
    assert!(run.settings.check().is_ok() && run.paths == [PathBuf::from("/etc/limen/config")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn egress() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("egress-external-host", home.path());
    let outside = Origin::start("outside", Script::echo()).await;
    let entry = fs::read_to_string(config.join("weather.yaml")).unwrap();
    let port = outside.address.port().to_string();
    fs::write(config.join("weather.yaml"), entry.replace("9001", &port)).unwrap();
    let flags = ["--labels".to_owned(), "istio=egressgateway".to_owned()];
    let gateway = Gateway::start_in(home, vec![config], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());

    let mut connection = h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap());
    for (target, host, expected) in [
        ("/", "weather.localhost", 200),
        ("http://weather.localhost/", "weather.localhost", 200),
        ("/admin/x", "weather.localhost", 403),
        ("/", "example.org", 404),
    ] {
        connection.send(&h1::request("GET", target, host, &[], b"")).await;
        let reply = within("a response", connection.read("GET")).await.unwrap();
        assert_eq!(reply.status, expected, "{target} of {host}: {reply:?}");
    }
    assert_eq!(outside.hits(), 2);
    let lines = gateway.stop().await;
    assert_eq!(lines[0]["upstream_cluster"], "outbound|80||weather.localhost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_and_vault() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("dns-and-vault", home.path());
    let authority = Authority::new();
    fs::write(
        config.join("secret.yaml"),
        secret("queue", "default", &authority.issue(&["queue.example.com"])),
    )
    .unwrap();
    let (udp, tcp) =
        (Origin::start("udp", Script::Datagrams).await, Origin::start("tcp", Script::echo()).await);
    let slice = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: resolver\n  labels:\n    \
         kubernetes.io/service-name: resolver\naddressType: IPv4\nendpoints:\n- addresses: [127.0.0.1]\nports:\n\
         - {{name: udp, port: {}, protocol: UDP}}\n- {{name: tcp, port: {}, protocol: TCP}}\n",
        udp.address.port(),
        tcp.address.port()
    );
    fs::write(config.join("slice.yaml"), slice).unwrap();
    let vault = Origin::start("vault", Script::TalkTls(authority.server(&["vault.example.com"]))).await;
    let (v1, v2) = (Origin::start("v1", Script::echo()).await, Origin::start("v2", Script::echo()).await);
    let mut flags = [backend("queue-v1", &v1), backend("queue-v2", &v2), backend("vault", &vault)].concat();
    flags.extend(["--map-port".to_owned(), "53:0".to_owned()]);
    let gateway = Gateway::start_in(home, vec![config], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    let view = gateway.running.view();
    let listeners = view.applied.listeners.iter();
    let mut spoken: Vec<_> = listeners.map(|own| (own.declared, own.tls, own.tcp, own.udp)).collect();
    spoken.sort_unstable();
    assert_eq!(spoken, [(53, false, false, true), (53, false, true, false), (443, true, true, false)]);
    let answer = within("an answer", datagrams::ask(gateway.datagram_address(53), "who")).await.1;
    assert_eq!(answer.as_deref(), Ok("udp heard who"));
    assert_eq!(get(gateway.address(53), "any.example.com", "/").await.status, 200);
    assert_eq!(tcp.hits(), 1);
    let server = gateway.address(443);
    authority.connect(server, "vault.example.com", "http/1.1").await.unwrap();
    let stream = authority.connect(server, "queue.example.com", "http/1.1").await.unwrap();
    let mut connection = h1::Connection::new(stream);
    connection.send(&h1::request("GET", "/", "queue.example.com", &[], b"")).await;
    assert_eq!(within("a response", connection.read("GET")).await.unwrap().status, 200);
    assert_eq!(v1.hits() + v2.hits(), 1);
    assert!(authority.connect(server, "other.example.com", "http/1.1").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_and_sni() {
    let home = tempfile::tempdir().unwrap();
    let config = copied("tcp-and-sni", home.path());
    let authority = Authority::new();
    let (v1, v2) = (Origin::start("v1", Script::echo()).await, Origin::start("v2", Script::echo()).await);
    let vault = Origin::start("vault", Script::TalkTls(authority.server(&["vault.example.com"]))).await;
    let mut flags = [backend("database/version=v1", &v1), backend("database/version=v2", &v2)].concat();
    flags.extend(backend("vault", &vault));
    let gateway = Gateway::start_in(home, vec![config], &flags).await;
    assert_eq!(gateway.problems(), Vec::<String>::new());
    for _ in 0..200 {
        assert_eq!(get(gateway.address(9000), "any.example.com", "/").await.status, 200);
    }
    // 20 of 200 are expected; 2 is four standard deviations away.
    assert!((2..=42).contains(&v2.hits()), "{} of 200 went to v2", v2.hits());
    // The handshake is with the vault itself, whose certificate the gateway has not.
    authority.connect(gateway.address(443), "vault.example.com", "http/1.1").await.unwrap();
    assert!(authority.connect(gateway.address(443), "other.example.com", "http/1.1").await.is_err());
}
