//! What stands before a request: hellos, headers of balancers, sessions of others, the admin port.

use std::sync::{Arc, Mutex};

use limen::selftest::doors;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::process::Process;
use limen_e2e::shop::Metrics;
use limen_e2e::tls::{Authority, Issued, Pair, base64, connect_with};
use limen_e2e::{h1, within};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{BINARY, HOST, ROUTES, World};

/// A gateway that serves HTTP on 80, decrypts TLS on 443 and hands it on to an origin of its own on 8443.
pub(super) async fn with_tls() -> (World, Origin) {
    let authority = Authority::new();
    let pair = authority.issue(&[HOST]);
    let deep = Origin::start("deep", Script::Tls(authority.server(&[HOST]), Arc::new(Script::echo()))).await;
    let config = format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}
  - {{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['*'], tls: {{mode: SIMPLE, credentialName: own}}}}
  - {{port: {{number: 8443, name: tls, protocol: TLS}}, hosts: ['*'], tls: {{mode: PASSTHROUGH}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: own, namespace: istio-system}}
data: {{tls.crt: {}, tls.key: {}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: shop}}, spec: {{ports: [{{name: http, port: 80}}]}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: deep}}, spec: {{ports: [{{name: tls, port: 443}}]}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec:
  hosts: ['*']
  gateways: [edge]
  http: {ROUTES}
  tls: [{{match: [{{port: 8443, sniHosts: ['*.example.com']}}], route: [{{destination: {{host: deep}}}}]}}]
",
        base64(&pair.certificate),
        base64(&pair.key),
    );
    let flags = format!("--backend deep={}", deep.address);
    (World::with(&config, Script::echo(), &flags).await, deep)
}

/// Where HTTP is spoken they are none of it; where TLS is decrypted each is a handshake that fails; where it is handed on
/// nobody is taken for a server whose name is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hellos_that_are_none_come_to_nothing() {
    let (world, deep) = with_tls().await;
    let sent = doors::bad_hellos().unwrap().len();
    // The client of a handshake can see its end a moment before it is counted.
    let fails = async |times: usize| {
        let count = |page: &Metrics| page.value(&["limen_tls_handshake_errors_total"]) == times as f64;
        world.gateway.metrics_when(&format!("{times} handshakes that failed"), count).await;
    };
    world.withstands("client-hellos").await;
    fails(0).await;
    world.withstands_at(443, &["--tls"], "client-hellos").await;
    fails(sent).await;
    let outcome = world.withstands_at(8443, &["--tls"], "client-hellos").await;
    // Two of them are as good as any: one in records of a byte, one with something behind it.
    fails(2 * sent - 2).await;
    assert_eq!(deep.hits(), World::others(&outcome) - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_header_that_nobody_asked_for_is_no_request() {
    let world = World::start("").await;
    let before = world.origin.hits();
    let outcome = world.withstands("proxy-headers").await;
    assert_eq!(world.origin.hits() - before, World::others(&outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_port_answers_no_foreign_page() {
    World::start("").await.withstands("admin").await;
}

const BALANCED: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'defaultConfig: {gatewayTopology: {proxyProtocol: {}}}'}
---
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
spec: {hosts: ['*'], gateways: [edge], http: [{route: [{destination: {host: shop}}]}]}
";

/// Where a header is asked for, whatever is none ends the connection without an answer: nobody may choose an address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_header_that_is_malformed_absent_or_late_ends_the_connection() {
    let origin = Origin::start("shop", Script::echo()).await;
    let flags =
        ["--backend".to_owned(), format!("shop={}", origin.address), "--handshake-timeout".to_owned()];
    let gateway = Process::start(BINARY, BALANCED, &[&flags[..], &["300ms".to_owned()]].concat()).await;
    let request = h1::request("GET", "/", "a", &[("connection".to_owned(), "close".to_owned())], b"");
    let ask = async |header: &[u8]| {
        let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
        let _ = stream.write_all(&[header, &request].concat()).await;
        let mut seen = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut seen)).await;
        seen
    };
    let good = b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n";
    assert!(ask(good).await.starts_with(b"HTTP/1.1 200"), "one that is as it must be");
    let (cpu, peak) = (gateway.cpu(), gateway.peak());
    let mut all = doors::malformed_headers();
    all.push(Vec::new());
    all.push(b"\r\n".to_vec());
    // Behind a good one there is no other.
    all.push([&good[..], good].concat());
    for header in &all {
        let seen = ask(header).await;
        let refused = seen.is_empty() || seen.starts_with(b"HTTP/1.1 400");
        assert!(refused, "{}: {}", header.escape_ascii(), seen.escape_ascii());
    }
    // What does not come: the connection ends by the time of a handshake.
    for n in [1, 8, 30] {
        let mut stream = TcpStream::connect(gateway.address(80)).await.unwrap();
        stream.write_all(&good[..n]).await.unwrap();
        let mut seen = Vec::new();
        let _ = within("the end of a header that does not come", stream.read_to_end(&mut seen)).await;
        assert_eq!(seen, b"");
    }
    assert_eq!(origin.hits(), 1);
    let class = super::class("proxy-headers");
    assert!(gateway.cpu() - cpu <= class.cpu && gateway.peak() - peak <= class.memory);
}

