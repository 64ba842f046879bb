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
use crate::memo::{Memo, keep};
use crate::report::Report;

/// What was said of Ingresses that are served as they ask.
#[derive(Debug, Default)]
pub(crate) struct VerdictMemo {
    verdicts: Memo<ObjectKey, (Arc<IngressDraft>, Addresses), Arc<[Verdict]>>,
    addresses: BTreeMap<Place, Addresses>,
}

type Addresses = Arc<Vec<GatewayAddress>>;

/// Where an Ingress is served: by which gateways, and whose rules say at which addresses.
type Place = (Vec<usize>, Option<Behaviour>);

/// What became of one Ingress.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    draft: Option<Arc<IngressDraft>>,
    /// The gateways of this process that serve it, by number, ascending.
    instances: Vec<usize>,
    /// Hosts that are another object's.
    lost: BTreeMap<String, String>,
    /// Why nothing of it is served.
    refused: Option<String>,
}

impl Outcome {
    /// Notes that a gateway serves it; those of the process come in their order.
    pub(super) fn serve(&mut self, draft: &Arc<IngressDraft>, instance: usize) {
        self.instances.push(instance);
        self.draft = Some(Arc::clone(draft));
    }

    pub(super) fn lose(&mut self, host: &str, winner: &ObjectKey) {
        self.lost.insert(host.to_owned(), winner.to_string());
    }

    fn served(&self) -> Vec<&str> {
        let claimed = self.draft.iter().flat_map(|draft| &draft.claimed).map(|host| &**host);
        let hosts: BTreeSet<&str> = claimed.filter(|host| !self.lost.contains_key(*host)).collect();
        hosts.into_iter().collect()
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
    pub(crate) fn conclude(
        &self,
        index: &Index<'_>,
        programmed: &Programmed,
        memo: &mut VerdictMemo,
        report: &mut Report,
    ) {
        let mut places: BTreeMap<Place, Addresses> = BTreeMap::new();
        for (key, outcome) in &self.outcomes {
            let place = outcome.place();
            let addresses = match places.get(&place) {
                Some(known) => Arc::clone(known),
                None => {
                    let found = keep(memo.addresses.get(&place), outcome.addresses(index, report));
                    Arc::clone(places.entry(place).or_insert(found))
                }
            };
            let closed = outcome.instances.iter().find_map(|number| programmed.closed(*number));
            let whole = outcome.refused.is_none() && outcome.lost.is_empty() && closed.is_none();
            if let Some(draft) = outcome.draft.as_ref().filter(|_| whole)
                && programmed.refused(key, "spec.tls").is_none()
            {
                let inputs = (Arc::clone(draft), addresses);
                let group = memo.verdicts.get(key.clone(), inputs, |(draft, addresses)| {
                    let served = outcome.served();
                    let found = if served.is_empty() { Vec::new() } else { Vec::clone(addresses) };
                    let said = (true, "Programmed", format!("served as {}", served.join(", ")));
                    [verdict(key, draft.object.meta.generation, said, found)].into()
                });
                report.group(&group);
                continue;
            }
            let served = outcome.served();
            let lost: Vec<_> = outcome.lost.iter().map(|(host, by)| format!("{host} is {by}'s")).collect();
            let said = if let Some(why) = &outcome.refused {
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
            let nowhere = outcome.refused.is_some() || served.is_empty();
            let found = if nowhere { Vec::new() } else { Vec::clone(&addresses) };
            let generation = outcome.draft.as_ref().and_then(|draft| draft.object.meta.generation);
            report.verdict(verdict(key, generation, said, found));
        }
        memo.verdicts.turn();
        memo.addresses = places;
    }
}

fn verdict(
    key: &ObjectKey,
    generation: Option<u64>,
    (status, reason, message): (bool, &'static str, String),
    addresses: Vec<GatewayAddress>,
) -> Verdict {
    let verdict = Verdict::new(key.clone(), Verdict::PROGRAMMED, status, (reason, message));
    Verdict { generation, ..verdict }.with_facts(Facts { addresses, ..Facts::default() })
}

impl Outcome {
    fn place(&self) -> Place {
        (self.instances.clone(), self.draft.as_ref().map(|draft| draft.behaviour))
    }

    /// Where clients find it.
    fn addresses(&self, index: &Index<'_>, report: &mut Report) -> Vec<GatewayAddress> {
        let (instances, behaviour) = self.place();
        let mut found = Vec::new();
        for number in instances {
            found.extend(addresses_of(number, behaviour, index, report));
        }
        found.dedup();
        found
    }
}

/// Those of the gateway; for Istio's class, of the Service that the mesh names for it, if there is one.
fn addresses_of(
    instance: usize,
    behaviour: Option<Behaviour>,
    index: &Index<'_>,
    report: &mut Report,
) -> Vec<GatewayAddress> {
    let Some(workload) = index.settings.gateways.get(instance) else { return Vec::new() };
    if behaviour == Some(Behaviour::Istio) {
        let (services, name) = (index.snapshot.services(), &index.settings.mesh.ingress.service);
        if let Some(service) = services.get(&index.settings.root_namespace, name) {
            return addresses::of_service(index, service, report);
        }
    }
    addresses::addresses(index, workload, report)
}
