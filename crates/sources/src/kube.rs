//! Reads a cluster: every object of the kinds that mean something here, Secrets and ConfigMaps only by name.
//!
//! For each kind that the server has, a task lists and watches ([`follow`]); one task more asks which kinds there are
//! ([`discover`]). What they hear comes to one task, [`Reader`], which turns it into events for the store. Whatever the
//! server does or does not do, nothing is taken for gone but what it says is gone.

mod discover;
pub(crate) mod failure;
pub(crate) mod follow;
mod ledger;
mod pause;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ::kube::client::ClientBuilder;
use ::kube::config::{KubeConfigOptions, Kubeconfig};
use ::kube::core::ApiResource;
use ::kube::{Client, Config};
use limen_resources::{Event, Kind, ObjectKey, Problem, codes, parse_object};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tower::util::MapRequestLayer;

use crate::source::Batch;
use crate::status::{self, Marker, Seen, Writer, Writing};
use discover::{Found, Kinds, discover};
use failure::Failure;
use follow::{Heard, Target, follow};
use ledger::{Ledger, Scope, Told};
use token::TokenFile;

/// What objects say of where they are from.
const SOURCE: &str = "the cluster";
/// At most so many pieces of news become one batch.
const BATCH: usize = 4096;

/// A cluster to read.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The file that says how to reach it; otherwise `KUBECONFIG`, `~/.kube/config` or, in a Pod, its service account.
    pub kubeconfig: Option<PathBuf>,
    /// Which context of that file, if not its current one.
    pub context: Option<String>,
    /// The namespaces whose objects are read; none: all.
    pub namespaces: BTreeSet<String>,
    /// Secrets and ConfigMaps that are read from the beginning, in whatever namespace.
    pub first: BTreeSet<ObjectKey>,
    /// The namespace in which Deployments are made, with what belongs to them, and read with the Services there; `None`:
    /// none are.
    pub deployments: Option<String>,
    /// Are Pods read as a whole? Otherwise only their metadata, which costs a fraction.
    pub whole_pods: bool,
    /// As whom to write statuses, Events and Leases; `None`: nothing is written.
    pub writing: Option<Writing>,
}

/// It is not known how to reach the cluster.
#[derive(Debug, thiserror::Error)]
#[error("the cluster cannot be reached: {0}")]
pub struct ClusterError(String);

/// Starts reading, and writing if that is wanted. Returns the way of the names of wanted objects, and that to the writer.
pub(crate) fn start(
    cluster: &Cluster,
    runtime: &Handle,
    out: UnboundedSender<Batch>,
) -> Result<(UnboundedSender<BTreeSet<ObjectKey>>, Option<Writer>), ClusterError> {
    let (client, address) = connect(cluster, runtime)?;
    let (wants, wanted) = unbounded_channel();
    let (news, inbox) = unbounded_channel();
    let started = cluster.writing.clone().map(|writing| {
        let marker = Marker::new(&writing);
        let (writer, seen) = status::start(client.clone(), writing, marker.clone(), runtime, out.clone());
        (writer, (marker, seen))
    });
    let (writer, marking) = started.unzip();
    let reader = Reader {
        client,
        address,
        namespaces: cluster.namespaces.iter().map(|name| Arc::from(name.as_str())).collect(),
        deployments: cluster.deployments.as_deref().map(Arc::from),
        whole_pods: cluster.whole_pods,
        wanted: cluster.first.clone(),
        kinds: Kinds::new(),
        all_kinds: false,
        bundle: None,
        followed: BTreeMap::new(),
        ledger: Ledger::new(SOURCE.into()),
        silent: None,
        told: BTreeSet::new(),
        looked_for: None,
        begun: false,
        lives: 0,
        marking,
        news,
    };
    runtime.spawn(reader.run(inbox, wanted, out));
    Ok((wants, writer))
}

