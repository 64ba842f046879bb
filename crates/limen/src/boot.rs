//! How the gateway is put together: channels first, then the stages in the order in which a change flows through them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
#[cfg(debug_assertions)]
pub use limen_proxy::faults;
pub use limen_proxy::limits::used::Used;
use limen_proxy::observe::{Gauge, Registry};
use limen_proxy::{BoundListener, Proxy, StartError};
use limen_resources::Problem;
use limen_sources::{Cluster, Document, Reports};
use limen_translate::Translator;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::control::{self, Control, change_latency};
use crate::logging::Logging;
use crate::report::Reporter;
use crate::settings::{Settings, deploying};
use crate::told;
use crate::view::{Phase, View};

/// Threads of the control side, besides the one that translates.
const CONTROL_THREADS: usize = 2;
/// How long a cluster may take to learn that a Pod takes no more connections.
const CLUSTER_DRAIN_DELAY: Duration = Duration::from_secs(5);

/// What a gateway is started with.
#[derive(Debug)]
pub struct Options {
    /// The process settings.
    pub settings: Settings,
    /// Files and folders to serve and watch.
    pub roots: Vec<PathBuf>,
    /// A cluster to serve.
    pub cluster: Option<Cluster>,
    /// Texts to serve besides.
    pub documents: Vec<Document>,
    /// What tells how much of the process's limits is in use, if not the system.
    pub readers: Readers,
    /// The process's own log.
    pub logging: Logging,
    /// Where problems are told as they appear and are mended.
    pub say: fn(&str),
}

/// What tells how much is in use; `None`: the system.
#[derive(Debug, Clone, Default)]
pub struct Readers {
    /// Bytes of memory.
    pub memory: Option<Used>,
    /// File descriptors.
    pub descriptors: Option<Used>,
}

