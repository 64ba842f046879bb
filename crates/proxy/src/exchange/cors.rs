//! Cross-origin rules of a rule: who asks, and what the answer says.

use super::front::Front;
use super::live::{Live, Note};
use crate::filter::cors;
use crate::table::cors::Cors;
use crate::worker::memory::Exchange;

/// Remembers the origin of a request that is let in, as header operations may change the request. Returns whether it
/// is a preflight that the gateway answers.
pub(crate) fn begin<'t, F: Front>(live: &mut Live<'_, 't, F>, policy: &'t Cors) -> bool {
    let Some(origin) = cors::origin(&live.exchange.request) else { return false };
    let allowed = live.worker.allows(&policy.origins, origin);
    if allowed {
        live.exchange.origin.clear();
        live.exchange.origin.extend_from_slice(origin);
        live.note.cors = Some(&policy.fields);
    }
    cors::is_preflight(&live.exchange.request) && (allowed || policy.ignore_unmatched)
}

/// Says in the response what the origin of the request may do. Header operations have run: they cannot change it.
pub(crate) fn answer(note: &Note<'_>, exchange: &mut Exchange) {
    if let Some(fields) = note.cors {
        fields.answer(&exchange.origin, &mut exchange.response.fields);
    }
}
