//! Watches how much memory the process uses and tells the workers what to refuse: a thread of its own, which reads at
//! the same pace whatever the gateway does. Workers learn by mail, so that a request asks nobody but its worker.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::limits::memory::{Gauged, MemoryLimit, Shed};
use crate::observe::{Gauge, Registry};
use crate::worker::Mail;

/// Time between readings.
const PACE: Duration = Duration::from_millis(100);
/// It reads two files and keeps nothing.
const STACK: usize = 64 * 1024;

/// The thread. It ends when this is dropped.
pub(crate) struct Watchman {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchman {
    /// Reads once before it returns, so that workers know where they stand before they serve anything.
    pub(crate) fn start(
        limit: MemoryLimit,
        workers: Vec<UnboundedSender<Mail>>,
        registry: Arc<Registry>,
    ) -> io::Result<Watchman> {
        registry.set(Gauge::MemoryLimit, i64::try_from(limit.max_bytes).unwrap_or(i64::MAX));
        let mut watch = Watch { limit, workers, registry, gauged: Gauged::default() };
        watch.look();
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("memory".to_owned())
            .stack_size(STACK)
            .spawn(move || watch.run(&stopped))?;
        Ok(Watchman { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watch {
    limit: MemoryLimit,
    workers: Vec<UnboundedSender<Mail>>,
    registry: Arc<Registry>,
    gauged: Gauged,
}

impl Watch {
    fn run(&mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            self.look();
        }
    }

    fn look(&mut self) {
        // What cannot be read is no reason to change anything.
        let Some(used) = self.limit.used.read() else { return };
        let (before, max) = (self.gauged.shed(), self.limit.max_bytes);
        // Each worker may be about to refuse one.
        let active = usize::try_from(self.registry.gauge(Gauge::RequestsActive)).unwrap_or(0);
        let shed = self.gauged.look(used, max, active > self.workers.len());
        if shed != before {
            tracing::warn!(used, max, ?shed, "what is refused for want of memory has changed");
        }
        // While memory is short, workers are asked each time for what they keep.
        if shed != before || shed != Shed::Nothing {
            for worker in &self.workers {
                let _ = worker.send(Mail::Shed(shed));
            }
        }
        // Last, so that whoever reads this knows that what follows of it has been said.
        self.registry.set(Gauge::Shedding, shed as i64);
        self.registry.set(Gauge::MemoryUsed, i64::try_from(used).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
#[path = "overload_tests.rs"]
mod tests;
