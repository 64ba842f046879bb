//! Where workers report what they serve, and what the control side makes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::applied::Applied;
use crate::observe::{Gauge, Registry};

/// Reports by worker, and what each generation will be once all serve it.
pub(crate) struct Board {
    state: Mutex<State>,
    applied: watch::Sender<Applied>,
    registry: Arc<Registry>,
}

struct State {
    serving: Vec<u64>,
    /// By stamp, until all workers have reached it.
    expected: BTreeMap<u64, Applied>,
}

impl Board {
    pub(crate) fn new(workers: usize, registry: Arc<Registry>) -> Board {
        let state = State { serving: vec![0; workers], expected: BTreeMap::new() };
        Board { state: Mutex::new(state), applied: watch::Sender::new(Applied::default()), registry }
    }

    /// A receiver of what all workers serve.
    pub(crate) fn applied(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    /// What `applied.generation` will be. Call before mailing it.
    pub(crate) fn expect(&self, applied: Applied) {
        self.lock().expected.insert(applied.generation, applied);
    }

    /// A worker serves a generation. Mail is first in, first out, so it serves everything before it too.
    pub(crate) fn swapped(&self, worker: usize, generation: u64) {
        let mut state = self.lock();
        if let Some(own) = state.serving.get_mut(worker) {
            *own = generation;
        }
        let everywhere = state.serving.iter().copied().min().unwrap_or(0);
        let newer = state.expected.split_off(&(everywhere + 1));
        let reached = std::mem::replace(&mut state.expected, newer);
        if let Some((_, applied)) = reached.into_iter().next_back() {
            self.registry.set(Gauge::ConfigGeneration, i64::try_from(applied.generation).unwrap_or(i64::MAX));
            self.applied.send_replace(applied);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock leaves the numbers as they were.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
