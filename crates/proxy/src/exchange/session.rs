//! Sessions: the endpoint that a client was at before, and what it is told to find it again.

use super::front::Front;
use super::live::Live;
use crate::address::Address;
use crate::filter::session::{Kept, Session};
use crate::table::routes::{Destination, Forward};

/// The destination with the endpoint that the client notes, which is kept in mind. `None`: it notes none, or the endpoint
/// may not be chosen any more.
#[cold]
pub(super) fn resume<'t, F: Front>(live: &mut Live<'_, '_, F>, to: &'t Forward) -> Option<&'t Destination> {
    let now_s = now_s(live);
    let found = to.destinations.iter().filter(|destination| destination.redirect().is_none());
    let (destination, kept) = found.into_iter().find_map(|destination| {
        let session = session_of(to, destination)?;
        let (text, began_s) = session.noted(&live.exchange.request, now_s)?;
        let state = live.worker.upstreams.cluster(destination)?;
        Some((destination, Kept { address: state.chosen_at(&text)?, began_s }))
    })?;
    live.exchange.session = Some(kept);
    Some(destination)
}

/// How clients stay at endpoints of a destination: the rule's way, else its own.
pub(super) fn session_of<'t>(to: &'t Forward, destination: &'t Destination) -> Option<&'t Session> {
    to.session.as_deref().or(destination.session.as_deref())
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
