//! A gateway in a process of its own, so that what it takes of processor and memory can be told from what a test takes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::gateway::DECLARED;
use crate::reply::Reply;
use crate::{h1, within};

/// Ticks of a second in `/proc`, as the system tells programs on every machine that tests run on.
const TICKS: f64 = 100.0;

/// A running gateway, killed when it is dropped.
pub struct Process {
    child: Child,
    binary: &'static str,
    home: TempDir,
    admin: SocketAddr,
    listeners: Vec<Value>,
}

impl Process {
    /// Starts a gateway over this file and waits until it serves. `binary`: `env!("CARGO_BIN_EXE_limen-process")`, which
    /// only tests know.
    pub async fn start(binary: &'static str, config: &str, flags: &[String]) -> Process {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("config");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.yaml"), config).unwrap();
        let mut command = Command::new(binary);
        command.arg("run").arg(&folder).args(["--bind", "127.0.0.1", "--workers", "2"]);
        for ours in ["--admin", "--readiness", "--metrics"] {
            command.args([ours, "127.0.0.1:0"]);
        }
        command.args(DECLARED.iter().flat_map(|port| ["--map-port".to_owned(), format!("{port}:0")]));
        command.arg("--access-log-file").arg(home.path().join("access.log")).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let told = tokio::task::spawn_blocking(move || admin_of(BufReader::new(stderr)));
        let admin = within("the gateway to say where it serves", told).await.unwrap();
        let mut process = Process { child, binary, home, admin, listeners: Vec::new() };
        let page = process.page("/listeners").await.text();
        process.listeners = serde_json::from_str(&page).unwrap();
        process
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
        self.admin
    }

    /// A page of its admin port.
    pub async fn page(&self, path: &str) -> Reply {
        let mut connection = h1::Connection::new(TcpStream::connect(self.admin).await.unwrap());
        connection.send(&h1::request("GET", path, &self.admin.to_string(), &[], b"")).await;
        within(path, connection.read("GET")).await.unwrap()
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

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what it says until it says where its admin port is; the rest is read too, lest it waits for a reader.
fn admin_of(mut lines: BufReader<impl std::io::Read + Send + 'static>) -> SocketAddr {
    let mut said = String::new();
    let admin = loop {
        let start = said.len();
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "it ended before it served: {said}");
        if let Some(rest) = said[start..].trim().strip_prefix("admin") {
            break rest.trim().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        }
    };
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    admin
}
