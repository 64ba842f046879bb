//! The reading half.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use limen_wire::h1::{self, BodyDecoder, BodyError, HeadError};
use limen_wire::head::{BodyLength, Fields, MethodKind, RequestHead, ResponseHead};
use tokio::io::ReadBuf;

use super::{BUFFER, Buffers, Stream};

/// Bytes read and not yet understood, and where in the message they are.
///
/// `buf[start..end]` is unread; `data` is a decoded piece of body inside `buf`, in front of `start`, that the owner
/// has not consumed yet. Nothing is read while `data` is not empty, so it never moves.
pub(crate) struct Inbound {
    buf: Vec<u8>,
    start: usize,
    end: usize,
    scanned: usize,
    decoder: BodyDecoder,
    data: Range<usize>,
    /// Lines that may come after a body.
    max_fields: usize,
    /// What came after the body of the last message; there is seldom anything.
    trailers: Option<Box<Trailers>>,
}

#[derive(Default)]
struct Trailers {
    lines: Vec<u8>,
    fields: Fields,
}

/// Why no more could be read of a message.
#[derive(Debug)]
pub(crate) enum ReadFail {
    /// The peer closed before the first byte.
    Closed,
    /// The peer closed in the middle.
    Cut,
    /// The socket failed.
    Io,
    /// The head is not acceptable.
    Head(HeadError),
    /// The body's framing is broken.
    Body,
    /// There is too much after the body.
    Trailers(Excess),
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    Bytes,
    Fields,
}

impl Inbound {
    /// Reads into `buf`, which is initialised as far as it is long.
    pub(crate) fn new(buf: Vec<u8>) -> Inbound {
        Inbound {
            buf,
            start: 0,
            end: 0,
            scanned: 0,
            decoder: BodyDecoder::new(BodyLength::None),
            data: 0..0,
            max_fields: 0,
            trailers: None,
        }
    }

    /// No buffer: what an idle connection has.
    pub(crate) fn empty() -> Inbound {
        Inbound::new(Vec::new())
    }

    /// Takes a buffer, if it has none.
    pub(crate) fn give_buffer(&mut self, take: impl FnOnce() -> Vec<u8>) {
        if self.buf.is_empty() {
            self.buf = take();
        }
    }

