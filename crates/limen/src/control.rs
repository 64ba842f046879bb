//! The control loop: one thread that reads what the sources and the data plane say, and hands on what follows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use std::{io, thread};

use limen_proxy::observe::{Counter, Gauge, Registry, SharedHistogram};
use limen_proxy::{Applied, Proxy};
use limen_sources::{Sources, Update, Updates};
use limen_translate::{Translation, Translator, Wants};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::admin::expiry;
use crate::report::{News, Reporter};
use crate::view::{Phase, View};

/// Changes that wait for the workers, at most: when more are under way the oldest are not measured.
const MAX_WAITING: usize = 1024;

/// The upper bounds of the histogram of change latency, in seconds.
const LATENCY_BOUNDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// How long a change takes from the file event until every worker serves it.
pub(crate) fn change_latency(registry: &Registry) -> Arc<SharedHistogram> {
    let help = "Time from the event that told of a change until every worker served it.";
    registry.histogram("limen_change_latency_seconds", help, &LATENCY_BOUNDS)
}

/// What the loop holds. Everyone else sees the [`View`]s only.
pub(crate) struct Control {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) sources: Sources,
    pub(crate) settings: limen_translate::Settings,
    pub(crate) translator: Translator,
    pub(crate) views: Arc<watch::Sender<Arc<View>>>,
    pub(crate) latency: Arc<SharedHistogram>,
    pub(crate) say: fn(&str),
    pub(crate) reporter: Reporter,
    /// Generations on their way to the workers, with the time when their change was heard of.
    pub(crate) waiting: VecDeque<(u64, Instant)>,
}

/// The loop, running.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
    failed: watch::Receiver<bool>,
}

impl Running {
    /// Tells it to end after what it is doing.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Without another end it has ended already.
            let _ = stop.send(());
        }
    }

    /// Resolves if it ends by a panic.
    pub(crate) async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            // It has ended in good order.
            std::future::pending().await
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) {
        // An error says that it is gone.
        let _ = (&mut self.ended).await;
    }
}

/// Tells if it is dropped by a panic.
struct Failing(watch::Sender<bool>);

impl Drop for Failing {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.send_replace(true);
        }
    }
}

impl Control {
    /// Starts the loop, on a thread of its own: what every translation allocates and frees stays in one part of the heap,
    /// instead of in as many as there are threads that happen to run it.
    pub(crate) fn start(
        self,
        updates: Updates,
        applied: watch::Receiver<Applied>,
        runtime: &Handle,
    ) -> io::Result<Running> {
        let (stop, stopped) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        let (failing, failed) = watch::channel(false);
        let runtime = runtime.clone();
        thread::Builder::new().name("limen-translate".to_owned()).spawn(move || {
            let _failing = Failing(failing);
            runtime.block_on(async {
                tokio::select! {
                    () = self.run(updates, applied) => {}
                    _ = stopped => {}
                }
            });
            // Nobody may wait for it.
            let _ = done.send(());
        })?;
        Ok(Running { stop: Some(stop), ended, failed })
    }

    /// Runs until the sources end.
    async fn run(mut self, mut updates: Updates, mut applied: watch::Receiver<Applied>) {
        loop {
            tokio::select! {
                update = updates.next() => match update {
                    Some(update) => self.attempt_update(update),
                    None => return,
                },
                Ok(()) = applied.changed() => {
                    let now = applied.borrow_and_update().clone();
                    self.take_applied(now);
                }
            }
        }
    }

    /// What is served stays as it is where the next state cannot be put in force: the one after it may be.
    fn attempt_update(&mut self, update: Update) {
        if limen_resources::attempt(|| self.take_update(update)).is_err() {
            self.proxy.registry().add(Counter::Panics, 1);
            (self.say)(
                "error: a change could not be put in force by a mistake of the gateway itself; what was served before \
                 it is served still, and the next change is tried",
            );
        }
    }

    /// Resources changed: translate them, and install what came out if it differs.
    fn take_update(&mut self, update: Update) {
        let Translation { ir, endpoints, verdicts, problems, wants, made, elsewhere } =
            self.translator.translate(&update.snapshot, &self.settings);
        let Wants { files, names, objects, name_retry } = wants;
        let looked_for = update.looked_for.as_deref();
        let answered = looked_for.is_none_or(|looked_for| objects.is_subset(looked_for))
            && files.iter().all(|file| update.snapshot.file(file).is_some())
            && names.iter().all(|name| update.snapshot.name(name).is_some());
        self.sources.want_files(files);
        self.sources.want_objects(objects);
        self.sources.want_names(names, name_retry.map(limen_ir::Millis::duration));
        let before = Arc::clone(&self.views.borrow());
        let first = before.generation == 0;
        // What means the same is the same object: translation sees to that.
        let generation = if first || !Arc::ptr_eq(&before.ir, &ir) {
            self.proxy.install(&ir, &endpoints)
        } else if !Arc::ptr_eq(&before.endpoints, &endpoints) {
            self.proxy.endpoints(&endpoints)
        } else {
            before.generation
        };
        if generation != before.generation && !first {
            if self.waiting.len() == MAX_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back((generation, update.since));
        }
        let certificates = match Arc::ptr_eq(&before.ir, &ir) {
            true => Arc::clone(&before.certificates),
            false => expiry::of(&ir).into(),
        };
        let Update { snapshot, unused, files, digest, .. } = update;
        self.publish(|view| View {
            snapshot,
            unused,
            files,
            ir,
            certificates,
            endpoints,
            judged: verdicts,
            found: Arc::new(problems),
            made: Arc::new(made),
            elsewhere,
            generation,
            digest,
            answered,
            ..view
        });
        drop(before);
        self.translator.tidy();
    }

    /// The data plane has come further.
    fn take_applied(&mut self, applied: Applied) {
        while let Some((generation, since)) = self.waiting.front().copied()
            && generation <= applied.generation
        {
            self.waiting.pop_front();
            self.latency.observe(since.elapsed().as_secs_f64());
        }
        self.publish(|view| View { applied, ..view });
    }

    /// Says what is new in the next view, made from the one before, and hands it on.
    fn publish(&mut self, next: impl FnOnce(View) -> View) {
        let mut now = next(View::clone(&self.views.borrow()));
        if now.phase == Phase::Starting && now.answered && now.settled() {
            now.phase = Phase::Ready;
        }
        let registry = self.proxy.registry();
        registry.set(Gauge::ConfigGeneration, i64::try_from(now.applied.generation).unwrap_or(i64::MAX));
        // Half of a change is not worth telling: a port is not missing before it was tried.
        if now.settled() {
            let problems = now.problems();
            registry.set(Gauge::Problems, i64::try_from(problems.len()).unwrap_or(i64::MAX));
            let News { appeared, mended } = self.reporter.news(&problems);
            appeared.iter().for_each(|problem| (self.say)(&problem.to_string()));
            mended.iter().for_each(|line| (self.say)(line));
            now.rejected = Arc::new(now.rejected.after(&appeared, &problems));
        }
        self.views.send_modify(|view| {
            // The drain may have begun meanwhile; it is not ours to end.
            if view.phase == Phase::Draining {
                now.phase = Phase::Draining;
            }
            registry.set(Gauge::Ready, i64::from(now.phase == Phase::Ready));
            *view = Arc::new(now);
        });
    }
}
