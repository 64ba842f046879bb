//! A gateway in the test's process: a folder of its own, ports of the kernel's choice, its access log in a file.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use limen::boot::{self, Options, Readers, Running};
use limen::logging::Logging;
use limen::settings::{Kubernetes, Settings};
use limen::view::View;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};

use crate::cluster::Cluster;
use crate::reply::Reply;
use crate::{h1, within};

/// Declared ports that are bound where the kernel likes.
pub const DECLARED: [u16; 8] = [80, 443, 8080, 8443, 9000, 9001, 9002, 9443];

/// A port that is free on every address of IPv4, and stays so for others than a gateway: it is bound, but nobody listens
/// there. A connection that lingers on 127.0.0.2 would be in the way of a listener on 0.0.0.0.
pub struct HeldPort(TcpSocket);

impl HeldPort {
    /// One that the kernel chooses.
    #[allow(clippy::new_without_default)]
    pub fn new() -> HeldPort {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind("0.0.0.0:0".parse().unwrap()).unwrap();
        HeldPort(socket)
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// Flags as a user gives them.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    kubernetes: Kubernetes,
    #[command(flatten)]
    settings: Settings,
}

/// Who says in which form the access log is.
#[derive(serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "kebab-case")]
pub enum LogForm {
    /// The test: Istio's JSON, or the `--access-log-format` of its flags.
    #[default]
    Json,
    /// The gateway's own configuration.
    Config,
}

/// A running gateway.
pub struct Gateway {
    /// The thing itself.
    pub running: Running,
    /// Holds `config` (what it watches) and the access log.
    home: TempDir,
}

impl Gateway {
    /// Starts a gateway over these files and waits until every worker serves them.
    pub async fn start(files: &[(&str, &str)], flags: &[String]) -> Gateway {
        Gateway::start_logging(files, flags, LogForm::Json).await
    }

    /// The same with an access log of that form, which [`Gateway::stop`] reads as JSON all the same.
    pub async fn start_logging(files: &[(&str, &str)], flags: &[String], form: LogForm) -> Gateway {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        fs::create_dir(&config).unwrap();
        for (name, text) in files {
            fs::write(config.join(name), text).unwrap();
        }
        Gateway::start_as(home, vec![config], flags, form, Readers::default()).await
    }

    /// The same with memory and file descriptors in use as the test says; `flags` give the limits.
    pub async fn start_using(files: &[(&str, &str)], flags: &[String], readers: Readers) -> Gateway {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(home.path().join(name), text).unwrap();
        }
        let roots = files.iter().map(|(name, _)| home.path().join(name)).collect();
        Gateway::start_as(home, roots, flags, LogForm::Json, readers).await
    }

    /// Starts a gateway over a cluster, and waits until every worker serves what it holds.
    pub async fn start_kube(cluster: &Cluster, flags: &[String]) -> Gateway {
        let all: Vec<String> = cluster.flags().into_iter().chain(flags.iter().cloned()).collect();
        Gateway::start_as(tempfile::tempdir().unwrap(), Vec::new(), &all, LogForm::Json, Readers::default())
            .await
    }

    /// The same without waiting for anything.
    pub fn begin_kube(cluster: &Cluster, flags: &[String]) -> Gateway {
        let all: Vec<String> = cluster.flags().into_iter().chain(flags.iter().cloned()).collect();
        Gateway::begin(tempfile::tempdir().unwrap(), Vec::new(), &all, LogForm::Json, Readers::default())
    }

    /// Starts a gateway with these flags alone, which say where it reads, and waits until every worker serves it.
    pub async fn start_with(flags: &[String]) -> Gateway {
        Gateway::start_as(tempfile::tempdir().unwrap(), Vec::new(), flags, LogForm::Json, Readers::default())
            .await
    }

    /// Starts a gateway over paths that may lie anywhere; `home` is kept until it ends.
    pub async fn start_in(home: TempDir, roots: Vec<PathBuf>, flags: &[String]) -> Gateway {
        Gateway::start_as(home, roots, flags, LogForm::Json, Readers::default()).await
    }

    async fn start_as(
        home: TempDir,
        roots: Vec<PathBuf>,
        flags: &[String],
        form: LogForm,
        readers: Readers,
    ) -> Gateway {
        let gateway = Gateway::begin(home, roots, flags, form, readers);
        within("the gateway to be ready", gateway.running.ready()).await;
        gateway
    }

