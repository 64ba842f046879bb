//! The end of a connection whose last answer is complete.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::ReadBuf;

use crate::clock::{Clock, Timer};
use crate::stream::Stream;

/// How much of what the client still sends is read at the most.
const MOST: usize = 256 * 1024;

/// How long a client may take to close.
pub(crate) struct Linger {
    /// From what it sent last.
    pub(crate) silent_ms: u64,
    /// At all.
    pub(crate) most_ms: u64,
}

/// Says that nothing more comes, and waits for the client to say the same. What it still sends is read and dropped: closing
/// at once would reset the connection and could destroy the answer on its way.
pub(crate) async fn linger<S: Stream>(
    io: &mut S,
    (clock, timer): (&Clock, &Timer),
    linger: Linger,
    mut sink: Vec<u8>,
) {
    let until_ms = clock.now_ms().saturating_add(linger.most_ms);
    timer.arm(until_ms.min(clock.recent_ms().saturating_add(linger.silent_ms)));
    let (mut said, mut left) = (false, MOST);
    poll_fn(|cx| {
        // In TLS the end is something to be written, and a client that does not read is not waited for either.
        said = said || Pin::new(&mut *io).poll_shutdown(cx).is_ready();
        loop {
            if timer.poll_fired(cx) || left == 0 {
                return Poll::Ready(());
            }
            let mut window = ReadBuf::new(&mut sink);
            match Pin::new(&mut *io).poll_read(cx, &mut window) {
                Poll::Ready(Ok(())) if !window.filled().is_empty() => {
                    left = left.saturating_sub(window.filled().len());
                    timer.arm(until_ms.min(clock.now_ms().saturating_add(linger.silent_ms)));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}
