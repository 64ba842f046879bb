//! The data plane: threads, sockets, requests. It must not know that Kubernetes exists.
//!
//! Read [`exchange`](self) for the life of a request: `serve` (socket to head) → `exchange` (route, filters, origin,
//! response) → `upstream` (endpoint, pool, connection), over `table`, which `compile` makes from the IR. Each worker is a
//! thread with its own runtime, sockets, pools, balancers and counters; a new configuration arrives as mail.
#![deny(unsafe_code)]

mod address;
pub mod applied;
mod board;
mod clock;
mod compile;
mod control;
mod exchange;
pub mod faults;
mod filter;
pub mod limits;
pub mod observe;
mod overload;
mod run;
mod serve;
pub mod served;
mod sockets;
mod stock;
mod stream;
#[allow(unsafe_code)]
pub mod sys;
mod table;
mod tasks;
mod upstream;
mod worker;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use limen_ir::{Endpoints, Ir};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

pub use address::Address;
pub use applied::{Applied, AppliedProblem, BoundListener, Ejected};
use board::Board;
use compile::logs::LogMemo;
use control::Control;
pub use limits::Limits;
use limits::descriptors::DescriptorLimit;
use limits::memory::MemoryLimit;
use limits::outlier::Notice;
use limits::shares::Shares;
use observe::limits::{Limit, NONE};
use observe::spans::Exporter;
use observe::{AccessLog, AccessLogConfig, FormatError, Gauge, LogTarget, LogWriter, Registry, SourceLabels};
use overload::{Watched, Watchman};
use served::ServedListener;
use sockets::Sockets;
use tasks::Vital;
use worker::{Load, Mail};

/// What a data plane is started with.
#[derive(Debug)]
pub struct Config {
    /// Threads; `None`: as many as the process may use.
    pub workers: Option<usize>,
    /// A port that cannot be bound for lack of rights is not moved.
    pub strict_ports: bool,
    /// The access log's format.
    pub access_log: AccessLogConfig,
    /// The mesh configuration may say otherwise.
    pub access_log_by_mesh: bool,
    /// The process was told where to write its log, and so it goes there whatever the mesh configuration says.
    pub access_log_placed: bool,
    /// How long connections have to end when draining.
    pub drain: Duration,
    /// How long everything goes on as before when draining begins, while others learn that no more is to come here.
    pub drain_delay: Duration,
    /// Bounds on what clients can cost.
    pub limits: Limits,
    /// How much memory the process may use; `None`: as much as there is.
    pub memory: Option<MemoryLimit>,
    /// How many file descriptors it may have open; `None`: as many as it gets.
    pub descriptors: Option<DescriptorLimit>,
    /// A request whose host belongs to another TLS chain is answered 404 instead of 421.
    pub misdirected_is_404: bool,
    /// HTTP/1.0 is served; if not it is answered 426.
    pub http10: bool,
    /// `%HOSTNAME%`.
    pub hostname: String,
    /// Who we are, for proxies that ask.
    pub own: SourceLabels,
    /// Where we are, for proxies that ask.
    pub address: IpAddr,
    /// We have an identity in a mesh, so there are proxies that ask.
    pub in_mesh: bool,
}

impl Config {
    /// Milliseconds for what is under way on a connection that is to end. What is left of [`Config::drain`] is for its
    /// farewells.
    pub(crate) fn grace_ms(&self) -> u64 {
        let farewell = (self.drain / 10).min(Duration::from_secs(1));
        u64::try_from((self.drain - farewell).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            workers: None,
            strict_ports: false,
            access_log: AccessLogConfig::default(),
            access_log_by_mesh: true,
            access_log_placed: false,
            drain: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            limits: Limits::default(),
            memory: None,
            descriptors: None,
            misdirected_is_404: false,
            http10: true,
            hostname: String::new(),
            own: SourceLabels::default(),
            address: Ipv4Addr::LOCALHOST.into(),
            in_mesh: false,
        }
    }
}