/// A running gateway. It serves until [`Running::shutdown`] or until it is dropped, which cuts connections.
pub struct Running {
    runtime: Option<Runtime>,
    proxy: Arc<Proxy>,
    views: Arc<watch::Sender<Arc<View>>>,
    view: watch::Receiver<Arc<View>>,
    control: control::Running,
    /// The way to who tells the cluster.
    reports: Option<Reports>,
    admin: Option<SocketAddr>,
    readiness: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

/// Starts a gateway. It returns at once; [`Running::ready`] waits until everything is served.
///
/// # Errors
/// A thread could not be started, or a setting is wrong. Ports that cannot be bound are problems, not errors.
pub fn start(options: Options) -> anyhow::Result<Running> {
    let Options { mut settings, roots, cluster, documents, readers, logging, say } = options;
    let delay = if cluster.is_some() { CLUSTER_DRAIN_DELAY } else { Duration::ZERO };
    let delay = *settings.serving.drain_delay.get_or_insert(delay);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("limen-control")
        .enable_all()
        .build()
        .context("the control threads cannot be started")?;
    let _entered = runtime.enter();

    // The channel of the views: the control loop and `Running` write, the admin ports and tests read.
    let ports = admin::bind(&settings.serving);
    let (views, view) = watch::channel(Arc::new(View::starting(ports.problems.clone())));
    let views = Arc::new(views);

    // proxy: reads nothing yet; hands on Applied.
    let series = usize::try_from(settings.limits.max_series.get()).unwrap_or(usize::MAX);
    let registry = Arc::new(Registry::with_series_limit(series));
    let proxy = Arc::new(start_proxy(&settings, readers, &registry)?);

    // sources: reads files and the cluster and asks DNS, hands on Updates (snapshots).
    let mut translation =
        limen_translate::Settings { files: cluster.is_none(), ..settings.meaning.translation() };
    if let (Some(deployer), Some(cluster)) = (&mut translation.gateway_api.deployer, &cluster) {
        let own = &translation.workload_namespace;
        deploying::complete(deployer, own, cluster, (settings.serving.drain, delay));
    }
    let config = limen_sources::Config {
        roots,
        documents,
        mesh: settings.meaning.mesh_config.clone(),
        cluster,
        namespace: settings.meaning.namespace.clone(),
        dns_servers: settings.serving.dns_server.clone(),
    };
    let (sources, updates) = limen_sources::start(&config, runtime.handle())?;

    // the cluster is told what became of its objects: reads Views, hands on Reports to the sources.
    let reports = sources.reports();
    if let Some(reports) = reports.clone() {
        let alone = settings.meaning.deploying.only_gateway.is_some();
        let namespace = settings.meaning.workload_namespace.clone();
        runtime.spawn(told::tell(view.clone(), reports, (alone, namespace)));
    }

    // translate, in the control loop: reads Updates, hands on the Ir and Endpoints to the proxy, wants to the sources;
    // reads Applied, hands on Views.
    let control = Control {
        proxy: Arc::clone(&proxy),
        sources,
        settings: translation,
        translator: Translator::new(),
        views: Arc::clone(&views),
        latency: change_latency(&registry),
        say,
        reporter: Reporter::default(),
        waiting: VecDeque::new(),
    };
    let control = control.start(updates, proxy.applied(), runtime.handle());
    let control = control.context("the thread that translates cannot be started")?;

    // admin, readiness, metrics: read Views and counters, hand on answers.
    let admin::Ports { admin, readiness, metrics, .. } = ports;
    let shared = Admin { view: view.clone(), registry, source: settings.source_labels(), logging };
    let admin = admin.map(|listener| admin::serve_admin(listener, shared.clone()));
    let readiness = readiness.map(|listener| admin::serve_readiness(listener, shared.clone()));
    let metrics = metrics.map(|listener| admin::serve_metrics(listener, shared));

    drop(_entered);
    Ok(Running { runtime: Some(runtime), proxy, views, view, control, reports, admin, readiness, metrics })
}

fn start_proxy(settings: &Settings, readers: Readers, registry: &Arc<Registry>) -> anyhow::Result<Proxy> {
    let log_file = settings.serving.access_log_file.as_deref();
    let mut config = settings.proxy();
    if let (Some(limit), Some(used)) = (&mut config.memory, readers.memory) {
        limit.used = used;
    }
    if let (Some(limit), Some(used)) = (&mut config.descriptors, readers.descriptors) {
        limit.used = used;
    }
    let proxy = Proxy::start(config, settings.log_target(), Arc::clone(registry));
    proxy.map_err(|error| match (error, log_file) {
        (StartError::Log(error), Some(file)) => {
            anyhow::anyhow!(
                "--access-log-file {}: {error}; its folder must exist and be writable",
                file.display()
            )
        }
        (StartError::Format(error), _) => anyhow::anyhow!("--access-log-format: {error}"),
        (error, _) => error.into(),
    })
}

impl Running {
    /// The runtime of the control side, for whoever waits for the gateway from outside of one.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("the runtime is taken only when the gateway is dropped"),
        }
    }

    /// The admin port's address; `None` if it is off or could not be bound.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The readiness port's address; `None` if it is off or could not be bound.
    pub fn readiness(&self) -> Option<SocketAddr> {
        self.readiness
    }

    /// The metrics port's address; `None` if it is off or could not be bound.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Resolves with the name of a part without which the gateway would only seem to work, once that has failed.
    pub async fn broken(&self) -> &'static str {
        tokio::select! {
            part = self.proxy.broken() => part,
            () = self.control.failed() => "the translation of configuration",
        }
    }

    /// The state now.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// The listeners of the generation that every worker serves, bound or not.
    pub fn listeners(&self) -> Vec<BoundListener> {
        self.view().applied.listeners.clone()
    }

    /// Where the listener of this declared port is bound.
    pub fn address_of(&self, declared: u16) -> Option<SocketAddr> {
        self.view().applied.listeners.iter().find(|l| l.declared == declared).and_then(|l| l.bound)
    }

    /// Every problem there is now.
    pub fn problems(&self) -> Vec<Problem> {
        self.view().problems()
    }

    /// Waits for a state of which `holds` is true and that every worker serves, and returns it.
    pub async fn until(&self, mut holds: impl FnMut(&View) -> bool) -> Arc<View> {
        let mut view = self.view.clone();
        match view.wait_for(|view| view.settled() && holds(view)).await {
            Ok(view) => Arc::clone(&view),
            // The sender lives as long as `self`, so this is not reached.
            Err(_) => self.view(),
        }
    }

    /// Waits until every worker serves the first configuration.
    pub async fn ready(&self) -> Arc<View> {
        self.until(|view| view.phase != Phase::Starting).await
    }

    /// Waits until every worker serves this generation.
    pub async fn settled(&self, generation: u64) -> Arc<View> {
        self.until(|view| view.applied.generation >= generation).await
    }

    /// Readiness says no; after the delay for others to learn so, open connections are given their time to finish.
    /// Returns when all are gone or the time is over.
    pub async fn drain(&self) {
        self.views.send_modify(|view| *view = Arc::new(View { phase: Phase::Draining, ..View::clone(view) }));
        self.proxy.registry().set(Gauge::Ready, 0);
        let leave = async {
            if let Some(reports) = &self.reports {
                reports.end().await;
            }
        };
        tokio::join!(self.proxy.drain(), leave);
    }

    /// Opens the access log's file anew, after log rotation.
    pub fn reopen_log(&self) {
        self.proxy.reopen_log();
    }

    /// Drains, then stops everything.
    pub async fn shutdown(mut self) {
        self.drain().await;
        self.end_control().await;
    }

    /// Stops everything now. Connections are cut; what the access log holds is written.
    pub fn stop(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.end_control());
            self.runtime = Some(runtime);
        }
    }

    /// Ends the control loop, so that nobody else holds the data plane and it stops when we let go of it.
    async fn end_control(&mut self) {
        self.control.stop();
        self.control.ended().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(runtime) = self.runtime.take() {
            // The drop may happen on a thread of another runtime, where waiting is forbidden.
            runtime.shutdown_background();
        }
    }
}
