//! The hosts of a route table, gathered from the VirtualServices that share them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::atoms::{HostPattern, Port};
use limen_ir::route::{Rule, VirtualHost};
use limen_resources::ObjectKey;

use crate::bind::{Bound, BoundRule};
use crate::draft::VirtualServiceDraft;
use crate::istio::gateway::ServerPlan;
use crate::memo::{ByValue, Memo, Same};

/// By host: the rules that it has, and the one that stands in for them if the gateway is closed.
pub(super) type HostMemo = Memo<Arc<str>, HostInputs, Arc<VirtualHost>>;
type HostInputs = ((Vec<Arc<Bound>>, Option<Arc<Rule>>), ByValue<(Port, bool)>);

/// A virtual host that rules are gathered for.
pub(super) struct HostDraft<'a> {
    declared: Port,
    https_redirect: bool,
    parts: Vec<Part<'a>>,
}

/// What is gathered for hosts, in lower case, in the order in which it comes.
#[derive(Default)]
pub(super) struct Hosts<'a>(Vec<(Arc<str>, HostDraft<'a>)>);

impl<'a> Hosts<'a> {
    pub(super) fn add(
        &mut self,
        server: &'a ServerPlan,
        draft: &'a VirtualServiceDraft,
        shared: &[Arc<str>],
        bound: &Arc<Bound>,
    ) {
        for host in shared {
            let part = (&draft.object.key, &*server.gateway_name, Arc::clone(bound));
            let new = HostDraft {
                https_redirect: server.https_redirect,
                parts: vec![part],
                ..HostDraft::new(server.declared)
            };
            self.0.push((Arc::clone(host), new));
        }
    }

    /// Every host of a redirecting server redirects, whether a VirtualService has it or not. One that is for a single
    /// namespace does so only where a VirtualService has it.
    pub(super) fn redirect(&mut self, server: &ServerPlan) {
        if !server.https_redirect {
            return;
        }
        for host in server.hosts.iter().filter(|host| host.namespace.is_none()) {
            let new = HostDraft { https_redirect: true, ..HostDraft::new(server.declared) };
            self.0.push((host.name.to_ascii_lowercase().into(), new));
        }
    }

    /// By host, each once, in the order of names.
    pub(super) fn into_drafts(self) -> Vec<(Arc<str>, HostDraft<'a>)> {
        let mut all = self.0;
        // Stable: what comes first for a host stays first.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|next, first| {
            let same = next.0 == first.0;
            if same {
                first.1.join(&mut next.1);
            }
            same
        });
        all.iter_mut().for_each(|(_, draft)| draft.once());
        all
    }
}

impl HostDraft<'_> {
    fn new(declared: Port) -> Self {
        HostDraft { declared, https_redirect: false, parts: Vec::new() }
    }

    /// What comes behind for the same host.
    fn join(&mut self, next: &mut Self) {
        self.https_redirect |= next.https_redirect;
        self.parts.append(&mut next.parts);
    }

    /// A VirtualService has its rules once through each Gateway.
    fn once(&mut self) {
        if self.parts.len() < 2 {
            return;
        }
        let mut seen = BTreeSet::new();
        self.parts.retain(|(key, gateway, _)| seen.insert((*key, *gateway)));
    }

    /// The host with its rules.
    pub(super) fn host(
        self,
        host: Arc<str>,
        guard: Option<&Arc<Rule>>,
        (known, lists): (&mut HostMemo, &mut Lists),
    ) -> Arc<VirtualHost> {
        let HostDraft { declared, https_redirect, parts } = self;
        let https_redirect = https_redirect && guard.is_none();
        let same = |((bound, known), facts): &HostInputs, _: &_| {
            let parts = parts.iter().map(|(.., bound)| bound);
            facts.0 == (declared, https_redirect)
                && known.as_ref().map(Arc::as_ptr) == guard.map(Arc::as_ptr)
                && bound.len() == parts.len()
                && bound.iter().zip(parts).all(|(a, b)| a.same(b))
        };
        if let Some(made) = known.known(&host, same) {
            lists.note(&parts, guard, made);
            return Arc::clone(made);
        }
        let bound = parts.iter().map(|(.., bound)| Arc::clone(bound)).collect();
        let inputs = ((bound, guard.cloned()), ByValue((declared, https_redirect)));
        known.renew(
            Arc::clone(&host),
            inputs,
            |_| true,
            |_, before| {
                let before = before.map(|(_, made)| made);
                let rules = lists.of(&parts, guard, before);
                let same = |before: &&Arc<VirtualHost>| {
                    Arc::ptr_eq(&before.rules, &rules)
                        && (before.declared, before.https_redirect) == (declared, https_redirect)
                };
                if let Some(before) = before.filter(same) {
                    return Arc::clone(before);
                }
                let name = format!("{host}:{declared}");
                let domains = vec![HostPattern::istio(&host)];
                Arc::new(VirtualHost { name, domains, declared, https_redirect, rules })
            },
        )
    }
}