impl Config {
    /// What a limit is set to.
    fn value(&self, limit: Limit, series: usize) -> u64 {
        let limits = &self.limits;
        let count = |number: u32| if number == u32::MAX { NONE } else { number.into() };
        match limit {
            Limit::Connections => count(limits.max_connections),
            Limit::ListenerConnections => count(limits.max_listener_connections),
            Limit::ClientConnections => count(limits.max_client_connections),
            Limit::ConnectionRequests => count(limits.max_connection_requests),
            Limit::Streams => limits.max_streams.into(),
            Limit::HeaderBytes | Limit::ResponseHeaderBytes => limits.max_head_bytes as u64,
            Limit::Headers | Limit::ResponseHeaders => limits.max_fields as u64,
            Limit::BodyBytes => limits.max_body_bytes,
            Limit::HeaderTime => limits.head_timeout_ms,
            Limit::HandshakeTime => limits.handshake_timeout_ms,
            Limit::RequestTime => limits.request_timeout_ms.unwrap_or(NONE),
            Limit::IdleTime => limits.idle_timeout_ms,
            Limit::StreamIdleTime => limits.stream_idle_timeout_ms.unwrap_or(NONE),
            Limit::StallTime => limits.stall_timeout_ms,
            Limit::HalfCloseTime => limits.half_close_timeout_ms,
            Limit::ReplayBytes => limits.replay_bytes as u64,
            Limit::StreamWindow => limits.stream_window.into(),
            Limit::ConnectionWindow => limits.connection_window.into(),
            Limit::UnwrittenBytes => limits.max_unwritten_bytes as u64,
            Limit::Credit => limits.h2_credit.into(),
            Limit::PendingRequests => count(limits.max_pending_requests),
            Limit::Memory => self.memory.as_ref().map_or(NONE, |limit| limit.max_bytes),
            Limit::FileDescriptors => self.descriptors.as_ref().map_or(NONE, |limit| limit.max),
            Limit::UdpFlows => limits.max_udp_flows.into(),
            Limit::Series => series as u64,
        }
    }
}

/// Why a data plane cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The access log's format is not understood.
    #[error("access log: {0}")]
    Format(#[from] FormatError),
    /// The access log's target cannot be opened.
    #[error("access log: {0}")]
    Log(io::Error),
    /// The system gives no thread or event queue.
    #[error("a worker cannot be started: {0}")]
    Worker(io::Error),
}

/// A running data plane. Dropping it cuts every connection and joins the threads.
pub struct Proxy {
    config: Arc<Config>,
    registry: Arc<Registry>,
    board: Arc<Board>,
    control: Arc<Mutex<Control>>,
    notices: mpsc::Sender<Notice>,
    workers: Vec<UnboundedSender<Mail>>,
    threads: Vec<JoinHandle<()>>,
    loads: Arc<[Load]>,
    log: Option<LogWriter>,
    watchman: Option<Watchman>,
    vital: Vital,
}

