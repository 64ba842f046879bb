//! Listeners: what each of our Gateways opens, which of them can stand beside one another, and what they need.

use std::sync::Arc;

use limen_ir::atoms::HostPattern;
use limen_ir::tls::{CertificateId, ClientPolicy};
use limen_resources::core::parse_pem_pair;
use limen_resources::gateway_api::{self as spec, ListenerTlsMode, ObjectReference};
use limen_resources::{Kind, Object, ObjectKey, Snapshot};

use super::No;
use super::attach::{Opening, RouteKind, within};
use super::frontend::{self, Clients};
use super::gateways::OwnGateway;
use super::grants::{Grants, Referrer};
use super::listener_sets::OwnSet;
use super::status::Said;
use crate::index::Index;
use crate::secrets::Certificates;
use crate::sought::Sought;

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Https,
    Tls,
    Tcp,
    Udp,
}

impl Protocol {
    fn named(written: &str) -> Option<Protocol> {
        Some(match written {
            "HTTP" => Protocol::Http,
            "HTTPS" => Protocol::Https,
            "TLS" => Protocol::Tls,
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            _ => return None,
        })
    }

    /// The kinds of routes that it takes, in the order in which status lists them.
    fn kinds(self) -> &'static [RouteKind] {
        match self {
            Protocol::Http | Protocol::Https => &[RouteKind::Grpc, RouteKind::Http],
            Protocol::Tls => &[RouteKind::Tls],
            Protocol::Tcp => &[RouteKind::Tcp],
            Protocol::Udp => &[RouteKind::Udp],
        }
    }

    /// Does the server name of a hello choose among such listeners?
    fn by_server_name(self) -> bool {
        matches!(self, Protocol::Https | Protocol::Tls)
    }
}

/// A listener of a Gateway of ours.
#[derive(Debug)]
pub(crate) struct Listener<'a> {
    /// Whose it is, by its place among our Gateways.
    pub(crate) gateway: usize,
    /// The object that it is written in.
    pub(crate) said: Said<'a>,
    /// Its place there.
    pub(crate) place: usize,
    pub(crate) spec: &'a spec::Listener,
    /// `None`: nothing is known of it.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) opening: Opening<'a>,
    pub(crate) accepted: Result<(), No>,
    pub(crate) resolved: Result<(), No>,
    /// `Err`: another listener stands in its way.
    pub(crate) conflict: Result<(), No>,
    /// Another listener with TLS has names of its own.
    pub(crate) overlapping: bool,
    /// What it shows to clients, if it is of TLS.
    pub(crate) certificates: Vec<CertificateId>,
    /// Who of them is let in; `None`: all.
    pub(crate) clients: Option<ClientPolicy>,
}

impl Listener<'_> {
    /// Does it keep its port and names? One that cannot be served resets handshakes, so that no other takes its names.
    pub(crate) fn offered(&self) -> bool {
        self.protocol.is_some() && self.conflict.is_ok()
    }

    /// Is it to be served?
    pub(crate) fn served(&self) -> bool {
        self.offered() && self.accepted.is_ok() && (!self.decrypts() || !self.certificates.is_empty())
    }

    /// Is TLS decrypted there?
    pub(crate) fn decrypts(&self) -> bool {
        decrypts(self.protocol, self.spec)
    }

    /// Looks at certificates of clients, if the Gateway wants that on the port.
    fn ask_clients(
        &mut self,
        ground: (&Index<'_>, &Grants),
        gateway: &OwnGateway<'_>,
        certificates: &mut Certificates<'_, '_>,
    ) {
        let asked = frontend::validation(&gateway.object.spec, self.spec.port);
        let (Some(Protocol::Https), Some(asked)) = (self.protocol, asked) else { return };
        let Clients { policy, resolved } = frontend::clients(ground, gateway.object, asked, certificates);
        if policy.is_none() && self.accepted.is_ok() {
            self.accepted = Err(("NoValidCACertificate", "nobody vouches for its clients".to_owned()));
        }
        self.clients = policy;
        if self.resolved.is_ok() {
            self.resolved = resolved;
        }
    }

    pub(crate) fn field(&self, part: &str) -> String {
        format!("spec.listeners[{}]{part}", self.place)
    }
}

