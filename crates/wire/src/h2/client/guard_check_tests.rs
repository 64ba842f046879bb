//! What must hold of whatever a server says; the tests and the fuzz target share it.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Credit, Guard, MOST};

/// Bytes that come in pieces; nothing comes where a piece holds nothing.
struct Pieces<'a> {
    rest: &'a [u8],
    /// How long they are, again and again.
    cuts: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let cut = usize::from(*self.cuts.next().unwrap_or(&u8::MAX));
        if cut == 0 {
            return Poll::Pending;
        }
        let (piece, rest) = self.rest.split_at(cut.min(buf.remaining()).min(self.rest.len()));
        buf.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

/// What the codec is to see, told over frames: all of them but DATA that holds and ends nothing, as far as they have
/// come, up to the one for which there is no credit.
fn expected(mut bytes: &[u8]) -> (Vec<u8>, Result<(), ErrorKind>) {
    let (mut seen, mut credit) = (Vec::new(), MOST);
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let &[a, b, c, kind, flags, ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let empty = kind == 0 && length == 0 && flags & 1 == 0;
        credit = match kind {
            0 if empty => credit - 4,
            0 => MOST.min(credit + 4),
            1 => credit - 20,
            3 => credit - 2,
            2 | 6 | 8 => credit - 1,
            _ => credit - 4,
        };
        if credit < 0 {
            return (seen, Err(ErrorKind::QuotaExceeded));
        }
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        if !empty {
            seen.extend([head, payload].concat());
        }
        bytes = rest;
    }
    (seen, Ok(()))
}

/// All that must hold of what a server says in such pieces, read into so much room (1 at least): the codec sees what it is
/// to see and nothing else, and the connection ends where it is to end and nowhere else.
pub(crate) fn check(bytes: &[u8], cuts: &[u8], room: usize) {
    // Something has to come some time.
    let cuts = if cuts.iter().all(|cut| *cut == 0) { &[u8::MAX] } else { cuts };
    let mut guard = Guard::new(Pieces { rest: bytes, cuts: cuts.iter().cycle() }, Credit::new());
    let (mut seen, mut buffer) = (Vec::new(), vec![0; room.max(1)]);
    let mut cx = Context::from_waker(Waker::noop());
    let end = loop {
        let mut room = ReadBuf::new(&mut buffer);
        match Pin::new(&mut guard).poll_read(&mut cx, &mut room) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if room.filled().is_empty() => break Ok(()),
            Poll::Ready(Ok(())) => seen.extend_from_slice(room.filled()),
            Poll::Ready(Err(error)) => break Err(error.kind()),
        }
    };
    let (wanted, wanted_end) = expected(bytes);
    assert_eq!(end, wanted_end);
    // What came together with the frame that ends the connection goes with it.
    let all = if end.is_ok() { wanted.len() } else { seen.len() };
    assert!(wanted.get(..all) == Some(&seen), "{} for {}", seen.escape_ascii(), wanted.escape_ascii());
}
