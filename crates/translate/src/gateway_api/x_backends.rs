//! XBackends: names outside of the cluster that routes lead to, and how they are spoken to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::cluster::Protocol;
use limen_ir::tls::ClientTls;
use limen_resources::gateway_api::{BackendTlsValidation, XBackend, XBackendProtocol, XBackendTlsMode};
use limen_resources::{Object, ObjectKey, Problem, Snapshot};

use super::backend_tls::{IN_FORCE, Reading, Validation, say};
use super::grants::Grants;
use super::{No, identity, listeners};
use crate::index::origin;
use crate::messages::{At, gateway_api as messages};
use crate::report::Report;
use crate::services::{PortFacts, ServiceFacts, ServiceSource};
use crate::sought::Sought;

/// How each is spoken to.
#[derive(Default)]
pub(crate) struct XBackends {
    judged: BTreeMap<ObjectKey, Judged>,
    /// What is to be said of them whoever routes there.
    pub(crate) problems: Vec<Problem>,
    /// Files that they need.
    pub(crate) files: BTreeSet<String>,
}

struct Judged {
    object: Arc<Object<XBackend>>,
    /// `None`: in clear text. Without `trust` nobody can vouch for it, and no connection is made.
    tls: Option<ClientTls>,
    accepted: Result<(), No>,
    resolved: Result<(), No>,
}

/// The name that it is reached by.
pub(crate) fn hostname(object: &XBackend) -> &str {
    object.external_hostname.as_ref().map_or("", |own| &own.hostname)
}

/// What it is as a service. Several may have one hostname, so that this is not its name here.
pub(crate) fn facts(object: &Arc<Object<XBackend>>) -> ServiceFacts {
    let (name, namespace) = (&object.key.name, &object.key.namespace);
    let protocol = match object.spec.protocol {
        None => Protocol::Undetected,
        Some(XBackendProtocol::Http | XBackendProtocol::Http11 | XBackendProtocol::Mcp) => Protocol::Http,
        Some(XBackendProtocol::Http2 | XBackendProtocol::H2c) => Protocol::Http2,
        Some(XBackendProtocol::Tcp) => Protocol::Tcp,
    };
    let port = &object.spec.port;
    ServiceFacts {
        host: format!("{name}.{namespace}.xbackend"),
        namespace: namespace.to_string(),
        name: name.to_string(),
        ports: vec![PortFacts { number: port.port, name: port.name.clone(), protocol: Some(protocol) }],
        source: ServiceSource::XBackend(Arc::clone(object)),
        origin: origin(&object.key, String::new()),
        external: true,
        outside: None,
    }
}

impl XBackends {
    pub(crate) fn new(snapshot: &Snapshot, sought: &Sought) -> XBackends {
        let mut made = XBackends::default();
        if snapshot.x_backends().is_empty() {
            return made;
        }
        let grants = Grants::new(snapshot);
        for object in snapshot.x_backends().iter() {
            let judged = made.judge((snapshot, sought), &grants, object);
            made.judged.insert(object.key.clone(), judged);
        }
        made
    }

    /// How it is spoken to in TLS; `None`: in clear text.
    pub(crate) fn tls(&self, key: &ObjectKey) -> Option<ClientTls> {
        self.judged.get(key)?.tls.clone()
    }

    /// Is it an XBackend that is spoken to in TLS?
    pub(crate) fn is_encrypted(&self, service: &ServiceFacts) -> bool {
        let ServiceSource::XBackend(object) = &service.source else { return false };
        self.judged.get(&object.key).is_some_and(|judged| judged.tls.is_some())
    }

    /// Says what became of those that a Gateway routes to, once for each of these.
    pub(crate) fn conclude(&self, routed: &BTreeSet<(&ObjectKey, &ObjectKey)>, report: &mut Report) {
        for (backend, gateway) in routed {
            if let Some(Judged { object, accepted, resolved, .. }) = self.judged.get(*backend) {
                say(object, Some(gateway), (accepted, Some(resolved)), IN_FORCE, report);
            }
        }
    }

    fn judge(
        &mut self,
        (snapshot, sought): (&Snapshot, &Sought),
        grants: &Grants,
        object: &Arc<Object<XBackend>>,
    ) -> Judged {
        let (mut accepted, mut resolved) = (Ok(()), Ok(()));
        let written = object.spec.tls.as_ref().filter(|tls| tls.mode != XBackendTlsMode::None);
        let tls = written.map(|written| {
            // Where nothing is said, public authorities vouch for the name that it is reached by.
            let usual = || BackendTlsValidation {
                well_known_ca_certificates: "System".to_owned(),
                hostname: hostname(&object.spec).to_owned(),
                ..BackendTlsValidation::default()
            };
            let said = written.validation.clone().unwrap_or_else(usual);
            let XBackends { problems, files, .. } = &mut *self;
            let (key, source, field) = (&object.key, &object.source, "spec.tls.validation");
            let mut reading = Reading { snapshot, sought, key, source, field, problems, files };
            let Validation { tls, accepted: vouched, resolved: found } = reading.validation(&said);
            (accepted, resolved) = (vouched, found);
            let Some(reference) = &written.client_certificate_ref else { return tls };
            let secret = listeners::secret_of((snapshot, sought), grants, key, reference);
            match secret.and_then(|secret| identity::certificate(secret)) {
                Ok(own) => ClientTls { identity: Some(own), ..tls },
                Err((reason, why)) => {
                    let reason = if reason == listeners::INVALID_CERTIFICATE {
                        "InvalidClientCertificateRef"
                    } else {
                        reason
                    };
                    let at = At::new(object, "spec.tls.clientCertificateRef");
                    self.problems.push(messages::condition(at, "ResolvedRefs", reason, &why));
                    resolved = Err((reason, why));
                    // It is not left out in silence: no connection is made.
                    ClientTls { trust: None, ..tls }
                }
            }
        });
        if object.spec.tls.is_none() {
            let at = At::new(object, "spec.tls");
            self.problems.push(messages::clear_outside(at, hostname(&object.spec)));
        }
        Judged { object: Arc::clone(object), tls, accepted, resolved }
    }
}
