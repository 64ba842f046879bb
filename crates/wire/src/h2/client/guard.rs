//! What a server says is looked at frame by frame before the codec sees it: what is of no use by itself costs credit, and
//! DATA that holds and ends nothing is left out. The codec would answer every PING and SETTINGS for ever, keep any number
//! of interim heads, and end a connection, with all streams on it, at the hundredth empty DATA of its life.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection begins with, and the most that it can have.
pub(super) const MOST: i64 = 4_000;
/// What a request earns: heads before the answer, its own, and what comes after the body.
const REQUEST: i64 = 60;
/// What a piece of a body earns, in either direction.
const PIECE: i64 = 4;
/// Bytes that are sent and earn one: servers give back window as they read them.
const SENT: usize = 1_024;
/// Milliseconds that earn one: a fortieth of the whole in a second.
const EARNING_MS: u64 = 10;

/// The head of a frame.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 0x1;

/// What is left of a connection's credit. Only the thread that moves the connection changes it.
#[derive(Debug)]
pub(super) struct Credit {
    left: AtomicI64,
    now_ms: AtomicU64,
}

impl Credit {
    pub(super) fn new() -> Arc<Credit> {
        Arc::new(Credit { left: AtomicI64::new(MOST), now_ms: AtomicU64::new(0) })
    }

    fn earn(&self, n: i64) {
        self.left.store(self.left.load(Relaxed).saturating_add(n).min(MOST), Relaxed);
    }

    /// Whether there was so much.
    fn spend(&self, n: i64) -> bool {
        let left = self.left.load(Relaxed) - n;
        self.left.store(left, Relaxed);
        left >= 0
    }

    /// A request is sent.
    pub(super) fn request(&self) {
        self.earn(REQUEST);
    }

    /// A piece of a body is sent.
    pub(super) fn sent(&self, bytes: usize) {
        self.earn(PIECE + i64::try_from(bytes / SENT).unwrap_or(MOST));
    }

    /// It is so late now.
    pub(super) fn pass(&self, now_ms: u64) {
        let since = now_ms.saturating_sub(self.now_ms.load(Relaxed));
        if since >= EARNING_MS {
            self.now_ms.store(now_ms, Relaxed);
            self.earn(i64::try_from(since / EARNING_MS).unwrap_or(MOST));
        }
    }

    /// A frame has come; whether the codec is to see it.
    ///
    /// # Errors
    /// There is no credit for it.
    fn judge(&self, [_, _, _, kind, flags, ..]: [u8; HEAD], length: usize) -> io::Result<bool> {
        let price = match kind {
            DATA if length == 0 && flags & END_STREAM == 0 => 4,
            DATA => {
                self.earn(PIECE);
                return Ok(true);
            }
            HEADERS => 20,
            RESET => 2,
            PRIORITY | PING | WINDOW_UPDATE => 1,
            // SETTINGS, GOAWAY, CONTINUATION, and what nobody knows.
            _ => 4,
        };
        if self.spend(price) {
            return Ok(kind != DATA);
        }
        Err(io::Error::new(ErrorKind::QuotaExceeded, "too many frames that are of no use"))
    }
}

/// A stream whose frames are looked at while they are read.
#[derive(Debug)]
pub(super) struct Guard<S> {
    io: S,
    credit: Arc<Credit>,
    /// The head of a frame, as far as it has come while the rest had not.
    head: [u8; HEAD],
    /// Bytes of it that are there.
    have: usize,
    /// Bytes of it that were passed on, once it is whole.
    passed: Option<usize>,
    /// Bytes of the frame's payload that are to come.
    left: usize,
}

impl<S> Guard<S> {
    pub(super) fn new(io: S, credit: Arc<Credit>) -> Guard<S> {
        Guard { io, credit, head: [0; HEAD], have: 0, passed: None, left: 0 }
    }

    /// Leaves out of what has come what is not to be seen, and the head of a frame that is not whole; how much is left.
    fn sift(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() {
            let mut keep = self.left.min(bytes.len() - from);
            self.left -= keep;
            if keep == 0 {
                let rest = bytes.get(from..).unwrap_or_default();
                let Some(head) = rest.first_chunk() else {
                    self.have = rest.len();
                    self.head.iter_mut().zip(rest).for_each(|(own, byte)| *own = *byte);
                    break;
                };
                if self.begins(*head)? {
                    keep = HEAD;
                } else {
                    from += HEAD;
                }
            }
            if from != to {
                bytes.copy_within(from..from + keep, to);
            }
            (from, to) = (from + keep, to + keep);
        }
        Ok(to)
    }

    /// A frame begins; whether it is passed on.
    fn begins(&mut self, head: [u8; HEAD]) -> io::Result<bool> {
        let [a, b, c, ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let seen = self.credit.judge(head, length)?;
        self.left = length;
        Ok(seen)
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads what is missing of a head of which some has come; whether there is more to come.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let missing = self.head.get_mut(self.have..).unwrap_or_default();
        let mut room = ReadBuf::new(missing);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut room))?;
        let came = room.filled().len();
        self.have += came;
        if self.have == HEAD {
            self.have = 0;
            self.passed = self.begins(self.head)?.then_some(0);
        }
        Poll::Ready(Ok(came > 0))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(passed) = this.passed {
                let rest = this.head.get(passed..).unwrap_or_default();
                let n = rest.len().min(buf.remaining());
                buf.put_slice(rest.get(..n).unwrap_or_default());
                this.passed = Some(passed + n).filter(|passed| *passed < HEAD);
                return Poll::Ready(Ok(()));
            }
            if this.have > 0 {
                if !ready!(this.poll_head(cx))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let came = buf.filled_mut().get_mut(before..).unwrap_or_default();
            let ended = came.is_empty();
            let kept = this.sift(came)?;
            buf.set_filled(before + kept);
            if ended || kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