/// The listeners of our Gateways, in their order: each Gateway's own, then those of its ListenerSets.
pub(crate) fn listeners<'a>(
    ground: (&Index<'a>, &Grants),
    (gateways, sets): (&[OwnGateway<'a>], &[OwnSet<'a>]),
    certificates: &mut Certificates<'_, '_>,
) -> Vec<Listener<'a>> {
    let mut all = Vec::new();
    for (number, gateway) in gateways.iter().enumerate() {
        let from = all.len();
        let own = (Said::of(gateway.object), &*gateway.object.spec.listeners);
        let added = sets.iter().filter(|set| set.gateway == number && set.allowed.is_ok());
        let added = added.map(|set| (Said::of(set.object), &*set.object.spec.listeners));
        for (said, written) in std::iter::once(own).chain(added) {
            for (place, listener) in written.iter().enumerate() {
                let mut own = self::listener(ground, (number, said), (place, listener), certificates);
                own.ask_clients(ground, gateway, certificates);
                all.push(own);
            }
        }
        clash(all.get_mut(from..).unwrap_or_default());
    }
    all
}

fn listener<'a>(
    (index, grants): (&Index<'a>, &Grants),
    (gateway, said): (usize, Said<'a>),
    (place, listener): (usize, &'a spec::Listener),
    certificates: &mut Certificates<'_, '_>,
) -> Listener<'a> {
    let protocol = Protocol::named(&listener.protocol);
    let accepted = match protocol {
        Some(_) => Ok(()),
        None => Err(("UnsupportedProtocol", format!("{} is not served", listener.protocol))),
    };
    let (kinds, kinds_right) = kinds(protocol, listener);
    let (shown, certificates_right) = match decrypts(protocol, listener) {
        true => credentials((index, grants), said.key, listener, certificates),
        false => (Vec::new(), Ok(())),
    };
    let host = if listener.hostname.is_empty() { "*" } else { &listener.hostname };
    Listener {
        gateway,
        said,
        place,
        spec: listener,
        protocol,
        opening: Opening {
            owner: said.key,
            name: &listener.name,
            port: listener.port,
            host: HostPattern::istio(host),
            kinds,
            namespaces: &listener.allowed_routes.namespaces,
        },
        accepted,
        resolved: certificates_right.and(kinds_right),
        conflict: Ok(()),
        overlapping: false,
        certificates: shown,
        clients: None,
    }
}

fn decrypts(protocol: Option<Protocol>, listener: &spec::Listener) -> bool {
    match protocol {
        Some(Protocol::Https) => true,
        Some(Protocol::Tls) => {
            listener.tls.as_ref().is_some_and(|tls| tls.mode == ListenerTlsMode::Terminate)
        }
        _ => false,
    }
}

/// The kinds of routes that a listener takes.
fn kinds(protocol: Option<Protocol>, listener: &spec::Listener) -> (Vec<RouteKind>, Result<(), No>) {
    let usual = protocol.map_or(&[][..], Protocol::kinds);
    let written = &listener.allowed_routes.kinds;
    if written.is_empty() {
        return (usual.to_vec(), Ok(()));
    }
    // What is decrypted is left as bytes. A TCPRoute gets them only where that is wanted: those that hang on the whole
    // Gateway are not meant for ports of TLS.
    let bytes = protocol == Some(Protocol::Tls) && decrypts(protocol, listener);
    let fits = |kind: &RouteKind| usual.contains(kind) || bytes && *kind == RouteKind::Tcp;
    let mut kinds = Vec::new();
    let mut right = Ok(());
    for own in written {
        let group = own.group.as_deref().unwrap_or(spec::GROUP);
        match RouteKind::named(group, &own.kind).filter(fits) {
            Some(kind) if kinds.contains(&kind) => {}
            Some(kind) => kinds.push(kind),
            None => {
                let why = format!("{} takes no routes of kind {}", listener.protocol, own.kind);
                right = right.and(Err(("InvalidRouteKinds", why)));
            }
        }
    }
    kinds.sort_unstable();
    (kinds, right)
}

/// The certificates that a listener names and that can be used, and what is wrong with the first that cannot.
fn credentials(
    (index, grants): (&Index<'_>, &Grants),
    owner: &ObjectKey,
    listener: &spec::Listener,
    certificates: &mut Certificates<'_, '_>,
) -> (Vec<CertificateId>, Result<(), No>) {
    let references = listener.tls.as_ref().map_or(&[][..], |tls| {
        if tls.mode == ListenerTlsMode::Passthrough { &[] } else { &tls.certificate_refs }
    });
    let mut found = Vec::new();
    let mut right = Ok(());
    if references.is_empty() {
        right = Err((INVALID_CERTIFICATE, "it names no certificate".to_owned()));
    }
    for reference in references {
        match secret((index, grants), owner, reference) {
            Ok(secret) => found.push(certificates.of_gateway_api(secret)),
            Err(no) => right = right.and(Err(no)),
        }
    }
    (found, right)
}

/// The kind by which ReferenceGrants name an object that refers.
pub(crate) fn referrer(owner: &ObjectKey) -> Referrer<'_> {
    let kind = if owner.kind == Kind::ApiGateway { "Gateway" } else { owner.kind.as_str() };
    Referrer { kind, namespace: &owner.namespace }
}

/// Why a reference leads to no certificate, other than that it may not.
pub(crate) const INVALID_CERTIFICATE: &str = "InvalidCertificateRef";

/// The Secret with a certificate and key that a reference of `owner` leads to.
pub(crate) fn secret<'a>(
    (index, grants): (&Index<'a>, &Grants),
    owner: &ObjectKey,
    reference: &ObjectReference,
) -> Result<&'a Arc<Object<limen_resources::core::Secret>>, No> {
    secret_of((index.snapshot, &index.sought), grants, owner, reference)
}

