//! Certificates that Gateways show to the backends that policies have them speak TLS with. A backend that is shown several
//! is as many clusters, so that no connection serves the requests of a Gateway that it was not made for.

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
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
        for (cluster, service, _) in needed.iter().filter(|_| self.shown.iter().any(Option::is_some)) {
            let port = service.port(cluster.port);
            let policy = port.is_some_and(|port| index.backend_tls.find(service, &port).is_some());
            if policy && !cluster.by_server_name {
                self.clusters.insert(cluster.clone());
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
        match self.shown.get(gateway) {
            Some(Some(own)) if self.clusters.contains(key) => {
                let key = ClusterKey { gateway: own.gateway.clone(), ..key.clone() };
                (key, own.certificate.as_ref().ok().cloned())
            }
            _ => (key.clone(), None),
        }
    }

    /// A rule as a Gateway has it.
    pub(super) fn rule(&self, gateway: usize, rule: &Arc<Rule>) -> Arc<Rule> {
        if !self.shown.get(gateway).is_some_and(Option::is_some) {
            return Arc::clone(rule);
        }
        let mut rule = Rule::clone(rule);
        if let Some(asked) = &mut rule.external_auth {
            let asked = Arc::make_mut(asked);
            asked.cluster = self.cluster(gateway, &asked.cluster).0;
        }
        if let Action::Forward(forward) = &mut rule.action {
            let destinations = forward.destinations.iter_mut().map(|to| &mut to.cluster);
            let all = destinations.chain(forward.mirrors.iter_mut().map(|mirror| &mut mirror.cluster));
            all.for_each(|cluster| *cluster = self.cluster(gateway, cluster).0);
        }
        Arc::new(rule)
    }

    /// A route of connections as a Gateway has it.
    pub(super) fn route(&self, gateway: usize, route: &TcpRoute) -> TcpRoute {
        let mut route = route.clone();
        for destination in &mut route.destinations {
            destination.cluster = self.cluster(gateway, &destination.cluster).0;
        }
        route
    }
}

fn certificate(secret: &Object<Secret>) -> Result<Arc<Certificate>, No> {
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
