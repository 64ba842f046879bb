//! What happens to heads between the codecs: pure functions, one file each; no IO, no clock, no randomness of their
//! own. What they need comes as arguments, what they did stands in the head.
//!
//! The order, kept by `exchange`, with the reason for each place:
//!
//! 1. [`normalize`]: every later decision and the upstream must see the same path.
//! 2. [`forwarded`]: what an outside client may not say about itself is dropped before a rule can match on it; what
//!    the gateway knows is written before a rule's operations can read or change it.
//!    [`client_cert`] goes with it.
//! 3. `https_redirect` of the host, by [`redirect::to_https`]: before the rules, as none may exempt itself.
//! 4. The rule is chosen.
//! 5. [`fault`] of the rule: whatever the request would meet, an injected failure comes before it.
//! 6. [`cors`] of the rule: a preflight that it answers goes no further. It sees the origin before operations do.
//! 7. [`external_auth`] of the rule: what a preflight asks needs no leave, and nobody is told more before. It sees the
//!    request as it came; what it changes, operations can change again.
//! 8. A rule that redirects answers with [`redirect::location`].
//! 9. [`hash`] of the rule: of the request as it came, so that no operation sends a client astray (Envoy).
//! 10. [`peer_metadata`], which operations may drop; [`headers`] of the destination chosen among several, then of the rule: the more general level wins (Envoy).
//! 11. The rule's literal host, then [`rewrite`]: after the header operations, which see the request as it was matched.
//! 12. [`forwarded::attempt`]: says what is about to happen, so nothing may change it.
//!
//! On the way back: [`response::begin`], whose field operations may drop; [`headers`] of the destination, then of the
//! rule; [`cors`] and [`response::finish`], which they cannot change. Responses of the gateway's own begin with the rule's operations.

pub(crate) mod client_cert;
pub(crate) mod cors;
pub(crate) mod external_auth;
pub(crate) mod fault;
pub(crate) mod field;
pub(crate) mod forwarded;
pub(crate) mod grpc_timeout;
pub(crate) mod hash;
pub(crate) mod headers;
pub(crate) mod normalize;
pub(crate) mod peer_metadata;
pub(crate) mod policy;
pub(crate) mod redirect;
pub(crate) mod request_id;
pub(crate) mod response;
pub(crate) mod rewrite;
pub(crate) mod session;
pub(crate) mod share;
mod text;
pub(crate) mod trace;
