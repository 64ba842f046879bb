//! What became of each Ingress.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::Origin;
use limen_resources::{Facts, GatewayAddress, Kind, ObjectKey, Verdict};

use super::{Behaviour, IngressDraft, Ingresses};
use crate::index::Index;
use crate::istio::addresses;
use crate::istio::programmed::Programmed;
use crate::join::{Lost, as_written};
use crate::report::Report;

/// What became of one Ingress.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The gateways of this process that serve it, by number.
    instances: BTreeSet<usize>,
    behaviour: Option<Behaviour>,
    hosts: BTreeSet<Arc<str>>,
    /// Hosts that are another object's.
    lost: BTreeMap<String, String>,
    /// Why nothing of it is served.
    refused: Option<String>,
}

impl Outcome {
    pub(super) fn serve(&mut self, draft: &IngressDraft, instance: usize) {
        self.instances.insert(instance);
        self.behaviour = Some(draft.behaviour);
        self.hosts.extend(draft.claimed.iter().cloned());
    }

    pub(super) fn lose(&mut self, host: &str, winner: &ObjectKey) {
        self.lost.insert(host.to_owned(), winner.to_string());
    }

    fn served(&self) -> Vec<&str> {
        let left = self.hosts.iter().filter(|host| !self.lost.contains_key(&***host));
        left.map(|host| &**host).collect()
    }
}

impl Ingresses {
    /// Nothing of an Ingress is served.
    pub(super) fn refuse(&mut self, draft: &IngressDraft, why: &str) {
        let outcome = self.outcomes.entry(draft.object.key.clone()).or_default();
        outcome.refused = Some(why.to_owned());
    }

    /// Another API has something of what an Ingress asks for; `origin` is the Ingress or a part of it.
    pub(crate) fn lose(&mut self, origin: &Origin, lost: &Lost) {
        let key = ObjectKey::new(Kind::Ingress, &*origin.namespace, &*origin.name);
        let Some(outcome) = self.outcomes.get_mut(&key) else { return };
        let title = |winner: &Origin| format!("{} {}/{}", winner.kind, winner.namespace, winner.name);
        match lost {
            Lost::Host { host, winner, .. } => {
                outcome.lost.insert(as_written(host), title(winner));
            }
            Lost::Chain { chain, winner } => {
                outcome.lost.insert(format!("what {} is for", chain.field), title(winner));
            }
            Lost::Port { winner, .. } => outcome.refused = Some(format!("{} has the port", title(winner))),
        }
    }

    /// Says what became of each Ingress that is ours, and where clients find it, which is its `status.loadBalancer`.
    pub(crate) fn conclude(&self, index: &Index<'_>, programmed: &Programmed, report: &mut Report) {
        for (key, outcome) in &self.outcomes {
            let served = outcome.served();
            let lost: Vec<_> = outcome.lost.iter().map(|(host, by)| format!("{host} is {by}'s")).collect();
            let closed = outcome.instances.iter().find_map(|number| programmed.closed(*number));
            let (status, reason, message) = if let Some(why) = &outcome.refused {
                (false, "PortNotServed", format!("not served: {why}"))
            } else if !lost.is_empty() {
                (false, "HostConflict", format!("not served: {}", lost.join(", ")))
            } else if let Some(entries) = programmed.refused(key, "spec.tls") {
                (false, "CertificateNotServed", format!("no certificate: {entries}; see the problems"))
            } else if let Some(policy) = closed {
                let message = format!("every request is answered 403: {policy} is not enforced yet");
                (false, "ClosedByPolicy", message)
            } else {
                (true, "Programmed", format!("served as {}", served.join(", ")))
            };
            let mut found = Vec::new();
            if outcome.refused.is_none() && !served.is_empty() {
                for number in &outcome.instances {
                    found.extend(outcome.addresses(*number, index, report));
                }
                found.dedup();
            }
            let verdict = Verdict {
                generation: index.snapshot.get(key).and_then(|object| object.meta().generation),
                ..Verdict::new(key.clone(), Verdict::PROGRAMMED, status, (reason, message))
            };
            report.verdict(verdict.with_facts(Facts { addresses: found, ..Facts::default() }));
        }
    }
}

impl Outcome {
    /// Those of the gateway; for Istio's class, of the Service that the mesh names for it, if there is one.
    fn addresses(&self, instance: usize, index: &Index<'_>, report: &mut Report) -> Vec<GatewayAddress> {
        let Some(workload) = index.settings.gateways.get(instance) else { return Vec::new() };
        if self.behaviour == Some(Behaviour::Istio) {
            let (services, name) = (index.snapshot.services(), &index.settings.mesh.ingress.service);
            if let Some(service) = services.get(&index.settings.root_namespace, name) {
                return addresses::of_service(index, service, report);
            }
        }
        addresses::addresses(index, workload, report)
    }
}
