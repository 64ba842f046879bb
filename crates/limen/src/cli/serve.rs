//! What `run` and `demo` share: wait until everything is served, then until a signal, then drain.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Outcome, say};
use crate::boot::Running;
use crate::view::View;

/// After this time of waiting for the first configuration the user is told why.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the gateway until SIGTERM or Ctrl-C; a second signal ends it at once. Where a part of it fails that it cannot do
/// without, it ends as well, with code 1, so that whoever watches it starts it anew. `ready` is called when it serves.
pub(super) fn until_told_to_end(running: Running, ready: impl FnOnce(&Running, &View)) -> Outcome {
    let signals = running.block_on(async { Signals::listen() })?;
    let outcome = running.block_on(life(&running, signals, ready));
    running.stop();
    outcome
}

async fn life(running: &Running, mut signals: Signals, ready: impl FnOnce(&Running, &View)) -> Outcome {
    let view = tokio::select! {
        view = become_ready(running) => view,
        _ = signals.end(running) => return Ok(ExitCode::SUCCESS),
        part = running.broken() => anyhow::bail!("{part} has failed"),
    };
    ready(running, &view);
    let (why, code) = tokio::select! {
        signal = signals.end(running) => (signal.to_owned(), ExitCode::SUCCESS),
        part = running.broken() => (format!("error: {part} has failed"), ExitCode::FAILURE),
    };
    say(&format!("{why}: finishing open connections; once more to end at once"));
    tokio::select! {
        _ = running.drain() => Ok(code),
        _ = signals.end(running) => Ok(ExitCode::FAILURE),
    }
}

async fn become_ready(running: &Running) -> std::sync::Arc<View> {
    let mut ready = std::pin::pin!(running.ready());
    match tokio::time::timeout(PATIENCE, &mut ready).await {
        Ok(view) => view,
        Err(_) => {
            let view = running.view();
            let what = if view.generation == 0 {
                "what there is to serve is being read"
            } else {
                "the workers are being set up"
            };
            say(&format!("still starting: {what}"));
            ready.await
        }
    }
}

/// The signals that mean something here.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// SIGUSR1: the access log's file was rotated.
    reopen: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Signals> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            reopen: listen(SignalKind::user_defined1())?,
        })
    }

    /// Waits for a signal to end, and names it. Does what the others ask for meanwhile.
    async fn end(&mut self, running: &Running) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "Ctrl-C",
                _ = self.reopen.recv() => running.reopen_log(),
            }
        }
    }
}
