//! A double of a Kubernetes API server, in the test's process: lists, watches, writes, and every fault that a real one may
//! have.

mod kinds;
mod serve;
mod state;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::gateway::HeldPort;
use crate::{within, yaml};
use kinds::KINDS;
use state::State;

pub(crate) use kinds::{ApiKind, kind_of};
pub use state::Right;

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// What the double's tasks share.
struct Shared {
    state: Mutex<State>,
    /// Told whenever something changes.
    news: watch::Sender<u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn changed(&self) {
        self.news.send_modify(|count| *count += 1);
    }
}

/// A running double. It has all kinds that Limen knows, and some more.
pub struct Cluster {
    shared: Arc<Shared>,
    /// Its port stays its own while it is away.
    port: HeldPort,
    home: TempDir,
    /// `None`: it is away.
    server: Option<Runtime>,
}

impl Cluster {
    /// A server without objects.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Cluster {
        Cluster::without(&[])
    }

    /// A server that lacks these kinds, named as their definitions are (`plural.group`).
    pub fn without(kinds: &[&str]) -> Cluster {
        let shared = Shared { state: Mutex::new(State::new(kinds)), news: watch::channel(0).0 };
        let (shared, port, home) = (Arc::new(shared), HeldPort::new(), tempfile::tempdir().unwrap());
        let mut cluster = Cluster { shared, port, home, server: None };
        std::fs::write(cluster.kubeconfig(), cluster.kubeconfig_text()).unwrap();
        cluster.come_back();
        cluster
    }

    /// The file that says how to reach it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    fn kubeconfig_text(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"http://127.0.0.1:{}\"}}}}]\n\
             users: [{{name: test, user: {{token: secret-token}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.port.number()
        )
    }

    /// What a gateway is started with to read it.
    pub fn flags(&self) -> Vec<String> {
        vec!["--kube".to_owned(), "--kubeconfig".to_owned(), self.kubeconfig().to_string_lossy().into_owned()]
    }

    /// Creates or replaces the objects of this YAML.
    pub fn apply(&self, text: &str) {
        for document in yaml::documents(text).into_iter().filter(|document| !document.is_null()) {
            self.shared.state().put(&document, false).unwrap();
        }
        self.shared.changed();
    }

    /// Deletes the objects of this YAML.
    pub fn delete(&self, text: &str) {
        for document in yaml::documents(text) {
            let kind = kind_of(&document);
            let text = |field: &str| document["metadata"][field].as_str().map(str::to_owned);
            let namespace = text("namespace").unwrap_or_else(|| "default".to_owned());
            let namespace = if kind.namespaced { namespace } else { String::new() };
            let key = State::key(kind, &namespace, &text("name").unwrap());
            self.shared.state().delete(&key).unwrap_or_else(|| panic!("there is no {key:?}"));
        }
        self.shared.changed();
    }

    /// An object as it is now.
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let kind = KINDS.iter().find(|kind| kind.plural == plural || kind.name() == plural).unwrap();
        self.shared.state().objects.get(&State::key(kind, namespace, name)).cloned()
    }

    /// A kind comes to be (`plural.group`).
    pub fn install(&self, name: &str) {
        self.define(name);
        self.serve(name);
    }

    /// The definition of a kind comes to be; it is not served yet.
    pub fn define(&self, name: &str) {
        let kind = KINDS.iter().find(|kind| kind.name() == name).unwrap();
        self.shared.state().put(&kind.definition(), false).unwrap();
        self.shared.changed();
    }

    /// A kind that is defined is served from now on.
    pub fn serve(&self, name: &str) {
        let kind = KINDS.iter().find(|kind| kind.name() == name).unwrap();
        self.shared.state().kinds.push(kind);
    }

    /// A kind is no more, and neither are its objects.
    pub fn uninstall(&self, name: &str) {
        let mut state = self.shared.state();
        state.kinds.retain(|kind| kind.name() != name);
        let of_it = |key: &&state::Key| key.0 == name || (key.0 == DEFINITIONS && key.2 == name);
        let gone: Vec<state::Key> = state.objects.keys().filter(of_it).cloned().collect();
        gone.iter().for_each(|key| {
            state.delete(key);
        });
        drop(state);
        self.shared.changed();
    }

    /// How often the server was asked which kinds it has.
    pub fn discoveries(&self) -> usize {
        self.shared.state().discoveries
    }

    /// It is away: every connection is cut, nobody listens.
    pub fn vanish(&mut self) {
        self.server.take().unwrap().shutdown_background();
    }

    /// It listens where it did before.
    pub fn come_back(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], self.port.number()).into();
        let shared = Arc::clone(&self.shared);
        let listener = {
            let _entered = runtime.enter();
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.set_reuseport(true).unwrap();
            socket.bind(address).unwrap();
            socket.listen(1024).unwrap()
        };
        runtime.spawn(async move {
            let answer = move |request: Request<Body>| serve::answer(Arc::clone(&shared), request);
            axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
        });
        self.server = Some(runtime);
    }

    /// From now on every request is answered so; `None`: as is right. Watches that are open go on.
    pub fn answers(&self, code: Option<u16>) {
        self.shared.state().faults.answer = code;
    }

    /// From now on every answer takes so long to begin.
    pub fn slow(&self, latency: Duration) {
        self.shared.state().faults.latency = latency;
    }

    /// From now on it accepts requests and answers none; or it answers again, also those that wait.
    pub fn silent(&self, silent: bool) {
        self.shared.state().faults.silent = silent;
        self.shared.changed();
    }

    /// From now on nobody is known but who has this token. Watches that are open end.
    pub fn knows(&self, token: &str) {
        self.shared.state().faults.token = Some(token.to_owned());
        self.drop_watches();
    }

    /// From now on every watch ends after so many events; `None`: it lasts. Those that are open end.
    pub fn watches_last(&self, events: Option<usize>) {
        self.shared.state().faults.watch_events = events;
        self.drop_watches();
    }

    /// All watches that are open end.
    pub fn drop_watches(&self) {
        self.shared.state().age += 1;
        self.shared.changed();
    }

    /// Nobody can learn any more what happened before now, and lists that were begun cannot go on.
    pub fn forget_history(&self) {
        let mut state = self.shared.state();
        state.version += 1;
        state.forgotten = state.version;
        state.history.clear();
        state.pages.clear();
    }

    /// Tells all watches how far they are, and returns it.
    pub fn bookmark(&self) -> u64 {
        self.shared.state().bookmark();
        self.shared.changed();
        self.shared.state().version
    }

    /// From where the last watch of this kind (`plural.group`) began.
    pub fn watched_from(&self, name: &str) -> u64 {
        self.shared.state().watched_from.get(name).copied().unwrap_or(0)
    }

    /// From now on only these rights are given.
    pub fn allow(&self, rights: BTreeSet<Right>) {
        self.shared.state().allowed = Some(rights);
    }

    /// Group, plural and verb of every request so far that was allowed.
    pub fn seen(&self) -> BTreeSet<Right> {
        self.shared.state().seen.clone()
    }

    /// `METHOD path` of every request that has come and is not looked at yet, because the server is slow or silent.
    pub fn held(&self) -> Vec<String> {
        self.shared.state().held.clone()
    }

    /// `verb plural namespace/name` of every write so far that others than the test did.
    pub fn writes(&self) -> Vec<String> {
        self.shared.state().writes.clone()
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Cluster) -> bool) {
        let mut news = self.shared.news.subscribe();
        within(what, async {
            while !holds(self) {
                news.changed().await.unwrap();
            }
        })
        .await;
    }

    /// `verb plural namespace selector` of every request for objects so far, `-` where it named none.
    pub fn asked(&self) -> BTreeSet<String> {
        self.shared.state().selectors.clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may end on a thread of another runtime, where waiting is forbidden.
        self.server.take().into_iter().for_each(Runtime::shutdown_background);
    }
}
