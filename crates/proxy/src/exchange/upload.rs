//! The request's body on its way to the origin.

use std::task::{Context, Poll, ready};

use super::error::Error;
use super::front::{Front, FrontFail};
use super::live::Live;
use super::mirror;
use crate::observe::limits::Limit;
use crate::upstream::back::Back;

/// What it means that a request's body cannot be read.
#[cold]
pub(super) fn unread(fail: &FrontFail) -> Error {
    match fail {
        FrontFail::Framing => Error::bad_body(),
        FrontFail::Trailers(what) => Error::bad_trailers(*what),
        FrontFail::Late => Error::late(),
        FrontFail::Gone => Error::client_gone(),
    }
}

/// The request's body on its way to the origin.
pub(super) struct Upload {
    /// Bytes of the replay buffer that this attempt has sent.
    pub(super) sent_of_replay: usize,
    /// The body has been sent to its end.
    pub(super) done: bool,
    /// Everything read so far is in the replay buffer: the request can be sent again.
    pub(super) keep: bool,
    /// Everything that was to be sent at some moment has gone out, the head with it.
    pub(super) flushed: bool,
    /// The origin does not take any more; it may have answered all the same.
    pub(super) origin_deaf: bool,
    /// Interim responses that this attempt has seen.
    pub(super) interim: u32,
}

impl Upload {
    /// Nothing has been sent. `keep`: what is read is kept for another attempt.
    pub(super) fn new(keep: bool) -> Upload {
        Upload { sent_of_replay: 0, done: false, keep, flushed: false, origin_deaf: false, interim: 0 }
    }

    /// Begins anew for the next attempt.
    pub(super) fn again(&mut self) {
        *self = Upload::new(self.keep);
    }

    pub(super) fn any_sent(&self) -> bool {
        self.flushed || self.sent_of_replay > 0 || !self.keep
    }

    /// Moves body from the client to the origin as far as both allow. An origin that fails here is left to be found out
    /// by reading its answer.
    pub(super) fn poll<F: Front>(
        &mut self,
        live: &mut Live<'_, '_, F>,
        back: &mut Back,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if self.origin_deaf {
            return Poll::Pending;
        }
        while !self.done {
            let replay = live.exchange.replay.get(self.sent_of_replay..).unwrap_or_default();
            if !replay.is_empty() {
                match ready!(back.poll_send(cx, replay)) {
                    Ok(n) => self.sent_of_replay += n,
                    Err(_) => return self.deaf(),
                }
                continue;
            }
            match live.front.poll_body(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    back.end(live.front.trailers());
                    self.done = true;
                    mirror::complete(live);
                    let passed_us = live.worker.clock.recent_us().saturating_sub(live.note.start_us);
                    live.note.last_byte_us = Some(passed_us);
                    continue;
                }
                Poll::Ready(Err(fail)) => return Poll::Ready(Err(unread(&fail))),
                Poll::Pending => {
                    match back.poll_flush(cx, &live.worker.buffers) {
                        Poll::Ready(Err(_)) => return self.deaf(),
                        Poll::Ready(Ok(())) => self.flushed = true,
                        Poll::Pending => {}
                    }
                    return Poll::Pending;
                }
            }
            let most = live.worker.config.limits.max_body_bytes;
            if live.note.received.saturating_add(live.front.body().len() as u64) > most {
                return Poll::Ready(Err(Error::too_large_a_body()));
            }
            match ready!(back.poll_send(cx, live.front.body())) {
                Ok(n) => self.moved(live, n),
                Err(_) => return self.deaf(),
            }
        }
        match ready!(back.poll_flush(cx, &live.worker.buffers)) {
            Ok(()) => {
                self.flushed = true;
                Poll::Ready(Ok(()))
            }
            Err(_) => self.deaf(),
        }
    }

    fn deaf(&mut self) -> Poll<Result<(), Error>> {
        self.origin_deaf = true;
        Poll::Pending
    }

    /// `n` bytes of the front's body have gone out.
    fn moved<F: Front>(&mut self, live: &mut Live<'_, '_, F>, n: usize) {
        let replay = &mut live.exchange.replay;
        if self.keep {
            if replay.len() + n > live.worker.config.limits.replay_bytes {
                live.worker.refused_for(Limit::ReplayBytes);
                self.keep = false;
                replay.clear();
                self.sent_of_replay = 0;
            } else {
                replay.extend_from_slice(live.front.body().get(..n).unwrap_or_default());
                self.sent_of_replay = replay.len();
                live.worker.counters.limit_seen(Limit::ReplayBytes, replay.len() as u64);
            }
        }
        mirror::copy(live, n);
        if let Some(call) = &mut live.exchange.grpc {
            call.up.feed(live.front.body().get(..n).unwrap_or_default());
        }
        live.note.received += n as u64;
        live.front.consume(n);
    }
}

#[cfg(test)]
mod tests {
    use super::Upload;

    #[test]
    fn a_head_that_went_out_alone_counts_as_sent() {
        let mut upload = Upload::new(true);
        assert!(!upload.any_sent());
        // Its body is still to come from the client: the origin may act on the head already.
        upload.flushed = true;
        assert!(upload.any_sent());
        upload.again();
        assert!(!upload.any_sent(), "another attempt, another connection");
        upload.sent_of_replay = 1;
        assert!(upload.any_sent(), "a part of the body has gone, and the head before it");
        upload.again();
        upload.keep = false;
        assert!(upload.any_sent(), "more than is kept has gone");
    }
}
