//! After a 101: the bytes of another protocol, such as WebSocket, both ways until both sides have said their last.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::error::{Error, LEAVING};
use super::front::Front;
use super::live::Live;
use super::silence::end_of_life;
use super::upload::Upload;
use crate::observe::{Counter, Flags, Gauge, WorkerCounters};
use crate::upstream::back::Back;

/// A side of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Origin,
}

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Bytes may come.
    Open,
    /// The sender has closed; what it sent is still to go out.
    Ending,
    /// The receiver has been told.
    Ended,
}

/// How a tunnel ended.
enum End {
    /// Both sides have closed, this one first; nothing was lost.
    Closed(Side),
    /// This side broke off.
    Broken(Side),
    /// The client broke the framing of the body that it still owed, or the time of the stream is over.
    Failed(Error),
    /// Nothing passed for too long.
    Silent,
    /// The time of the client's connection is over.
    Leaving,
}

/// Both directions.
struct Tunnel {
    up: Way,
    down: Way,
    /// Who closed first.
    first: Option<Side>,
    /// The client's side passes bytes as they are; before that, what its request still owes is sent.
    unframed: bool,
    idle_ms: u64,
    /// When it ends whatever passes.
    until_ms: u64,
    /// Bytes that had passed when the timer was armed.
    passed: Option<u64>,
}

/// Counts a tunnel while it is open.
struct Open<'a>(&'a WorkerCounters);

