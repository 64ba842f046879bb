//! What a client was let in to do, and whether it still may.

use std::rc::Rc;

use crate::exchange::secured::Secured;
use crate::table::listeners::{Inside, Serves};

/// What the client of a connection was let in to do.
#[derive(Debug)]
pub(crate) enum Permission {
    /// Its first bytes decide, or its handshake.
    Undecided,
    /// To speak HTTP.
    Http,
    /// To have its bytes handed on.
    Bytes,
    /// The same in TLS that is not decrypted, by the server name.
    Undecrypted(Option<Rc<str>>),
}

impl Permission {
    /// What is permitted inside a TLS chain, or beside all of them.
    pub(super) fn of(inside: &Inside) -> Permission {
        match inside {
            Inside::Http(_) => Permission::Http,
            Inside::Tcp(_) => Permission::Bytes,
        }
    }

    /// Does the listener, which serves this now, still permit it? `secured`: what the connection's handshake established.
    pub(super) fn stands(&self, serves: &Serves, secured: Option<&Secured>) -> bool {
        let inside = match (serves, secured) {
            (Serves::Http(_), None) => Permission::Http,
            (Serves::Tcp(_), None) => Permission::Bytes,
            (Serves::Tls(chains), Some(tls)) => {
                tls.inside(chains).map_or(Permission::Undecided, Permission::of)
            }
            (Serves::Tls(chains), None) => {
                chains.plain.as_ref().map_or(Permission::Undecided, Permission::of)
            }
            (Serves::Http(_) | Serves::Tcp(_), Some(_)) | (Serves::Udp(_), _) => Permission::Undecided,
        };
        match (self, inside) {
            (Permission::Undecided, _)
            | (Permission::Http, Permission::Http)
            | (Permission::Bytes, Permission::Bytes) => true,
            (Permission::Undecrypted(name), _) => {
                matches!(serves, Serves::Tls(chains) if chains.passes(name.as_deref()).is_some())
            }
            (Permission::Http | Permission::Bytes, _) => false,
        }
    }
}
