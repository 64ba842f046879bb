//! A client of the mesh that agreed on `istio-peer-exchange` tells of itself before anything else: a number that marks
//! it, a length (both 32 bits, big-endian) and so many bytes, which are for proxies and not for who is behind them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;

/// The protocol of proxies that tell each other of themselves first.
pub(crate) const PROTOCOL: &[u8] = b"istio-peer-exchange";
/// What the mark of Istio's proxies is.
pub(crate) const MAGIC: [u8; 4] = 0x3D23_0467_u32.to_be_bytes();
/// The mark and the length.
const HEADER: usize = 8;
/// How much is thrown away at a time.
const PIECE: usize = 1024;

/// Passes a stream on without what its peer tells of itself. A peer that begins otherwise is passed on as it is.
pub(crate) struct Peered<S> {
    state: State,
    io: S,
}

enum State {
    /// So much of the header was read.
    Header([u8; HEADER], usize),
    /// So many bytes are not passed on.
    Skip(u32),
    /// It was no header: bytes of it from the first number to the second are still to be read.
    Back([u8; HEADER], usize, usize),
    Through,
}

impl<S: Stream> Peered<S> {
    /// `agreed`: the peer may tell of itself.
    pub(crate) fn new(io: S, agreed: bool) -> Peered<S> {
        let state = if agreed { State::Header([0; HEADER], 0) } else { State::Through };
        Peered { state, io }
    }

    /// The stream.
    pub(crate) fn get_ref(&self) -> &S {
        &self.io
    }
}

/// What of the peer's first bytes is known: `None` if more is needed.
fn judge(header: [u8; HEADER], read: usize) -> Option<State> {
    let marked = MAGIC.iter().zip(&header).take(read).all(|(mark, byte)| mark == byte);
    if !marked {
        return Some(State::Back(header, 0, read));
    }
    let [_, _, _, _, a, b, c, d] = header;
    (read == HEADER).then(|| State::Skip(u32::from_be_bytes([a, b, c, d])))
}

impl<S: Stream> AsyncRead for Peered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Through | State::Skip(0) => {
                    this.state = State::Through;
                    return Pin::new(&mut this.io).poll_read(cx, buf);
                }
                State::Header(header, read) => {
                    let mut rest = ReadBuf::new(header.get_mut(*read..).unwrap_or_default());
                    ready!(Pin::new(&mut this.io).poll_read(cx, &mut rest))?;
                    let new = rest.filled().len();
                    *read += new;
                    let (header, read) = (*header, *read);
                    if new == 0 {
                        this.state = State::Back(header, 0, read);
                    } else if let Some(state) = judge(header, read) {
                        this.state = state;
                    }
                }
                State::Skip(left) => {
                    let mut piece = [0; PIECE];
                    let most = PIECE.min(usize::try_from(*left).unwrap_or(PIECE));
                    let mut waste = ReadBuf::new(piece.get_mut(..most).unwrap_or_default());
                    ready!(Pin::new(&mut this.io).poll_read(cx, &mut waste))?;
                    match u32::try_from(waste.filled().len()) {
                        Ok(read) if read > 0 => *left = left.saturating_sub(read),
                        _ => return Poll::Ready(Ok(())),
                    }
                }
                State::Back(header, from, to) => {
                    let left = header.get(*from..*to).unwrap_or_default();
                    if left.is_empty() {
                        this.state = State::Through;
                        continue;
                    }
                    let part = left.get(..left.len().min(buf.remaining())).unwrap_or_default();
                    buf.put_slice(part);
                    *from += part.len();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: Stream> AsyncWrite for Peered<S> {
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
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What is read of a peer that says these pieces, each when the one before was read, and then ends.
    async fn passed(agreed: bool, pieces: &[&[u8]]) -> Vec<u8> {
        // Room for one byte: the reader gets no two at once.
        let (mut peer, io) = duplex(1);
        let said = pieces.concat();
        let say = async move {
            peer.write_all(&said).await.unwrap();
            drop(peer);
        };
        let mut heard = Vec::new();
        let mut own = Peered::new(io, agreed);
        let (_, read) = tokio::join!(say, own.read_to_end(&mut heard));
        read.unwrap();
        heard
    }

    #[tokio::test]
    async fn what_a_peer_tells_of_itself_is_not_passed_on() {
        let long = [7; 3000];
        let header = |length: u32| [MAGIC, length.to_be_bytes()].concat();
        for (agreed, pieces, heard) in [
            (true, vec![&*header(3), b"abc", b"hello"], "hello"),
            (true, vec![&*header(0), b"hello"], "hello"),
            (true, vec![&*header(3000), &long, b"h"], "h"),
            (true, vec![&*header(9), b"abc"], ""),
            (true, vec![b"hello, server"], "hello, server"),
            (true, vec![&MAGIC[..2], b"no"], "=#no"),
            (true, vec![&MAGIC[..2]], "=#"),
            (true, vec![], ""),
        ] {
            let found = passed(agreed, &pieces).await;
            assert_eq!(String::from_utf8_lossy(&found), heard, "{pieces:?}");
        }
        let plain = [&*header(3), b"abc"].concat();
        assert_eq!(passed(false, &[&plain]).await, plain);
    }
}