/// A client for the cluster, and the cluster's address. Nothing is asked of it yet.
fn connect(cluster: &Cluster, runtime: &Handle) -> Result<(Client, String), ClusterError> {
    let Cluster { kubeconfig, context, .. } = cluster.clone();
    let named = |error: &dyn std::fmt::Display| ClusterError(error.to_string());
    // Whoever calls may be a thread of another runtime, in which waiting for a future is forbidden.
    let (done, answer) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = match kubeconfig {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(read) => Config::from_custom_kubeconfig(read, &options).await.map_err(|e| named(&e)),
                Err(error) => Err(named(&error)),
            },
            None if options.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| named(&error))
            }
            None => Config::infer().await.map_err(|error| named(&error)),
        };
        let client = config.and_then(|mut config| {
            // Whoever follows waits between attempts, and longer each time.
            config.default_retry = false;
            let address = config.cluster_url.to_string();
            let token = TokenFile::take(&mut config.auth_info).map_err(|error| named(&error))?;
            let builder = ClientBuilder::try_from(config).map_err(|error| named(&error))?;
            let client = match token {
                Some(file) => {
                    let sign = move |request| file.sign(request);
                    builder.with_layer(&MapRequestLayer::new(sign)).build()
                }
                None => builder.build(),
            };
            Ok((client, address))
        });
        // The other end waits just below.
        let _ = done.send(client);
    });
    answer.recv().map_err(|error| named(&error))?
}

/// News for the reader, and when it was heard.
#[derive(Debug)]
enum News {
    Kinds(Result<Found, Failure>),
    Objects { scope: Scope, life: u64, at: Instant, heard: Heard<Told> },
}

/// A scope that is followed.
#[derive(Debug)]
struct Followed {
    /// Tells its news from those of an earlier time.
    life: u64,
    task: AbortHandle,
    /// Which version of the kind.
    resource: ApiResource,
    /// Was a complete list of it told?
    listed: bool,
    /// Why nothing is told of it now.
    failure: Option<Failure>,
}

/// Owns what is known of the cluster.
struct Reader {
    client: Client,
    /// Of the cluster, for messages.
    address: String,
    namespaces: Vec<Arc<str>>,
    deployments: Option<Arc<str>>,
    whole_pods: bool,
    /// Secrets and ConfigMaps.
    wanted: BTreeSet<ObjectKey>,
    kinds: Kinds,
    /// Were all kinds seen once that are defined?
    all_kinds: bool,
    /// Which release of the Gateway API's definitions it has, as it was told.
    bundle: Option<String>,
    followed: BTreeMap<Scope, Followed>,
    ledger: Ledger,
    /// Why the server does not say which kinds it has.
    silent: Option<Failure>,
    /// What is wrong with the server, as it was told.
    told: BTreeSet<Problem>,
    /// The wanted objects that were looked for, as it was told.
    looked_for: Option<Arc<BTreeSet<ObjectKey>>>,
    /// Was everything told that there was at the beginning?
    begun: bool,
    lives: u64,
    /// What makes marks of objects for the writer, and the way to it.
    marking: Option<(Marker, UnboundedSender<Seen>)>,
    news: UnboundedSender<News>,
}

impl Reader {
    /// Tells `out` what changes, until it or `wanted` has no other end.
    async fn run(
        mut self,
        mut inbox: UnboundedReceiver<News>,
        mut wanted: UnboundedReceiver<BTreeSet<ObjectKey>>,
        out: UnboundedSender<Batch>,
    ) {
        let news = self.news.clone();
        let tell = move |found| {
            // Without a reader nobody wants to know.
            let _ = news.send(News::Kinds(found));
        };
        let discovery = tokio::spawn(discover(self.client.clone(), tell)).abort_handle();
        let mut pieces = Vec::new();
        loop {
            let mut batch = Batch::of(Instant::now(), Vec::new());
            tokio::select! {
                list = wanted.recv() => match list {
                    Some(list) => self.wanted = list,
                    None => break,
                },
                _ = inbox.recv_many(&mut pieces, BATCH) => {
                    pieces.drain(..).for_each(|piece| self.hear(piece, &mut batch));
                }
            }
            self.follow_all(&mut batch.events);
            self.conclude(&mut batch);
            batch.digest = Some(self.ledger.digest());
            let news = !batch.events.is_empty() || batch.looked_for.is_some() || batch.begun;
            if news && out.send(batch).is_err() {
                break;
            }
        }
        discovery.abort();
        self.followed.values().for_each(|followed| followed.task.abort());
    }

