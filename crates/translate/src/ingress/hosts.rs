//! The Ingresses of one gateway, joined by host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::matcher::PathMatch;
use limen_resources::{ObjectKey, Problem};

use super::draft::{ANY, PathDraft};
use super::verdicts::Outcome;
use super::{Behaviour, HostsOfIngresses, IngressDraft, IngressHost, PathRoute};
use crate::memo::Same;
use crate::messages::{At, ingress as messages};
use crate::report::Report;

/// The hosts of a gateway's Ingresses.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) hosts: BTreeMap<Arc<str>, Owned>,
    /// Those that requests can ask for.
    pub(super) asked: Arc<HostsOfIngresses>,
}

/// A host, and whose it is.
#[derive(Debug)]
pub(super) struct Owned {
    /// All Ingresses that claim it, oldest first, which is its owner.
    claimants: Vec<Arc<IngressDraft>>,
    /// `None`: only certificates name it.
    host: Option<Arc<IngressHost>>,
    /// What is wrong with what they say of it.
    problems: Vec<Problem>,
}

impl Owned {
    /// The oldest Ingress that claims it.
    pub(super) fn owner(&self) -> Option<&Arc<IngressDraft>> {
        self.claimants.first()
    }

    /// Does it let another Ingress add to the host? By the specification those of one namespace share it, in Istio those
    /// of all.
    fn shares_with(&self, other: &IngressDraft) -> bool {
        self.owner().is_none_or(|own| {
            let namespace = own.object.key.namespace == other.object.key.namespace;
            own.behaviour == other.behaviour && (namespace || own.behaviour == Behaviour::Istio)
        })
    }

    /// Those that may add to it.
    pub(super) fn sharing(&self) -> impl Iterator<Item = &Arc<IngressDraft>> {
        self.claimants.iter().filter(|draft| self.shares_with(draft))
    }

    /// Those that may not.
    fn losers(&self) -> impl Iterator<Item = &Arc<IngressDraft>> {
        self.claimants.iter().filter(|draft| !self.shares_with(draft))
    }

    /// Makes the host of what its claimants say. A host's requests that no path takes go to a default backend of its own, or
    /// of its namespace, where `of_any` has one.
    fn join(&mut self, host: &str, of_any: Option<&Arc<IngressDraft>>) {
        let sharing: Vec<_> = self.sharing().cloned().collect();
        let ruled = sharing.iter().any(|draft| draft.hosts.contains_key(host));
        let mut problems = Vec::new();
        if let Some(owner) = self.owner() {
            let winner = &owner.object.key;
            let lost = |draft: &Arc<IngressDraft>| {
                messages::host_conflict(At::new(&draft.object, &field_of(draft, host)), host, winner)
            };
            problems.extend(self.losers().map(lost));
        }
        let mut made = None;
        if let Some(owner) = self.owner().filter(|_| ruled || host == ANY) {
            let default = sharing.iter().find(|draft| draft.default.is_some());
            let default = default.or(of_any.filter(|any| self.shares_with(any)));
            let mut routes = routes(host, &sharing, &mut problems);
            routes.extend(default.map(|draft| PathRoute { draft: Arc::clone(draft), path: None }));
            let pattern = owner.pattern(host);
            let same = |known: &&Arc<IngressHost>| known.pattern == pattern && known.routes.same(&routes);
            made = match self.host.as_ref().filter(same) {
                Some(known) => Some(Arc::clone(known)),
                None => Some(Arc::new(IngressHost { pattern, routes })),
            };
        }
        (self.host, self.problems) = (made, problems);
    }
}

impl Joined {
    /// Is the host an Ingress's to add to?
    pub(super) fn admits(&self, host: &str, draft: &IngressDraft) -> bool {
        self.hosts.get(host).is_none_or(|owned| owned.shares_with(draft))
    }

    /// The first default backend of those that share the host of requests for any.
    fn of_any(&self) -> Option<Arc<IngressDraft>> {
        self.hosts.get(ANY)?.sharing().find(|draft| draft.default.is_some()).cloned()
    }

    /// Notes the host under its name as it is now.
    fn ask(&mut self, host: &Arc<str>) {
        let made = self.hosts.get(host).and_then(|owned| owned.host.as_ref());
        let asked = Arc::make_mut(&mut self.asked);
        match made {
            Some(made) => drop(asked.insert(Arc::clone(host), Arc::clone(made))),
            None => drop(asked.remove(host)),
        }
    }
}

/// The hosts of a gateway as they were joined before.
#[derive(Debug, Default)]
pub(super) struct JoinMemo {
    drafts: Vec<Arc<IngressDraft>>,
    joined: Joined,
    /// Hosts of which something is to be said.
    speaking: BTreeSet<Arc<str>>,
}

impl JoinMemo {
    /// Joins `drafts`, which are oldest first. The first that claims a host says who may share it. Where a few say something
    /// else of the hosts that they claimed before, only these are joined again.
    pub(super) fn next(
        &mut self,
        drafts: &[Arc<IngressDraft>],
        outcomes: &mut BTreeMap<ObjectKey, Outcome>,
        report: &mut Report,
    ) -> &Joined {
        match self.changed(drafts) {
            Some(places) => self.again(drafts, &places),
            None => self.anew(drafts),
        }
        for (host, owned) in self.speaking.iter().filter_map(|host| self.joined.hosts.get_key_value(host)) {
            report.problems(&owned.problems);
            let Some(owner) = owned.owner() else { continue };
            for draft in owned.losers() {
                outcomes.entry(draft.object.key.clone()).or_default().lose(host, &owner.object.key);
            }
        }
        &self.joined
    }

