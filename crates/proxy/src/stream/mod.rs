//! The two halves of an HTTP/1 connection, either side of the gateway: what is read is decoded in place and handed on
//! as slices, what is written gets its framing here. No task, no timer, no policy: each call does what the socket
//! allows now and says `Pending` otherwise.

pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod peered;
pub(crate) mod prefixed;
pub(crate) mod relay;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::stock::Stock;

/// What both fronts and backs are built on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Stream for S {}

/// Connects to a unix socket: a path, or `@` and an abstract name.
///
/// # Errors
/// Nobody listens there, or we may not.
pub(crate) async fn connect_unix(path: &str) -> io::Result<UnixStream> {
    match path.strip_prefix('@') {
        // As the system writes abstract names.
        Some(name) => UnixStream::connect(format!("\0{name}")).await,
        None => UnixStream::connect(path).await,
    }
}

/// The size that a buffer has when it is taken.
pub(crate) const BUFFER: usize = 16 * 1024;
/// The size that a buffer may grow to while a body streams through it.
pub(crate) const LARGE_BUFFER: usize = 256 * 1024;
/// Buffers that a worker keeps for the next taker.
const KEPT: usize = 512;
/// How many of them may be large: 4 MiB.
const KEPT_LARGE: usize = 16;

/// A worker's stock of read and write buffers. An idle connection holds none.
#[derive(Debug)]
pub(crate) struct Buffers {
    read: Stock<Vec<u8>>,
    large: Stock<Vec<u8>>,
    write: Stock<Vec<u8>>,
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers { read: Stock::new(KEPT), large: Stock::new(KEPT_LARGE), write: Stock::new(KEPT) }
    }
}

impl Buffers {
    /// A buffer of `BUFFER` initialised bytes.
    pub(crate) fn take_read(&self) -> Vec<u8> {
        self.read.take().unwrap_or_else(|| vec![0; BUFFER])
    }

    /// A buffer of `LARGE_BUFFER` initialised bytes.
    pub(crate) fn take_large(&self) -> Vec<u8> {
        self.large.take().unwrap_or_else(|| vec![0; LARGE_BUFFER])
    }

    /// A buffer of `LARGE_BUFFER` initialised bytes that begins with those of `small`, which is taken back.
    pub(crate) fn enlarge(&self, small: &mut Vec<u8>) {
        let mut large = self.take_large();
        large[..small.len()].copy_from_slice(small);
        self.give_read(std::mem::replace(small, large));
    }

    /// Gives a read buffer back. One that has grown to hold a large head is dropped.
    pub(crate) fn give_read(&self, buffer: Vec<u8>) {
        match buffer.len() {
            BUFFER => self.read.give(buffer),
            LARGE_BUFFER => self.large.give(buffer),
            _ => {}
        }
    }

    /// An empty buffer to write into, of one size with the others: what grows by and by leaves holes of all sizes in memory.
    pub(crate) fn take_write(&self) -> Vec<u8> {
        self.write.take().unwrap_or_else(|| Vec::with_capacity(BUFFER))
    }

    /// Gives a write buffer back. One that has grown is dropped.
    pub(crate) fn give_write(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER && buffer.capacity() > 0 {
            buffer.clear();
            self.write.give(buffer);
        }
    }

    /// Gives up some of what nobody has needed since the last turn.
    pub(crate) fn turn(&self) {
        [&self.read, &self.large, &self.write].into_iter().for_each(Stock::turn);
    }

    /// Gives up what is in stock.
    pub(crate) fn clear(&self) {
        [&self.read, &self.large, &self.write].into_iter().for_each(Stock::clear);
    }

    /// How many are in stock: to read, large ones, to write.
    #[cfg(test)]
    pub(crate) fn in_stock(&self) -> [usize; 3] {
        [&self.read, &self.large, &self.write].map(Stock::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_each_kind_are_kept_and_given_back_when_nobody_needs_them() {
        let buffers = Buffers::default();
        let (read, large, write) = (buffers.take_read(), buffers.take_large(), buffers.take_write());
        assert_eq!((read.len(), large.len(), write.capacity()), (BUFFER, LARGE_BUFFER, BUFFER));
        buffers.give_read(read);
        buffers.give_read(large);
        buffers.give_write(write);
        // What has grown to an odd size is not.
        buffers.give_read(vec![0; BUFFER + 1]);
        buffers.give_write(Vec::with_capacity(BUFFER + 1));
        assert_eq!(buffers.in_stock(), [1, 1, 1]);
        buffers.turn();
        assert_eq!(buffers.in_stock(), [1, 1, 1], "each was needed since the turn before");
        buffers.turn();
        assert_eq!(buffers.in_stock(), [0, 0, 0]);
    }
}
