//! What a panic in a task means. One that belongs to a connection, or to nothing but itself, ends that, and is counted.
//! One without which the gateway would only seem to work is told of, and whoever runs the gateway ends it in good order.

use std::rc::Rc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::observe::{Counter, WorkerCounters};

/// Starts a task whose panic ends nothing but itself.
pub(crate) fn contained(
    counters: &Rc<WorkerCounters>,
    task: impl Future<Output = ()> + 'static,
) -> JoinHandle<()> {
    let counting = Counting(counters.clone());
    tokio::task::spawn_local(async move {
        let _counting = counting;
        task.await;
    })
}

struct Counting(Rc<WorkerCounters>);

impl Drop for Counting {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.add(Counter::Panics, 1);
        }
    }
}

/// What the gateway cannot do without.
#[derive(Debug, Clone)]
pub(crate) struct Vital(watch::Sender<Option<&'static str>>);

impl Default for Vital {
    fn default() -> Vital {
        Vital(watch::Sender::new(None))
    }
}

impl Vital {
    /// To be held by the thread or task of that name for as long as it runs.
    pub(crate) fn held_by(&self, name: &'static str) -> VitalPart {
        VitalPart { name, told: self.0.clone() }
    }

    /// Resolves with the name of a part that has panicked.
    pub(crate) async fn broken(&self) -> &'static str {
        let mut told = self.0.subscribe();
        let broken = told.wait_for(Option::is_some).await.map(|name| *name);
        match broken {
            Ok(Some(name)) => name,
            // The sender is held here, so there is nothing else to wait for.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// Tells if it is dropped by a panic.
#[derive(Debug)]
pub(crate) struct VitalPart {
    name: &'static str,
    told: watch::Sender<Option<&'static str>>,
}

impl VitalPart {
    fn fell(&self) {
        tracing::error!(part = self.name, "a part that the gateway cannot do without has failed");
        self.told.send_replace(Some(self.name));
    }
}

impl Drop for VitalPart {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fell();
        }
    }
}

/// Starts a task of a worker that it cannot do without.
pub(crate) fn vital(part: VitalPart, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    tokio::task::spawn_local(async move {
        let _part = part;
        task.await;
    })
}