/// The rules of hosts by whose they are. Hosts of which these are the same have one list, which is made, compared and
/// compiled once: a VirtualService may have thousands of hosts and thousands of rules.
#[derive(Default)]
pub(super) struct Lists(BTreeMap<Vec<*const Bound>, Arc<[Arc<Rule>]>>);

/// Whose rules a host has, and through which Gateways.
type Part<'a> = (&'a ObjectKey, &'a str, Arc<Bound>);

impl Lists {
    /// Lists that are no longer than that may as well be made again.
    const SHORT: usize = 8;

    /// Where rules are bound again, they stand at another address.
    fn key(parts: &[Part<'_>], guard: Option<&Arc<Rule>>) -> Vec<*const Bound> {
        if guard.is_some() {
            Vec::new()
        } else {
            parts.iter().map(|(.., bound)| Arc::as_ptr(bound)).collect()
        }
    }

    /// Notes the list of a host that stays as it is.
    fn note(&mut self, parts: &[Part<'_>], guard: Option<&Arc<Rule>>, host: &VirtualHost) {
        if host.rules.len() > Lists::SHORT {
            self.0.entry(Lists::key(parts, guard)).or_insert_with(|| Arc::clone(&host.rules));
        }
    }

    /// The list of a host; `before`: the host as it was.
    fn of(
        &mut self,
        parts: &[Part<'_>],
        guard: Option<&Arc<Rule>>,
        before: Option<&Arc<VirtualHost>>,
    ) -> Arc<[Arc<Rule>]> {
        let list = self.0.entry(Lists::key(parts, guard)).or_insert_with(|| {
            let made = match guard {
                Some(guard) => vec![Arc::clone(guard)],
                None => rules(parts),
            };
            match before {
                Some(before) if *before.rules == *made => Arc::clone(&before.rules),
                _ => made.into(),
            }
        });
        Arc::clone(list)
    }
}

/// The rules of a host, in their order. An older catch-all does not hide the specific rules of a newer VirtualService.
fn rules(parts: &[Part<'_>]) -> Vec<Arc<Rule>> {
    let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
    twice.extend(parts.iter().map(|(key, ..)| *key).filter(|key| !once.insert(*key)));
    // Through a second Gateway most rules are the same, and would never be reached. There may be tens of thousands, so
    // they are found by their place in the object.
    let (mut rules, mut known) = (Vec::<&BoundRule>::new(), BTreeMap::<_, Vec<&Rule>>::new());
    for (key, _, bound) in parts {
        if !twice.contains(key) {
            rules.extend(&bound.rules);
            continue;
        }
        let new = |bound: &&BoundRule| {
            known.get(&bound.rule.origin).is_none_or(|before| before.iter().all(|old| **old != *bound.rule))
        };
        let new: Vec<_> = bound.rules.iter().filter(new).collect();
        new.iter().for_each(|bound| known.entry(&bound.rule.origin).or_default().push(&bound.rule));
        rules.extend(new);
    }
    let (last, first): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.catch_all);
    first.into_iter().chain(last).map(|rule| Arc::clone(&rule.rule)).collect()
}
