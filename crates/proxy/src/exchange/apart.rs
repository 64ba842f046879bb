//! Parts of an exchange that most requests do not need, kept apart from those that all need.
//!
//! The compiler makes one function of an exchange's stages. Whatever is in it but does not run lies between the lines
//! that do, and the processor's instruction cache is small: so the rest is called, not woven in.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Awaits a future that is polled by a call. It is part of the future that awaits it, so nothing is allocated.
macro_rules! apart {
    ($future:expr) => {{
        let mut future = std::pin::pin!($future);
        std::future::poll_fn(|cx| $crate::exchange::apart::poll(future.as_mut(), cx)).await
    }};
}
pub(crate) use apart;

/// Polls by a call.
#[inline(never)]
pub(crate) fn poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(cx)
}

/// A large future that is seldom needed: boxed, or every exchange would have to be large enough to hold it.
#[cold]
#[inline(never)]
pub(crate) fn seldom<'f, T>(future: impl Future<Output = T> + 'f) -> Pin<Box<dyn Future<Output = T> + 'f>> {
    Box::pin(future)
}
