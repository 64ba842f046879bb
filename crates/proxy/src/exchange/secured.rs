//! What a TLS handshake established about a client, for as long as its connection lives.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::filter::client_cert;
use crate::observe::peer::Peer;
use crate::table::listeners::{Clients, Inside, ListenerSlot, Serves, Tables, TlsChain, TlsChains};

/// A client behind TLS, and the policy that it was let in by.
#[derive(Debug)]
pub(crate) struct Secured {
    listener: ListenerSlot,
    /// The chain that did the handshake.
    chain: Arc<str>,
    /// The name that the client asked for.
    server_name: Option<Rc<str>>,
    /// The client's certificates, leaf first; none: it has shown none.
    certificates: Vec<CertificateDer<'static>>,
    /// URIs of the gateway's own certificate.
    own_uris: Arc<[String]>,
    /// Read when somebody asks.
    shown: OnceCell<Option<Shown>>,
    /// The policy that the certificates were found to satisfy last.
    satisfied: RefCell<Option<Arc<dyn ClientCertVerifier>>>,
    /// The generation of tables for which the next is known.
    checked: Cell<u64>,
    stands: Cell<bool>,
    /// Does anybody vouch for the certificates? What nobody vouches for is told to nobody.
    vouched: Cell<bool>,
}

/// What the client's certificate says.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) peer: Peer,
    /// For `x-forwarded-client-cert`.
    pub(crate) element: String,
}

impl Secured {
    /// A handshake that has just succeeded. `satisfied`: what the client's certificates were verified by, if they were;
    /// a session that was resumed has not been.
    pub(crate) fn new(
        listener: ListenerSlot,
        (chain, server_name, own_uris): (Arc<str>, Option<Rc<str>>, Arc<[String]>),
        certificates: Vec<CertificateDer<'static>>,
        satisfied: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Secured {
        Secured {
            listener,
            chain,
            server_name,
            certificates,
            own_uris,
            shown: OnceCell::new(),
            satisfied: RefCell::new(satisfied),
            checked: Cell::new(0),
            stands: Cell::new(true),
            vouched: Cell::new(false),
        }
    }

    /// What the client's certificate says, if it has shown one that holds.
    pub(crate) fn peer(&self) -> Option<&Shown> {
        let leaf = self.certificates.first().filter(|_| self.vouched.get())?;
        let read = || {
            let peer = Peer::read(leaf)?;
            Some(Shown { element: client_cert::element(&peer, &self.own_uris), peer })
        };
        self.shown.get_or_init(read).as_ref()
    }

    /// Would the client be let in by these tables? A connection outlives the policy that it was made under, but not
    /// if the new one would refuse it. `now_ms`: since the Unix epoch.
    pub(crate) fn stands(&self, tables: &Tables, now_ms: impl FnOnce() -> u64) -> bool {
        // The first generation is 1.
        if self.checked.replace(tables.generation) != tables.generation {
            self.stands.set(self.check(tables, now_ms));
        }
        self.stands.get()
    }

    /// What is spoken in the TLS chain of the connection, if there still is one.
    pub(crate) fn inside<'t>(&self, chains: &'t TlsChains) -> Option<&'t Inside> {
        self.chain(chains).map(|chain| &chain.inside)
    }

    /// The chain of the connection among these. One of bytes is named after the first of its server names, and gets another
    /// name where a route gets another server name: then it is the one that the client would get now.
    fn chain<'t>(&self, chains: &'t TlsChains) -> Option<&'t TlsChain> {
        let covers = || chains.chain(self.server_name.as_deref());
        let of_bytes = |chain: &&TlsChain| matches!(chain.inside, Inside::Tcp(_));
        chains.named(&self.chain).or_else(|| covers().filter(of_bytes))
    }

    fn check(&self, tables: &Tables, now_ms: impl FnOnce() -> u64) -> bool {
        let serves = tables.listener(self.listener).map(|listener| &listener.serves);
        let Some(Serves::Tls(chains)) = serves else { return true };
        // What serves nothing any more is found out when routes are sought.
        let Some(chain) = self.chain(chains) else { return true };
        let clients = match &chain.clients {
            Clients::Unasked => return true,
            Clients::Nobody => return false,
            Clients::Verified(clients) | Clients::Asked(clients) => clients,
        };
        let good = self.satisfies(clients, now_ms);
        self.vouched.set(good);
        good || matches!(chain.clients, Clients::Asked(_))
    }

    /// Would this let the client in?
    fn satisfies(&self, clients: &Arc<dyn ClientCertVerifier>, now_ms: impl FnOnce() -> u64) -> bool {
        if self.satisfied.borrow().as_ref().is_some_and(|satisfied| Arc::ptr_eq(satisfied, clients)) {
            return true;
        }
        let Some((leaf, rest)) = self.certificates.split_first() else {
            return !clients.client_auth_mandatory();
        };
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now_ms()));
        let good = clients.verify_client_cert(leaf, rest, now).is_ok();
        if good {
            self.satisfied.replace(Some(clients.clone()));
        }
        good
    }
}
