//! The writing half.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use limen_wire::h1;
use limen_wire::head::Fields;

use super::Stream;

/// Pieces up to this size are copied behind what is pending, so that head and body leave in one plain write.
const COPY: usize = 8 * 1024;

/// Bytes that are ready for the socket, and the framing of the body that is being sent.
#[derive(Default)]
pub(crate) struct Outbound {
    pending: Vec<u8>,
    written: usize,
    chunked: bool,
    /// Bytes that the chunk header which was sent last still promises.
    chunk_left: usize,
}

impl Outbound {
    /// Takes a buffer, if it has none.
    pub(crate) fn give_buffer(&mut self, take: impl FnOnce() -> Vec<u8>) {
        if self.pending.capacity() == 0 {
            self.pending = take();
        }
    }

    /// The buffer, if all of it has been written.
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        (self.written == self.pending.len() && self.pending.capacity() > 0).then(|| {
            self.written = 0;
            std::mem::take(&mut self.pending)
        })
    }

    /// Begins a message: the caller appends the head; the body is sent in chunks or as it is.
    pub(crate) fn begin(&mut self, chunked: bool) -> &mut Vec<u8> {
        if self.written == self.pending.len() {
            self.pending.clear();
            self.written = 0;
        }
        (self.chunked, self.chunk_left) = (chunked, 0);
        &mut self.pending
    }

    /// Drops what has not been written.
    pub(crate) fn abandon(&mut self) {
        self.pending.clear();
        (self.written, self.chunked, self.chunk_left) = (0, false, 0);
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.written == self.pending.len()
    }

    /// Takes body bytes. Small pieces only join what is pending: the caller flushes when it has no more to give for
    /// now, so that a head, its body and the end marker leave in one write. Ready with how many of `data` were taken,
    /// which is more than 0 unless `data` is empty.
    pub(crate) fn poll_send<S: Stream>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.chunked && self.chunk_left == 0 {
            h1::encode_chunk_header(data.len(), &mut self.pending);
            self.chunk_left = data.len();
        }
        let data = if self.chunked { &data[..data.len().min(self.chunk_left)] } else { data };
        if self.pending.len() - self.written + data.len() <= COPY {
            self.pending.extend_from_slice(data);
            self.taken(data.len());
            return Poll::Ready(Ok(data.len()));
        }
        self.poll_large(io, cx, data)
    }

    fn poll_large<S: Stream>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let waiting = &self.pending[self.written..];
            let n = if waiting.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, data))?
            } else {
                let slices = [IoSlice::new(waiting), IoSlice::new(data)];
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices))?
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_pending = n.min(waiting.len());
            self.written += of_pending;
            if self.written == self.pending.len() {
                self.pending.clear();
                self.written = 0;
            }
            if n > of_pending {
                self.taken(n - of_pending);
                return Poll::Ready(Ok(n - of_pending));
            }
        }
    }

    fn taken(&mut self, n: usize) {
        if self.chunked {
            self.chunk_left -= n;
            if self.chunk_left == 0 {
                self.pending.extend_from_slice(h1::CHUNK_END);
            }
        }
    }

    /// The body is complete: queues the end marker and the trailers, if the framing has room for them. Call once, then
    /// `poll_flush`.
    pub(crate) fn end(&mut self, trailers: Option<&Fields>) {
        if self.chunked {
            self.chunked = false;
            match trailers {
                None => self.pending.extend_from_slice(h1::LAST_CHUNK),
                Some(trailers) => h1::encode_last_chunk(trailers, &mut self.pending),
            }
        }
    }

    /// Writes what is pending.
    fn poll_pending<S: Stream>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let n = ready!(Pin::new(&mut *io).poll_write(cx, &self.pending[self.written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        self.pending.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Writes what is pending, through the stream's own buffers too.
    pub(crate) fn poll_flush<S: Stream>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(io, cx))?;
        Pin::new(io).poll_flush(cx)
    }

    /// Writes what is pending and closes this direction.
    pub(crate) fn poll_close<S: Stream>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(io, cx))?;
        Pin::new(io).poll_shutdown(cx)
    }
}