    fn hear(&mut self, news: News, batch: &mut Batch) {
        let (scope, life, at, heard) = match news {
            News::Kinds(Ok(Found { kinds, all, bundle })) => {
                // What is not mentioned is not gone: a server that has just been started knows little.
                self.kinds.extend(kinds);
                self.all_kinds |= all;
                self.silent = None;
                if self.bundle != bundle {
                    self.bundle.clone_from(&bundle);
                    batch.events.push(Event::Bundle { version: bundle.map(Into::into) });
                }
                return;
            }
            News::Kinds(Err(failure)) => {
                self.silent = Some(failure);
                return;
            }
            News::Objects { scope, life, at, heard } => (scope, life, at, heard),
        };
        let Some(followed) = self.followed.get_mut(&scope).filter(|followed| followed.life == life) else {
            return;
        };
        if let Heard::Failed(failure) = heard {
            followed.failure = Some(failure);
            return;
        }
        followed.failure = None;
        batch.began = batch.began.min(at);
        let writer = self.marking.as_ref().map(|(_, seen)| seen);
        let mark = |told: &mut Told| {
            if let (Some(mark), Some(writer)) = (told.mark.take(), writer) {
                // Without a writer nothing is written.
                let _ = writer.send(Seen::Object(told.key.clone(), mark));
            }
        };
        match heard {
            Heard::All(mut told) => {
                followed.listed = true;
                told.iter_mut().for_each(mark);
                self.ledger.all(&scope, told, &mut batch.events);
            }
            Heard::One(mut told) => {
                mark(&mut told);
                self.ledger.one(&scope, told, &mut batch.events);
            }
            Heard::Gone(told) => {
                if let (Some(_), Some(writer)) = (&told.mark, writer) {
                    // As above.
                    let _ = writer.send(Seen::Gone(told.key.clone()));
                }
                self.ledger.gone(&scope, &told.key, &mut batch.events);
            }
            Heard::Failed(_) | Heard::Mended => {}
        }
    }

    /// What is to be followed.
    fn scopes(&self) -> BTreeMap<Scope, ApiResource> {
        let mut scopes = BTreeMap::new();
        for (kind, resource) in self.kinds.iter().filter(|(kind, _)| !by_name(**kind)) {
            let everywhere = self.namespaces.is_empty() || !kind.namespaced();
            let one = |namespace| (Scope { kind: *kind, namespace, name: None }, resource.clone());
            let own = self.deployments.iter().cloned().map(Some).map(one);
            match (kind, everywhere) {
                (kind, _) if kind.is_kept() => scopes.extend(own),
                (_, true) => scopes.extend([one(None)]),
                (_, false) => scopes.extend(self.namespaces.iter().cloned().map(Some).map(one)),
            }
            if *kind == Kind::Service && !everywhere {
                let own = self.deployments.iter().cloned().map(Some).map(one);
                scopes.extend(own);
            }
        }
        for key in self.wanted.iter().filter(|key| possible(key)) {
            let scope = scope_of(key);
            scopes.extend(self.kinds.get(&key.kind).map(|resource| (scope, resource.clone())));
        }
        scopes
    }

    /// Begins to follow what is new and ends to follow what nobody wants any more.
    fn follow_all(&mut self, events: &mut Vec<Event>) {
        let scopes = self.scopes();
        let ended: Vec<Scope> =
            self.followed.keys().filter(|scope| !scopes.contains_key(scope)).cloned().collect();
        for scope in ended {
            if let Some(followed) = self.followed.remove(&scope) {
                followed.task.abort();
            }
            self.ledger.forget(&scope, events);
        }
        for (scope, resource) in scopes {
            let known = self.followed.get(&scope);
            if known.is_some_and(|known| known.resource == resource) {
                continue;
            }
            // Of another version of the kind the same objects are told; until then those that are known hold.
            let listed = known.is_some_and(|known| known.listed);
            let (life, task) = self.begin(&scope, &resource);
            let followed = Followed { life, task, resource, listed, failure: None };
            if let Some(before) = self.followed.insert(scope, followed) {
                before.task.abort();
            }
        }
    }

