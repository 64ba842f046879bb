//! Sessions: requests of one client that stay at one endpoint.

use limen_ir::Millis;
use limen_ir::policy::session::{Session, SessionKept};
use limen_resources::ObjectKey;
use limen_resources::gateway_api::SessionPersistence;

use super::No;

/// What a rule of a route, by its number, says of sessions.
pub(super) fn of_rule(
    route: &ObjectKey,
    number: usize,
    written: Option<&SessionPersistence>,
) -> Result<Option<Session>, No> {
    // Rules have other backends each, so each needs a note of its own.
    let name = || format!("limen-session-{}-{}-{number}", route.namespace, route.name);
    written.map(|written| session(written, name)).transpose()
}

/// What is written of sessions. `unwritten`: the name of their notes where none is.
pub(super) fn session(
    written: &SessionPersistence,
    unwritten: impl FnOnce() -> String,
) -> Result<Session, No> {
    let SessionPersistence { session_name, absolute_timeout, persistence_type, cookie_config } = written;
    let no = |why: String| ("UnsupportedValue", why);
    let lasts = absolute_timeout.and_then(|time| Millis::new(time.millis()));
    let permanent = match cookie_config.as_ref().map(|config| &*config.lifetime_type) {
        None | Some("" | "Session") => false,
        Some("Permanent") if lasts.is_some() => true,
        Some("Permanent") => return Err(no("a permanent cookie needs an absoluteTimeout".to_owned())),
        Some(other) => return Err(no(format!("cookies of lifetime {other} are not known"))),
    };
    let kept = match (&**persistence_type, permanent) {
        ("" | "Cookie", false) => SessionKept::Cookie,
        ("" | "Cookie", true) => SessionKept::PermanentCookie,
        ("Header", _) => SessionKept::Header,
        (other, _) => return Err(no(format!("sessions of type {other} are not known"))),
    };
    let name = match &**session_name {
        "" => unwritten(),
        name => name.to_owned(),
    };
    if !name.bytes().all(is_token) {
        return Err(no(format!("`{name}` can be no name of a cookie or header")));
    }
    let name = if kept == SessionKept::Header { name.to_ascii_lowercase() } else { name };
    Ok(Session { name, kept, lasts })
}

/// RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