/// A client's sessions, given to whichever server it turns to.
#[derive(Debug, Default)]
struct Stolen {
    new: Mutex<Vec<Tls13ClientSessionValue>>,
    old: Mutex<Option<Tls12ClientSessionValue>>,
}

impl ClientSessionStore for Stolen {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.old.lock().unwrap() = Some(value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.old.lock().unwrap().clone()
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.new.lock().unwrap().push(value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.new.lock().unwrap().pop()
    }
}

fn server(port: u16, host: &str, mode: &str) -> String {
    let name = host.split('.').next().unwrap();
    format!(
        "  - port: {{number: {port}, name: https-{port}-{name}, protocol: HTTPS}}\n    hosts: [{host}]\n    \
         tls: {{mode: {mode}, credentialName: both}}\n"
    )
}

/// One certificate for both names, of which one asks for certificates of clients; on another port the other does.
fn policies(pair: &Pair, authority: &Authority) -> String {
    let servers = [
        server(443, "open.example.com", "SIMPLE"),
        server(443, "shut.example.com", "MUTUAL"),
        server(8443, "open.example.com", "MUTUAL"),
        server(8443, "shut.example.com", "SIMPLE"),
    ];
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
{}---
apiVersion: v1
kind: Secret
metadata: {{name: both, namespace: istio-system}}
data: {{tls.crt: {}, tls.key: {}, ca.crt: {}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: all}}
spec: {{hosts: ['*'], gateways: [edge], http: [{{directResponse: {{status: 200}}}}]}}
",
        servers.concat(),
        base64(&pair.certificate),
        base64(&pair.key),
        base64(authority.certificate()),
    )
}

/// Connects and asks; whether the session was resumed, and the status.
async fn visit(
    gateway: &Process,
    config: &Arc<ClientConfig>,
    port: u16,
    host: &str,
) -> Result<(bool, u16), String> {
    let stream = connect_with(config.clone(), gateway.address(port), host).await?;
    let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    let mut connection = h1::Connection::new(stream);
    connection.send(&h1::request("GET", "/", host, &[], b"")).await;
    let reply = within("an answer or the end", connection.read("GET")).await?;
    Ok((resumed, reply.status))
}

fn client(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    own: Option<&Issued>,
) -> Arc<ClientConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut config = authority.client_offering(provider, &[version], own.map(|issued| &issued.pair));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::store(Arc::new(Stolen::default()));
    Arc::new(config)
}

/// A session that was had without a certificate resumes only where it was had, in either version of TLS; and one that was
/// had with a certificate vouches for nobody elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_resumes_only_under_the_policy_that_it_was_had_under() {
    let authority = Authority::new();
    let pair = authority.issue(&["open.example.com", "shut.example.com"]);
    let ann = authority.issue_client("ann", &[]);
    let gateway = Process::start(BINARY, &policies(&pair, &authority), &[]).await;
    let (cpu, peak) = (gateway.cpu(), gateway.peak());
    for version in [&TLS13, &TLS12] {
        let anonymous = client(&authority, version, None);
        // A ticket of TLS 1.3 is good once, and each visit gives another.
        let get = async |resumes: bool| {
            assert_eq!(visit(&gateway, &anonymous, 443, "open.example.com").await, Ok((resumes, 200)));
        };
        get(false).await;
        for (port, host) in [(443, "shut.example.com"), (8443, "open.example.com")] {
            get(true).await;
            let entered = visit(&gateway, &anonymous, port, host).await;
            assert!(entered.is_err(), "{version:?}, {host}:{port}: {entered:?}");
            // That one has used it up.
            let _ = visit(&gateway, &anonymous, 443, "open.example.com").await;
        }
        get(true).await;
        let other = visit(&gateway, &anonymous, 8443, "shut.example.com").await;
        assert_eq!(other, Ok((false, 200)), "{version:?}: a server of its own has sessions of its own");
        let known = client(&authority, version, Some(&ann));
        assert_eq!(visit(&gateway, &known, 443, "shut.example.com").await, Ok((false, 200)));
        assert_eq!(visit(&gateway, &known, 443, "shut.example.com").await, Ok((true, 200)));
        assert_eq!(visit(&gateway, &known, 8443, "open.example.com").await, Ok((false, 200)));
    }
    // A host of the other policy is not served through a name of this one.
    let anonymous = client(&authority, &TLS13, None);
    let stream = connect_with(anonymous, gateway.address(443), "open.example.com").await.unwrap();
    let mut connection = h1::Connection::new(stream);
    connection.send(&h1::request("GET", "/", "shut.example.com", &[], b"")).await;
    assert_eq!(within("an answer", connection.read("GET")).await.unwrap().status, 421);
    let class = super::class("client-hellos");
    assert!(gateway.cpu() - cpu <= class.cpu && gateway.peak() - peak <= class.memory);
}
