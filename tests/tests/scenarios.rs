//! Runs every file of `scenarios/`: configuration, requests and what is expected, over each protocol.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use limen_e2e::certificates::{CertificateSpec, Certificates};
use limen_e2e::clients::{ClientSpec, Clients};
use limen_e2e::datagrams;
use limen_e2e::dns::{DnsServer, Says};
use limen_e2e::gateway::{Gateway, HeldPort, LogForm};
use limen_e2e::handshake::{Agreed, Expected, Offer};
use limen_e2e::origin::{Origin, Script};
use limen_e2e::pages::holds;
use limen_e2e::reply::Reply;
use limen_e2e::talk::Talk;
use limen_e2e::tls::{Authority, connect_with};
use limen_e2e::{h1, h2, within, yaml};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Scenario {
    /// What it shows.
    #[serde(rename = "about")]
    _about: String,
    #[serde(default)]
    origins: BTreeMap<String, OriginSpec>,
    /// What DNS says of names: their addresses, or one of `none` and `fails`.
    #[serde(default)]
    dns: BTreeMap<String, Vec<String>>,
    /// Flags of the gateway.
    #[serde(default)]
    flags: Vec<String>,
    /// Protocols that requests go over, unless they say otherwise.
    #[serde(default = "Over::all")]
    over: Vec<Over>,
    /// Whether the Gateway of `edge.yaml` is there.
    #[serde(default = "yes")]
    edge: bool,
    /// Certificates to issue: their DNS names, or more.
    #[serde(default)]
    certificates: BTreeMap<String, CertificateSpec>,
    /// The gateway's own certificate in the mesh.
    identity: Option<ClientSpec>,
    /// Names of ports that are free.
    #[serde(default)]
    ports: Vec<String>,
    /// Certificates of clients.
    #[serde(default)]
    clients: BTreeMap<String, ClientSpec>,
    config: String,
    /// Texts that problems contain: each text at least one problem, each problem at least one text.
    #[serde(default)]
    problems: Vec<String>,
    /// Who says which form the access log has: `json` (the harness) or `config` (the configuration, which must make
    /// JSON with a member `user_agent`).
    #[serde(default)]
    access_log: LogForm,
    requests: Vec<Step>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OriginSpec {
    /// Given to the gateway as `--backend <this>=HOST:PORT`.
    backend: Option<String>,
    /// `echo`, `decides`, `never`, `close`, `goaway`, `talk`, `datagrams`, `switch` or `dead`.
    answers: Option<String>,
    /// The status of the first answer, the second, and so on.
    #[serde(default)]
    statuses: Vec<u16>,
    /// Header lines of its answers.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// It listens on `::1`.
    #[serde(default)]
    ipv6: bool,
    /// It listens at a unix socket, which is `${NAME.socket}`.
    unix: Option<Unix>,
    /// It talks inside TLS, with a certificate for these names.
    #[serde(default)]
    tls: Vec<String>,
    /// Only to clients with a certificate.
    #[serde(default)]
    tls_clients: bool,
    /// It is told in a PROXY header who the client is.
    #[serde(default)]
    proxied: bool,
    /// What comes after the bodies of its answers.
    #[serde(default)]
    trailers: BTreeMap<String, String>,
    /// Codes that it resets the first streams with (HTTP/2).
    resets: Option<Vec<u32>>,
    /// Bytes that it answers with.
    raw: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Unix {
    /// A file.
    Path,
    /// A name.
    Abstract,
}

impl Unix {
    /// A place that nobody else has.
    fn place(self, home: &TempDir, name: &str) -> String {
        let path = home.path().join(name);
        match self {
            Unix::Path => path.to_string_lossy().into_owned(),
            Unix::Abstract => format!("@{}", path.display()),
        }
    }
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
enum Over {
    H1,
    H2,
    H1Tls,
    H2Tls,
}

impl Over {
    fn all() -> Vec<Over> {
        vec![Over::H1, Over::H2, Over::H1Tls, Over::H2Tls]
    }

    fn tls(self) -> bool {
        matches!(self, Over::H1Tls | Over::H2Tls)
    }

    fn scheme(self) -> &'static str {
        if self.tls() { "https" } else { "http" }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Step {
    /// `METHOD host/path`.
    #[serde(default)]
    send: String,
    /// Bytes instead, over HTTP/1.1 in clear text; `${agent}` makes its log line found.
    raw: Option<String>,
    /// Bytes both ways instead, whatever the protocol.
    talk: Option<Talk>,
    /// A page of the admin port instead.
    page: Option<String>,
    /// The declared port, if not 80 or 443.
    port: Option<u16>,
    /// The address of this machine that it is bound on, if it is bound on several.
    at: Option<IpAddr>,
    /// The client whose certificate is shown; left out: none.
    #[serde(rename = "as")]
    client: Option<String>,
    /// The server name, if not the host; an IP address: none is sent.
    sni: Option<String>,
    /// What the client offers in a handshake, if not all that it knows.
    #[serde(default)]
    offers: Offer,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// After the body.
    #[serde(default)]
    trailers: BTreeMap<String, String>,
    over: Option<Vec<Over>>,
    #[serde(default = "once")]
    times: usize,
    expect: Expect,
}

fn once() -> usize {
    1
}

/// What must hold. In maps, null means absent, `*` any value, and of headers `!text` any but that one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Expect {
    status: Option<u16>,
    body: Option<String>,
    body_has: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    /// Which origin answered.
    origin: Option<String>,
    /// What it saw.
    method: Option<String>,
    path: Option<String>,
    #[serde(default)]
    seen: BTreeMap<String, Option<String>>,
    /// Names of fields that it saw spelt so (HTTP/1.1).
    #[serde(default)]
    names_seen: Vec<String>,
    /// `HTTP/1.1` or `HTTP/2`.
    protocol_seen: Option<String>,
    /// After the request's body.
    #[serde(default)]
    trailers_seen: BTreeMap<String, Option<String>>,
    /// After the response's body.
    #[serde(default)]
    trailers: BTreeMap<String, Option<String>>,
    /// How many requests reached each origin.
    #[serde(default)]
    hits: BTreeMap<String, usize>,
    closed: Option<bool>,
    /// All that a talking client hears.
    hears: Option<String>,
    /// What the handshake came to.
    agreed: Option<Expected>,
    /// Values of a page, by JSON pointer.
    #[serde(default)]
    values: BTreeMap<String, Value>,
    /// What a page says at least, and what it does not say.
    has: Option<Value>,
    lacks: Option<Value>,
    /// Part of the error that the client gets instead of a response.
    error: Option<String>,
    /// Fields of the JSON access log.
    #[serde(default)]
    log: BTreeMap<String, Value>,
    /// Whether there is a line of it in the access log.
    logged: Option<bool>,
}

struct World {
    gateway: Gateway,
    origins: Vec<Origin>,
    authority: Authority,
    clients: Clients,
    certificates: Certificates,
    /// Placeholders and what stands for them.
    fill: Vec<(String, String)>,
    /// Answers for as long as the gateway runs.
    _dns: Option<DnsServer>,
    /// Nobody else gets them for as long as the gateway runs.
    _ports: Vec<HeldPort>,
    /// Where origins listen at unix sockets.
    _sockets: TempDir,
}

impl World {
    /// How many requests have reached each origin.
    fn hits(&self) -> Vec<usize> {
        self.origins.iter().map(Origin::hits).collect()
    }

    /// Where the step goes.
    fn address(&self, step: &Step, declared: u16) -> SocketAddr {
        match step.at {
            Some(ip) => self.gateway.address_on(ip, declared),
            None => self.gateway.address(declared),
        }
    }

    /// The client of the step in TLS, which speaks `alpn`.
    fn client(&self, step: &Step, alpn: &str) -> Arc<ClientConfig> {
        let own = step.client.as_deref().map(|client| self.clients.get(client));
        step.offers.client(&self.authority, own, alpn)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.yaml"))).unwrap()
}

fn parse(name: &str, text: &str) -> Scenario {
    let mut documents = yaml::documents(text);
    assert_eq!(documents.len(), 1, "a scenario is one document; objects stand in its config");
    serde_json::from_value(documents.remove(0)).unwrap_or_else(|error| panic!("{name}.yaml: {error}"))
}

fn script(spec: &OriginSpec, authority: &Authority) -> Script {
    let script = in_tls(spec, authority);
    if spec.proxied { Script::Proxied(Arc::new(script)) } else { script }
}

fn in_tls(spec: &OriginSpec, authority: &Authority) -> Script {
    if spec.tls.is_empty() || spec.answers.as_deref() == Some("talk") {
        return said(spec, authority);
    }
    let names: Vec<&str> = spec.tls.iter().map(String::as_str).collect();
    Script::Tls(authority.http_server(&names, spec.tls_clients), Arc::new(said(spec, authority)))
}

fn said(spec: &OriginSpec, authority: &Authority) -> Script {
    if let Some(raw) = &spec.raw {
        return Script::Raw(raw.clone().into_bytes());
    }
    if let Some(codes) = &spec.resets {
        return Script::Reset(codes.clone());
    }
    let trailers = spec.trailers.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    let headers = spec.headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    let statuses = if spec.statuses.is_empty() { vec![200] } else { spec.statuses.clone() };
    match spec.answers.as_deref() {
        None | Some("echo") => Script::Echo { statuses, headers, trailers },
        Some("decides") => Script::Decides,
        Some("goaway") => Script::GoAway,
        Some("never") => Script::Never,
        Some("close") => Script::Close,
        Some("dead") => Script::Dead,
        Some("full") => Script::Full,
        Some("talk") if spec.tls.is_empty() => Script::Talk,
        Some("datagrams") => Script::Datagrams,
        Some("talk") => {
            let names: Vec<&str> = spec.tls.iter().map(String::as_str).collect();
            Script::TalkTls(if spec.tls_clients {
                authority.http_server(&names, true)
            } else {
                authority.server(&names)
            })
        }
        Some("switch") => Script::Switch,
        Some(other) => panic!("an origin cannot answer {other:?}"),
    }
}

async fn set_up(scenario: &Scenario) -> World {
    let authority = Authority::new();
    let clients = Clients::issue(&scenario.clients, &authority);
    let sockets = tempfile::tempdir().unwrap();
    let mut origins = Vec::new();
    let mut flags = scenario.flags.clone();
    let mut fill: Vec<(String, String)> = clients.fill().to_vec();
    for (name, spec) in &scenario.origins {
        let script = script(spec, &authority);
        if let Some(unix) = spec.unix {
            let place = unix.place(&sockets, name);
            origins.push(Origin::start_at_socket(&place, name, script));
            if let Some(backend) = &spec.backend {
                flags.extend(["--backend".to_owned(), format!("{backend}=unix://{place}")]);
            }
            fill.push((format!("${{{name}.socket}}"), place));
            continue;
        }
        let origin = Origin::start_at(if spec.ipv6 { "::1" } else { "127.0.0.1" }, name, script).await;
        fill.push((format!("${{{name}.port}}"), origin.address.port().to_string()));
        if let Some(backend) = &spec.backend {
            flags.extend(["--backend".to_owned(), format!("{backend}={}", origin.address)]);
        }
        origins.push(origin);
    }
    let dns = name_server(&scenario.dns).await;
    flags.extend(dns.iter().flat_map(|dns| ["--dns-server".to_owned(), dns.address.to_string()]));
    let mut certificates = scenario.certificates.clone();
    let edge = || CertificateSpec::Names(vec!["*.example.com".to_owned()]);
    certificates.entry("edge".to_owned()).or_insert_with(edge);
    let certificates = Certificates::issue(&certificates, scenario.identity.as_ref(), &authority);
    fill.extend(certificates.fill.iter().cloned());
    flags.extend(certificates.flags.iter().cloned());
    let ports: Vec<HeldPort> = scenario.ports.iter().map(|_| HeldPort::new()).collect();
    let named = scenario.ports.iter().zip(&ports);
    fill.extend(named.map(|(name, port)| (format!("${{{name}.port}}"), port.number().to_string())));
    let edge = if scenario.edge {
        std::fs::read_to_string(folder().join("edge.yaml")).unwrap()
    } else {
        String::new()
    };
    let files = [("edge.yaml", filled(&edge, &fill)), ("config.yaml", filled(&scenario.config, &fill))];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let flags: Vec<String> = flags.iter().map(|flag| filled(flag, &fill)).collect();
    let gateway = Gateway::start_logging(&files, &flags, scenario.access_log).await;
    World {
        gateway,
        origins,
        authority,
        clients,
        certificates,
        fill,
        _dns: dns,
        _ports: ports,
        _sockets: sockets,
    }
}

/// The text with its placeholders filled in.
fn filled(text: &str, fill: &[(String, String)]) -> String {
    fill.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// A server that says these things, if there are any.
async fn name_server(names: &BTreeMap<String, Vec<String>>) -> Option<DnsServer> {
    if names.is_empty() {
        return None;
    }
    let server = DnsServer::start().await;
    for (name, says) in names {
        let says = match &*says.iter().map(String::as_str).collect::<Vec<_>>() {
            ["none"] => Says::NoSuchName,
            ["fails"] => Says::Fails,
            addresses => Says::Addresses(addresses.iter().map(|ip| ip.parse().unwrap()).collect(), 300),
        };
        server.say(name, says);
    }
    Some(server)
}

async fn run(name: &str) {
    let text = text_of(name);
    let world = set_up(&parse(name, &text)).await;
    let scenario = parse(name, &filled(&text, &world.fill));
    let mut failures = check_problems(&scenario.problems, &world.gateway.problems());
    let mut logged = Vec::new();
    for (n, step) in scenario.requests.iter().enumerate() {
        if let Some(page) = &step.page {
            let reply = world.gateway.page(page).await;
            let outcome = check_page(&step.expect, &reply);
            failures.extend(outcome.into_iter().map(|text| format!("request {n} (page {page}): {text}")));
            continue;
        }
        if let Some(talk) = &step.talk {
            for _ in 0..step.times {
                let (outcome, id) = converse(&world, talk, step).await;
                failures.extend(outcome.into_iter().map(|text| format!("request {n} (talk): {text}")));
                logged.push((step, id));
            }
            continue;
        }
        let over = if step.raw.is_some() {
            vec![Over::H1]
        } else {
            step.over.clone().unwrap_or(scenario.over.clone())
        };
        for protocol in over {
            for turn in 0..step.times {
                let agent = format!("{name}/{n}/{protocol:?}/{turn}");
                let outcome = within(&agent, send(&world, step, protocol, &agent)).await;
                let what =
                    if step.send.is_empty() { step.raw.as_deref().unwrap_or_default() } else { &step.send };
                failures.extend(
                    outcome.into_iter().map(|text| format!("request {n} ({what}) over {protocol:?}: {text}")),
                );
                logged.push((step, agent));
            }
        }
    }
    let fill = world.fill;
    let lines = world.gateway.stop().await;
    for (step, agent) in logged {
        let agent = step.headers.get("user-agent").unwrap_or(&agent);
        failures.extend(check_log(&step.expect, agent, &lines, &fill));
    }
    assert!(failures.is_empty(), "{name}.yaml: {} failures\n{}", failures.len(), failures.join("\n"));
}

fn check_problems(expected: &[String], found: &[String]) -> Vec<String> {
    let missing = expected.iter().filter(|text| !found.iter().any(|problem| problem.contains(*text)));
    let missing = missing.map(|text| format!("no problem says {text:?}; there are {found:#?}"));
    let extra = found.iter().filter(|problem| !expected.iter().any(|text| problem.contains(text)));
    missing.chain(extra.map(|problem| format!("a problem that was not expected: {problem}"))).collect()
}

/// Sends one request and returns what was not as expected.
async fn send(world: &World, step: &Step, over: Over, agent: &str) -> Vec<String> {
    let before = world.hits();
    let outcome = match &step.raw {
        Some(raw) => raw_exchange(world, step, &raw.replace("${agent}", agent)).await,
        None => exchange(world, step, over, agent).await,
    };
    let mut failures = match (outcome, &step.expect.error) {
        (Ok((reply, agreed)), None) => {
            let mut failures = check_reply(&step.expect, &reply, over);
            failures.extend(check_agreed(&step.expect, agreed.as_ref(), world));
            failures
        }
        (Ok((reply, _)), Some(text)) => vec![format!("expected the error {text:?}, got {reply:?}")],
        (Err(error), Some(text)) if error.contains(text) => Vec::new(),
        (Err(error), _) => vec![format!("no response: {error}")],
    };
    failures.extend(check_hits(world, &before, &step.expect).await);
    failures
}

/// Holds a conversation; returns what was not as expected, and the client's address, by which the log is searched.
async fn converse(world: &World, talk: &Talk, step: &Step) -> (Vec<String>, String) {
    let (before, expect) = (world.hits(), &step.expect);
    let client = world.client(step, talk.alpn.as_deref().unwrap_or_default());
    let to = if talk.datagram {
        world.gateway.datagram_address(talk.port)
    } else {
        world.address(step, talk.port)
    };
    let held = match expect.hears.as_deref() {
        Some("") if talk.datagram => {
            let dropped = datagrams::dropped(&world.gateway, to, &talk.say);
            let own = within("a datagram to be dropped", dropped).await;
            (Some(own), Ok((String::new(), None)))
        }
        _ => within("a conversation", talk.hold(to, client)).await,
    };
    let (own, heard) = held;
    let mut failures = match (heard, &expect.error) {
        (Ok((heard, agreed)), None) if expect.hears.as_ref().is_none_or(|hears| *hears == heard) => {
            check_agreed(expect, agreed.as_ref(), world)
        }
        (Err(error), Some(text)) if error.contains(text) => Vec::new(),
        (outcome, _) => {
            let outcome = outcome.map(|(heard, _)| heard);
            vec![format!("heard {outcome:?}, expected {:?}, error {:?}", expect.hears, expect.error)]
        }
    };
    failures.extend(check_hits(world, &before, expect).await);
    (failures, own.map(|own| own.to_string()).unwrap_or_default())
}

fn check_agreed(expect: &Expect, agreed: Option<&Agreed>, world: &World) -> Vec<String> {
    match (&expect.agreed, agreed) {
        (None, _) => Vec::new(),
        (Some(_), None) => vec!["there was no handshake".to_owned()],
        (Some(expected), Some(agreed)) => agreed.check(expected, &world.certificates.known),
    }
}

fn check_page(expect: &Expect, reply: &Reply) -> Vec<String> {
    let (text, value) = (reply.text(), reply.seen());
    let found = |pointer: &str| value.pointer(pointer).unwrap_or(&Value::Null);
    let wrong = expect.values.iter().filter(|(pointer, expected)| found(pointer) != *expected);
    let mut failures: Vec<String> = wrong
        .map(|(pointer, expected)| format!("{pointer} is {}, expected {expected}", found(pointer)))
        .collect();
    if let Some(part) = expect.body_has.as_ref().filter(|part| !text.contains(part.as_str())) {
        failures.push(format!("no {part:?} in {text}"));
    }
    let page = if value.is_null() { text.clone().into() } else { value.clone() };
    let outcome = |wanted: &Value| holds(&page, wanted, "");
    failures.extend(expect.has.as_ref().and_then(|wanted| outcome(wanted).err()));
    if let (Some(wanted), Some(Ok(()))) = (&expect.lacks, expect.lacks.as_ref().map(outcome)) {
        failures.push(format!("it must not say {wanted}: {text}"));
    }
    failures
}

async fn check_hits(world: &World, before: &[usize], expect: &Expect) -> Vec<String> {
    let mut failures = Vec::new();
    for (origin, before) in world.origins.iter().zip(before) {
        if let Some(expected) = expect.hits.get(&origin.name) {
            // Mirrors are hit when they are hit.
            origin.hit(before + expected).await;
        }
        let hits = origin.hits() - before;
        if let Some(expected) = expect.hits.get(&origin.name).filter(|expected| **expected != hits) {
            failures.push(format!("{hits} requests reached {}, expected {expected}", origin.name));
        }
    }
    failures
}

/// A reply, and what the handshake before it came to.
type Outcome = Result<(Reply, Option<Agreed>), String>;

async fn raw_exchange(world: &World, step: &Step, text: &str) -> Outcome {
    let stream = TcpStream::connect(world.address(step, step.port.unwrap_or(80))).await.unwrap();
    let mut connection = h1::Connection::new(stream);
    connection.send(text.as_bytes()).await;
    Ok((connection.read(text.split(' ').next().unwrap_or_default()).await?, None))
}

async fn exchange(world: &World, step: &Step, over: Over, agent: &str) -> Outcome {
    let (method, url) = step.send.split_once(' ').expect("send: METHOD host/path");
    let (host, path) = url.find(['/', '?']).map_or((url, "/"), |at| url.split_at(at));
    let mut headers: Vec<(String, String)> =
        step.headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    if !step.headers.contains_key("user-agent") {
        headers.push(("user-agent".to_owned(), agent.to_owned()));
    }
    let address = world.address(step, step.port.unwrap_or(if over.tls() { 443 } else { 80 }));
    let name = step.sni.as_deref().unwrap_or(host.split(':').next().unwrap_or_default());
    let body = step.body.as_bytes();
    let clear = || async { TcpStream::connect(address).await.unwrap() };
    let tls = |alpn| async move {
        let stream = connect_with(world.client(step, alpn), address, name).await?;
        let agreed = Agreed::of(&stream);
        Ok::<_, String>((stream, agreed))
    };
    let h1_bytes = h1::request_with(method, path, host, &headers, body, &step.trailers);
    match over {
        Over::H1 => Ok((one_h1(clear().await, method, &h1_bytes).await?, None)),
        Over::H1Tls => {
            let (stream, agreed) = tls("http/1.1").await?;
            Ok((one_h1(stream, method, &h1_bytes).await?, Some(agreed)))
        }
        Over::H2 | Over::H2Tls => {
            let uri = format!("{}://{host}{path}", over.scheme());
            let mut request = http::Request::builder().method(method).uri(uri);
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            if !body.is_empty() && step.trailers.is_empty() {
                request = request.header("content-length", body.len());
            }
            let request = request.body(()).map_err(|error| error.to_string())?;
            let (mut connection, agreed) = match over {
                Over::H2 => (h2::Connection::new(clear().await).await?, None),
                _ => {
                    let (stream, agreed) = tls("h2").await?;
                    (h2::Connection::new(stream).await?, Some(agreed))
                }
            };
            let body = body.to_vec().into();
            Ok((connection.exchange_with(request, body, trailers(&step.trailers)).await?, agreed))
        }
    }
}

fn trailers(lines: &BTreeMap<String, String>) -> Option<http::HeaderMap> {
    let pair = |(name, value): (&String, &String)| {
        (http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
    };
    (!lines.is_empty()).then(|| lines.iter().map(pair).collect())
}

async fn one_h1<S>(stream: S, method: &str, bytes: &[u8]) -> Result<Reply, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut connection = h1::Connection::new(stream);
    connection.send(bytes).await;
    connection.read(method).await
}

fn check_reply(expect: &Expect, reply: &Reply, over: Over) -> Vec<String> {
    let filled = |text: &str| text.replace("${scheme}", over.scheme());
    let seen = reply.seen();
    let mut failures = Vec::new();
    let mut equal = |what: &str, expected: Option<String>, found: String| {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            failures.push(format!("{what} is {found:?}, expected {expected:?}"));
        }
    };
    equal("status", expect.status.map(|s| s.to_string()), reply.status.to_string());
    equal("body", expect.body.clone(), reply.text());
    equal("origin", expect.origin.clone(), reply.origin().unwrap_or_default());
    equal("method seen", expect.method.clone(), seen["method"].as_str().unwrap_or_default().to_owned());
    equal(
        "protocol seen",
        expect.protocol_seen.clone(),
        seen["protocol"].as_str().unwrap_or_default().to_owned(),
    );
    equal("path seen", expect.path.clone(), seen["path"].as_str().unwrap_or_default().to_owned());
    if !matches!(over, Over::H2 | Over::H2Tls) {
        equal("closed", expect.closed.map(|c| c.to_string()), reply.closed.to_string());
    }
    let names = seen["names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let misspelt = expect.names_seen.iter().filter(|name| !names.contains(&name.as_str()));
    failures.extend(misspelt.map(|name| format!("no field is spelt {name} in {names:?}")));
    if let Some(part) = expect.body_has.as_ref().filter(|part| !reply.text().contains(part.as_str())) {
        failures.push(format!("body {:?} has no {part:?}", reply.text()));
    }
    let of_reply = |name: &str| reply.header(name);
    let of_origin = |name: &str| seen["headers"][name].as_str().map(str::to_owned);
    failures.extend(check_headers("response header", &expect.headers, &filled, &of_reply));
    failures.extend(check_headers("header seen", &expect.seen, &filled, &of_origin));
    let of_trailers = |name: &str| reply.trailer(name);
    let of_seen_trailers = |name: &str| seen["trailers"][name].as_str().map(str::to_owned);
    failures.extend(check_headers("trailer", &expect.trailers, &filled, &of_trailers));
    failures.extend(check_headers("trailer seen", &expect.trailers_seen, &filled, &of_seen_trailers));
    if !failures.is_empty() {
        failures.push(format!("the response was {} {:?} {:?}", reply.status, reply.headers, reply.text()));
    }
    failures
}

fn check_headers(
    what: &str,
    expected: &BTreeMap<String, Option<String>>,
    filled: &dyn Fn(&str) -> String,
    found: &dyn Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, expected) in expected {
        let (expected, found) = (expected.as_deref().map(filled), found(name));
        let any = expected.as_deref() == Some("*") && found.is_some();
        let other = expected.as_deref().and_then(|text| text.strip_prefix('!'));
        let other = other.is_some_and(|not| found.as_deref().is_some_and(|found| found != not));
        if !any && !other && expected != found {
            failures.push(format!("{what} {name} is {found:?}, expected {expected:?}"));
        }
    }
    failures
}

fn check_log(expect: &Expect, agent: &str, lines: &[Value], fill: &[(String, String)]) -> Vec<String> {
    let Expect { log: expected, logged, .. } = expect;
    if expected.is_empty() && logged.is_none() {
        return Vec::new();
    }
    let of_it = |line: &&Value| {
        line["user_agent"] == agent
            || (line["method"].is_null() && line["downstream_remote_address"] == agent)
    };
    let own: Vec<&Value> = lines.iter().filter(of_it).collect();
    if *logged == Some(false) {
        return own.iter().map(|line| format!("a log line that was not expected: {line}")).collect();
    }
    let [line] = own[..] else { return vec![format!("{} log lines for {agent}, expected one", own.len())] };
    let wrong = expected.iter().filter_map(|(name, value)| {
        let wanted = serde_json::from_str(&filled(&value.to_string(), fill)).unwrap();
        holds(&line[name], &wanted, name).err()
    });
    wrong.map(|why| format!("log of {agent}: {why}")).collect()
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                run(stringify!($name)).await;
            }
        )*

        #[test]
        fn every_file_is_run() {
            let listed = [$(stringify!($name)),*];
            let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
            let mut files: Vec<String> =
                entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
            files.retain(|name| name != "edge");
            files.sort();
            assert_eq!(files, listed, "the list in scenarios.rs and the files of scenarios/, both sorted");
        }

        #[test]
        fn every_file_is_short_enough_to_read() {
            for name in [$(stringify!($name)),*] {
                let text = text_of(name);
                let lines = text.lines().count();
                assert!(lines <= 60, "{name}.yaml has {lines} lines: make it two");
                parse(name, &text);
            }
        }
    };
}

scenarios! {
    absent
    auto_mtls
    auto_passthrough
    backend_tls_policies
    backend_tls_policies_wrong
    balance_passthrough
    bind_addresses
    bound_hosts
    broken_objects
    catch_alls
    certificate_names
    client_authorities
    client_certificates
    client_names
    cluster_failures
    connect
    connect_timeout
    connections_of_tenants
    connections_without_effect
    control_headers
    corner_hosts
    corner_routes
    cors
    credential_namespaces
    credentials
    declared_and_real_ports
    delegation
    destination_headers
    destination_rule_in_root
    destination_rule_levels
    destination_rule_merge
    destination_rule_policy
    destination_rule_tls
    destinations
    direct_response
    dns
    edge_profile
    external_auth_backends
    external_auth_bodies
    external_auth_fails_closed
    external_auth_grpc
    external_auth_http
    external_auth_tls
    fail_closed
    faults
    flags_of_others
    forwarded_client_cert
    forwarded_client_cert_modes
    gateway_addresses
    gateway_api
    gateway_api_backend_filters
    gateway_api_backend_identities
    gateway_api_backend_tls
    gateway_api_backends
    gateway_api_bad_objects
    gateway_api_calls
    gateway_api_client_authorities
    gateway_api_clients
    gateway_api_conditions
    gateway_api_default_gateways
    gateway_api_filters
    gateway_api_isolation
    gateway_api_listener_sets
    gateway_api_listeners
    gateway_api_policies
    gateway_api_protocols
    gateway_api_redirects
    gateway_api_retries
    gateway_api_tcp
    gateway_api_times
    gateway_api_tls_modes
    gateway_api_tls_passthrough
    gateway_api_udp
    gateway_api_wildcards
    gateway_labels
    gateways_apply
    grpc_errors
    header_case
    header_case_kept
    header_operations
    hosts
    hosts_left_to_others
    http10
    http10_refused
    http2_backends
    http2_failures
    http3_off
    https_redirect
    identity_headers
    ingress
    ingress_backends_absent
    ingress_classes
    ingress_default_backend
    ingress_default_certificate
    ingress_gateways
    ingress_host_conflicts
    ingress_hosts
    ingress_merge
    ingress_of_istio
    ingress_of_istio_off
    ingress_paths_exact
    ingress_paths_mixed
    ingress_paths_prefix
    ingress_without_class
    internal_traffic_policy
    ipv6
    kubernetes_marks
    latest_bind
    locality
    locality_labels
    locality_levels
    log_filter
    log_json
    log_json_default
    log_operators
    malformed
    managed_gateway
    match_fields
    match_gates
    matches
    merged_hosts
    mesh_identity
    mesh_tls_without_identity
    mesh_traffic_policy
    mirrors
    names
    one_host_in_two_namespaces
    passthrough
    path_normalization
    path_untouched
    paths
    peer_metadata
    plain_beside_tls
    proxy_headers
    proxy_protocol
    proxy_protocol_behind
    real_ports
    redirect_ports
    redirected_hosts
    redirects
    retries
    retries_of_the_mesh
    retry_conditions
    retry_localities
    revisions
    rewrites
    same_node
    secret_keys
    server_name
    server_name_precedence
    servers_in_conflict
    service_accounts
    service_entries
    service_identity
    service_names
    services
    short_names
    sni
    statuses
    statuses_of_bad_requests
    statuses_of_limits
    stream_idle
    tcp
    timeouts
    tls_defaults
    tls_mesh_defaults
    tls_servers_in_conflict
    tls_to_backends
    trusted_hops
    trusted_hops_proxy_protocol
    trusted_hops_two
    unix_connections
    unix_endpoints
    upgrades
    weights_subsets
    x_backend_traffic_policies
    x_backends
}