    fn begin(
        home: TempDir,
        roots: Vec<PathBuf>,
        flags: &[String],
        form: LogForm,
        readers: Readers,
    ) -> Gateway {
        let log = home.path().join("access.log");
        let mut line = vec!["limen".to_owned()];
        if !flags.iter().any(|flag| flag == "--bind") {
            line.extend(["--bind", "127.0.0.1"].map(str::to_owned));
        }
        if !flags.iter().any(|flag| flag == "--workers") {
            line.extend(["--workers", "2"].map(str::to_owned));
        }
        if !flags.iter().any(|flag| flag == "--drain-delay") {
            line.extend(["--drain-delay", "0s"].map(str::to_owned));
        }
        // What else runs on the machine is not the test's.
        for limit in ["--max-memory", "--max-file-descriptors"] {
            if !flags.iter().any(|flag| flag == limit) {
                line.extend([limit, "off"].map(str::to_owned));
            }
        }
        for ours in ["--admin", "--readiness", "--metrics"] {
            line.extend([ours.to_owned(), "127.0.0.1:0".to_owned()]);
        }
        line.extend(DECLARED.iter().flat_map(|port| ["--map-port".to_owned(), format!("{port}:0")]));
        // A test that names a file of its own is about the form of the lines; a format of a test's own must make JSON.
        let own = |name: &str| flags.iter().any(|flag| flag == name);
        if !own("--access-log-file") {
            if form == LogForm::Json && !own("--access-log-format") {
                line.extend(["--access-log", "json"].map(str::to_owned));
            }
            line.push("--access-log-file".to_owned());
            line.push(log.to_string_lossy().into_owned());
        }
        line.extend(flags.iter().cloned());
        let Flags { kubernetes, settings } =
            Flags::try_parse_from(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let options = Options {
            cluster: kubernetes.cluster(&settings.meaning),
            settings,
            roots,
            documents: Vec::new(),
            readers,
            logging: Logging::foreign(),
            say: |_| {},
        };
        Gateway { running: boot::start(options).unwrap(), home }
    }

    /// The folder that it watches.
    pub fn config(&self) -> PathBuf {
        self.home.path().join("config")
    }

    /// The folder that ends with it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file of its configuration in one step, as careful editors do.
    pub fn write(&self, name: &str, text: &str) {
        let aside = self.home.path().join(".aside");
        fs::write(&aside, text).unwrap();
        fs::rename(&aside, self.config().join(name)).unwrap();
    }

    /// Where a declared port is bound.
    pub fn address(&self, declared: u16) -> SocketAddr {
        self.bound(declared, false).unwrap_or_else(|| {
            panic!("port {declared} is not bound; problems: {:#?}", self.problems());
        })
    }

    /// The same for datagrams; where nobody listens for them, where others listen.
    pub fn datagram_address(&self, declared: u16) -> SocketAddr {
        self.bound(declared, true).unwrap_or_else(|| self.address(declared))
    }

    fn bound(&self, declared: u16, udp: bool) -> Option<SocketAddr> {
        let view = self.running.view();
        let mut own =
            view.applied.listeners.iter().filter(|known| (known.declared, known.udp) == (declared, udp));
        own.find_map(|known| known.bound)
    }

    /// Where a declared port is found on this address of this machine.
    pub fn address_on(&self, ip: IpAddr, declared: u16) -> SocketAddr {
        let view = self.running.view();
        let declaring = view.applied.listeners.iter().filter(|known| known.declared == declared);
        let bound: Vec<SocketAddr> = declaring.filter_map(|known| known.bound).collect();
        let own = bound.iter().find(|at| at.ip() == ip);
        let port = own.or_else(|| bound.iter().find(|at| at.ip().is_unspecified())).map(SocketAddr::port);
        let problems = || panic!("port {declared} is not bound on {ip}; problems: {:#?}", self.problems());
        SocketAddr::new(ip, port.unwrap_or_else(problems))
    }

    /// A page of the admin port.
    pub async fn page(&self, path: &str) -> Reply {
        let admin = self.running.admin().unwrap();
        let mut connection = h1::Connection::new(TcpStream::connect(admin).await.unwrap());
        connection.send(&h1::request("GET", path, &admin.to_string(), &[], b"")).await;
        within(path, connection.read("GET")).await.unwrap()
    }

    /// The sum of a metric now.
    pub async fn metric(&self, name: &str) -> u64 {
        let stream = TcpStream::connect(self.running.metrics().unwrap()).await.unwrap();
        let mut connection = h1::Connection::new(stream);
        connection.send(&h1::request("GET", "/stats/prometheus", "localhost", &[], b"")).await;
        let text = within("metrics", connection.read("GET")).await.unwrap().text();
        let own = text.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
        let values: Vec<u64> = own.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!values.is_empty(), "no {name}");
        values.iter().sum()
    }

    /// Every problem there is now, as users read it.
    pub fn problems(&self) -> Vec<String> {
        self.running.problems().iter().map(ToString::to_string).collect()
    }

    /// Waits until every worker serves a state of which `holds` is true.
    pub async fn until(&self, what: &str, holds: impl FnMut(&View) -> bool) -> Arc<View> {
        within(what, self.running.until(holds)).await
    }

    /// Ends it and returns the lines of its access log.
    pub async fn stop(self) -> Vec<Value> {
        let log = self.home.path().join("access.log");
        within("the gateway to end", self.running.shutdown()).await;
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
            .collect()
    }
}