/// The same before there is an index.
pub(super) fn secret_of<'a>(
    (snapshot, sought): (&'a Snapshot, &Sought),
    grants: &Grants,
    owner: &ObjectKey,
    reference: &ObjectReference,
) -> Result<&'a Arc<Object<limen_resources::core::Secret>>, No> {
    let ObjectReference { group, kind, name, namespace } = reference;
    let wrong = |why: String| (INVALID_CERTIFICATE, why);
    let kind = if kind.is_empty() { "Secret" } else { kind };
    let namespace = if namespace.is_empty() { &*owner.namespace } else { namespace };
    let title = format!("{kind} {namespace}/{name}");
    if !group.is_empty() || kind != "Secret" {
        return Err(wrong(format!("{title} is no Secret")));
    }
    if !grants.allow(referrer(owner), ("", "Secret"), (namespace, name)) {
        return Err(("RefNotPermitted", format!("no ReferenceGrant allows {owner} to refer to {title}")));
    }
    let Some(secret) = sought.secret(snapshot, namespace, name) else {
        let key = ObjectKey::new(Kind::Secret, namespace, &**name);
        let why = if snapshot.problems().any(|problem| problem.object.as_ref() == Some(&key)) {
            "is not valid, see its problem"
        } else {
            "does not exist"
        };
        return Err(wrong(format!("{title} {why}")));
    };
    let Some(pair) = secret.spec.server_pair() else {
        return Err(wrong(format!("{title} has no certificate with a key")));
    };
    match parse_pem_pair(pair.certificate.expose(), pair.private_key.expose()) {
        Ok(_) => Ok(secret),
        Err((_, error)) => Err(wrong(format!("{title}: {error}"))),
    }
}