impl<'a> Open<'a> {
    fn new(counters: &'a WorkerCounters) -> Open<'a> {
        counters.add(Counter::Upgrades, 1);
        counters.gauge_add(Gauge::UpgradesActive, 1);
        Open(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.gauge_add(Gauge::UpgradesActive, -1);
    }
}

/// Passes bytes until both sides have closed. The head of the 101 has been queued. Closing is told onwards, so that each
/// side can finish what it says; silence in both directions ends it.
///
/// # Errors
/// A side that broke off, or silence. Nothing more can be said to the client then.
pub(super) async fn run<F: Front>(
    live: &mut Live<'_, '_, F>,
    origin: &mut Back,
    upload: &mut Upload,
) -> Result<(), Error> {
    let _open = Open::new(&live.worker.counters);
    origin.tunnel();
    let limits = &live.worker.config.limits;
    let idle_ms = live.note.http.stream_idle_ms.or(limits.stream_idle_timeout_ms);
    let idle_ms = idle_ms.unwrap_or(limits.idle_timeout_ms);
    let until_ms = end_of_life(live.note.http, live.note.start_us);
    let mut tunnel = Tunnel {
        up: Way::Open,
        down: Way::Open,
        first: None,
        unframed: false,
        idle_ms,
        until_ms,
        passed: None,
    };
    let end = poll_fn(|cx| tunnel.poll(live, origin, upload, cx)).await;
    live.worker.clock.now_us();
    let side = match end {
        End::Closed(side) => side,
        End::Broken(side) => {
            live.front.abort();
            side
        }
        End::Failed(error) => return Err(error),
        End::Silent => return Err(Error::silent()),
        End::Leaving => {
            // Both sides are told that nothing more comes, as when either had closed.
            live.outcome(101, Flags::LR, LEAVING.into());
            return Ok(());
        }
    };
    // As Envoy has it: these protocols have no end that we could see, so whoever closes first breaks the stream off.
    let (flags, details) = match side {
        Side::Client => (Flags::DC, "downstream_remote_disconnect"),
        Side::Origin => (Flags::UC, "upstream_reset_after_response_started{connection_termination}"),
    };
    live.outcome(101, flags, details.into());
    Ok(())
}

impl Tunnel {
    fn poll<F: Front>(
        &mut self,
        live: &mut Live<'_, '_, F>,
        origin: &mut Back,
        upload: &mut Upload,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        for moved in [self.poll_up(live, origin, upload, cx), self.poll_down(live, origin, cx)] {
            if let Err(end) = moved {
                return Poll::Ready(end);
            }
        }
        let up_over = self.up == Way::Ended || (!self.unframed && upload.origin_deaf);
        if up_over && self.down == Way::Ended {
            return Poll::Ready(End::Closed(self.first.unwrap_or(Side::Origin)));
        }
        live.front.rest();
        origin.give_buffers(&live.worker.buffers);
        self.poll_silence(live, cx)
    }

    /// The timer is armed anew only when something has passed since.
    fn poll_silence<F: Front>(&mut self, live: &Live<'_, '_, F>, cx: &mut Context<'_>) -> Poll<End> {
        if live.conn.over.get() {
            return Poll::Ready(End::Leaving);
        }
        let passed = Some(live.note.received + live.note.sent);
        let timer = &live.exchange.timer;
        if self.passed != passed {
            self.passed = passed;
            timer.arm(live.worker.clock.now_ms().saturating_add(self.idle_ms).min(self.until_ms));
        }
        if !timer.poll_fired(cx) {
            return Poll::Pending;
        }
        let old = live.worker.clock.now_ms() >= self.until_ms;
        Poll::Ready(if old { End::Failed(Error::too_long()) } else { End::Silent })
    }

    /// From the client to the origin, as far as both allow.
    fn poll_up<F: Front>(
        &mut self,
        live: &mut Live<'_, '_, F>,
        origin: &mut Back,
        upload: &mut Upload,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        if !self.unframed {
            if let Poll::Ready(Err(error)) = upload.poll(live, origin, cx) {
                return Err(End::Failed(error));
            }
            if !upload.done {
                return Ok(());
            }
            live.front.tunnel();
            self.unframed = true;
        }
        origin.take_buffers(&live.worker.buffers);
        while self.up != Way::Ended {
            if self.up == Way::Ending {
                let Poll::Ready(closed) = origin.poll_close(cx) else { return Ok(()) };
                closed.map_err(|_| End::Broken(Side::Origin))?;
                self.up = Way::Ended;
                continue;
            }
            match live.front.poll_body(cx) {
                Poll::Ready(Ok(true)) => {
                    let Poll::Ready(sent) = origin.poll_send(cx, live.front.body()) else { return Ok(()) };
                    let sent = sent.map_err(|_| End::Broken(Side::Origin))?;
                    live.note.received += sent as u64;
                    live.front.consume(sent);
                }
                Poll::Ready(Ok(false)) => {
                    self.first.get_or_insert(Side::Client);
                    self.up = Way::Ending;
                }
                Poll::Ready(Err(_)) => return Err(End::Broken(Side::Client)),
                Poll::Pending => {
                    if let Poll::Ready(flushed) = origin.poll_flush(cx, &live.worker.buffers) {
                        flushed.map_err(|_| End::Broken(Side::Origin))?;
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// From the origin to the client, as far as both allow.
    fn poll_down<F: Front>(
        &mut self,
        live: &mut Live<'_, '_, F>,
        origin: &mut Back,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        origin.take_buffers(&live.worker.buffers);
        while self.down != Way::Ended {
            if self.down == Way::Ending {
                let Poll::Ready(closed) = live.front.poll_close(cx) else { return Ok(()) };
                closed.map_err(|_| End::Broken(Side::Client))?;
                self.down = Way::Ended;
                continue;
            }
            match origin.poll_data(cx) {
                Poll::Ready(Ok(true)) => {
                    let Poll::Ready(sent) = live.front.poll_send(cx, origin.data(), false) else {
                        return Ok(());
                    };
                    let sent = sent.map_err(|_| End::Broken(Side::Client))?;
                    origin.consume(sent, &live.worker.buffers);
                    live.note.sent += sent as u64;
                }
                Poll::Ready(Ok(false)) => {
                    self.first.get_or_insert(Side::Origin);
                    self.down = Way::Ending;
                }
                Poll::Ready(Err(_)) => return Err(End::Broken(Side::Origin)),
                Poll::Pending => {
                    if let Poll::Ready(flushed) = live.front.poll_flush(cx) {
                        flushed.map_err(|_| End::Broken(Side::Client))?;
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
