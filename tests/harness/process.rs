//! A gateway in a process of its own, so that what it takes of processor and memory can be told from what a test takes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::gateway::DECLARED;
use crate::reply::Reply;
use crate::shop::Metrics;
use crate::{h1, within};

/// Ticks of a second in `/proc`, as the system tells programs on every machine that tests run on.
const TICKS: f64 = 100.0;

/// The environment variable that says where the process is to panic.
pub const PANICS: &str = "LIMEN_TEST_PANICS";

/// A running gateway, killed when it is dropped. One that panicked without being asked to fails its test.
pub struct Process {
    child: Child,
    binary: &'static str,
    home: TempDir,
    said: watch::Sender<Said>,
    /// Reads what it says, to its end.
    reader: Option<JoinHandle<()>>,
    /// Was it asked to panic?
    may_panic: bool,
    /// `None`: it does not serve yet.
    admin: Option<SocketAddr>,
    listeners: Vec<Value>,
}

/// What it has said on standard error.
#[derive(Default)]
struct Said {
    /// Whole lines.
    text: String,
    over: bool,
}

impl Process {
    /// Starts a gateway over this file and waits until it serves. `binary`: `env!("CARGO_BIN_EXE_limen-process")`, which
    /// only tests know.
    pub async fn start(binary: &'static str, config: &str, flags: &[String]) -> Process {
        let mut process = Process::begin(binary, Some(config), flags, &[]);
        process.serves().await;
        process
    }

    /// The same over a cluster.
    pub async fn start_kube(binary: &'static str, cluster: &Cluster, flags: &[String]) -> Process {
        let all: Vec<String> = cluster.flags().into_iter().chain(flags.iter().cloned()).collect();
        let mut process = Process::begin(binary, None, &all, &[]);
        process.serves().await;
        process
    }

    /// The same over a file, with panics at these points for what has these marks, as `limen_proxy::faults` has them. A
    /// release panics nowhere.
    pub async fn start_panicking(
        binary: &'static str,
        config: &str,
        flags: &[String],
        panics: &[(&str, &str)],
    ) -> Process {
        let mut process = Process::begin(binary, Some(config), flags, panics);
        process.serves().await;
        process
    }