    /// The places of those that are others than before, if each claims what the one before it there did.
    fn changed(&self, drafts: &[Arc<IngressDraft>]) -> Option<Vec<usize>> {
        if drafts.len() != self.drafts.len() {
            return None;
        }
        let both = self.drafts.iter().zip(drafts).enumerate();
        let others = both.filter(|(_, (old, new))| !old.same(new));
        let alike = |(old, new): (&Arc<IngressDraft>, &Arc<IngressDraft>)| {
            // A default backend may be that of hosts which it does not claim.
            let default = old.default.is_some() || new.default.is_some();
            let same = (&old.object.key, &old.claimed) == (&new.object.key, &new.claimed);
            same && old.behaviour == new.behaviour && !default
        };
        others.map(|(place, both)| alike(both).then_some(place)).collect()
    }

    fn again(&mut self, drafts: &[Arc<IngressDraft>], places: &[usize]) {
        let of_any = self.joined.of_any();
        // Those that are replaced, by where they stand; all are held until the end.
        let mut old: BTreeMap<*const IngressDraft, &Arc<IngressDraft>> = BTreeMap::new();
        let (mut held, mut touched) = (Vec::with_capacity(places.len()), BTreeSet::new());
        for place in places {
            let (Some(known), Some(new)) = (self.drafts.get_mut(*place), drafts.get(*place)) else {
                continue;
            };
            let before = std::mem::replace(known, Arc::clone(new));
            old.insert(Arc::as_ptr(&before), new);
            held.push(before);
            touched.extend(&new.claimed);
        }
        // A host of many that are replaced at once is gone through once.
        for host in touched {
            let Some(owned) = self.joined.hosts.get_mut(host) else { continue };
            for claimant in &mut owned.claimants {
                if let Some(new) = old.get(&Arc::as_ptr(claimant)) {
                    *claimant = Arc::clone(new);
                }
            }
            self.join(host, of_any.as_ref());
        }
    }

    fn anew(&mut self, drafts: &[Arc<IngressDraft>]) {
        let mut before = std::mem::take(&mut self.joined);
        self.speaking.clear();
        self.drafts = drafts.to_vec();
        for draft in drafts {
            for host in &draft.claimed {
                let owned = self.joined.hosts.entry(Arc::clone(host)).or_insert_with(|| {
                    let host = before.hosts.remove(host).and_then(|owned| owned.host);
                    Owned { claimants: Vec::new(), host, problems: Vec::new() }
                });
                owned.claimants.push(Arc::clone(draft));
            }
        }
        let of_any = self.joined.of_any();
        let hosts: Vec<_> = self.joined.hosts.keys().cloned().collect();
        hosts.iter().for_each(|host| self.join(host, of_any.as_ref()));
    }

    fn join(&mut self, host: &Arc<str>, of_any: Option<&Arc<IngressDraft>>) {
        let Some(owned) = self.joined.hosts.get_mut(host) else { return };
        owned.join(host, of_any);
        match owned.problems.is_empty() && owned.losers().next().is_none() {
            true => drop(self.speaking.remove(host)),
            false => drop(self.speaking.insert(Arc::clone(host))),
        }
        self.joined.ask(host);
    }
}

/// The paths under a host in the order in which they are tried; of two equal ones the older Ingress's.
fn routes(host: &str, drafts: &[Arc<IngressDraft>], problems: &mut Vec<Problem>) -> Vec<PathRoute> {
    let mut paths: Vec<(&Arc<IngressDraft>, usize, &PathDraft)> = Vec::new();
    for draft in drafts {
        let own = draft.hosts.get(host).into_iter().flat_map(|own| &own.paths);
        paths.extend(own.filter_map(|at| Some((draft, *at, draft.paths.get(*at)?))));
    }
    // Stable: what is equal stays in the order of age, then of writing.
    paths.sort_by_key(|(_, _, path)| path.rank);
    let mut known: BTreeMap<&PathMatch, &Arc<IngressDraft>> = BTreeMap::new();
    let mut said: BTreeSet<(&ObjectKey, &str)> = BTreeSet::new();
    let mut routes = Vec::with_capacity(paths.len());
    for (draft, at, path) in paths {
        match known.get(&path.matches) {
            Some(first) if said.insert((&draft.object.key, &path.route.field)) => {
                let at = At::new(&draft.object, &path.route.field);
                problems.push(messages::path_conflict(at, &first.object.key));
            }
            Some(_) => {}
            None => {
                known.insert(&path.matches, draft);
                routes.push(PathRoute { draft: Arc::clone(draft), path: Some(at) });
            }
        }
    }
    routes
}

/// Where an Ingress names a host.
pub(super) fn field_of(draft: &IngressDraft, host: &str) -> String {
    if let Some(own) = draft.hosts.get(host) {
        return format!("spec.rules[{}].host", own.rule);
    }
    if host == ANY {
        return "spec.defaultBackend".to_owned();
    }
    for (number, tls) in draft.object.spec.tls.iter().enumerate() {
        if let Some(at) = tls.hosts.iter().position(|written| written.eq_ignore_ascii_case(host)) {
            return format!("spec.tls[{number}].hosts[{at}]");
        }
    }
    "spec".to_owned()
}
