//! Sessions: the endpoint that a client was at before, and what it is told to find it again.

use super::front::Front;
use super::live::Live;
use crate::address::Address;
use crate::filter::session::{Kept, Session};
use crate::table::routes::{Destination, Forward};

/// The destination with the endpoint that the client notes, which is kept in mind. `None`: it notes none, or the endpoint
/// may not be chosen any more.
#[cold]
pub(super) fn resume<'t, F: Front>(
    live: &mut Live<'_, '_, F>,
    session: &Session,
    to: &'t Forward,
) -> Option<&'t Destination> {
    let (text, began_s) = session.noted(&live.exchange.request, now_s(live))?;
    let found = to.destinations.iter().filter(|destination| destination.redirect().is_none());
    let (destination, address) = found.into_iter().find_map(|destination| {
        let state = live.worker.upstreams.cluster(destination)?;
        Some((destination, state.chosen_at(&text)?))
    })?;
    live.exchange.session = Some(Kept { address, began_s });
    Some(destination)
}

/// Tells the client where its session is, if it is not where it was.
#[cold]
pub(super) fn tell<F: Front>(live: &mut Live<'_, '_, F>, session: &Session, endpoint: Address) {
    if live.exchange.session.is_some_and(|kept| kept.address == endpoint) {
        return;
    }
    let note = session.note(Kept { address: endpoint, began_s: now_s(live) }, live.note.https);
    let fields = &mut live.exchange.response.fields;
    match session.cookie {
        Some(_) => fields.add(b"set-cookie", note.as_bytes()),
        None => fields.set(session.name.as_bytes(), note.as_bytes()),
    };
}

/// Since the Unix epoch.
fn now_s<F: Front>(live: &Live<'_, '_, F>) -> u64 {
    let clock = &live.worker.clock;
    clock.epoch_ms(clock.recent_us()) / 1000
}
