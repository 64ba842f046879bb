//! Watches how much memory the process uses and how many file descriptors, and tells the workers what to refuse: a thread
//! of its own, which reads at the same pace whatever the gateway does. Workers learn by mail, so that a request asks
//! nobody but its worker.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::limits::descriptors::DescriptorLimit;
use crate::limits::memory::{Gauged, MemoryLimit, Shed};
use crate::observe::{Gauge, Registry};
use crate::tasks::Vital;
use crate::worker::Mail;

/// Time between readings.
const PACE: Duration = Duration::from_millis(100);
/// It reads a few files and keeps nothing.
const STACK: usize = 64 * 1024;

/// What the system ends or starves the process for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    pub(crate) memory: Option<MemoryLimit>,
    pub(crate) descriptors: Option<DescriptorLimit>,
}

/// The thread. It ends when this is dropped.
pub(crate) struct Watchman {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchman {
    /// Reads once before it returns, so that workers know where they stand before they serve anything. `None`: nothing is
    /// limited.
    pub(crate) fn start(
        watched: Watched,
        workers: Vec<UnboundedSender<Mail>>,
        registry: Arc<Registry>,
        vital: &Vital,
    ) -> io::Result<Option<Watchman>> {
        if watched.memory.is_none() && watched.descriptors.is_none() {
            return Ok(None);
        }
        let mut watch = Watch::new(watched, workers, registry);
        watch.look();
        let part = vital.held_by("the watch of memory and file descriptors");
        let (stop, stopped) = channel();
        let thread =
            std::thread::Builder::new().name("overload".to_owned()).stack_size(STACK).spawn(move || {
                let _part = part;
                watch.run(&stopped);
            })?;
        Ok(Some(Watchman { stop: Some(stop), thread: Some(thread) }))
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
    watched: Watched,
    workers: Vec<UnboundedSender<Mail>>,
    registry: Arc<Registry>,
    gauged: Gauged,
    /// Descriptors are too few for more connections.
    short: bool,
}

impl Watch {
    fn new(watched: Watched, workers: Vec<UnboundedSender<Mail>>, registry: Arc<Registry>) -> Watch {
        if let Some(limit) = &watched.memory {
            registry.set(Gauge::MemoryLimit, signed(limit.max_bytes));
        }
        if let Some(limit) = &watched.descriptors {
            registry.set(Gauge::DescriptorLimit, signed(limit.max));
        }
        Watch { watched, workers, registry, gauged: Gauged::default(), short: false }
    }

    fn run(&mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            self.look();
        }
    }

    fn look(&mut self) {
        self.look_at_memory();
        self.look_at_descriptors();
    }

    fn look_at_memory(&mut self) {
        let Some(limit) = &self.watched.memory else { return };
        // What cannot be read is no reason to change anything.
        let Some(used) = limit.used.read() else { return };
        let (before, max) = (self.gauged.shed(), limit.max_bytes);
        // Each worker may be about to refuse one.
        let active = usize::try_from(self.registry.gauge(Gauge::RequestsActive)).unwrap_or(0);
        let shed = self.gauged.look(used, max, active > self.workers.len());
        if shed != before {
            tracing::warn!(used, max, ?shed, "what is refused for want of memory has changed");
        }
        // While memory is short, workers are asked each time for what they keep.
        if shed != before || shed != Shed::Nothing {
            self.mail(|| Mail::Shed(shed));
        }
        // Last, so that whoever reads this knows that what follows of it has been said.
        self.registry.set(Gauge::Shedding, shed as i64);
        self.registry.set(Gauge::MemoryUsed, signed(used));
    }

    fn look_at_descriptors(&mut self) {
        let Some(limit) = &self.watched.descriptors else { return };
        let Some(used) = limit.used.read() else { return };
        let (before, max) = (self.short, limit.max);
        self.short = limit.is_short(before, used);
        if self.short != before {
            let refused = if self.short { "connections" } else { "nothing" };
            tracing::warn!(used, max, refused, "what is refused for want of file descriptors has changed");
        }
        if self.short != before || self.short {
            let short = self.short;
            self.mail(|| Mail::DescriptorsShort(short));
        }
        self.registry.set(Gauge::DescriptorsShort, self.short.into());
        self.registry.set(Gauge::DescriptorsUsed, signed(used));
    }

    fn mail(&self, mail: impl Fn() -> Mail) {
        for worker in &self.workers {
            let _ = worker.send(mail());
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "overload_tests.rs"]
mod tests;