    /// The buffer, if nothing in it is still to be read.
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        if self.start != self.end || !self.data.is_empty() || self.buf.is_empty() {
            return None;
        }
        (self.start, self.end, self.scanned) = (0, 0, 0);
        Some(std::mem::take(&mut self.buf))
    }

    /// Bytes received and not yet understood.
    pub(crate) fn unread(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether anything has been received that is not yet understood.
    pub(crate) fn has_unread(&self) -> bool {
        self.start < self.end
    }

    /// Reads once. `Ok(0)`: the peer has closed.
    pub(crate) fn poll_read<S: Stream>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.data.is_empty());
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && self.buf.len() - self.end < BUFFER / 4 {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buf.len() {
            self.buf.resize((self.buf.len() * 2).max(BUFFER), 0);
        }
        let mut window = ReadBuf::new(&mut self.buf[self.end..]);
        ready!(Pin::new(io).poll_read(cx, &mut window))?;
        let n = window.filled().len();
        self.end += n;
        Poll::Ready(Ok(n))
    }

    /// Reads more of a head; a peer that closes now never completes it.
    fn poll_more_head<S: Stream>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), ReadFail>> {
        let before = self.start < self.end;
        Poll::Ready(match ready!(self.poll_read(io, cx)) {
            Ok(0) if before => Err(ReadFail::Cut),
            Ok(0) => Err(ReadFail::Closed),
            Ok(_) => Ok(()),
            Err(_) => Err(ReadFail::Io),
        })
    }

    /// Reads until a request head is complete.
    pub(crate) fn poll_request<S: Stream>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        limits: &h1::Limits,
        head: &mut RequestHead,
    ) -> Poll<Result<(), ReadFail>> {
        loop {
            if self.start < self.end {
                let unread = &self.buf[self.start..self.end];
                let parsed = h1::parse_request(unread, &mut self.scanned, limits, head);
                if let Some(n) = parsed.map_err(ReadFail::Head)? {
                    self.start += n;
                    self.decoder = BodyDecoder::new(head.body);
                    self.max_fields = limits.max_fields;
                    self.trailers = None;
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.poll_more_head(io, cx))?;
        }
    }

    /// Reads until a response head is complete.
    pub(crate) fn poll_response<S: Stream>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        method: MethodKind,
        (limits, head): (&h1::Limits, &mut ResponseHead),
    ) -> Poll<Result<(), ReadFail>> {
        loop {
            if self.start < self.end {
                let unread = &self.buf[self.start..self.end];
                let parsed = h1::parse_response(unread, &mut self.scanned, limits, method, head);
                if let Some(n) = parsed.map_err(ReadFail::Head)? {
                    self.start += n;
                    self.decoder = BodyDecoder::new(head.body);
                    self.max_fields = limits.max_fields;
                    self.trailers = None;
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.poll_more_head(io, cx))?;
        }
    }

    /// Makes `data` hold the next piece of body; `Ok(false)`: the body has ended.
    pub(crate) fn poll_data<S: Stream>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, ReadFail>> {
        loop {
            if !self.data.is_empty() {
                return Poll::Ready(Ok(true));
            }
            if self.decoder.is_done() {
                return Poll::Ready(Ok(false));
            }
            if self.start < self.end {
                let unread = &self.buf[self.start..self.end];
                let decoded = self.decoder.decode(unread).map_err(|error| match error {
                    BodyError::TrailersTooLarge => ReadFail::Trailers(Excess::Bytes),
                    _ => ReadFail::Body,
                })?;
                self.data = self.start + decoded.data.start..self.start + decoded.data.end;
                if !decoded.trailers.is_empty() {
                    let lines =
                        &self.buf[self.start + decoded.trailers.start..self.start + decoded.trailers.end];
                    self.trailers.get_or_insert_default().lines.extend_from_slice(lines);
                }
                if decoded.done
                    && let Some(trailers) = &mut self.trailers
                {
                    let fields = h1::parse_trailers(&trailers.lines, self.max_fields);
                    trailers.fields = fields.map_err(|_| ReadFail::Trailers(Excess::Fields))?;
                }
                self.start += decoded.consumed;
                if decoded.consumed > 0 || decoded.done {
                    continue;
                }
            }
            match ready!(self.poll_read(io, cx)) {
                Ok(0) => {
                    let end = self.decoder.finish_at_close().map_err(|_| ReadFail::Cut);
                    return Poll::Ready(end.map(|()| false));
                }
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(ReadFail::Io)),
            }
        }
    }

    /// From here on all that comes is data, until the peer closes.
    pub(crate) fn unframed(&mut self) {
        self.decoder = BodyDecoder::new(BodyLength::UntilClose);
    }

    /// Whether the last read filled the buffer in the middle of a body, so that a larger one would save reads.
    pub(crate) fn wants_more_room(&self) -> bool {
        self.buf.len() == BUFFER && self.end == BUFFER && !self.decoder.is_done() && self.data.is_empty()
    }

    /// Moves to a larger buffer.
    pub(crate) fn enlarge(&mut self, buffers: &Buffers) {
        buffers.enlarge(&mut self.buf);
    }

    /// The piece of body that `poll_data` found.
    pub(crate) fn data(&self) -> &[u8] {
        self.buf.get(self.data.clone()).unwrap_or_default()
    }

    /// What came after the body, once that has ended.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref().map(|trailers| &trailers.fields)
    }

    /// Whether no more body follows `data`, as far as is known.
    pub(crate) fn is_last(&self) -> bool {
        self.decoder.is_done()
    }

    /// The first `n` bytes of `data` are done with.
    pub(crate) fn consume(&mut self, n: usize) {
        self.data.start = (self.data.start + n).min(self.data.end);
    }

    /// Whether the body has been read to its end.
    pub(crate) fn body_done(&self) -> bool {
        self.decoder.is_done() && self.data.is_empty()
    }
}
