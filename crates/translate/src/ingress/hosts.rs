//! The Ingresses of one gateway, joined by host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::matcher::PathMatch;
use limen_resources::ObjectKey;

use super::draft::{ANY, PathDraft};
use super::verdicts::Outcome;
use super::{Behaviour, IngressDraft, IngressHost, PathRoute};
use crate::messages::{At, ingress as messages};
use crate::report::Report;

/// The hosts of a gateway's Ingresses.
pub(super) struct Joined {
    pub(super) hosts: BTreeMap<Arc<str>, Owned>,
}

/// A host, and whose it is.
pub(super) struct Owned {
    /// The oldest Ingress that claims it.
    pub(super) owner: Arc<IngressDraft>,
    /// `None`: only certificates name it.
    pub(super) host: Option<Arc<IngressHost>>,
}

impl Owned {
    /// Does it let another Ingress add to the host? By the specification those of one namespace share it, in Istio those
    /// of all.
    fn shares_with(&self, other: &IngressDraft) -> bool {
        let own = &self.owner;
        let namespace = own.object.key.namespace == other.object.key.namespace;
        own.behaviour == other.behaviour && (namespace || own.behaviour == Behaviour::Istio)
    }
}

impl Joined {
    /// Is the host an Ingress's to add to?
    pub(super) fn admits(&self, host: &str, draft: &IngressDraft) -> bool {
        self.hosts.get(host).is_none_or(|owned| owned.shares_with(draft))
    }
}

/// Joins `drafts`, which are oldest first. The first that claims a host says who may share it.
pub(super) fn join(
    drafts: &[Arc<IngressDraft>],
    outcomes: &mut BTreeMap<ObjectKey, Outcome>,
    report: &mut Report,
) -> Joined {
    let mut hosts: BTreeMap<Arc<str>, Owned> = BTreeMap::new();
    let mut sharing: BTreeMap<&str, Vec<&Arc<IngressDraft>>> = BTreeMap::new();
    for draft in drafts {
        for host in &draft.claimed {
            let owned = hosts
                .entry(Arc::clone(host))
                .or_insert_with(|| Owned { owner: Arc::clone(draft), host: None });
            if owned.shares_with(draft) {
                sharing.entry(host).or_default().push(draft);
                continue;
            }
            let winner = &owned.owner.object.key;
            report.problem(messages::host_conflict(
                At::new(&draft.object, &field_of(draft, host)),
                host,
                winner,
            ));
            outcomes.entry(draft.object.key.clone()).or_default().lose(host, winner);
        }
    }
    // A host's requests that no path takes go to a default backend of its own, or of its namespace.
    let of_any =
        sharing.get(ANY).and_then(|drafts| drafts.iter().find(|draft| draft.default.is_some())).copied();
    for (host, drafts) in &sharing {
        let Some(owned) = hosts.get_mut(*host) else { continue };
        let ruled = drafts.iter().any(|draft| draft.hosts.iter().any(|own| own == host));
        let default = drafts.iter().copied().find(|draft| draft.default.is_some());
        let default = default.or(of_any.filter(|any| owned.shares_with(any)));
        if !ruled && *host != ANY {
            continue;
        }
        let mut routes = routes(host, drafts, report);
        routes.extend(default.map(|draft| PathRoute { draft: Arc::clone(draft), path: None }));
        let pattern = owned.owner.pattern(host);
        owned.host = Some(Arc::new(IngressHost { pattern, routes }));
    }
    Joined { hosts }
}

/// The paths under a host in the order in which they are tried; of two equal ones the older Ingress's.
fn routes(host: &str, drafts: &[&Arc<IngressDraft>], report: &mut Report) -> Vec<PathRoute> {
    let mut paths: Vec<(&Arc<IngressDraft>, usize, &PathDraft)> = Vec::new();
    for draft in drafts {
        let own = draft.paths.iter().enumerate().filter(|(_, path)| path.host == host);
        paths.extend(own.map(|(at, path)| (*draft, at, path)));
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
                report.problem(messages::path_conflict(at, &first.object.key));
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
    let spec = &draft.object.spec;
    let named = |written: &str| written.eq_ignore_ascii_case(if host == ANY { "" } else { host });
    if let Some(at) = spec.rules.iter().position(|rule| named(&rule.host)) {
        return format!("spec.rules[{at}].host");
    }
    if host == ANY {
        return "spec.defaultBackend".to_owned();
    }
    for (number, tls) in spec.tls.iter().enumerate() {
        if let Some(at) = tls.hosts.iter().position(|written| named(written)) {
            return format!("spec.tls[{number}].hosts[{at}]");
        }
    }
    "spec".to_owned()
}