impl Proxy {
    /// Starts the workers. Nothing is served before the first [`Proxy::install`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config, target: LogTarget, registry: Arc<Registry>) -> Result<Proxy, StartError> {
        let count = config
            .workers
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1)
            .max(1);
        let config = Arc::new(config);
        let access_log = Arc::new(AccessLog::compile(&config.access_log, &config.hostname)?);
        let log = LogWriter::start(target).map_err(StartError::Log)?;
        registry.watch_log(log.stats());
        let exporter = Exporter::start(registry.clone()).map_err(StartError::Worker)?;
        for limit in Limit::ALL {
            registry.set_limit(*limit, config.value(*limit, registry.series_limit()));
        }
        let shares = worker::ConnectionShares {
            listeners: Shares::new(config.limits.max_listener_connections),
            clients: Shares::new(config.limits.max_client_connections),
        };
        registry.set(Gauge::Workers, i64::try_from(count).unwrap_or(i64::MAX));
        let board = Arc::new(Board::new(count, registry.clone()));
        let loads: Arc<[Load]> = (0..count).map(|_| Load::default()).collect();
        let flows: Arc<[Load]> = (0..count).map(|_| Load::default()).collect();
        let (back, returned) = mpsc::channel();
        let (workers, inboxes): (Vec<_>, Vec<_>) =
            (0..count).map(|_| tokio::sync::mpsc::unbounded_channel()).unzip();
        let mut threads = Vec::new();
        let vital = Vital::default();
        // Before the workers: it has told them where they stand when they begin.
        let watched = Watched { memory: config.memory.clone(), descriptors: config.descriptors.clone() };
        let watchman = Watchman::start(watched, workers.clone(), registry.clone(), &vital);
        let watchman = watchman.map_err(StartError::Worker)?;
        for (index, mail) in inboxes.into_iter().enumerate() {
            let start = worker::Start {
                index,
                config: config.clone(),
                peers: workers.clone(),
                loads: loads.clone(),
                flows: flows.clone(),
                shares: shares.clone(),
                counters: registry.worker(),
                log: log.buffer(),
                spans: exporter.sender(),
                back: back.clone(),
                vital: vital.clone(),
            };
            threads.push(spawn(start, board.clone(), mail).map_err(StartError::Worker)?);
        }
        let (notices, inbox) = mpsc::channel();
        let control = Arc::new(Mutex::new(Control::new(control::Parts {
            logs: LogMemo::new(config.clone(), registry.clone(), access_log),
            sockets: Sockets::new(count, config.strict_ports),
            returned,
            workers: workers.clone(),
            board: board.clone(),
            registry: registry.clone(),
            notices: notices.clone(),
            exporter,
        })));
        let attended = control.clone();
        let part = vital.held_by("the control of endpoints");
        let attend = move || {
            let _part = part;
            control::attend(&attended, &inbox);
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(attend);
        threads.push(thread.map_err(StartError::Worker)?);
        let log = Some(log);
        Ok(Proxy { config, registry, board, control, notices, workers, threads, loads, log, watchman, vital })
    }

    /// Compiles on the calling thread, binds what is new and mails every worker. Returns the generation that
    /// [`Proxy::applied`] will show once every worker serves it.
    pub fn install(&self, ir: &Ir, endpoints: &Endpoints) -> u64 {
        control::lock(&self.control).install(|compiler, stamp| compiler.compile(ir, endpoints, stamp))
    }

    /// Mails new endpoints for the generation in force; no route is compiled. Returns its stamp in
    /// [`Applied::generation`].
    pub fn endpoints(&self, endpoints: &Endpoints) -> u64 {
        control::lock(&self.control).endpoints(|compiler| compiler.endpoints(endpoints))
    }

    /// What every worker serves.
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.board.applied()
    }

    /// What the tables installed last say, for people.
    pub fn served(&self) -> Vec<ServedListener> {
        served::listeners(&control::lock(&self.control).tables)
    }

    /// The metrics.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Clients' connections that are open.
    pub fn connections(&self) -> u64 {
        self.loads.iter().map(|load| u64::from(load.get())).sum()
    }

    /// Resolves with the name of a part without which the gateway would only seem to work, once that has failed: a
    /// worker, or what watches the memory. Connections are still served as far as can be.
    pub async fn broken(&self) -> &'static str {
        self.vital.broken().await
    }

    /// Opens the access logs' files anew, after log rotation.
    pub fn reopen_log(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
        control::lock(&self.control).compiler.logs.reopen();
    }

    /// After [`Config::drain_delay`] no listener accepts any more, and connections end as they come to rest:
    /// `Connection: close`, GOAWAY, idle ones spread over a part of the time. Resolves when none is left or the time is
    /// over, with the number of those left.
    pub async fn drain(&self) -> u64 {
        // Without a delay they are told before anything is waited for.
        if !self.config.drain_delay.is_zero() {
            tokio::time::sleep(self.config.drain_delay).await;
        }
        // Before the workers are told: what they get afterwards opens nothing.
        control::lock(&self.control).end_listening();
        for worker in &self.workers {
            let _ = worker.send(Mail::Drain);
        }
        let deadline = Instant::now() + self.config.drain;
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let left = self.connections();
            if left == 0 || Instant::now() >= deadline {
                return left;
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.watchman.take();
        let _ = self.notices.send(Notice::Stop);
        for worker in &self.workers {
            let _ = worker.send(Mail::Stop);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.log.take();
    }
}

/// A worker's thread. The runtime is made in it, since it never leaves it.
fn spawn(
    start: worker::Start,
    board: Arc<Board>,
    mail: UnboundedReceiver<Mail>,
) -> io::Result<JoinHandle<()>> {
    let part = start.vital.held_by(run::PART);
    let (made, outcome) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker-{}", start.index)).spawn(move || {
        let _part = part;
        match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
            Ok(runtime) => {
                let _ = made.send(Ok(()));
                runtime.block_on(run::run(start, board, mail));
            }
            Err(error) => {
                let _ = made.send(Err(error));
            }
        }
    })?;
    outcome.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())).map(|()| thread)
}
