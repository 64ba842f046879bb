//! The gateway under test: a process of its own, on ports that are free.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::http1::Connection;
use crate::work::guarded;

/// How long it may take to start.
const START: Duration = Duration::from_secs(60);
/// How long connections have to end when it is told to.
const DRAIN: &str = "10s";

/// A running gateway; it is killed when dropped.
pub(crate) struct Gateway {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    admin: SocketAddr,
    readiness: SocketAddr,
    child: Child,
    home: TempDir,
}

/// Addresses that nobody else listens at now.
fn free<const N: usize>() -> std::io::Result<[SocketAddr; N]> {
    let mut held = Vec::new();
    let mut found = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for address in &mut found {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(found)
}

impl Gateway {
    /// Starts a binary over these files and waits until it serves them.
    pub(crate) async fn start(
        binary: &Path,
        files: &[(&str, String)],
        flags: &[&str],
    ) -> Result<Gateway, String> {
        let say = |error: std::io::Error| format!("{}: {error}", binary.display());
        let home = TempDir::new().map_err(say)?;
        fs::create_dir(home.path().join("config")).map_err(say)?;
        for (name, text) in files {
            fs::write(home.path().join("config").join(name), text).map_err(say)?;
        }
        let [http, https, admin, readiness, metrics] = free().map_err(say)?;
        let said = File::create(home.path().join("said")).map_err(say)?;
        let mut command = Command::new(binary);
        command.arg("run").arg(home.path().join("config")).args(["--bind", "127.0.0.1", "--drain", DRAIN]);
        command.args(["--access-log", "json"]).args(flags);
        for (declared, bound) in [(80, http), (443, https)] {
            command.args(["--map-port".to_owned(), format!("{declared}:{}", bound.port())]);
        }
        for (flag, address) in [("--admin", admin), ("--readiness", readiness), ("--metrics", metrics)] {
            command.args([flag.to_owned(), address.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(said.try_clone().map_err(say)?).stderr(said);
        let child = command.spawn().map_err(say)?;
        let mut gateway = Gateway { http, https, admin, readiness, child, home };
        let begun = Instant::now();
        while gateway.get(gateway.readiness, "/healthz/ready").await.is_err() {
            let ended = gateway.child.try_wait().map_err(say)?;
            if ended.is_some() || begun.elapsed() > START {
                return Err(format!("the gateway does not start: {}", gateway.said()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(gateway)
    }

    async fn get(&self, from: SocketAddr, path: &str) -> Result<String, String> {
        guarded(path, async {
            let stream = TcpStream::connect(from).await.map_err(|error| error.to_string())?;
            let mut connection = Connection::new(Box::new(stream));
            let (head, body) = connection.ask((&from.to_string(), path), "", None).await?;
            if head.status() != "200" {
                return Err(head.first().to_owned());
            }
            Ok(String::from_utf8_lossy(&body).into_owned())
        })
        .await
    }

    /// A page of the admin port.
    pub(crate) async fn page(&self, path: &str) -> Result<String, String> {
        self.get(self.admin, path).await
    }

    /// Every metric now.
    pub(crate) async fn metrics(&self) -> Result<String, String> {
        self.get(self.admin, "/stats/prometheus").await
    }

    /// Replaces a file of its configuration in one step.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let aside = self.home.path().join("aside");
        let done = fs::write(&aside, text).and_then(|()| fs::rename(&aside, self.file(name)));
        done.map_err(|error| format!("{name}: {error}"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join("config").join(name)
    }

    /// What it has said on its outputs.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("said")).unwrap_or_default()
    }

    /// The memory that it has, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// The processor time that it has taken.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // Fields 14 and 15, counted after the name, which may hold anything; ticks are hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// How many file descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    fn signal(&self, name: &str) -> Result<(), String> {
        let told = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        told.map(drop).map_err(|error| format!("kill: {error}"))
    }

    /// Has the system give it no time for this long.
    pub(crate) async fn stop(&self, time: Duration) -> Result<(), String> {
        self.signal("STOP")?;
        sleep(time).await;
        self.signal("CONT")
    }

    /// Tells it to end, and waits until it has.
    pub(crate) async fn end(&mut self) -> Result<ExitStatus, String> {
        self.signal("TERM")?;
        guarded("the gateway", async {
            loop {
                if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                    return Ok(status);
                }
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