/// Finds which listeners of one Gateway cannot stand beside one another; those of one object follow each other. What an
/// earlier object has is not to be had by a later one; of those of one object that are left none is served.
fn clash(listeners: &mut [Listener<'_>]) {
    let mut from = 0;
    while let Some(owner) = listeners.get(from).map(|first| first.said.key) {
        let own = listeners.iter().skip(from).take_while(|listener| listener.said.key == owner).count();
        let all = from..from + own;
        for at in all.clone() {
            let before = 0..from;
            settle(listeners, at, before, |other| {
                other.said.key.kind == Kind::ApiGateway || other.conflict.is_ok()
            });
        }
        let left: Vec<bool> = listeners.iter().map(|listener| listener.conflict.is_ok()).collect();
        for at in all.clone().filter(|at| left.get(*at) == Some(&true)) {
            let beside = all.clone().filter(|other| *other != at && left.get(*other) == Some(&true));
            settle(listeners, at, beside, |_| true);
        }
        from += own;
    }
    for at in 0..listeners.len() {
        let own = listeners.get(at);
        let others = listeners.iter().enumerate().filter(|(other, _)| *other != at);
        let overlapping = own.is_some_and(|own| others.into_iter().any(|(_, other)| overlap(own, other)));
        if let Some(own) = listeners.get_mut(at) {
            own.overlapping = overlapping;
        }
    }
    for listener in listeners.iter_mut().filter(|listener| listener.accepted.is_ok()) {
        listener.accepted.clone_from(&listener.conflict);
    }
}

/// Notes the first of these others that the listener cannot stand beside.
fn settle(
    listeners: &mut [Listener<'_>],
    at: usize,
    others: impl Iterator<Item = usize>,
    counts: impl Fn(&Listener<'_>) -> bool,
) {
    let Some(own) = listeners.get(at) else { return };
    let others = others.filter_map(|other| listeners.get(other)).filter(|other| counts(other));
    let found = others.map(|other| conflict(own, other)).find(Result::is_err);
    if let (Some(found), Some(own)) = (found, listeners.get_mut(at)) {
        own.conflict = found;
    }
}

/// Why one cannot stand beside the other.
fn conflict(own: &Listener<'_>, other: &Listener<'_>) -> Result<(), No> {
    let (Some(protocol), Some(beside)) = (own.protocol, other.protocol) else { return Ok(()) };
    let udp = |protocol| protocol == Protocol::Udp;
    if own.spec.port != other.spec.port || udp(protocol) != udp(beside) {
        return Ok(());
    }
    let name = &other.spec.name;
    let same_host = own.opening.host == other.opening.host;
    if protocol == beside {
        let by_host = protocol == Protocol::Http || protocol.by_server_name();
        return match !by_host || same_host {
            true => Err(("HostnameConflict", format!("listener {name} has the same port and names"))),
            false => Ok(()),
        };
    }
    if protocol.by_server_name() && beside.by_server_name() && !same_host {
        return Ok(());
    }
    let why = format!("listener {name} speaks {} on the same port", other.spec.protocol);
    Err(("ProtocolConflict", why))
}

/// Have two listeners that decrypt TLS on one port names in common?
fn overlap(own: &Listener<'_>, other: &Listener<'_>) -> bool {
    let decrypts = |listener: &Listener<'_>| {
        let tls = listener.spec.tls.as_ref();
        let terminates = tls.is_some_and(|tls| tls.mode == ListenerTlsMode::Terminate);
        terminates && listener.protocol.is_some_and(Protocol::by_server_name)
    };
    let (a, b) = (&own.opening.host, &other.opening.host);
    own.spec.port == other.spec.port && decrypts(own) && decrypts(other) && (within(a, b) || within(b, a))
}
