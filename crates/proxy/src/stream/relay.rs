//! Bytes from one stream to another, unseen.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{BUFFER, Buffers};

/// One direction. It holds a buffer only while bytes wait in it.
#[derive(Debug, Default)]
pub(crate) struct Way {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    state: State,
    /// The last read filled its buffer: the next one takes a large one.
    busy: bool,
    /// The sink may hold bytes back.
    unflushed: bool,
    /// Bytes that came.
    pub(crate) read: u64,
    /// Bytes that went out.
    pub(crate) written: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The source has ended; what it sent is still to go out.
    Ending,
    /// The sink knows.
    Ended,
}

/// Who broke a direction off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The side that bytes come from.
    Source,
    /// The side that bytes go to.
    Sink,
}

impl Way {
    /// A direction in which these bytes have come already.
    pub(crate) fn after(first: Vec<u8>) -> Way {
        let end = first.len();
        Way { buffer: first, end, read: end as u64, ..Way::default() }
    }

    /// Moves bytes as far as both sides allow; what the sink does not take is not read. Ready once the source has ended
    /// and the sink has been told.
    pub(crate) fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        buffers: &Buffers,
    ) -> Poll<Result<(), Broken>> {
        loop {
            while let Some(left) = self.buffer.get(self.start..self.end).filter(|left| !left.is_empty()) {
                match ready!(Pin::new(&mut *sink).poll_write(cx, left)) {
                    Ok(n) if n > 0 => {
                        self.start += n;
                        self.written += n as u64;
                        self.unflushed = true;
                    }
                    _ => return Poll::Ready(Err(Broken::Sink)),
                }
            }
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    self.rest(buffers);
                    // A sink that has gone wants to hear of no end.
                    let _ = ready!(Pin::new(&mut *sink).poll_shutdown(cx));
                    self.state = State::Ended;
                }
                State::Open => {
                    let Poll::Ready(read) = self.poll_read(cx, source, buffers) else {
                        self.rest(buffers);
                        if self.unflushed {
                            ready!(Pin::new(&mut *sink).poll_flush(cx)).map_err(|_| Broken::Sink)?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    };
                    if read? == 0 {
                        self.state = State::Ending;
                    }
                }
            }
        }
    }

    fn poll_read<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        buffers: &Buffers,
    ) -> Poll<Result<usize, Broken>> {
        if self.busy && self.buffer.len() <= BUFFER {
            self.rest(buffers);
            self.buffer = buffers.take_large();
        } else if self.buffer.len() < BUFFER {
            self.buffer = buffers.take_read();
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        match ready!(Pin::new(source).poll_read(cx, &mut buffer)) {
            // TLS that ends without saying so, as many clients do, has ended all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read.map_err(|_| Broken::Source)?,
        }
        let n = buffer.filled().len();
        (self.start, self.end) = (0, n);
        self.read += n as u64;
        self.busy = n == self.buffer.len() || (self.busy && n >= BUFFER);
        Poll::Ready(Ok(n))
    }

    /// Gives back the buffer, in which nothing waits.
    fn rest(&mut self, buffers: &Buffers) {
        buffers.give_read(std::mem::take(&mut self.buffer));
        (self.start, self.end) = (0, 0);
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
