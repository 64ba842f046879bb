//! What became of VirtualServices.

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_resources::istio::Gateway;
use limen_resources::{Kind, Object, ObjectKey, Verdict};

use super::shares::Share;
use super::{Outcome, Outcomes};
use crate::draft::{GatewayRef, VirtualServiceDraft};
use crate::index::Index;
use crate::istio::names;
use crate::memo::{Memo, Same};
use crate::messages::{At, route as messages};
use crate::report::Report;

/// What was said of VirtualServices that are served at every Gateway that they name, under all hosts that they share.
pub(super) type VerdictMemo = Memo<ObjectKey, Inputs, Arc<[Verdict]>>;
type Inputs = (Arc<VirtualServiceDraft>, Vec<Vec<Arc<Share>>>);

/// Says of each VirtualService what became of it at each Gateway that it names.
pub(super) fn judge(
    index: &Index<'_>,
    drafts: &[Arc<VirtualServiceDraft>],
    outcomes: &Outcomes<'_>,
    memo: &mut VerdictMemo,
    report: &mut Report,
) {
    for draft in drafts.iter().filter(|draft| !draft.gateways.is_empty()) {
        let mut judged = || -> Vec<Verdict> {
            let at = |gateway| judge_at(index, draft, gateway, outcomes, report);
            draft.gateways.iter().map(at).collect()
        };
        match served(draft, outcomes) {
            // No problem is said of those.
            Some(shares) => {
                let known = |inputs: &Inputs, _: &_| inputs.0.same(draft) && are(&inputs.1, &shares);
                if let Some(group) = memo.known(&draft.object.key, known) {
                    report.group(group);
                    continue;
                }
                let inputs = (Arc::clone(draft), shares.into_iter().map(<[_]>::to_vec).collect());
                let group = memo.get(draft.object.key.clone(), inputs, |_| {
                    let mut group = judged();
                    group.sort();
                    group.into()
                });
                report.group(&group);
            }
            None => judged().into_iter().for_each(|verdict| report.verdict(verdict)),
        }
    }
    memo.turn();
}

/// Are these the very same shares?
fn are(known: &[Vec<Arc<Share>>], shares: &[&[Arc<Share>]]) -> bool {
    let same = |(a, b): (&Vec<Arc<Share>>, &&[Arc<Share>])| {
        a.len() == b.len() && a.iter().zip(*b).all(|(a, b)| a.same(b))
    };
    known.len() == shares.len() && known.iter().zip(shares).all(same)
}

/// Its shares by Gateway, if nothing else is to be said of it.
fn served<'o>(draft: &'o VirtualServiceDraft, outcomes: &'o Outcomes<'_>) -> Option<Vec<&'o [Arc<Share>]>> {
    let mut served = Vec::with_capacity(draft.gateways.len());
    for gateway in &draft.gateways {
        let Outcome { shares, hosts, lost, idle } = outcomes.get(draft, &gateway.name)?;
        if shares.is_empty() || !hosts.is_empty() || !lost.is_empty() || *idle {
            return None;
        }
        served.push(&**shares);
    }
    Some(served)
}

/// Says what became of it at one.
fn judge_at(
    index: &Index<'_>,
    draft: &Arc<VirtualServiceDraft>,
    reference: &GatewayRef,
    outcomes: &Outcomes<'_>,
    report: &mut Report,
) -> Verdict {
    let at = At::new(&draft.object, &reference.field);
    let name = reference.name.split_once('/');
    let found = name.and_then(|(namespace, name)| index.snapshot.gateways().get(namespace, name));
    let none = Outcome::default();
    let outcome = outcomes.get(draft, &reference.name).unwrap_or(&none);
    let (status, reason, message) = match found {
        None => {
            let namesake = namesake(index, &reference.name);
            report.problem(messages::gateway_not_found(at, &reference.name, namesake));
            (false, "GatewayNotFound", "there is no such Gateway".to_owned())
        }
        Some(_) if draft.reach.is_none() => {
            (false, "NotExported", "it is not exported to the gateway's namespace".to_owned())
        }
        Some(_) if !outcome.lost.is_empty() => {
            let lost: Vec<_> = outcome.lost.iter().map(String::as_str).collect();
            (false, "HostConflict", format!("not served: {}", lost.join(", ")))
        }
        Some(_) if outcome.is_served() => (true, "Accepted", format!("served as {}", outcome.served_as())),
        Some(_) if outcome.idle => {
            let message = "it has no route for the connections of its servers, or not the first one";
            (false, "NoRouteForServer", message.to_owned())
        }
        Some(gateway) if any_server_has(gateway, draft) => {
            (false, "ServerNotServed", "no server that has its hosts is served here".to_owned())
        }
        Some(_) => {
            report.problem(messages::host_not_in_gateway(at, &reference.name));
            (false, "NoMatchingHost", "no server of the Gateway has a host of it".to_owned())
        }
    };
    Verdict {
        parent: name.map(|(namespace, name)| ObjectKey::new(Kind::Gateway, namespace, name)),
        generation: draft.object.meta.generation,
        ..Verdict::new(draft.object.key.clone(), "Accepted", status, (reason, message))
    }
}

impl Outcome {
    fn is_served(&self) -> bool {
        !(self.shares.is_empty() && self.hosts.is_empty())
    }

    /// The hosts under which it is served, for people.
    fn served_as(&self) -> String {
        let shared = self.shares.iter().flat_map(|share| &share.hosts).map(|host| &*host.lower);
        let hosts: BTreeSet<&str> = self.hosts.iter().map(String::as_str).chain(shared).collect();
        hosts.into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// A Gateway of the same name in another namespace.
fn namesake(index: &Index<'_>, name: &str) -> Option<String> {
    let (_, name) = name.split_once('/')?;
    let other = index.gateways.iter().find(|gateway| *gateway.key.name == *name)?;
    Some(format!("{}/{}", other.key.namespace, other.key.name))
}

/// Does any server of the Gateway, served or not, have a host of the VirtualService?
fn any_server_has(gateway: &Object<Gateway>, draft: &VirtualServiceDraft) -> bool {
    let own = &*draft.object.key.namespace;
    let for_it = |host: &&String| match host.split_once('/') {
        None | Some(("*", _)) => true,
        Some((".", _)) => *gateway.key.namespace == *own,
        Some((namespace, _)) => namespace == own,
    };
    let hosts = gateway.spec.servers.iter().flat_map(|server| &server.hosts).filter(for_it);
    let hosts = hosts.map(|host| host.split_once('/').map_or(&**host, |(_, name)| name));
    !names::intersection(hosts, &draft.hosts).is_empty()
}
