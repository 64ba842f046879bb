//! Injected faults of a rule: the wait, then the answer.

use std::future::poll_fn;
use std::task::Poll;

use super::error::Error;
use super::front::Front;
use super::live::Live;
use crate::filter::fault::Fault;
use crate::observe::Flags;

/// Lets the faults befall the request that fall on it.
///
/// # Errors
/// The injected answer; or the client went while it was kept waiting.
pub(crate) async fn inject<F: Front>(live: &mut Live<'_, '_, F>, fault: &Fault) -> Result<(), Error> {
    let worker = live.worker;
    if let Some(ms) = fault.delay(worker.random_u32()) {
        live.note.injected |= Flags::DI;
        wait(live, ms).await?;
    }
    match fault.abort(worker.random_u32()) {
        Some(status) => Err(Error::injected(status)),
        None => Ok(()),
    }
}

async fn wait<F: Front>(live: &mut Live<'_, '_, F>, ms: u64) -> Result<(), Error> {
    let timer = live.exchange.timer.clone();
    timer.arm_in(ms);
    let mut silence = live.silence();
    poll_fn(|cx| {
        if timer.poll_fired(cx) {
            return Poll::Ready(Ok(()));
        }
        live.given_up(silence.as_deref_mut(), cx).map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    })
    .await?;
    // Deadlines that follow count from here.
    live.worker.clock.now_us();
    timer.disarm();
    Ok(())
}