    fn begin(
        binary: &'static str,
        config: Option<&str>,
        flags: &[String],
        panics: &[(&str, &str)],
    ) -> Process {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary);
        command.arg("run");
        if let Some(config) = config {
            let folder = home.path().join("config");
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("config.yaml"), config).unwrap();
            command.arg(folder);
        }
        command.args(["--bind", "127.0.0.1", "--workers", "2"]);
        for ours in ["--admin", "--readiness", "--metrics"] {
            command.args([ours, "127.0.0.1:0"]);
        }
        command.args(DECLARED.iter().flat_map(|port| ["--map-port".to_owned(), format!("{port}:0")]));
        command.arg("--access-log-file").arg(home.path().join("access.log")).args(flags);
        let panics: Vec<String> = panics.iter().map(|(point, mark)| format!("{point}={mark}")).collect();
        command.env(PANICS, panics.join(" "));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (said, stderr) = (watch::Sender::new(Said::default()), child.stderr.take().unwrap());
        let to = said.clone();
        // It is read to its end, lest it waits for a reader.
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.unwrap_or_else(|error| error.to_string());
                to.send_modify(|said| said.text.extend([&*line, "\n"]));
            }
            to.send_modify(|said| said.over = true);
        });
        let (reader, may_panic) = (Some(reader), !panics.is_empty());
        Process { child, binary, home, said, reader, may_panic, admin: None, listeners: Vec::new() }
    }

    async fn serves(&mut self) {
        self.admin = Some(self.own("admin").await);
        let page = self.page("/listeners").await.text();
        self.listeners = serde_json::from_str(&page).unwrap();
    }

    /// One of its own ports, by the name under which it says where that is.
    async fn own(&self, name: &str) -> SocketAddr {
        let line = self.says(name).await;
        let (_, rest) = line.split_once("http://").unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }

    /// Waits for a line on standard error that begins so.
    async fn says(&self, begin: &str) -> String {
        let find = |said: &Said| {
            let mut lines = said.text.lines().map(str::trim);
            lines.find(|line| line.starts_with(begin)).map(str::to_owned)
        };
        let mut said = self.said.subscribe();
        let said = within(begin, said.wait_for(|said| said.over || find(said).is_some())).await.unwrap();
        find(&said).unwrap_or_else(|| panic!("it ended before it said {begin:?}: {}", said.text))
    }

    /// Tells it to end.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// It does nothing from now on: what happens to its sockets it comes to see all at once.
    pub async fn pause(&self) {
        self.signal("STOP");
        let stopped = async {
            while !self.proc("stat").rsplit_once(')').is_some_and(|(_, fields)| fields.starts_with(" T")) {
                tokio::task::yield_now().await;
            }
        };
        within("it to stop", stopped).await;
    }

    /// It goes on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end; its exit code, if no signal ended it, and all that it said on standard error.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let mut said = self.said.subscribe();
        let said = within("its end", said.wait_for(|said| said.over)).await.unwrap().text.clone();
        (self.child.wait().unwrap().code(), said)
    }

    /// Where a declared port is bound.
    pub fn address(&self, declared: u16) -> SocketAddr {
        let own = self.listeners.iter().find(|listener| listener["declared"] == declared);
        own.and_then(|own| own["bound"].as_str())
            .unwrap_or_else(|| panic!("{declared} is not bound"))
            .parse()
            .unwrap()
    }

    /// Its admin port.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("it serves")
    }

    /// A page of its admin port.
    pub async fn page(&self, path: &str) -> Reply {
        page_at(self.admin(), path).await
    }

    /// A page of its port for readiness.
    pub async fn readiness(&self, path: &str) -> Reply {
        page_at(self.own("ready").await, path).await
    }

    /// Waits until its metrics are so.
    pub async fn metrics_when(&self, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
        let wait = async {
            loop {
                let now = Metrics(self.page("/stats/prometheus").await.text());
                if holds(&now) {
                    return now;
                }
            }
        };
        within(what, wait).await
    }

    /// Its access log as far as it is written.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.home.path().join("access.log")).unwrap_or_default()
    }

    /// Runs another command of the same binary to its end.
    pub async fn command(&self, arguments: &[String]) -> Output {
        let mut command = Command::new(self.binary);
        command.args(arguments).stdin(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        // Some take long where much else runs.
        tokio::time::timeout(5 * crate::GUARD, ended).await.expect("a command ends").unwrap()
    }

    /// Writes a file of its configuration in one step.
    pub fn add(&self, name: &str, text: &str) {
        let aside = self.home.path().join(".aside");
        fs::write(&aside, text).unwrap();
        fs::rename(&aside, self.home.path().join("config").join(name)).unwrap();
    }

    /// Processor time that it has taken, as the system counts it.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_ascii_whitespace().skip(11).take(2);
        Duration::from_secs_f64(ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS)
    }

    /// The most bytes that it ever had in memory.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Bytes that it has in memory.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }
}

async fn page_at(address: SocketAddr, path: &str) -> Reply {
    let mut connection = h1::Connection::new(TcpStream::connect(address).await.unwrap());
    connection.send(&h1::request("GET", path, &address.to_string(), &[], b"")).await;
    within(path, connection.read("GET")).await.unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
        // A panic that is caught harms one request only, but is an error all the same: no test may pass over one.
        let said = self.said.borrow();
        let panicked = said.text.lines().find(|line| line.contains("panicked at"));
        assert!(
            self.may_panic || std::thread::panicking() || panicked.is_none(),
            "the gateway: {panicked:?}"
        );
    }
}
