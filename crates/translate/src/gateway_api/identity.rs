//! Certificates that Gateways show to the backends that policies have them speak TLS with. A backend that is shown several
//! is as many clusters, so that no connection serves the requests of a Gateway that it was not made for.

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
use limen_ir::policy::external_auth::ExternalAuth;
use limen_ir::route::{Action, Rule};
use limen_ir::tcp::TcpRoute;
use limen_ir::tls::{Certificate, CertificateId, PrivateKey};
use limen_resources::Object;
use limen_resources::core::Secret;

use super::backends::Needed;
use super::gateways::OwnGateway;
use super::grants::Grants;
use super::{No, listeners};
use crate::index::{Index, origin};
use crate::secrets::{GATEWAY_API, without_keys};

/// What each of our Gateways shows, by its place.
#[derive(Debug, Default)]
pub(super) struct Identities {
    shown: Vec<Option<Identity>>,
    /// The clusters that are shown it.
    clusters: BTreeSet<ClusterKey>,
}

/// What a Gateway wants to show.
#[derive(Debug)]
struct Identity {
    /// Of the Gateway: `namespace/name`.
    gateway: String,
    certificate: Result<Arc<Certificate>, No>,
}

impl Identities {
    pub(super) fn new(ground: (&Index<'_>, &Grants), gateways: &[OwnGateway<'_>]) -> Identities {
        let shown = gateways.iter().map(|gateway| {
            let key = &gateway.object.key;
            let backend = gateway.object.spec.tls.as_ref()?.backend.as_ref()?;
            let secret = listeners::secret(ground, key, backend.client_certificate_ref.as_ref()?);
            let certificate = secret.and_then(|secret| certificate(secret)).map_err(|(reason, why)| {
                let own = reason == listeners::INVALID_CERTIFICATE;
                (if own { "InvalidClientCertificateRef" } else { reason }, why)
            });
            Some(Identity { gateway: format!("{}/{}", key.namespace, key.name), certificate })
        });
        Identities { shown: shown.collect(), clusters: BTreeSet::new() }
    }

    /// Takes a note of those of the clusters that are to be shown what Gateways have.
    pub(super) fn note(&mut self, index: &Index<'_>, needed: &[Needed]) {
        if self.shown.iter().all(Option::is_none) {
            return;
        }
        for Needed { cluster, service, .. } in needed {
            let port = service.port(cluster.port);
            let policy = port.is_some_and(|port| index.backend_tls.find(service, &port).is_some());
            if policy && !cluster.by_server_name {
                self.clusters.insert(ClusterKey::clone(cluster));
            }
        }
    }

    /// Can what a Gateway wants to show be used? `None`: it wants to show nothing.
    pub(super) fn resolved(&self, gateway: usize) -> Option<Result<(), No>> {
        let certificate = &self.shown.get(gateway)?.as_ref()?.certificate;
        Some(certificate.as_ref().map(|_| ()).map_err(Clone::clone))
    }

    /// A cluster as a Gateway speaks to it, with what it shows it.
    pub(super) fn cluster(&self, gateway: usize, key: &ClusterKey) -> (ClusterKey, Option<Arc<Certificate>>) {
        match (self.shown.get(gateway), self.name(gateway, key)) {
            (Some(Some(own)), Some(key)) => (key, own.certificate.as_ref().ok().cloned()),
            _ => (key.clone(), None),
        }
    }

    /// What a Gateway calls the cluster to which it shows something.
    fn name(&self, gateway: usize, key: &ClusterKey) -> Option<ClusterKey> {
        let own = self.shown.get(gateway)?.as_ref().filter(|_| self.clusters.contains(key))?;
        Some(key.with(|name| name.gateway.clone_from(&own.gateway)))
    }

    /// Does a Gateway show anything?
    pub(super) fn shows(&self, gateway: usize) -> bool {
        self.shown.get(gateway).is_some_and(Option::is_some)
    }

    /// A rule as a Gateway has it.
    pub(super) fn rule(&self, gateway: usize, rule: &Arc<Rule>) -> Arc<Rule> {
        if !self.shows(gateway) {
            return Arc::clone(rule);
        }
        let mut rule = Rule::clone(rule);
        let mut all: Vec<&mut ClusterKey> = service(&mut rule.external_auth).into_iter().collect();
        if let Action::Forward(forward) = &mut rule.action {
            for to in &mut forward.destinations {
                all.extend(service(&mut to.external_auth));
                all.push(&mut to.cluster);
            }
            all.extend(forward.mirrors.iter_mut().map(|mirror| &mut mirror.cluster));
        }
        for cluster in all {
            if let Some(name) = self.name(gateway, cluster) {
                *cluster = name;
            }
        }
        Arc::new(rule)
    }

    /// A route of connections as a Gateway has it.
    pub(super) fn route(&self, gateway: usize, route: &TcpRoute) -> TcpRoute {
        let mut route = route.clone();
        for destination in &mut route.destinations {
            if let Some(name) = self.name(gateway, &destination.cluster) {
                destination.cluster = name;
            }
        }
        route
    }
}

/// The cluster of a service that is asked about requests.
fn service(asked: &mut Option<Arc<ExternalAuth>>) -> Option<&mut ClusterKey> {
    asked.as_mut().map(|asked| &mut Arc::make_mut(asked).cluster)
}

pub(super) fn certificate(secret: &Object<Secret>) -> Result<Arc<Certificate>, No> {
    let unreadable = || (listeners::INVALID_CERTIFICATE, format!("{} is not text", secret.key));
    let pair = secret.spec.server_pair().ok_or_else(unreadable)?;
    let chain = std::str::from_utf8(pair.certificate.expose()).map_err(|_| unreadable())?;
    Ok(Arc::new(Certificate {
        id: CertificateId(format!("{GATEWAY_API}{}/{}", secret.key.namespace, secret.key.name)),
        chain_pem: without_keys(chain),
        key: PrivateKey::from_pem(pair.private_key.expose().to_vec()),
        staple: None,
        origin: origin(&secret.key, String::new()),
    }))
}