    fn begin(&mut self, scope: &Scope, resource: &ApiResource) -> (u64, AbortHandle) {
        self.lives += 1;
        let (life, kind, source) = (self.lives, scope.kind, Arc::from(SOURCE));
        let target = Target {
            resource: resource.clone(),
            namespace: scope.namespace.as_deref().map(str::to_owned),
            name: scope.name.as_deref().map(str::to_owned),
            labels: None,
            metadata: match kind {
                Kind::Pod => !self.whole_pods,
                Kind::Deployment | Kind::PodDisruptionBudget => true,
                _ => false,
            },
        };
        let (news, scope) = (self.news.clone(), scope.clone());
        let tell = move |heard| {
            // Without a reader nobody wants to know.
            let _ = news.send(News::Objects { scope: scope.clone(), life, at: Instant::now(), heard });
        };
        if let Some((_, writer)) = &self.marking {
            // Without a writer nothing is written.
            let _ = writer.send(Seen::Kind(kind, resource.clone()));
        }
        let marker = self.marking.as_ref().map(|(marker, _)| marker.clone());
        let read = move |object: &_| Told::read(parse_object, (&source, kind), object, marker.as_ref());
        (life, tokio::spawn(follow(self.client.clone(), target, read, tell)).abort_handle())
    }

    /// Says what follows from the state as a whole.
    fn conclude(&mut self, batch: &mut Batch) {
        let now = self.problems();
        if now != self.told {
            now.difference(&self.told).for_each(|problem| tracing::warn!("{problem}"));
            batch
                .events
                .push(Event::Problems { file: SOURCE.into(), problems: now.iter().cloned().collect() });
            self.told = now;
        }
        let looked_for = self.wanted.iter().filter(|key| {
            let followed = self.followed.get(&scope_of(key));
            !possible(key) || followed.is_some_and(|followed| followed.listed)
        });
        let looked_for: BTreeSet<ObjectKey> = looked_for.cloned().collect();
        if self.looked_for.as_deref() != Some(&looked_for) {
            let looked_for = Arc::new(looked_for);
            self.looked_for = Some(Arc::clone(&looked_for));
            batch.looked_for = Some(looked_for);
        }
        if !self.begun && self.all_kinds && self.followed.values().all(|followed| followed.listed) {
            self.begun = true;
            batch.begun = true;
        }
    }

    /// What is wrong with the server. One cause is told once, however many tasks it stops.
    fn problems(&self) -> BTreeSet<Problem> {
        let failures =
            self.followed.values().filter_map(|followed| Some((followed, followed.failure.as_ref()?)));
        let of_objects = failures.map(|(followed, failure)| (Some(&followed.resource), failure));
        let of_kinds = self.silent.iter().map(|failure| (None, failure));
        of_kinds.chain(of_objects).map(|(resource, failure)| self.problem(resource, failure)).collect()
    }

    fn problem(&self, resource: Option<&ApiResource>, failure: &Failure) -> Problem {
        let name = resource.map_or_else(
            || "its kinds".to_owned(),
            |resource| match &*resource.group {
                "" => resource.plural.clone(),
                group => format!("{}.{group}", resource.plural),
            },
        );
        let (message, mend) = match failure {
            Failure::Refused { code: 401 | 403, message, .. } => (
                format!("{} does not allow to read {name}: {message}", self.address),
                "give this account the rights of deploy/rbac.yaml",
            ),
            Failure::Refused { code, .. } => {
                (format!("{} answers {code}", self.address), "what it told before holds; it is asked again")
            }
            Failure::Silent(why) => (
                format!("{} does not answer: {why}", self.address),
                "what it told before holds; it is asked again",
            ),
            Failure::Gone => {
                (format!("{} answers 410", self.address), "what it told before holds; it is asked again")
            }
        };
        Problem::new(codes::CLUSTER_NOT_READ, message, mend)
    }
}

/// Is the kind read by name only?
fn by_name(kind: Kind) -> bool {
    matches!(kind, Kind::Secret | Kind::ConfigMap)
}

/// Can there be an object with this name? What else users may have written is not to become part of a selector.
fn possible(key: &ObjectKey) -> bool {
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
    };
    by_name(key.kind) && [&key.namespace, &key.name].iter().all(|text| !text.is_empty() && plain(text))
}

fn scope_of(key: &ObjectKey) -> Scope {
    let ObjectKey { kind, namespace, name } = key.clone();
    Scope { kind, namespace: Some(namespace), name: Some(name) }
}
